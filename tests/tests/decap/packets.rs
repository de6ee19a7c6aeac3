//! Frames in, frames out, and what was counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use lab::rig::{DROP, PASS, Runner, Segment, isolate, tcp, udp};
use lab::{OUTER_SOURCE_V4, OUTER_SOURCE_V6};
use splitter_ebpf::decap::Reason;
use splitter_user::decap::{Program, Rules, Unchecked, parse_source};

const HOST_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 2, 11);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x11);
const ETHERNET: usize = 14;

/// The loaded program.
struct Decapsulator {
    program: Program,
    runner: Runner,
}

impl Decapsulator {
    fn new() -> Result<Self> {
        isolate()?;
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let rules = Rules::new(Unchecked {
            // The first of each family is another, so that lists are searched.
            vips: [
                "198.18.1.7",
                "198.18.1.100",
                "2001:db8:1::7",
                "2001:db8:1::100",
            ]
            .map(address)
            .to_vec(),
            sources: ["198.18.77.0/24", "198.19.0.0/16", "2001:db8:ffff::/64"]
                .map(|text| parse_source(text).unwrap())
                .to_vec(),
            locals: vec!["198.18.2.9".parse()?, HOST_V4.into(), HOST_V6.into()],
        })?;
        let mut program = Program::load(&rules, None)?;
        let runner = Runner::of(program.xdp()?)?;
        Ok(Self { program, runner })
    }

    /// Runs a frame through it, and checks all that comes of it.
    #[track_caller]
    fn check(&self, what: &str, frame: &[u8], reason: Reason, out: &[u8]) {
        let before = self.program.counters().unwrap();
        let outcome = self.runner.run(frame).unwrap();
        let after = self.program.counters().unwrap();
        let counted: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| after.frames[**reason as usize] > before.frames[**reason as usize])
            .collect();
        assert_eq!(counted, [&reason], "{what}: counted");
        let action = if reason.drops() { DROP } else { PASS };
        assert_eq!(outcome.action, action, "{what}: action");
        assert_eq!(outcome.packet, out, "{what}: frame out");
    }

    /// The frame is left as it is.
    #[track_caller]
    fn leaves(&self, what: &str, frame: &[u8], reason: Reason) {
        self.check(what, frame, reason, frame);
    }
}

/// An outer header's fields.
#[derive(Clone, Copy)]
struct Outer {
    from: IpAddr,
    to: IpAddr,
    class: u8,
    protocol: u8,
}

/// What the balancer sends.
const V4: Outer = Outer {
    from: IpAddr::V4(OUTER_SOURCE_V4),
    to: IpAddr::V4(HOST_V4),
    class: 0,
    protocol: 4,
};
const V6: Outer = Outer {
    from: IpAddr::V6(OUTER_SOURCE_V6),
    to: IpAddr::V6(HOST_V6),
    class: 0,
    protocol: 41,
};

impl Outer {
    const fn class(self, class: u8) -> Self {
        Self { class, ..self }
    }

    fn from(self, from: &str) -> Self {
        Self {
            from: from.parse().unwrap(),
            ..self
        }
    }

    fn to(self, to: &str) -> Self {
        Self {
            to: to.parse().unwrap(),
            ..self
        }
    }

    const fn protocol(self, protocol: u8) -> Self {
        Self { protocol, ..self }
    }

    /// The frame `inner` with this header in it, and `between` behind that.
    fn around(self, between: &[u8], inner: &[u8]) -> Vec<u8> {
        let (ethernet, packet) = inner.split_at(ETHERNET);
        let payload = u16::try_from(between.len() + packet.len()).unwrap();
        let mut frame = ethernet[..12].to_vec();
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend([0x08, 0x00, 0x45, self.class]);
                frame.extend((payload + 20).to_be_bytes());
                frame.extend([0x12, 0x34, 0x40, 0, 61, self.protocol, 0, 0]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                sign(&mut frame[ETHERNET..ETHERNET + 20]);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend([
                    0x86,
                    0xdd,
                    0x60 | self.class >> 4,
                    self.class << 4 | 0x0a,
                    0xbc,
                    0xde,
                ]);
                frame.extend(payload.to_be_bytes());
                frame.extend([self.protocol, 61]);
                frame.extend(from.octets());
                frame.extend(to.octets());
            }
            (from, to) => panic!("a tunnel from {from} to {to}"),
        }
        frame.extend(between);
        frame.extend(packet);
        frame
    }

    fn of(self, inner: &[u8]) -> Vec<u8> {
        self.around(&[], inner)
    }
}

