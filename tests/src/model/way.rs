//! The way on for what is no segment: later fragments, and ICMP errors.

use std::net::IpAddr;

use splitter_ebpf::abi::Mode;
use splitter_ebpf::verdict::Reason;

use super::request::{fits_bytes, overhead};
use super::shape::{Shape, hops, is_whole};
use super::{Model, Onward, Towards, Verdict, rewrite};

impl Model {
    /// The next hop of such a packet, if the packet may take it.
    pub(super) fn way(
        &mut self,
        frame: &[u8],
        shape: &Shape,
        to: Towards,
        reason: Reason,
    ) -> Verdict {
        let ip = &frame[shape.l3..];
        if hops(ip, shape.v6) <= 1 {
            return Err(Reason::TtlExpired.into());
        }
        let (hop, more) = match to {
            Towards::Backend { id, .. } => {
                let backend = &self.services.backends[&id];
                let hop = backend.hop.ok_or(Reason::NoNextHop)?;
                (hop, overhead(backend.mode, shape.v6))
            }
            Towards::Client(client) => {
                let hop = self.ways_back.towards(client);
                (hop.ok_or(Reason::NoReturnPath)?, 0)
            }
            Towards::Sender => unreachable!("such packets are not answered"),
        };
        let total = shape.end - shape.l3;
        fits_bytes(total, is_whole(ip, shape.v6), hop.mtu, more)?;
        Ok(Onward { reason, hop, to })
    }

    /// Carries a packet to a backend inside another one, which has `spread` in its source address.
    pub(super) fn encapsulate(&self, frame: &mut Vec<u8>, id: u16, spread: u32) {
        let backend = &self.services.backends[&id];
        debug_assert_eq!(backend.mode, Mode::Ipip);
        let bits = spread.to_ne_bytes();
        let from = if backend.address.is_ipv6() {
            let octets = [&self.tunnel.1[..], &bits].concat();
            IpAddr::from(<[u8; 16]>::try_from(octets).expect("sixteen bytes"))
        } else {
            let [a, b] = self.tunnel.0;
            IpAddr::from([a, b, bits[2], bits[3]])
        };
        rewrite::encapsulate(frame, from, backend.address, spread);
    }
}
