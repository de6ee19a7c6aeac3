//! Connections of the agent's servers: how long a turn on one may take, and how long they are waited for at the end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

/// How long requests under way may go on once a server is told to stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// Lets a server run until `stop`, and then for [`GRACE`] at most.
///
/// # Errors
/// The server's own.
pub async fn serve_until(
    stop: &CancellationToken,
    what: &'static str,
    server: impl IntoFuture<Output = io::Result<()>>,
) -> io::Result<()> {
    let out_of_patience = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = out_of_patience => {
            tracing::warn!("{what} requests still under way after {GRACE:?} are abandoned");
            Ok(())
        }
    }
}

/// Whose bytes moved last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Theirs,
    Ours,
}

/// A stream with a place `P`, that fails once a turn on it has taken too long.
///
/// ```text
///        the first byte of a request
///  Ours -----------------------------> Theirs     either begins the time anew; the bytes
///       <-----------------------------            that follow do not, so that sending one
///        the first byte of an answer              now and then holds nothing open
/// ```
pub struct Connection<S, P> {
    stream: S,
    turn: Turn,
    time: Duration,
    end: Pin<Box<Sleep>>,
    _place: P,
}

impl<S, P> Connection<S, P> {
    /// A connection that was just accepted: the caller has `time` to begin.
    pub fn new(stream: S, place: P, time: Duration) -> Self {
        Self {
            stream,
            turn: Turn::Ours,
            time,
            end: Box::pin(tokio::time::sleep(time)),
            _place: place,
        }
    }

    /// Passes on what came of moving bytes, unless the turn is over.
    fn watch<T>(
        &mut self,
        turn: Turn,
        moved: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() && self.turn != turn {
            self.turn = turn;
            let end = Instant::now() + self.time;
            self.end.as_mut().reset(end);
        }
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        moved
    }
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Connection<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(Turn::Theirs, moved, context)
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Connection<S, P> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(Turn::Ours, moved, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(Turn::Ours, moved, context)
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_byte_now_and_then_does_not_hold_a_connection_open() {
        let time = Duration::from_millis(500);
        let (mut caller, stream) = duplex(64);
        let mut connection = Connection::new(stream, (), time);
        let began = Instant::now();
        let trickle = tokio::spawn(async move {
            while caller.write_all(b"x").await.is_ok() {
                tokio::time::sleep(time / 10).await; // paced: a slow caller
            }
        });
        let mut byte = [0];
        let error = loop {
            if let Err(error) = connection.read_exact(&mut byte).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < 20 * time, "{:?}", began.elapsed());
        drop(connection);
        trickle.await.unwrap();
    }

    #[tokio::test]
    async fn each_turn_has_the_whole_time() {
        let time = Duration::from_secs(2);
        let (mut caller, stream) = duplex(64);
        let mut connection = Connection::new(stream, (), time);
        let mut byte = [0];
        for _ in 0..4 {
            tokio::time::sleep(time / 6).await; // paced: a caller that thinks
            caller.write_all(b"?").await.unwrap();
            connection.read_exact(&mut byte).await.unwrap();
            tokio::time::sleep(time / 6).await; // paced: an answer that takes a while
            connection.write_all(b"!").await.unwrap();
            caller.read_exact(&mut byte).await.unwrap();
        }
    }
}
