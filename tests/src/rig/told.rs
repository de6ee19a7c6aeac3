use std::net::IpAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpDscp, IpHeaders, IpNumber, Ipv4Header, PacketBuilder, TcpHeader,
    icmpv4, icmpv6,
};
use splitter_ebpf::flow::{ACK, FIN, RST, SYN};

use super::packet::Segment;

/// What a sender is told of its packet by ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Fragmentation needed, or packet too big, with the next hop's MTU.
    TooBig(u16),
    /// Time exceeded in transit.
    Expired,
    /// Port unreachable.
    Unreachable,
}

impl Told {
    const fn v4(self) -> Icmpv4Type {
        use icmpv4::DestUnreachableHeader::{FragmentationNeeded, Port};
        match self {
            Self::TooBig(next_hop_mtu) => {
                Icmpv4Type::DestinationUnreachable(FragmentationNeeded { next_hop_mtu })
            }
            Self::Expired => {
                Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit)
            }
            Self::Unreachable => Icmpv4Type::DestinationUnreachable(Port),
        }
    }

    fn v6(self) -> Icmpv6Type {
        match self {
            Self::TooBig(mtu) => Icmpv6Type::PacketTooBig { mtu: mtu.into() },
            Self::Expired => Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded),
            Self::Unreachable => {
                Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port)
            }
        }
    }

    /// What goes back for `frame`, from the address `from`: as much of the packet as makes 576 or 1280
    /// bytes in all.
    ///
    /// # Panics
    /// If the frame is not one of `from`'s family.
    #[must_use]
    pub fn about(self, frame: &[u8], from: &str) -> Vec<u8> {
        let mac = |at: usize| frame[at..at + 6].try_into().expect("six bytes");
        let ethernet = PacketBuilder::ethernet2(mac(0), mac(6));
        let mut error = Vec::new();
        match from.parse().expect("an address") {
            IpAddr::V4(from) => {
                let mut header = Ipv4Header::new(
                    0,
                    64,
                    IpNumber::ICMP,
                    from.octets(),
                    frame[26..30].try_into().expect("four bytes"),
                )
                .expect("nothing is too long yet");
                // Class selector 6 (RFC 2474), which was precedence "internetwork control".
                header.dscp = IpDscp::CS6;
                let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
                ethernet
                    .ip(IpHeaders::Ipv4(header, Default::default()))
                    .icmpv4(self.v4())
                    .write(&mut error, &frame[14..14 + total.min(576 - 28)])
            }
            IpAddr::V6(from) => {
                let to = frame[22..38].try_into().expect("sixteen bytes");
                let total = 40 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
                ethernet
                    .ipv6(from.octets(), to, 64)
                    .icmpv6(self.v6())
                    .write(&mut error, &frame[14..14 + total.min(1280 - 48)])
            }
        }
        .expect("a vector takes any packet");
        error
    }
}

impl Segment {
    /// The RST that answers it (RFC 9293 section 3.10.7.1).
    ///
    /// # Panics
    /// If it has more data than a packet can.
    #[must_use]
    pub fn reset(&self) -> Vec<u8> {
        let mut tcp = TcpHeader::new(self.to.port(), self.from.port(), 0, 0);
        tcp.rst = true;
        if self.flags & ACK == 0 {
            tcp.ack = true;
            let controls = [SYN, FIN].map(|flag| u32::from(self.flags & flag != 0));
            let data = u32::try_from(self.payload.len()).expect("a packet's data");
            tcp.acknowledgment_number = Self::SEQUENCE + data + controls[0] + controls[1];
        } else {
            tcp.sequence_number = Self::ACKNOWLEDGED;
        }
        assert_eq!(self.flags & RST, 0, "a RST gets no RST");
        let back = Self {
            macs: [self.macs[1], self.macs[0]],
            ttl: 64,
            ..self.answered()
        };
        let mut frame = Vec::new();
        back.ip()
            .tcp_header(tcp)
            .write(&mut frame, &[])
            .expect("a vector takes any packet");
        frame
    }

    /// The RST that it becomes on its way: between the same ends, with its own sequence number.
    ///
    /// # Panics
    /// Never: the vector takes any packet.
    #[must_use]
    pub fn turned_into_reset(&self) -> Vec<u8> {
        let mut tcp = TcpHeader::new(self.from.port(), self.to.port(), Self::SEQUENCE, 0);
        tcp.rst = true;
        let mut frame = Vec::new();
        self.ip()
            .tcp_header(tcp)
            .write(&mut frame, &[])
            .expect("a vector takes any packet");
        frame
    }
}
