//! Shapes that a plain segment's frame can take: options, extension headers, fragments, quotations.
//!
//! Frames are built whole by etherparse, checksums and all, and then cut or widened: no checksum of TCP,
//! UDP or ICMP is computed here, so those that come out are compared with computed ones.

use std::net::IpAddr;

use etherparse::PacketBuilder;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;

/// The same frame with these bytes put in at `at`.
pub fn inserted(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame.splice(at..at, bytes.iter().copied());
    frame
}

/// Whether a frame holds IPv4.
pub fn is_v4(frame: &[u8]) -> bool {
    frame[ETHERNET] >> 4 == 4
}

/// With the sum of an IPv4 header made right again.
pub fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let end = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    frame[24..26].fill(0);
    let sum = frame[ETHERNET..end]
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
    frame[24..26].copy_from_slice(&(!folded).to_be_bytes());
    frame
}

/// The lengths in a frame's IP header made to fit it.
pub fn fitted(mut frame: Vec<u8>) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).expect("short").to_be_bytes();
    if is_v4(&frame) {
        let total = length(frame.len() - ETHERNET);
        frame[16..18].copy_from_slice(&total);
        return summed(frame);
    }
    let payload = length(frame.len() - ETHERNET - 40);
    frame[18..20].copy_from_slice(&payload);
    frame
}

/// An IPv4 frame with options, a multiple of four bytes.
pub fn optioned(frame: Vec<u8>, options: &[u8]) -> Vec<u8> {
    let mut frame = inserted(frame, 34, options);
    frame[ETHERNET] += u8::try_from(options.len() / 4).expect("few");
    fitted(frame)
}

/// An IPv6 frame with an extension header of this number behind the IPv6 header.
pub fn extended(frame: Vec<u8>, number: u8, header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    header[0] = frame[20];
    let mut frame = inserted(frame, 54, &header);
    frame[20] = number;
    fitted(frame)
}

/// The fragments of a frame without options and extension headers, cut at these offsets of what
/// follows its IP header.
pub fn fragments(frame: &[u8], cuts: &[usize], id: u16) -> Vec<Vec<u8>> {
    let header = ETHERNET + if is_v4(frame) { 20 } else { 40 };
    let data = &frame[header..];
    let starts = [&[0], cuts].concat();
    let ends = [cuts, &[data.len()]].concat();
    let mut all = Vec::new();
    for (start, end) in starts.into_iter().zip(ends) {
        let more = end < data.len();
        let offset = u16::try_from(start).expect("short");
        let mut fragment = frame[..header].to_vec();
        if is_v4(frame) {
            let place = (offset / 8) | if more { 0x2000 } else { 0 };
            fragment[18..20].copy_from_slice(&id.to_be_bytes());
            fragment[20..22].copy_from_slice(&place.to_be_bytes());
        } else {
            let [a, b] = (offset | u16::from(more)).to_be_bytes();
            let [c, d] = id.to_be_bytes();
            fragment.extend([frame[20], 0, a, b, 9, 9, c, d]);
            fragment[20] = 44;
        }
        fragment.extend(&data[start..end]);
        all.push(fitted(fragment));
    }
    all
}

/// An ICMP or ICMPv6 error.
#[derive(Debug, Clone, Copy)]
pub struct Error {
    /// Destination and source MAC.
    pub macs: [[u8; 6]; 2],
    /// Source.
    pub from: IpAddr,
    /// Destination.
    pub to: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type and code.
    pub kind: [u8; 2],
    /// The four bytes behind the checksum.
    pub rest: [u8; 4],
}

impl Error {
    /// Its frame, if it quotes so many bytes of the packet in a frame.
    pub fn about(&self, quoted: &[u8], bytes: usize) -> Vec<u8> {
        let quotation = &quoted[ETHERNET..];
        let quotation = &quotation[..bytes.min(quotation.len())];
        let ethernet = PacketBuilder::ethernet2(self.macs[1], self.macs[0]);
        let mut frame = Vec::new();
        let [kind, code] = self.kind;
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet
                .ipv4(from.octets(), to.octets(), self.ttl)
                .icmpv4_raw(kind, code, self.rest)
                .write(&mut frame, quotation),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet
                .ipv6(from.octets(), to.octets(), self.ttl)
                .icmpv6_raw(kind, code, self.rest)
                .write(&mut frame, quotation),
            (from, to) => panic!("an error from {from} to {to}"),
        }
        .expect("a vector takes any packet");
        frame
    }
}
