//! One connection: a question, and the name of the backend as its answer.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::PATIENCE;

/// An open connection to a VIP.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp { stream: TcpStream, unread: Vec<u8> },
    Udp { socket: UdpSocket, sent: u64 },
}

/// Whether the connection serves more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    No,
    Yes,
}

impl Connection {
    pub(super) async fn tcp(target: SocketAddr, client: Option<IpAddr>) -> Result<Self> {
        let socket = if target.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        if let Some(client) = client {
            socket.bind(SocketAddr::new(client, 0))?;
        }
        let stream = patiently("the connection", socket.connect(target)).await?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp {
            stream,
            unread: Vec::new(),
        })
    }

    pub(super) async fn udp(target: SocketAddr, client: Option<IpAddr>) -> Result<Self> {
        let any = if target.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind(SocketAddr::new(client.unwrap_or(any), 0)).await?;
        socket.connect(target).await?;
        Ok(Self::Udp { socket, sent: 0 })
    }

    /// The client's end.
    pub(super) fn client(&self) -> Result<SocketAddr> {
        match self {
            Self::Tcp { stream, .. } => stream.local_addr(),
            Self::Udp { socket, .. } => socket.local_addr(),
        }
    }

    /// Asks once and returns the name of the backend that answered.
    pub(super) async fn ask(&mut self, last: Last) -> Result<String> {
        match self {
            Self::Tcp { stream, unread } => {
                patiently("an answer", ask_http(stream, unread, last)).await
            }
            Self::Udp { socket, sent } => {
                *sent += 1;
                patiently("an answer", ask_udp(socket, *sent)).await
            }
        }
    }
}

async fn patiently<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::TimedOut,
            format!("no sign of {what} within {PATIENCE:?}"),
        ))
    })
}

async fn ask_udp(socket: &UdpSocket, number: u64) -> Result<String> {
    let question = number.to_string();
    socket.send(question.as_bytes()).await?;
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).await?;
    let answer = text(&buffer[..length])?;
    match answer.split_once(' ') {
        Some((backend, echo)) if echo == question => Ok(backend.to_owned()),
        _ => Err(Error::new(
            ErrorKind::InvalidData,
            format!("the answer to {question} is {answer:?}"),
        )),
    }
}

async fn ask_http(stream: &mut TcpStream, unread: &mut Vec<u8>, last: Last) -> Result<String> {
    let request: &[u8] = match last {
        Last::No => b"GET / HTTP/1.1\r\nHost: web\r\n\r\n",
        Last::Yes => b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
    };
    stream.write_all(request).await?;
    let head_end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(stream, unread).await?;
    };
    let length = body_length(text(&unread[..head_end])?)?;
    while unread.len() < head_end + length {
        read_more(stream, unread).await?;
    }
    let backend = text(&unread[head_end..head_end + length])?
        .trim_end()
        .to_owned();
    unread.drain(..head_end + length);
    Ok(backend)
}

async fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Result<()> {
    match stream.read_buf(unread).await? {
        0 => Err(Error::new(
            ErrorKind::UnexpectedEof,
            "the connection was closed before the answer",
        )),
        _ => Ok(()),
    }
}

/// The length of the body of a successful response.
fn body_length(head: &str) -> Result<usize> {
    let invalid = || {
        Error::new(
            ErrorKind::InvalidData,
            format!("not the answer of a backend: {head:?}"),
        )
    };
    let mut lines = head.lines();
    if !lines
        .next()
        .is_some_and(|status| status.starts_with("HTTP/1.1 200 "))
    {
        return Err(invalid());
    }
    lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(invalid)
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}
