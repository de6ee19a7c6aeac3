use anyhow::Result;
use lab::rig::{DROP, Echo, PASS, REDIRECT, Rig, TX, tcp, udp};
use splitter_ebpf::flow::SYN;
use splitter_ebpf::verdict::{Action, Reason};

use super::{BACKEND, CLIENT, DNS, WEB, check, untouched, web};

/// Every beginning of `packet` that the kernel takes, with the reason that is due for its length.
fn truncated(rig: &Rig, what: &str, packet: &[u8], due: impl Fn(usize) -> Reason) -> Result<()> {
    for length in 14..packet.len() {
        let what = format!("{what}, {length} of {} bytes", packet.len());
        check(
            rig,
            &[untouched(&what, packet[..length].to_vec(), due(length))],
        )?;
    }
    Ok(())
}

#[test]
fn packets_to_a_listener_that_end_too_early_are_dropped_at_every_byte() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (family, header) in [34, 54].into_iter().enumerate() {
        let due = |length| {
            if length < header {
                Reason::NotIp
            } else {
                Reason::Malformed
            }
        };
        for data in [&b""[..], b"some data"] {
            let (tcp, udp) = (
                tcp(CLIENT[family], WEB[family]),
                udp(CLIENT[family], DNS[family]),
            );
            truncated(&rig, "TCP", &tcp.clone().with(data).frame(), due)?;
            truncated(&rig, "SYN", &tcp.flags(SYN).with(data).frame(), due)?;
            truncated(&rig, "UDP", &udp.with(data).frame(), due)?;
        }
    }
    assert!(rig.flows().is_empty(), "nothing of this is worth a pin");
    Ok(())
}

#[test]
fn packets_of_pinned_flows_that_end_too_early_are_dropped_at_every_byte() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (family, header) in [34, 54].into_iter().enumerate() {
        for request in [
            tcp(CLIENT[family], WEB[family]),
            udp(CLIENT[family], DNS[family]),
        ] {
            let request = request.with(b"some data");
            rig.run(&request.frame())?;
            let before = rig.flows();
            let due = |length| {
                if length < header {
                    Reason::NotIp
                } else {
                    Reason::Malformed
                }
            };
            truncated(&rig, "request", &request.frame(), due)?;
            let reply = request.forwarded(BACKEND[family]).answered().frame();
            truncated(&rig, "reply", &reply, due)?;
            assert_eq!(
                rig.flows(),
                before,
                "what is broken says nothing about a flow"
            );
        }
    }
    Ok(())
}

#[test]
fn echo_requests_that_end_too_early_are_not_answered() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let due = |header| {
        move |length| {
            if length < header {
                Reason::NotIp
            } else {
                Reason::Malformed
            }
        }
    };
    truncated(
        &rig,
        "echo",
        &Echo::request("198.18.0.9", "198.18.1.100").frame(),
        due(34),
    )?;
    truncated(
        &rig,
        "echo",
        &Echo::request("2001:db8::9", "2001:db8:1::100").frame(),
        due(54),
    )
}

#[test]
fn tagged_packets_that_end_too_early_are_never_forwarded() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for (family, header) in [20, 40].into_iter().enumerate() {
        let tagged = |tags| {
            let mut packet = tcp(CLIENT[family], WEB[family]).frame();
            packet.splice(12..12, [0x81, 0, 0, 42].repeat(tags));
            packet
        };
        let end = 14 + 4 * 2 + header;
        let due = |length| {
            if length < end {
                Reason::NotIp
            } else {
                Reason::VlanTag
            }
        };
        truncated(&rig, "tagged twice", &tagged(2), due)?;
        let packet = tagged(1);
        let addresses = 14 + 4 + header;
        // The kernel hands no program less than an Ethernet header.
        for length in 14..packet.len() {
            let (_, counted) = rig.run_counted(&packet[..length])?;
            let due = if length < addresses {
                Reason::NotIp
            } else {
                Reason::Malformed
            };
            assert_eq!(counted, [due], "tagged once, {length} bytes");
        }
    }
    Ok(())
}

