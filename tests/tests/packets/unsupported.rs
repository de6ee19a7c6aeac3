use anyhow::Result;
use lab::rig::{Rig, Segment, tcp, udp};
use splitter_ebpf::verdict::Reason;

use super::shapes::inserted;
use super::{CLIENT, DNS, ELSEWHERE, Row, WEB, check, untouched, web};

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
