//! Single connections that stay open as long as a test wants, and what the server sees of them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// Longest wait for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a web server that stays open until dropped.
#[derive(Debug)]
pub struct Held {
    stream: TcpStream,
}

impl Held {
    /// Connects to port 80 of `vip`; the error is that of the connection, so that a refusal can be told from silence.
    pub fn open(client: &Namespace, vip: IpAddr) -> std::io::Result<Self> {
        let stream =
            client.enter(|| TcpStream::connect_timeout(&SocketAddr::new(vip, 80), PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Asks the server from which address and port the connection comes.
    pub fn seen_as(&mut self) -> Result<SocketAddr> {
        write!(self.stream, "GET /peer HTTP/1.1\r\nHost: web\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        // The body is one line.
        while !(answer.windows(4).any(|four| four == b"\r\n\r\n")
            && answer.ends_with(b"\n")
            && !answer.ends_with(b"\r\n\r\n"))
        {
            let length = self.stream.read(&mut buffer).context("no answer")?;
            anyhow::ensure!(length > 0, "the connection was closed");
            answer.extend_from_slice(&buffer[..length]);
        }
        let text = String::from_utf8_lossy(&answer);
        let line = text.lines().last().unwrap_or_default();
        let (address, port) = line
            .split_once(' ')
            .with_context(|| format!("not an address and a port: {line:?}"))?;
        Ok(SocketAddr::new(address.parse()?, port.parse()?))
    }

    /// The client's own end.
    pub fn client(&self) -> Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }
}