/// Writes the checksum of an IPv4 header (RFC 791 section 3.1), the plain way.
fn sign(header: &mut [u8]) {
    header[10..12].fill(0);
    let mut sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn request_v4() -> Segment {
    tcp("198.18.0.9:40000", "198.18.1.100:80").with(b"GET / HTTP/1.1\r\n\r\n")
}

fn request_v6() -> Segment {
    udp("[2001:db8::9]:40000", "[2001:db8:1::100]:53")
}

/// Both families' frames, each with the outer header that it goes with.
fn both() -> [(&'static str, Outer, Vec<u8>); 2] {
    [
        ("IPv4", V4, request_v4().frame()),
        ("IPv6", V6, request_v6().frame()),
    ]
}

fn decapsulated(outer: Outer) -> Reason {
    if outer.from.is_ipv4() {
        Reason::DecapsulatedV4
    } else {
        Reason::DecapsulatedV6
    }
}

/// A frame whose inner packet has this traffic class.
fn with_class(frame: &[u8], class: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame[12] == 0x08 {
        frame[ETHERNET + 1] = class;
        sign(&mut frame[ETHERNET..ETHERNET + 20]);
    } else {
        frame[ETHERNET] = 0x60 | class >> 4;
        frame[ETHERNET + 1] = class << 4;
    }
    frame
}

#[test]
fn the_inner_packet_comes_out_byte_for_byte_behind_the_frames_own_ethernet_header() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    for (what, outer, inner) in both() {
        decapsulator.check(what, &outer.of(&inner), decapsulated(outer), &inner);
    }
    // As Linux's ip6_tunnel sends it (RFC 2473 section 4.1.1).
    let inner = request_v6().frame();
    let limited = V6.protocol(60).around(&[41, 0, 4, 1, 4, 1, 1, 0], &inner);
    decapsulator.check("behind a limit", &limited, Reason::DecapsulatedV6, &inner);
    Ok(())
}

#[test]
fn fragments_and_anything_else_inside_are_taken_out_as_they_are() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    let mut fragment = request_v4().frame();
    fragment[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&[0x20, 0x07]);
    fragment[ETHERNET + 9] = 89;
    fragment[ETHERNET + 8] = 1;
    sign(&mut fragment[ETHERNET..ETHERNET + 20]);
    decapsulator.check(
        "a fragment",
        &V4.of(&fragment),
        Reason::DecapsulatedV4,
        &fragment,
    );
    let mut fragment = request_v6().frame();
    fragment[ETHERNET + 6] = 44;
    decapsulator.check(
        "an IPv6 fragment",
        &V6.of(&fragment),
        Reason::DecapsulatedV6,
        &fragment,
    );
    Ok(())
}

#[test]
fn frames_in_several_buffers_come_out_whole() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    let payload: Vec<u8> = (0..8_800_u16)
        .map(|at| at.to_le_bytes()[0] ^ 0x5a)
        .collect();
    for (what, outer, inner) in [
        ("IPv4", V4, request_v4().with(&payload).frame()),
        ("IPv6", V6, request_v6().with(&payload).frame()),
    ] {
        let frame = outer.of(&inner);
        decapsulator.check(what, &frame, decapsulated(outer), &inner);
        let cut = &frame[..frame.len() - 1];
        decapsulator.leaves(&format!("{what}, one byte short"), cut, Reason::Malformed);
    }
    Ok(())
}

#[test]
fn bytes_behind_the_packet_stay_behind_it() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    for (what, outer, mut inner) in both() {
        let mut frame = outer.of(&inner);
        frame.extend([0xaa; 6]);
        inner.extend([0xaa; 6]);
        decapsulator.check(what, &frame, decapsulated(outer), &inner);
    }
    Ok(())
}

