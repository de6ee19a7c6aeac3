use anyhow::Result;
use lab::rig::{Rig, Segment, tcp, udp};
use splitter_ebpf::verdict::Reason;

use super::{CLIENT, DNS, ELSEWHERE, Row, WEB, check, untouched, web};

/// The same frame with these bytes put in at `at`.
fn inserted(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame.splice(at..at, bytes.iter().copied());
    frame
}

/// With the sum of an IPv4 header made right again.
fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let end = 14 + usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let sum = frame[14..end]
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
    frame[24..26].copy_from_slice(&(!folded).to_be_bytes());
    frame
}

/// One row for what is sent to a VIP, one for the same elsewhere, which is nobody's.
fn both(
    what: &str,
    family: usize,
    reason: Reason,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> [Row; 2] {
    [
        untouched(
            what,
            change(tcp(CLIENT[family], WEB[family]).frame()),
            reason,
        ),
        untouched(
            what,
            change(tcp(CLIENT[family], ELSEWHERE[family]).frame()),
            Reason::Foreign,
        ),
    ]
}

#[test]
fn stacked_tags_on_packets_to_a_vip_are_dropped_by_name() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        let provider = [0x88, 0xa8, 0, 42];
        check(
            &rig,
            &both("a provider's tag", family, Reason::VlanTag, |frame| {
                inserted(frame, 12, &provider)
            }),
        )?;
        let two = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 42];
        check(
            &rig,
            &both("two tags", family, Reason::VlanTag, |frame| {
                inserted(frame, 12, &two)
            }),
        )?;
        let three = inserted(
            tcp(CLIENT[family], WEB[family]).frame(),
            12,
            &[two, two].concat(),
        );
        check(&rig, &[untouched("four tags", three, Reason::NotIp)])?;
    }
    let mut arp = inserted(tcp(CLIENT[0], WEB[0]).frame(), 12, &[0x81, 0, 0, 42]);
    arp[16..18].copy_from_slice(&[8, 6]);
    check(&rig, &[untouched("a tagged ARP", arp, Reason::NotIp)])
}

#[test]
fn ipv4_options_are_dropped_by_name() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for words in 1..=10_u8 {
        // No-operations, and the end of the list (RFC 791 section 3.1).
        let mut options = vec![1; usize::from(words) * 4];
        *options.last_mut().unwrap() = 0;
        let change = |frame: Vec<u8>| {
            let mut frame = inserted(frame, 34, &options);
            frame[14] = 0x45 + words;
            frame[17] += words * 4;
            summed(frame)
        };
        check(&rig, &both("options", 0, Reason::Ipv4Options, change))?;
    }
    Ok(())
}

#[test]
fn fragments_are_dropped_by_name_first_and_later() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (what, bytes) in [
        ("first", [0x20, 0]),
        ("middle", [0x20, 5]),
        ("last", [0, 9]),
    ] {
        let change = |mut frame: Vec<u8>| {
            frame[20..22].copy_from_slice(&bytes);
            summed(frame)
        };
        check(&rig, &both(what, 0, Reason::Fragment, change))?;
    }
    let whole = |mut frame: Vec<u8>| {
        // Don't fragment is no fragment.
        frame[20] = 0x40;
        summed(frame)
    };
    let (_, counted) = rig.run_counted(&whole(tcp(CLIENT[0], WEB[0]).frame()))?;
    assert_eq!(counted, [Reason::NewFlow]);
    for (what, offset) in [
        ("first", [0, 1]),
        ("last", [0, 8]),
        ("atomic (RFC 6946)", [0, 0]),
    ] {
        let header = [6, 0, offset[0], offset[1], 1, 2, 3, 4];
        check(
            &rig,
            &both(what, 1, Reason::Fragment, |frame| {
                extended(frame, 44, &header)
            }),
        )?;
    }
    Ok(())
}

/// With an extension header behind the IPv6 header.
fn extended(frame: Vec<u8>, number: u8, header: &[u8]) -> Vec<u8> {
    let mut frame = inserted(frame, 54, header);
    frame[20] = number;
    frame[19] += u8::try_from(header.len()).expect("short");
    frame
}

#[test]
fn ipv6_extension_headers_are_dropped_by_name() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for number in [0, 43, 51, 60, 135, 139, 140] {
        let header = [6, 0, 1, 4, 0, 0, 0, 0];
        check(
            &rig,
            &both("extension", 1, Reason::Ipv6Extension, |frame| {
                extended(frame, number, &header)
            }),
        )?;
    }
    Ok(())
}

#[test]
fn protocols_without_listeners_are_nobodys() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let all: Vec<u8> = (0..=255).collect();
    let known = [
        &[1, 6, 17][..],
        &[0, 6, 17, 43, 44, 51, 58, 60, 135, 139, 140],
    ];
    for (family, known) in known.into_iter().enumerate() {
        for protocol in all.iter().filter(|number| !known.contains(number)) {
            let mut frame = udp(CLIENT[family], DNS[family]).frame();
            frame[[23, 20][family]] = *protocol;
            let what = format!("protocol {protocol}");
            check(&rig, &[untouched(&what, frame, Reason::Foreign)])?;
        }
    }
    Ok(())
}

#[test]
fn another_version_than_the_ethertypes_is_not_ip() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for family in 0..2 {
        let wrong = |segment: Segment, first: u8| {
            let mut frame = segment.frame();
            frame[14] = first;
            untouched("version", frame, Reason::NotIp)
        };
        for version in (0..16).filter(|version| *version != [4, 6][family]) {
            check(
                &rig,
                &[wrong(tcp(CLIENT[family], WEB[family]), (version << 4) | 5)],
            )?;
        }
    }
    Ok(())
}
