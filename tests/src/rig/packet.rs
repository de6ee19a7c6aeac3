use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};
use splitter_ebpf::flow::{ACK, FIN, RST, SYN};
use splitter_ebpf::wire::{TCP, UDP};

/// The host under test, as its neighbours know it.
pub const BALANCER_MAC: [u8; 6] = [0x02, 0xb0, 0, 0, 0, 1];
/// The router that clients are behind.
pub const CLIENT_MAC: [u8; 6] = [0x02, 0xc0, 0, 0, 0, 1];

/// The MAC address of a backend: one for each address.
#[must_use]
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [o[12], o[13], o[14], o[15]]
        }
    };
    [0x02, 0xe0, a, b, c, d]
}

/// A whole Ethernet frame with a TCP segment or UDP datagram, checksums and all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Destination and source MAC.
    pub macs: [[u8; 6]; 2],
    /// Source.
    pub from: SocketAddr,
    /// Destination.
    pub to: SocketAddr,
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// TCP flags.
    pub flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Data.
    pub payload: Vec<u8>,
}

fn segment(from: &str, to: &str, protocol: u8, flags: u8) -> Segment {
    let address = |text: &str| {
        text.parse()
            .unwrap_or_else(|error| panic!("{text:?}: {error}"))
    };
    Segment {
        macs: [BALANCER_MAC, CLIENT_MAC],
        from: address(from),
        to: address(to),
        protocol,
        flags,
        ttl: 64,
        payload: Vec::new(),
    }
}

/// A TCP segment without data, ACK set.
#[must_use]
pub fn tcp(from: &str, to: &str) -> Segment {
    segment(from, to, TCP, ACK)
}

/// A UDP datagram with a little data.
#[must_use]
pub fn udp(from: &str, to: &str) -> Segment {
    segment(from, to, UDP, 0).with(b"datagram")
}

impl Segment {
    /// The sequence number of every TCP segment.
    pub(super) const SEQUENCE: u32 = 0x0102_0304;
    /// What it acknowledges, if it does.
    pub(super) const ACKNOWLEDGED: u32 = 0x0506_0708;

    /// With these TCP flags.
    #[must_use]
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// With this data.
    #[must_use]
    pub fn with(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// With this TTL or hop limit.
    #[must_use]
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// As it leaves towards `to`: one hop fewer.
    #[must_use]
    pub fn forwarded(&self, to: &str) -> Self {
        let to: SocketAddr = to.parse().unwrap_or_else(|error| panic!("{to:?}: {error}"));
        Self {
            macs: [mac_of(to.ip()), BALANCER_MAC],
            to,
            ttl: self.ttl - 1,
            ..self.clone()
        }
    }

    /// As it leaves towards the client, from `from`: one hop fewer, back to where requests come from.
    #[must_use]
    pub fn returned(&self, from: &str) -> Self {
        let from = from
            .parse()
            .unwrap_or_else(|error| panic!("{from:?}: {error}"));
        Self {
            macs: [CLIENT_MAC, BALANCER_MAC],
            from,
            ttl: self.ttl - 1,
            ..self.clone()
        }
    }

    /// The other side's packet: ends swapped.
    #[must_use]
    pub fn answered(&self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            ..self.clone()
        }
    }

    /// The IP packet's layers, to be built upon.
    pub(super) fn ip(&self) -> PacketBuilderStep<IpHeaders> {
        let ethernet = PacketBuilder::ethernet2(self.macs[1], self.macs[0]);
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ethernet.ipv4(from.octets(), to.octets(), self.ttl)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                ethernet.ipv6(from.octets(), to.octets(), self.ttl)
            }
            (from, to) => panic!("a packet from {from} to {to}"),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        if self.protocol == UDP {
            let udp = self.ip().udp(self.from.port(), self.to.port());
            udp.write(&mut frame, &self.payload)
                .expect("a vector takes any packet");
            return frame;
        }
        let mut tcp = self
            .ip()
            .tcp(self.from.port(), self.to.port(), Self::SEQUENCE, 1024);
        for (flag, set) in [FIN, SYN, RST].map(|flag| (flag, self.flags & flag != 0)) {
            tcp = match flag {
                FIN if set => tcp.fin(),
                SYN if set => tcp.syn(),
                RST if set => tcp.rst(),
                _ => tcp,
            };
        }
        if self.flags & ACK != 0 {
            tcp = tcp.ack(Self::ACKNOWLEDGED);
        }
        tcp.write(&mut frame, &self.payload)
            .expect("a vector takes any packet");
        frame
    }
}

/// An ICMP or ICMPv6 echo, request or reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// Destination and source MAC.
    pub macs: [[u8; 6]; 2],
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether it is the reply.
    pub reply: bool,
}

impl Echo {
    /// A request.
    #[must_use]
    pub fn request(from: &str, to: &str) -> Self {
        let address = |text: &str| {
            text.parse()
                .unwrap_or_else(|error| panic!("{text:?}: {error}"))
        };
        Self {
            macs: [BALANCER_MAC, CLIENT_MAC],
            from: address(from),
            to: address(to),
            ttl: 17,
            reply: false,
        }
    }

    /// Its answer.
    #[must_use]
    pub fn answered(&self) -> Self {
        Self {
            macs: [self.macs[1], self.macs[0]],
            from: self.to,
            to: self.from,
            ttl: 64,
            reply: true,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let (mut frame, data) = (Vec::new(), b"echo echo echo!");
        let ethernet = PacketBuilder::ethernet2(self.macs[1], self.macs[0]);
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let ip = ethernet.ipv4(from.octets(), to.octets(), self.ttl);
                if self.reply {
                    ip.icmpv4_echo_reply(7, 9)
                } else {
                    ip.icmpv4_echo_request(7, 9)
                }
                .write(&mut frame, data)
                .expect("a vector takes any packet");
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = ethernet.ipv6(from.octets(), to.octets(), self.ttl);
                if self.reply {
                    ip.icmpv6_echo_reply(7, 9)
                } else {
                    ip.icmpv6_echo_request(7, 9)
                }
                .write(&mut frame, data)
                .expect("a vector takes any packet");
            }
            (from, to) => panic!("an echo from {from} to {to}"),
        }
        frame
    }
}
