use anyhow::Result;
use lab::rig::{Plan, Rig, tcp, udp};
use splitter_ebpf::abi::{NoBackend, ServiceWord};
use splitter_ebpf::flow::{ACK, RST};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::super::{CLIENT, DNS, WEB, check, untouched, web};

#[test]
fn a_rst_gets_neither_a_rst_nor_port_unreachable() -> Result<()> {
    for (no_backend, reason) in [
        (NoBackend::Reset, Reason::NoBackendReset),
        (NoBackend::Unreachable, Reason::NoBackendUnreachable),
    ] {
        let mut rig = Rig::new()?;
        let plan = Plan::new("web").listen(WEB[0], TCP).listen(WEB[1], TCP);
        let service = rig.serve(&plan.track(&[]))?;
        let word = ServiceWord {
            no_backend: no_backend as u32,
            reserved: 0,
        };
        rig.tables().set_service_word(service.id, word);
        for family in 0..2 {
            for flags in [RST, RST | ACK] {
                let frame = tcp(CLIENT[family], WEB[family]).flags(flags).frame();
                check(&rig, &[untouched("a RST", frame, reason)])?;
            }
        }
    }
    Ok(())
}

#[test]
fn nobody_is_told_of_what_went_to_a_group_or_came_from_no_single_host() -> Result<()> {
    let mut rig = Rig::new()?;
    web(&mut rig)?;
    let silent =
        |what: &str, packet: Vec<u8>| check(&rig, &[untouched(what, packet, Reason::TtlExpired)]);
    for family in 0..2 {
        for request in [
            tcp(CLIENT[family], WEB[family]),
            udp(CLIENT[family], DNS[family]),
        ] {
            let whole = request.ttl(1).frame();
            for mac in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]] {
                for at in [0, 6] {
                    let mut frame = whole.clone();
                    frame[at..at + 6].copy_from_slice(&mac);
                    silent("a group's MAC address", frame)?;
                }
            }
            let sources: &[&[u8]] = match family {
                0 => &[
                    &[0; 4],
                    &[0, 0, 0, 1],
                    &[127, 0, 0, 1],
                    &[224, 0, 0, 1],
                    &[240, 0, 0, 1],
                    &[0xff; 4],
                ],
                _ => &[
                    &[0; 16],
                    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    &[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                ],
            };
            for source in sources {
                let (mut frame, at) = (whole.clone(), [26, 22][family]);
                frame[at..at + source.len()].copy_from_slice(source);
                silent("no single host", frame)?;
            }
        }
    }
    Ok(())
}
