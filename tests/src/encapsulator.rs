//! A balancer of few words: whatever is routed to a VIP goes into a tunnel to one backend, as mode `ipip`
//! sends it, and nothing is looked at. It is independent of the splitter: it shows what its other end takes.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SendFlags, SocketType, sendto, socket};

use crate::hosts::{VIP_V4, VIP_V6};
use crate::namespace::Namespace;

/// Where its tunnels begin, in the prefixes that decapsulators take by default.
pub const OUTER_SOURCE_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 7, 7);
/// The same for IPv6.
pub const OUTER_SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);

/// Milliseconds between two looks whether it should end.
const LOOK: libc::c_int = 50;
/// `IPPROTO_RAW` of linux/in.h: the header is the sender's own.
const RAW: u32 = 255;

/// A running encapsulator; it ends with this guard.
#[derive(Debug)]
pub struct Encapsulator {
    stop: Arc<AtomicBool>,
    too_big: Arc<AtomicU64>,
    worker: Option<JoinHandle<Result<()>>>,
}

/// Where packets go out.
struct Sockets {
    v4: OwnedFd,
    v6: OwnedFd,
    backend: (Ipv4Addr, Ipv6Addr),
}

impl Encapsulator {
    /// Makes the device `tunnel` on `balancer`, routes both VIPs to it, and sends what comes to `backend`.
    /// The VIPs are no addresses of the balancer's.
    pub fn start(balancer: &Namespace, backend: (Ipv4Addr, Ipv6Addr)) -> Result<Self> {
        let (device, sockets) = balancer.enter(|| -> Result<_> {
            let raw = |family| {
                let protocol = RawProtocol::new(RAW).map(Protocol::from_raw);
                socket(family, SocketType::RAW, protocol).context("cannot open a raw socket")
            };
            let sockets = Sockets {
                v4: raw(AddressFamily::INET)?,
                v6: raw(AddressFamily::INET6)?,
                backend,
            };
            Ok((tunnel_device("tunnel")?, sockets))
        })?;
        balancer.ip(&format!(
            "link set tunnel up mtu 1500\n\
             route add {VIP_V4}/32 dev tunnel\n\
             route add {VIP_V6}/128 dev tunnel\n"
        ))?;
        let (stop, too_big) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&too_big));
        let worker = balancer.thread("encapsulator", move || {
            run(device, &sockets, &stopped, &counted)
        })?;
        Ok(Self {
            stop,
            too_big,
            worker: Some(worker),
        })
    }

    /// Packets that were too big with their outer header, and lost.
    #[must_use]
    pub fn too_big(&self) -> u64 {
        self.too_big.load(Ordering::Relaxed)
    }
}

impl Drop for Encapsulator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.worker.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            match ended {
                Some(Ok(Ok(()))) | None => {}
                other => panic!("the encapsulator failed: {other:?}"),
            }
        }
    }
}

fn run(mut device: File, sockets: &Sockets, stop: &AtomicBool, too_big: &AtomicU64) -> Result<()> {
    let mut packet = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let mut poll = libc::pollfd {
            fd: device.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd, which outlives the call.
        if unsafe { libc::poll(&raw mut poll, 1, LOOK) } <= 0 {
            continue;
        }
        let length = device.read(&mut packet).context("cannot read the tunnel")?;
        match sockets.send(&packet[..length]) {
            Err(Errno::MSGSIZE) => {
                too_big.fetch_add(1, Ordering::Relaxed);
            }
            // The backend's neighbour entry may not be there yet; a loss like any other.
            Err(Errno::HOSTUNREACH | Errno::NOBUFS) | Ok(()) => {}
            Err(error) => return Err(error).context("cannot send into the tunnel"),
        }
    }
    Ok(())
}

impl Sockets {
    fn send(&self, inner: &[u8]) -> rustix::io::Result<()> {
        let (v4, v6) = self.backend;
        match inner.first().map_or(0, |byte| byte >> 4) {
            4 => {
                let packet = [&header_v4(v4, inner)[..], inner].concat();
                let to = SocketAddrV4::new(v4, 0);
                sendto(&self.v4, &packet, SendFlags::empty(), &to).map(drop)
            }
            6 => {
                let packet = [&header_v6(v6, inner)[..], inner].concat();
                let to = SocketAddrV6::new(v6, 0, 0, 0);
                sendto(&self.v6, &packet, SendFlags::empty(), &to).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Length and checksum are the kernel's to fill in (raw(7)).
fn header_v4(backend: Ipv4Addr, inner: &[u8]) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    // The traffic class as it is, its congestion mark included (RFC 6040 section 4.1).
    header[1] = inner[1];
    // Don't fragment.
    header[6] = 0x40;
    header[8] = 64;
    header[9] = 4;
    header[12..16].copy_from_slice(&OUTER_SOURCE_V4.octets());
    header[16..20].copy_from_slice(&backend.octets());
    header
}

fn header_v6(backend: Ipv6Addr, inner: &[u8]) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = inner[0];
    header[1] = inner[1] & 0xf0;
    let length = u16::try_from(inner.len()).unwrap_or(u16::MAX);
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = 41;
    header[7] = 64;
    header[8..24].copy_from_slice(&OUTER_SOURCE_V6.octets());
    header[24..40].copy_from_slice(&backend.octets());
    header
}

/// A device whose packets are read and written here.
fn tunnel_device(name: &str) -> Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("cannot open /dev/net/tun")?;
    // `struct ifreq` of linux/if.h, with the flags in its union.
    let mut request = [0_u8; size_of::<libc::ifreq>()];
    request
        .as_mut_slice()
        .write_all(name.as_bytes())
        .context("too long a name")?;
    let flags = u16::try_from(libc::IFF_TUN | libc::IFF_NO_PI)?;
    request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the kernel reads and writes a `struct ifreq`, of whose size the buffer is.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    if made < 0 {
        return Err(std::io::Error::last_os_error()).context("cannot make a tun device");
    }
    Ok(device)
}
