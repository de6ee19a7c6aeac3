//! Who speaks with whom in a flow, by each side's own names.

use std::net::SocketAddr;

use splitter_ebpf::abi::Mode;
use splitter_ebpf::wire::{Family, WireAddress, WirePort};

use super::tables::{FlowSlot, Tables};

/// The ends of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// IP protocol: [`TCP`](splitter_ebpf::wire::TCP) or [`UDP`](splitter_ebpf::wire::UDP).
    pub protocol: u8,
    /// The client.
    pub client: SocketAddr,
    /// Whom it speaks with: the listener.
    pub listener: SocketAddr,
    /// The backend, and who it takes the client for. `None` where it answers by itself: there it speaks as
    /// the listener, and only on its own link or at a tunnel's end.
    pub backend: Option<(SocketAddr, SocketAddr)>,
}

impl Tables {
    /// The ends of a flow; `None` if they cannot be told: of an IPv6 flow or one of mode `fullnat` while
    /// another CPU still writes them.
    #[must_use]
    pub fn ends(&self, flow: &FlowSlot) -> Option<Ends> {
        let backend = self.backend(flow.value.backend());
        let family = self.family_of(flow);
        let ((client, port), number) = match family {
            Family::V4 => {
                let address = u32::try_from(flow.key >> 32).ok()?;
                let port = u16::try_from((flow.key >> 16) & 0xffff).ok()?;
                let number = u16::try_from(flow.key & 0xffff).ok()?;
                ((WireAddress::v4(address), WirePort(port)), number)
            }
            Family::V6 => {
                let cold = self.cold_key(flow)?;
                ((cold.address, cold.port()), cold.listener())
            }
        };
        if number == 0 || usize::from(number) >= self.listeners.len() {
            return None;
        }
        let listener = self.listener(number);
        let at = |(address, port): (WireAddress, WirePort)| {
            SocketAddr::new(address.to_ip(family), port.get())
        };
        let server = match backend.port {
            WirePort(0) => at((backend.address, listener.port)),
            port => at((backend.address, port)),
        };
        let backend = if Mode::one_way(backend.mode) {
            None
        } else if backend.mode == Mode::FullNat as u8 {
            Some((server, at(self.translation(flow)?)))
        } else {
            Some((server, at((client, port))))
        };
        Some(Ends {
            protocol: listener.protocol,
            client: at((client, port)),
            listener: at((listener.address, listener.port)),
            backend,
        })
    }
}
