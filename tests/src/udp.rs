//! Datagram backends: `hello` is answered with `blue-1 hello`.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::hosts::{BACKENDS, Hosts, VIP_V4, VIP_V6};

/// How often an idle server looks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// A datagram server for each backend and address family; they end with this guard.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    servers: Vec<JoinHandle<()>>,
}

impl UdpEcho {
    /// Starts them on `port`; they answer when this returns.
    pub fn start(hosts: &Hosts, port: u16) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut echo = Self {
            stop: Arc::clone(&stop),
            servers: Vec::new(),
        };
        let own = BACKENDS
            .iter()
            .map(|one| (one, [one.v4.into(), one.v6.into()]));
        // Where backends answer clients themselves, from the VIP.
        let at_vip = hosts.at_vip.map(|one| (one, [VIP_V4, VIP_V6]));
        for (backend, addresses) in own.chain(at_vip) {
            for address in addresses {
                let socket = hosts
                    .backends
                    .enter(|| open(SocketAddr::new(address, port)))?;
                let stop = Arc::clone(&stop);
                echo.servers.push(std::thread::spawn(move || {
                    answer(&socket, backend.name, &stop)
                }));
            }
        }
        Ok(echo)
    }
}

fn open(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    socket
        .set_read_timeout(Some(LOOK))
        .context("cannot set a time limit")?;
    Ok(socket)
}

fn answer(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, client)) => {
                let reply = [name.as_bytes(), b" ", &buffer[..length]].concat();
                // A client that has gone is the client's business.
                let _ = socket.send_to(&reply, client);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // An ICMP error that a client's host sent back.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("the datagram server {name} failed: {error}"),
        }
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for server in self.servers.drain(..) {
            if server.join().is_err() && !std::thread::panicking() {
                panic!("a datagram server panicked; its message is above");
            }
        }
    }
}
