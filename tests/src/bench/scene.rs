//! What the bench's packets are sent to: a service of eight backends and one of one backend, in each mode.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use splitter_ebpf::abi::Mode;
use splitter_ebpf::wire::{TCP, UDP};

use crate::rig::{Plan, Segment, tcp, udp};

/// A mode and a protocol, with services of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) mode: Mode,
    pub(super) protocol: u8,
}

/// Which of a scene's two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crew {
    /// Eight backends a family.
    Eight,
    /// One a family, so that all replies come from it.
    One,
}

/// Every scene.
pub(super) const SCENES: [Scene; 5] = [
    scene(Mode::Dnat, TCP),
    scene(Mode::Dnat, UDP),
    scene(Mode::FullNat, TCP),
    scene(Mode::DsrL2, TCP),
    scene(Mode::Ipip, TCP),
];

const fn scene(mode: Mode, protocol: u8) -> Scene {
    Scene { mode, protocol }
}

/// The families' names.
pub(super) const FAMILIES: [&str; 2] = ["v4", "v6"];
/// The first client of each.
pub(super) const CLIENT: [&str; 2] = ["198.19.0.0:8192", "[2001:db8:c::]:8192"];
/// The first client of new flows among many old ones.
pub(super) const STRANGER: [&str; 2] = ["198.19.128.0:8192", "[2001:db8:c::8000:0]:8192"];

impl Scene {
    /// As cases are called.
    pub(super) const fn name(self) -> &'static str {
        match (self.mode, self.protocol) {
            (Mode::Dnat, UDP) => "dnat udp",
            (Mode::Dnat, _) => "dnat",
            (Mode::FullNat, _) => "fullnat",
            (Mode::DsrL2, _) => "dsr-l2",
            (Mode::Ipip, _) => "ipip",
        }
    }

    /// Entries of the flow table that one flow takes.
    pub(super) const fn entries(self) -> u64 {
        match self.mode {
            Mode::FullNat => 2,
            _ => 1,
        }
    }

    /// Bytes that are put before packets.
    pub(super) const fn overhead(self, family: usize) -> u32 {
        match (self.mode, family) {
            (Mode::Ipip, 0) => 20,
            (Mode::Ipip, _) => 40,
            _ => 0,
        }
    }

    /// A number that no other scene has.
    fn number(self) -> u8 {
        self.mode as u8 * 2 + u8::from(self.protocol == UDP)
    }

    /// Where a service listens.
    pub(super) fn listener(self, crew: Crew, family: usize) -> SocketAddr {
        let n = 100 + self.number() * 2 + crew as u8;
        SocketAddr::new(address(family, 1, n), 80)
    }

    /// The backends of a service.
    pub(super) fn backends(self, crew: Crew, family: usize) -> Vec<SocketAddr> {
        let net = 10 + self.number() * 2 + crew as u8;
        let count = if crew == Crew::Eight { 8 } else { 1 };
        // A backend that has the VIP listens at its port.
        let port = if Mode::one_way(self.mode as u8) {
            80
        } else {
            8080
        };
        (1..=count)
            .map(|n| SocketAddr::new(address(family, net, n), port))
            .collect()
    }

    /// What clients are translated to at a family's backends.
    pub(super) fn pool(family: usize) -> Vec<IpAddr> {
        (1..=15).map(|n| address(family, 200, n)).collect()
    }

    /// The services.
    pub(super) fn plans(self) -> [Plan; 2] {
        [Crew::Eight, Crew::One].map(|crew| {
            let mut plan = Plan::new(&format!("{} {crew:?}", self.name()));
            let mut backends = Vec::new();
            for family in 0..2 {
                plan = plan.listen(&self.listener(crew, family).to_string(), self.protocol);
                backends.extend(self.backends(crew, family));
            }
            let backends: Vec<_> = backends.iter().map(SocketAddr::to_string).collect();
            let backends: Vec<_> = backends.iter().map(String::as_str).collect();
            let pool: Vec<_> = (0..2)
                .flat_map(Self::pool)
                .map(|ip| ip.to_string())
                .collect();
            let pool: Vec<_> = pool.iter().map(String::as_str).collect();
            plan.track(&backends)
                .translated_to(&pool, 1024..65_535)
                .mode(self.mode)
        })
    }

    /// A packet with some data from a client to a listener.
    pub(super) fn packet(self, client: &str, crew: Crew) -> Segment {
        let family = usize::from(client.starts_with('['));
        let to = self.listener(crew, family).to_string();
        let segment = if self.protocol == UDP {
            udp(client, &to)
        } else {
            tcp(client, &to)
        };
        // At least as long as the driver wants it, TCP or UDP.
        segment.with(b"some data that is sent")
    }
}

fn address(family: usize, net: u8, n: u8) -> IpAddr {
    if family == 0 {
        return IpAddr::from([198, 18, net, n]);
    }
    Ipv6Addr::new(0x2001, 0xdb8, net.into(), 0, 0, 0, 0, n.into()).into()
}
