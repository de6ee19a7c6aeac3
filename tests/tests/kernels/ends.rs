//! The two ends of a flow, and what each sees of the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::Namespace;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// Longest wait for an answer; nothing here is lost and sent again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has a host answer every line and datagram that comes to `at` with both addresses that it sees. The servers end with the process.
pub fn serve(host: &Namespace, at: SocketAddr) -> Result<()> {
    let (listener, socket) = host
        .enter(|| anyhow::Ok((TcpListener::bind(at)?, UdpSocket::bind(at)?)))
        .with_context(|| format!("cannot serve {at}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer_lines(stream));
        }
    });
    std::thread::spawn(move || answer_datagrams(&socket));
    Ok(())
}

fn answer_lines(stream: TcpStream) -> Result<()> {
    let seen = format!("{} came to {}\n", stream.peer_addr()?, stream.local_addr()?);
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(Ok(_)) = lines.next() {
        (&stream).write_all(seen.as_bytes())?;
    }
    Ok(())
}

fn answer_datagrams(socket: &UdpSocket) -> Result<()> {
    let here = socket.local_addr()?;
    let mut buffer = [0; 256];
    loop {
        let (_, peer) = socket.recv_from(&mut buffer)?;
        socket.send_to(format!("{peer} came to {here}").as_bytes(), peer)?;
    }
}

/// A client's connection, whose other end says, line by line, what it sees.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects from an address and port of the host's.
    pub fn open(host: &Namespace, from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let family = match from {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let stream = host.enter(|| -> Result<TcpStream> {
            let socket = socket(family, SocketType::STREAM, None)?;
            bind(&socket, &from)?;
            connect(&socket, &to).with_context(|| format!("cannot connect {from} to {to}"))?;
            Ok(socket.into())
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What both ends see.
    pub fn ask(&mut self) -> Result<String> {
        self.0.get_mut().write_all(b"who?\n")?;
        let mut line = String::new();
        self.0.read_line(&mut line).context("no answer")?;
        let peer = self.0.get_ref().peer_addr()?;
        Ok(format!("answered by {peer}: {}", line.trim_end()))
    }
}

/// What both ends of a datagram and its answer see.
pub fn datagram(host: &Namespace, from: SocketAddr, to: SocketAddr) -> Result<String> {
    let socket = host.enter(|| UdpSocket::bind(from))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"who?", to)?;
    let mut buffer = [0; 256];
    let (length, peer) = socket.recv_from(&mut buffer).context("no answer")?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    Ok(format!("answered by {peer}: {text}"))
}
