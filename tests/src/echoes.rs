//! Datagrams that are sent one after the other, each after the echo of the one before, and compared byte by byte. Nothing
//! retransmits here: a lost one is a failure.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::datagram::open;
use crate::namespace::Namespace;

/// Sends `count` datagrams over one socket to `target`, with the lengths of `lengths` in turn; each carries its number
/// and content of its own, and must come back whole, once, before the next is sent, and from the same backend. Returns
/// that backend's name.
pub fn echo(
    client: &Namespace,
    target: SocketAddr,
    lengths: &[usize],
    count: u64,
) -> Result<String> {
    client
        .enter(|| exchange(&open(target)?, lengths, count))
        .with_context(|| format!("echoes of {target}"))
}

/// Sends and checks as [`echo`] does, over a socket that may have options.
pub fn exchange(socket: &UdpSocket, lengths: &[usize], count: u64) -> Result<String> {
    let mut random = SmallRng::seed_from_u64(count);
    let mut answer = vec![0; 65_536];
    let mut backend: Option<String> = None;
    for (number, &length) in (0..count).zip(lengths.iter().cycle()) {
        let mut message = vec![0; length.max(8)];
        random.fill_bytes(&mut message);
        message[..8].copy_from_slice(&number.to_be_bytes());
        socket
            .send(&message)
            .with_context(|| format!("cannot send datagram {number} of {length} bytes"))?;
        let got = socket
            .recv(&mut answer)
            .with_context(|| format!("no echo of datagram {number} of {length} bytes"))?;
        let space = answer[..got]
            .iter()
            .position(|&byte| byte == b' ')
            .context("an echo without a name")?;
        ensure!(
            answer[space + 1..got] == message,
            "the echo of datagram {number} of {length} bytes has other content"
        );
        let name = String::from_utf8_lossy(&answer[..space]).into_owned();
        let first = backend.get_or_insert_with(|| name.clone());
        ensure!(
            *first == name,
            "datagram {number} was answered by {name}, those before by {first}"
        );
    }
    socket.set_nonblocking(true)?;
    ensure!(
        socket.recv(&mut answer).is_err(),
        "more echoes came than datagrams went"
    );
    socket.set_nonblocking(false)?;
    backend.context("no datagram was to be sent")
}
