//! Real TCP and UDP through a tunnel that something else than the splitter makes, to a host that
//! `backend-setup` has set up and that answers clients directly.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::{BACKENDS, BackendHost, Encapsulator, Hosts, VIP_V4, VIP_V6};

const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 8080;
/// Datagrams of one exchange.
pub const DATAGRAMS: u32 = 200;

/// Hosts whose balancer is only a router, with a tunnel to the first backend for what goes to the VIPs.
pub struct Tunnelled {
    /// The hosts.
    pub hosts: Hosts,
    /// The one that the tunnel ends at.
    pub backend: BackendHost,
}

impl Tunnelled {
    /// Hosts without a tunnel.
    pub fn prepare() -> Result<Self> {
        let hosts = Hosts::new()?;
        // The VIPs are no neighbours of the client: the balancer routes to them.
        hosts.client.ip(&format!(
            "route add {VIP_V4}/32 via 198.18.1.1\nroute add {VIP_V6}/128 via 2001:db8:1::1\n"
        ))?;
        hosts.balancer.ip(&format!(
            "addr del {VIP_V4}/32 dev lo\naddr del {VIP_V6}/128 dev eth0\n"
        ))?;
        let backend = BackendHost::new(&hosts.backends)?;
        Ok(Self { hosts, backend })
    }

    /// Hosts with our own sender.
    fn new() -> Result<(Self, Encapsulator)> {
        let tunnelled = Self::prepare()?;
        let [first, ..] = BACKENDS;
        let encapsulator = Encapsulator::start(&tunnelled.hosts.balancer, (first.v4, first.v6))?;
        Ok((tunnelled, encapsulator))
    }

    fn setup(&self, mode: &str) -> Result<()> {
        let line = format!(
            "--mode ipip --vip {VIP_V4},{VIP_V6} --interface eth0 --xdp-mode {mode} --apply"
        );
        self.backend.setup(&line)?.succeeded().map(drop)
    }

    /// Sends `bytes` octets to the VIP and reads them all back.
    pub fn echo(&self, vip: IpAddr, bytes: usize) -> Result<()> {
        let at = SocketAddr::new(vip, PORT);
        let listener = self.hosts.backends.enter(|| TcpListener::bind(at))?;
        let server = std::thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all)?;
            stream.write_all(&all)?;
            Ok(())
        });
        let sent = pattern(bytes);
        let mut stream = self
            .hosts
            .client
            .enter(|| TcpStream::connect_timeout(&at, PATIENCE))
            .context("no connection")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&sent).context("the way there")?;
        stream.shutdown(Shutdown::Write)?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received).context("the way back")?;
        ensure!(
            received == sent,
            "{} octets came back, or others",
            received.len()
        );
        server
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Datagrams one by one, each with an answer that has to be it.
    pub fn datagrams(&self, vip: IpAddr) -> Result<()> {
        let at = SocketAddr::new(vip, PORT);
        let socket = self.hosts.backends.enter(|| UdpSocket::bind(at))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let server = std::thread::spawn(move || -> Result<()> {
            let mut buffer = [0; 2048];
            for _ in 0..DATAGRAMS {
                let (length, client) = socket.recv_from(&mut buffer)?;
                socket.send_to(&buffer[..length], client)?;
            }
            Ok(())
        });
        let any: IpAddr = if vip.is_ipv4() {
            "0.0.0.0".parse()?
        } else {
            "::".parse()?
        };
        let socket = self.hosts.client.enter(|| UdpSocket::bind((any, 0)))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(at)?;
        let mut buffer = [0; 2048];
        for number in 0..DATAGRAMS {
            let mut datagram = number.to_be_bytes().to_vec();
            datagram.extend(pattern(usize::try_from(number)? * 6));
            socket.send(&datagram)?;
            let length = socket
                .recv(&mut buffer)
                .with_context(|| format!("datagram {number}"))?;
            ensure!(
                buffer[..length] == datagram,
                "datagram {number} came back as another"
            );
        }
        server
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Octets of which no stretch is like another.
fn pattern(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(bytes)
    .collect()
}

fn transfers(mode: &str) -> Result<()> {
    let (tunnelled, encapsulator) = Tunnelled::new()?;
    tunnelled.setup(mode)?;
    for (vip, counter) in [(VIP_V4, "decapsulated_v4"), (VIP_V6, "decapsulated_v6")] {
        tunnelled
            .echo(vip, 20_000_000)
            .with_context(|| format!("TCP at {vip}"))?;
        tunnelled
            .datagrams(vip)
            .with_context(|| format!("UDP at {vip}"))?;
        assert!(tunnelled.backend.counted(counter)? > u64::from(DATAGRAMS));
    }
    // The backend had told the client what fits.
    assert_eq!(encapsulator.too_big(), 0);
    for reason in [
        "malformed",
        "unwritable",
        "congestion_unmarkable",
        "unknown_source",
    ] {
        assert_eq!(tunnelled.backend.counted(reason)?, 0, "{reason}");
    }
    Ok(())
}

#[test]
fn tcp_and_udp_arrive_through_the_tunnel_in_native_mode() -> Result<()> {
    transfers("native")
}

#[test]
fn tcp_and_udp_arrive_through_the_tunnel_in_generic_mode() -> Result<()> {
    transfers("generic")
}

#[test]
fn without_advmss_segments_are_too_big_for_the_tunnel() -> Result<()> {
    let (tunnelled, encapsulator) = Tunnelled::new()?;
    tunnelled.setup("native")?;
    tunnelled
        .hosts
        .backends
        .ip("route replace default via 198.18.2.1\n\
         route replace default via 2001:db8:2::1 metric 1024\n")?;
    let at = SocketAddr::new(VIP_V4, PORT);
    let listener = tunnelled.hosts.backends.enter(|| TcpListener::bind(at))?;
    let mut stream = tunnelled
        .hosts
        .client
        .enter(|| TcpStream::connect_timeout(&at, PATIENCE))?;
    let (_accepted, _) = listener.accept()?;
    stream.write_all(&pattern(20_000))?;
    lab::await_until(PATIENCE, "a segment that does not fit", || {
        encapsulator.too_big() > 0
    })
}

#[test]
fn packets_of_a_stranger_do_not_reach_the_service() -> Result<()> {
    let (tunnelled, _encapsulator) = Tunnelled::new()?;
    let line =
        format!("--mode ipip --vip {VIP_V4} --interface eth0 --source 198.19.99.0/24 --apply");
    tunnelled.backend.setup(&line)?.succeeded()?;
    let at = SocketAddr::new(VIP_V4, PORT);
    let _listener = tunnelled.hosts.backends.enter(|| TcpListener::bind(at))?;
    let connection = tunnelled
        .hosts
        .client
        .enter(|| TcpStream::connect_timeout(&at, Duration::from_millis(1500)));
    assert!(connection.is_err());
    assert!(tunnelled.backend.counted("unknown_source")? > 0);
    assert_eq!(tunnelled.backend.counted("decapsulated_v4")?, 0);
    Ok(())
}
