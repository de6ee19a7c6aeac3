//! What a process with idle ends does: opens them, says `open`, and a line for each end that ends, with the time.

use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::time::{ClockId, clock_gettime};

/// The first port that clients dial from.
const FIRST_PORT: usize = 2_000;

/// Which ends, and how many of them.
#[derive(Debug, clap::Subcommand)]
pub enum IdleRole {
    /// Those of a server: says `open` when it listens, and again when it has accepted all
    Accept {
        /// Where it listens
        at: SocketAddr,
        /// Connections
        count: usize,
    },
    /// Those of clients
    Dial {
        /// The server
        to: SocketAddr,
        /// Connections
        count: usize,
        /// Their addresses, in turn
        from: Vec<IpAddr>,
    },
}

/// Holds the ends until it is killed.
pub fn hold_idle_ends(role: &IdleRole) -> Result<()> {
    let streams = match role {
        IdleRole::Accept { at, count } => {
            let listener =
                TcpListener::bind(at).with_context(|| format!("cannot listen at {at}"))?;
            say("open")?;
            (0..*count)
                .map(|_| Ok(listener.accept()?.0))
                .collect::<Result<Vec<_>>>()?
        }
        IdleRole::Dial { to, count, from } => (0..*count)
            .map(|number| {
                let port = u16::try_from(FIRST_PORT + number / from.len())?;
                dial(SocketAddr::new(from[number % from.len()], port), *to)
            })
            .collect::<Result<Vec<_>>>()?,
    };
    say("open")?;
    watch(streams)
}

fn say(what: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{what}")?;
    Ok(output.flush()?)
}

fn watch(streams: Vec<TcpStream>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    // Room for each: none waits to be heard.
    let (sender, ended) = sync_channel(streams.len());
    std::thread::spawn(move || {
        while let Ok((how, at)) = ended.recv() {
            if say(&format!("{how} {at}")).is_err() {
                return;
            }
        }
    });
    runtime.block_on(async move {
        for stream in streams {
            stream.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            tokio::spawn(until_over(stream, sender.clone()));
        }
        std::future::pending().await
    })
}

async fn until_over(stream: tokio::net::TcpStream, tell: SyncSender<(&'static str, i128)>) {
    loop {
        // An error is what the read below reports.
        let _ready = stream.readable().await;
        let how = match stream.try_read(&mut [0; 64]) {
            Ok(0) => "closed",
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset",
            Err(_) => "failed",
        };
        let now = clock_gettime(ClockId::Monotonic);
        let at = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        // The one who says it ends with this process.
        let _told = tell.send((how, at));
        return;
    }
}

fn dial(from: SocketAddr, to: SocketAddr) -> Result<TcpStream> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // One port dials several servers.
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &from).with_context(|| format!("cannot dial from {from}"))?;
    connect(&socket, &to).with_context(|| format!("{from} cannot reach {to}"))?;
    Ok(socket.into())
}