#[test]
fn congestion_marks_come_out_as_rfc_6040_says() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    // Outer, inner, and what comes out: Not-ECT 00, ECT(1) 01, ECT(0) 10, CE 11. Some code point beside them.
    let (low, high) = (0xb8, 0x28);
    for (outer_mark, inner_mark, out_mark) in [
        (0, 2, 2),
        (3, 2, 3),
        (3, 1, 3),
        (3, 3, 3),
        (1, 2, 1),
        (2, 1, 1),
        (2, 0, 0),
        (0, 3, 3),
    ] {
        for (family, outer, inner) in both() {
            let what = format!("{family}: {outer_mark:02b} around {inner_mark:02b}");
            let frame = outer
                .class(high | outer_mark)
                .of(&with_class(&inner, low | inner_mark));
            let out = with_class(&inner, low | out_mark);
            decapsulator.check(&what, &frame, decapsulated(outer), &out);
        }
    }
    for (family, outer, inner) in both() {
        let frame = outer.class(3).of(&inner);
        let what = format!("{family}: congestion that the packet cannot tell of");
        decapsulator.leaves(&what, &frame, Reason::CongestionUnmarkable);
    }
    Ok(())
}

#[test]
fn packets_from_elsewhere_to_elsewhere_and_for_others_are_left_to_the_stack() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    let (v4, v6) = (request_v4().frame(), request_v6().frame());
    let for_other_v4 = tcp("198.18.0.9:40000", "198.18.1.101:80").frame();
    let for_other_v6 = tcp("[2001:db8::9]:40000", "[2001:db8:1::101]:80").frame();
    let for_host = tcp("198.18.0.9:40000", "198.18.2.11:22").frame();
    let nested = V4.of(&v4);
    let rows = [
        (
            "an outer source beside the prefix",
            V4.from("198.20.0.0").of(&v4),
            Reason::UnknownSource,
        ),
        (
            "an outer source before the prefix",
            V4.from("198.18.255.255").of(&v4),
            Reason::UnknownSource,
        ),
        (
            "a client's own tunnel",
            V6.from("2001:db8:fffe::7").of(&v6),
            Reason::UnknownSource,
        ),
        (
            "an outer source that begins like it",
            V6.from("2001:db8:ffff:1::7").of(&v6),
            Reason::UnknownSource,
        ),
        (
            "another host",
            V4.to("198.18.2.12").of(&v4),
            Reason::OtherHost,
        ),
        (
            "the VIP as the tunnel's end",
            V4.to("198.18.1.100").of(&v4),
            Reason::OtherHost,
        ),
        (
            "another host on IPv6",
            V6.to("2001:db8:2::12").of(&v6),
            Reason::OtherHost,
        ),
        (
            "no VIP inside",
            V4.of(&for_other_v4),
            Reason::OtherDestination,
        ),
        (
            "no VIP inside, IPv6",
            V6.of(&for_other_v6),
            Reason::OtherDestination,
        ),
        (
            "the host itself inside",
            V4.of(&for_host),
            Reason::OtherDestination,
        ),
        (
            "a tunnel in the tunnel",
            V4.of(&nested),
            Reason::OtherDestination,
        ),
        ("no tunnel, to the VIP", v4.clone(), Reason::NotTunnelled),
        ("no tunnel, IPv6", v6.clone(), Reason::NotTunnelled),
        ("GRE", V4.protocol(47).of(&v4), Reason::NotTunnelled),
        (
            "IPv6 in IPv4",
            V4.protocol(41).of(&v6),
            Reason::NotTunnelled,
        ),
        ("IPv4 in IPv6", V6.protocol(4).of(&v4), Reason::NotTunnelled),
        (
            "another option before the tunnel",
            V6.protocol(60).around(&[41, 0, 5, 2, 0, 0, 1, 0], &v6),
            Reason::OuterOptions,
        ),
        (
            "a hop-by-hop header before the tunnel",
            V6.protocol(0).around(&[41, 0, 4, 1, 4, 1, 1, 0], &v6),
            Reason::NotTunnelled,
        ),
        (
            "a fragment of the tunnel",
            V6.protocol(44).around(&[41, 0, 0, 1, 0, 0, 0, 7], &v6),
            Reason::OuterFragment,
        ),
    ];
    for (what, frame, reason) in rows {
        decapsulator.leaves(what, &frame, reason);
    }

    // First fragment, later fragment, last fragment; don't-fragment alone is none.
    for flags in [[0x20, 0x00], [0x20, 0x05], [0x00, 0x05]] {
        let mut frame = V4.of(&v4);
        frame[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&flags);
        sign(&mut frame[ETHERNET..ETHERNET + 20]);
        decapsulator.leaves("a fragment of the tunnel", &frame, Reason::OuterFragment);
    }
    let mut options = V4.of(&v4);
    options[ETHERNET] = 0x46;
    decapsulator.leaves("outer options", &options, Reason::OuterOptions);
    let mut tagged = V4.of(&v4);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
    decapsulator.leaves("a VLAN tag", &tagged, Reason::NotTunnelled);
    Ok(())
}