#[test]
fn echo_requests_with_contradicting_lengths_are_not_answered() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let echoes = [
        (
            Echo::request("198.18.0.9", "198.18.1.100").frame(),
            16,
            28,
            43,
        ),
        (
            Echo::request("2001:db8::9", "2001:db8:1::100").frame(),
            18,
            8,
            23,
        ),
    ];
    for (frame, at, least, whole) in echoes {
        for length in (0..least).chain([whole + 1, u16::MAX]) {
            let mut frame = frame.clone();
            frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
            let what = format!("echo of length {length}");
            check(&rig, &[untouched(&what, frame, Reason::Malformed)])?;
        }
    }
    Ok(())
}

/// A request of each family and protocol with a byte or two changed.
fn changed(family: usize, protocol: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = match protocol {
        "TCP" => tcp(CLIENT[family], WEB[family]).with(b"some data").frame(),
        _ => udp(CLIENT[family], DNS[family]).with(b"some data").frame(),
    };
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn lengths_that_contradict_each_other_or_the_frame_are_dropped() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    for ihl in 0..5 {
        let frame = changed(0, "TCP", 14, &[0x40 + ihl]);
        check(
            &rig,
            &[untouched(
                "IPv4 header shorter than itself",
                frame,
                Reason::Malformed,
            )],
        )?;
    }
    for (protocol, header) in [("TCP", 20_u16), ("UDP", 8)] {
        let whole = header + 9;
        for total in (0..20 + header).chain([20 + whole + 1, 1500, u16::MAX]) {
            let frame = changed(0, protocol, 16, &total.to_be_bytes());
            let what = format!("{protocol}, total length {total}");
            check(&rig, &[untouched(&what, frame, Reason::Malformed)])?;
        }
        for length in (0..header).chain([whole + 1, 1500, u16::MAX]) {
            let frame = changed(1, protocol, 18, &length.to_be_bytes());
            let what = format!("{protocol}, payload length {length}");
            check(&rig, &[untouched(&what, frame, Reason::Malformed)])?;
        }
    }
    for (family, l4) in [34, 54].into_iter().enumerate() {
        // The segment has room for 7 words; a header has at least 5.
        for words in (0..5).chain(8..16) {
            let frame = changed(family, "TCP", l4 + 12, &[words << 4]);
            let what = format!("TCP data offset {words}");
            check(&rig, &[untouched(&what, frame, Reason::Malformed)])?;
        }
        for length in (0..8_u16).chain([18, 1500, u16::MAX]) {
            let frame = changed(family, "UDP", l4 + 4, &length.to_be_bytes());
            let what = format!("UDP length {length}");
            check(&rig, &[untouched(&what, frame, Reason::Malformed)])?;
        }
    }
    assert!(rig.flows().is_empty());
    Ok(())
}

#[test]
fn no_garbage_crashes_and_each_packet_meets_one_verdict() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..lab::soak(20_000, 2_000_000) {
        let family = usize::from(random() & 1 == 1);
        let mut frame = match random() % 3 {
            0 => tcp(CLIENT[family], WEB[family]).with(b"some data").frame(),
            1 => udp(BACKEND[family], CLIENT[family]).frame(),
            _ => udp(CLIENT[family], DNS[family]).frame(),
        };
        for _ in 0..=random() % 4 {
            let at = 12 + usize::try_from(random())? % (frame.len() - 12);
            frame[at] = random().to_le_bytes()[0];
        }
        frame.truncate(14 + usize::try_from(random())? % (2 * frame.len()));
        let (outcome, counted) = rig.run_counted(&frame)?;
        let [reason] = counted[..] else {
            panic!("{counted:?} for {frame:02x?}")
        };
        match (reason.action(), outcome.action) {
            (Action::Forward, TX | REDIRECT) => assert_ne!(outcome.packet, frame),
            (Action::Answer, TX) => assert_eq!(outcome.packet[..6], frame[6..12]),
            (Action::Answer, DROP) => {}
            (Action::Pass, PASS) | (Action::Drop, DROP) => assert_eq!(outcome.packet, frame),
            (_, action) => panic!("action {action} for {reason:?}, {frame:02x?}"),
        }
    }
    Ok(())
}
