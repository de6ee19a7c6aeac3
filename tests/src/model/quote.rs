//! What an ICMP error quotes: the packet that it is about, cut short (RFC 792, RFC 4443 section 2.4 c).

use std::net::SocketAddr;

use super::packet::number;
use super::shape::{self, Part, Shape, has_ports};

/// A quoted TCP or UDP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quote {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// Where it lies; its end is the quotation's.
    pub(super) shape: Shape,
}

/// Reads what the error in a frame quotes; `None` if no ports can be told from it.
pub(super) fn read(frame: &[u8], error: &Shape) -> Option<Quote> {
    let l3 = error.l4 + 8;
    let limit = ends_at(frame, error);
    let mut shape = shape::at(frame, error.v6, l3, limit)?;
    shape.end = shape.end.min(limit);
    let usable = has_ports(shape.protocol) && shape.refusal.is_none();
    // Both have their ports in the first eight bytes, which every error quotes (RFC 792).
    if !usable || shape.part == Part::Later || shape.end < shape.l4 + 8 {
        return None;
    }
    let [from, to] = shape::ends(&frame[l3..], error.v6);
    let port = |at| u16::try_from(number(frame, at)).expect("16 bits");
    Some(Quote {
        from: SocketAddr::new(from, port(shape.l4)),
        to: SocketAddr::new(to, port(shape.l4 + 2)),
        shape,
    })
}

/// Where the quotation ends: with the error, or where extensions begin (RFC 4884 sections 4.1 to 4.5).
fn ends_at(frame: &[u8], error: &Shape) -> usize {
    let icmp = &frame[error.l4..];
    let length = match (error.v6, icmp[0]) {
        (false, _) => usize::from(icmp[5]) * 4,
        (true, 1 | 3) => usize::from(icmp[4]) * 8,
        (true, _) => 0,
    };
    if length == 0 {
        return error.end;
    }
    error.end.min(error.l4 + 8 + length)
}
