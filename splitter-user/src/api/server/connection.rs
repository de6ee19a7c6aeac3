//! Connections: how many, who is at the other end, and for how long nothing may move on one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::MAX_STRANGERS;
use super::peer::Peer;
use crate::config::Roles;

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts at most so many connections at once and asks the kernel who is at the other end.
pub struct Peers {
    listener: UnixListener,
    roles: Roles,
    room: Arc<Semaphore>,
    /// For callers without any role: they are told so, and hold up nobody.
    strangers: Arc<Semaphore>,
    idle_time: Duration,
}

impl Peers {
    pub fn new(
        listener: UnixListener,
        roles: Roles,
        connections: usize,
        idle_time: Duration,
    ) -> Self {
        Self {
            listener,
            roles,
            room: Arc::new(Semaphore::new(connections)),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            idle_time,
        }
    }
}

impl Listener for Peers {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        let permit = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        loop {
            let accepted = self.listener.accept().await.and_then(|(stream, _)| {
                let peer = Peer::of(&stream, &self.roles)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) if peer.role.is_some() => {
                    return (Connection::new(stream, permit, self.idle_time), peer);
                }
                Ok((stream, peer)) => {
                    if let Ok(permit) = Arc::clone(&self.strangers).try_acquire_owned() {
                        return (Connection::new(stream, permit, self.idle_time), peer);
                    }
                    tracing::warn!(peer = %peer.actor, "too many callers without a role: one is sent away");
                }
                Err(error) => {
                    tracing::warn!(%error, "no API connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Connected<IncomingStream<'_, Peers>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Peers>) -> Self {
        *stream.remote_addr()
    }
}

/// A stream with a permit, that fails once nothing has moved on it for its idle time.
pub struct Connection {
    stream: UnixStream,
    patience: Pin<Box<Sleep>>,
    idle_time: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: UnixStream, permit: OwnedSemaphorePermit, idle_time: Duration) -> Self {
        Self {
            stream,
            patience: Box::pin(tokio::time::sleep(idle_time)),
            idle_time,
            _permit: permit,
        }
    }

    /// Passes the result on if something moved; while nothing does, waits for patience to run out.
    fn watch<T>(
        &mut self,
        moved: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            let end = Instant::now() + self.idle_time;
            self.patience.as_mut().reset(end);
            return moved;
        }
        ready!(self.patience.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(moved, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(moved, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(moved, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
