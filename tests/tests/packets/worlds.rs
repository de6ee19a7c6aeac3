//! One service in each mode, and what its packets look like on either side.

use std::net::SocketAddr;

use anyhow::Result;
use lab::rig::{BALANCER_MAC, CLIENT_MAC, Plan, Rig, Segment, mac_of, tcp, udp};
use splitter_ebpf::abi::{Mode, Path};
use splitter_ebpf::wire::{TCP, UDP};

use super::shapes::{ETHERNET, fitted, inserted, is_v4};
use super::{BACKEND, CLIENT, DNS, WEB};

pub const MODES: [Mode; 4] = [Mode::Dnat, Mode::FullNat, Mode::DsrL2, Mode::Ipip];
/// What clients are translated to, with `fullnat`.
const TRANSLATED: [&str; 2] = ["198.18.3.1", "2001:db8:3::1"];

/// A service on TCP port 80 and UDP port 53 of both families, in one mode.
pub struct World {
    pub rig: Rig,
    pub mode: Mode,
    /// Its backends' ids, by family.
    backends: Vec<u16>,
}

/// One flow of a [`World`], pinned.
pub struct Flow {
    mode: Mode,
    /// 0 for IPv4, 1 for IPv6.
    pub family: usize,
    pub protocol: u8,
    pub client: SocketAddr,
    pub listener: SocketAddr,
    pub backend: SocketAddr,
    /// The client, as the backend knows it.
    pub known: SocketAddr,
    /// With `ipip`, the header around its packets.
    outer: Vec<u8>,
}

impl World {
    pub fn new(mode: Mode) -> Result<Self> {
        let mut rig = Rig::new()?;
        // One port does for both listeners where backends have the listener's own.
        let one_way = Mode::one_way(mode as u8);
        let backends = BACKEND.map(|at| match at.parse::<SocketAddr>() {
            Ok(mut address) if one_way => {
                address.set_port(0);
                address.to_string()
            }
            _ => at.to_owned(),
        });
        let mut plan = Plan::new("web").track(&backends.each_ref().map(String::as_str));
        for at in WEB {
            plan = plan.listen(at, TCP);
        }
        for at in DNS {
            plan = plan.listen(at, UDP);
        }
        plan = match mode {
            Mode::FullNat => plan.translated_to(&TRANSLATED, 10_240..32_768),
            _ => plan.mode(mode),
        };
        let service = rig.serve(&plan)?;
        Ok(Self {
            rig,
            mode,
            backends: service.backends[0].clone(),
        })
    }

    /// Limits packets towards the backend of a family to so many bytes.
    pub fn limit(&self, family: usize, mtu: u16) -> Result<()> {
        let id = self.backends[family];
        let backend = self.rig.tables().backend(id);
        let path = Path {
            mtu,
            ..backend.paths[0]
        };
        self.rig.barrier()?;
        anyhow::ensure!(self.rig.tables().set_hop(id, backend.hops[0], path));
        Ok(())
    }

    /// The client's flow, begun by a plain packet.
    pub fn flow(&self, family: usize, protocol: u8) -> Result<Flow> {
        let segment = if protocol == TCP {
            tcp(CLIENT[family], WEB[family])
        } else {
            udp(CLIENT[family], DNS[family])
        };
        let out = self.rig.run(&segment.frame())?.packet;
        let parse = |text: &str| text.parse::<SocketAddr>();
        let mut backend = parse(BACKEND[family])?;
        let (mut known, mut outer) = (segment.from, Vec::new());
        let header = [20, 40][family];
        match self.mode {
            Mode::Dnat => (),
            Mode::FullNat => {
                known.set_ip(TRANSLATED[family].parse()?);
                let port = &out[ETHERNET + header..][..2];
                known.set_port(u16::from_be_bytes([port[0], port[1]]));
            }
            Mode::DsrL2 => backend = segment.to,
            Mode::Ipip => {
                backend = segment.to;
                outer = out[ETHERNET..][..header].to_vec();
            }
        }
        Ok(Flow {
            mode: self.mode,
            family,
            protocol,
            client: segment.from,
            listener: segment.to,
            backend,
            known,
            outer,
        })
    }

    /// The flow's of both families and protocols.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        let mut flows = Vec::new();
        for family in 0..2 {
            for protocol in [TCP, UDP] {
                flows.push(self.flow(family, protocol)?);
            }
        }
        Ok(flows)
    }

    /// Whether replies come through this host.
    pub fn returns(&self) -> bool {
        !Mode::one_way(self.mode as u8)
    }
}

impl Flow {
    fn segment(&self, from: SocketAddr, to: SocketAddr) -> Segment {
        let plain = if self.protocol == TCP { tcp } else { udp };
        plain(&from.to_string(), &to.to_string())
    }

    /// From the client to the listener.
    pub fn request(&self) -> Segment {
        self.segment(self.client, self.listener)
    }

    /// The same as its backend gets it, but for what is put around it with `ipip`.
    pub fn forwarded(&self, request: &Segment) -> Segment {
        Segment {
            macs: [self.backend_mac(), BALANCER_MAC],
            from: self.known,
            to: self.backend,
            ttl: request.ttl - 1,
            ..request.clone()
        }
    }

    /// From the backend, to whom it takes for the client.
    pub fn reply(&self) -> Segment {
        Segment {
            macs: [BALANCER_MAC, self.backend_mac()],
            ..self.segment(self.backend, self.known)
        }
    }

    /// The same as the client gets it.
    pub fn returned(&self, reply: &Segment) -> Segment {
        Segment {
            macs: [CLIENT_MAC, BALANCER_MAC],
            from: self.listener,
            to: self.client,
            ttl: reply.ttl - 1,
            ..reply.clone()
        }
    }

    pub fn backend_mac(&self) -> [u8; 6] {
        let address: SocketAddr = BACKEND[self.family].parse().expect("an address");
        mac_of(address.ip())
    }

    /// What leaves towards the backend for a frame that does: with `ipip`, inside another packet.
    pub fn wrapped(&self, frame: Vec<u8>) -> Vec<u8> {
        if self.mode != Mode::Ipip {
            return frame;
        }
        assert_eq!(
            is_v4(&frame),
            is_v4(&[&[0; ETHERNET][..], &self.outer].concat())
        );
        fitted(inserted(frame, ETHERNET, &self.outer))
    }
}