/// One change to a frame that is otherwise in order.
type Damage = (&'static str, fn(&mut Vec<u8>));

#[test]
fn broken_packets_in_a_tunnel_of_ours_are_dropped() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    let inner = ETHERNET + 20;
    assert_eq!(inner, 34);
    let v4: [Damage; 9] = [
        ("the outer checksum is wrong", |frame| {
            frame[ETHERNET + 10] ^= 1
        }),
        ("the outer header has no length", |frame| {
            frame[ETHERNET] = 0x44;
            sign(&mut frame[ETHERNET..ETHERNET + 20]);
        }),
        ("the outer length ends in the inner packet", |frame| {
            frame[ETHERNET + 3] -= 1;
            sign(&mut frame[ETHERNET..ETHERNET + 20]);
        }),
        ("the outer length is beyond the frame", |frame| {
            frame[ETHERNET + 3] += 1;
            sign(&mut frame[ETHERNET..ETHERNET + 20]);
        }),
        ("the inner length is beyond the outer one", |frame| {
            frame[37] += 1
        }),
        ("the inner length is less than its header", |frame| {
            frame[36..38].copy_from_slice(&[0, 19]);
        }),
        ("the inner header has no length", |frame| frame[34] = 0x44),
        ("the inner header is longer than the packet", |frame| {
            frame[34] = 0x4f;
            frame[36..38].copy_from_slice(&[0, 58]);
        }),
        ("the inner version is another", |frame| frame[34] = 0x65),
    ];
    let v6: [Damage; 4] = [
        ("the outer length ends in the inner packet", |frame| {
            frame[ETHERNET + 5] -= 1
        }),
        ("the outer length is beyond the frame", |frame| {
            frame[ETHERNET + 5] += 1
        }),
        ("the inner length is beyond the outer one", |frame| {
            frame[54 + 5] += 1
        }),
        ("the inner version is another", |frame| frame[54] = 0x45),
    ];
    for ((family, outer, packet), damages) in both().iter().zip([&v4[..], &v6[..]]) {
        for (what, damage) in damages {
            let mut frame = outer.of(packet);
            damage(&mut frame);
            decapsulator.leaves(&format!("{family}: {what}"), &frame, Reason::Malformed);
        }
    }
    Ok(())
}

#[test]
fn a_frame_cut_anywhere_is_never_taken_out() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    for (family, outer, inner) in both() {
        let frame = outer.of(&inner);
        for length in ETHERNET..frame.len() {
            let cut = &frame[..length];
            let outcome = decapsulator.runner.run(cut)?;
            assert_eq!(outcome.packet, cut, "{family}: {length} bytes");
            let header = ETHERNET + if outer.from.is_ipv4() { 20 } else { 40 };
            let action = if length < header { PASS } else { DROP };
            assert_eq!(outcome.action, action, "{family}: {length} bytes");
        }
    }
    Ok(())
}

#[test]
fn the_verifier_walks_few_instructions() -> Result<()> {
    let mut decapsulator = Decapsulator::new()?;
    let figures = lab::verifier::Program::of(decapsulator.program.xdp()?)?;
    assert!(figures.verified < 50_000, "{figures:?}");
    Ok(())
}

#[test]
fn the_object_has_none_of_the_splitters_maps() -> Result<()> {
    let decapsulator = Decapsulator::new()?;
    let info = decapsulator.program.maps();
    assert_eq!(info, ["DECAP_CONFIG", "DECAP_COUNTERS"]);
    Ok(())
}
