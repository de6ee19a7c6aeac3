use super::quote::{Quote, Side};
use super::rewrite::Ends;
use super::{Extent, Part};
use crate::abi::{FragmentKey, FragmentPath, Hop, Path};
use crate::headers::{ETHERNET, ICMP_HEADER, Segment};
use crate::wire::{WireAddress, WirePort};

/// What is known of one unusual packet, on its way from function to function. Each CPU has one, for it
/// would not fit on the stack.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The packet's source; of an ICMP error, what it shall be when it leaves.
    pub source: WireAddress,
    /// The packet's destination, likewise.
    pub destination: WireAddress,
    /// Whom the packet is from, or the one that it quotes; then whom it shall be from.
    pub from: WireAddress,
    /// To whom that is; then to whom it shall be.
    pub to: WireAddress,
    /// The client of a flow that was found by its backend.
    pub client: WireAddress,
    /// The flow's key.
    pub flow: u64,
    /// The flow's value.
    pub value: u64,
    /// Port of `from`.
    pub from_port: WirePort,
    /// Port of `to`.
    pub to_port: WirePort,
    /// Port of `client`.
    pub client_port: WirePort,
    /// The listener's id.
    pub listener: u16,
    /// Where what follows the IP headers lies.
    pub l4: u32,
    /// Where the packet ends.
    pub end: u32,
    /// The same in the packet that it quotes.
    pub quoted_l4: u32,
    /// Where the quotation ends.
    pub quoted_end: u32,
    /// Identification of a fragment.
    pub id: u32,
    /// The flow's bits of an outer source address.
    pub spread: u32,
    /// The backend's id.
    pub backend: u16,
    /// Protocol of what follows the IP headers.
    pub protocol: u8,
    /// The same in the packet that it quotes.
    pub quoted_protocol: u8,
    /// TCP flags.
    pub flags: u8,
    /// 1: carries data.
    pub payload: u8,
    /// Number of a reason not to carry it, or [`Sight::CARRIED`].
    pub refusal: u8,
    /// [`Sight::NOTHING`] and others: what of it is rewritten.
    pub change: u8,
    /// 1: goes to the client, else to the backend.
    pub to_client: u8,
    /// Number of the reason that it is sent for.
    pub reason: u8,
    /// 1: a first fragment.
    pub first: u8,
    /// A [`Part`] as its number.
    pub part: u8,
    /// 1: to a VIP or from a backend.
    pub ours: u8,
    /// Always 0.
    pub reserved: [u8; 2],
    /// 1: sent to a VIP.
    pub vip: u8,
    /// The endpoint that it comes from, or that it was meant for: its id.
    pub endpoint: u32,
    /// That endpoint's kind.
    pub kind: u32,
    /// The tag that it came with, as [`Path::vlan`].
    pub tag: u32,
    /// The next hop.
    pub hop: Hop,
    /// What that asks of packets.
    pub path_on: Path,
    /// Names its fragments.
    pub key: FragmentKey,
    /// Where its first fragment goes.
    pub path: FragmentPath,
}

const _: () = assert!(core::mem::size_of::<Sight>() == 272);

impl Sight {
    /// Nothing but the hop count is changed.
    pub const NOTHING: u8 = 0;
    /// Both addresses are.
    pub const HOSTS: u8 = 1;
    /// Addresses and ports are.
    pub const ENDS: u8 = 2;
    /// Those of an ICMP error and of the packet that it quotes are.
    pub const ERROR: u8 = 3;
    /// No reason not to carry it.
    pub const CARRIED: u8 = 0xff;

    /// Takes down where the packet's parts lie.
    #[inline(always)]
    pub fn take_extent(&mut self, extent: &Extent) {
        self.l4 = extent.l4 as u32;
        self.end = extent.end as u32;
        self.id = extent.id;
        self.protocol = extent.protocol;
        self.part = extent.part as u8;
        self.refusal = match extent.refusal {
            Some(reason) => reason as u8,
            None => Self::CARRIED,
        };
    }

    /// Takes down a packet's ports.
    #[inline(always)]
    pub fn take_segment(&mut self, segment: &Segment, payload: bool) {
        self.set_from((segment.source, segment.source_port));
        self.set_to((segment.destination, segment.destination_port));
        self.flags = segment.flags;
        self.payload = payload as u8;
    }

    /// Takes down what an ICMP error quotes.
    #[inline(always)]
    pub fn take_quote(&mut self, quote: &Quote) {
        self.set_from(quote.source);
        self.set_to(quote.destination);
        self.quoted_l4 = quote.extent.l4 as u32;
        self.quoted_end = quote.extent.end as u32;
        self.quoted_protocol = quote.extent.protocol;
    }

    /// Changes whom it is from.
    #[inline(always)]
    pub const fn set_from(&mut self, side: Side) {
        (self.from, self.from_port) = (copied(side.0), side.1);
    }

    /// Changes to whom it is.
    #[inline(always)]
    pub const fn set_to(&mut self, side: Side) {
        (self.to, self.to_port) = (copied(side.0), side.1);
    }

    /// Takes down the client.
    #[inline(always)]
    pub const fn set_client(&mut self, side: Side) {
        (self.client, self.client_port) = (copied(side.0), side.1);
    }

    /// The client.
    #[inline(always)]
    pub const fn client(&self) -> Side {
        (copied(self.client), self.client_port)
    }

    /// Where the packet's parts lie: enough of it to rewrite them.
    #[inline(always)]
    pub const fn extent(&self) -> Extent {
        self.lies(ETHERNET, self.l4, self.end, self.protocol)
    }

    /// What the packet quotes: enough of it to rewrite it.
    #[inline(always)]
    pub const fn quote(&self) -> Quote {
        let icmp = self.l4 as usize;
        Quote {
            icmp,
            extent: self.lies(
                icmp + ICMP_HEADER,
                self.quoted_l4,
                self.quoted_end,
                self.quoted_protocol,
            ),
            source: self.from(),
            destination: self.to(),
        }
    }

    #[inline(always)]
    const fn lies(&self, l3: usize, l4: u32, end: u32, protocol: u8) -> Extent {
        Extent {
            l3,
            l4: l4 as usize,
            end: end as usize,
            protocol,
            part: if self.part == Part::First as u8 {
                Part::First
            } else if self.part == Part::Later as u8 {
                Part::Later
            } else {
                Part::Whole
            },
            offset: 0,
            id: self.id,
            refusal: None,
        }
    }

    /// The packet as flows see it.
    #[inline(always)]
    pub const fn segment(&self) -> Segment {
        Segment {
            source: self.from,
            destination: self.to,
            source_port: self.from_port,
            destination_port: self.to_port,
            protocol: self.protocol,
            flags: self.flags,
        }
    }

    /// Whom it is from.
    #[inline(always)]
    pub const fn from(&self) -> Side {
        (self.from, self.from_port)
    }

    /// To whom it is.
    #[inline(always)]
    pub const fn to(&self) -> Side {
        (self.to, self.to_port)
    }

    /// The ends that the packet, or the one that it quotes, shall have.
    #[inline(always)]
    pub const fn ends(&self) -> Ends {
        Ends {
            source: self.from(),
            destination: self.to(),
        }
    }
}

/// The same address by two words: as it is, a copy within memory becomes a call of a byte-wise `memmove`.
#[must_use]
#[inline(always)]
pub const fn copied(address: WireAddress) -> WireAddress {
    WireAddress::from_halves(address.halves())
}
