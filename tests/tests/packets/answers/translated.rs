//! Where clients are translated: flows that find no address and port, or cannot be pinned.

use std::ops::Range;

use anyhow::Result;
use lab::rig::{Plan, Rig, Segment, Told, tcp, udp};
use splitter_ebpf::flow::{ACK, SYN};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};
use splitter_user::dataplane::DataPlane as _;

use super::super::{BACKEND, DNS, Row, WEB, check, sent};
use super::{VIP, told};

/// A service of both families and protocols whose clients are translated to these ports of an address.
fn translated(rig: &mut Rig, ports: Range<u16>) -> Result<()> {
    let mut plan = Plan::new("web").track(&BACKEND);
    for (web, dns) in WEB.into_iter().zip(DNS) {
        plan = plan.listen(web, TCP).listen(dns, UDP);
    }
    rig.serve(&plan.translated_to(&["198.18.2.200", "2001:db8:2::200"], ports))?;
    Ok(())
}

/// The `number`th client of each protocol.
fn clients(family: usize, number: u16) -> [Segment; 2] {
    let port = 40_000 + number;
    let client = [
        format!("198.18.0.9:{port}"),
        format!("[2001:db8::9]:{port}"),
    ];
    [
        tcp(&client[family], WEB[family]).flags(SYN),
        udp(&client[family], DNS[family]),
    ]
}

/// What both clients' packets are answered with for `reason`.
fn refused(family: usize, number: u16, reason: Reason) -> [Row; 3] {
    let [segment, datagram] = clients(family, number);
    let late = segment.clone().flags(ACK).with(b"data");
    let datagram = datagram.frame();
    [
        sent("SYN", segment.frame(), reason, segment.reset()),
        sent("late", late.frame(), reason, late.reset()),
        told("UDP", family, &datagram, reason, Told::Unreachable),
    ]
}

#[test]
fn a_flow_that_finds_no_address_and_port_is_refused() -> Result<()> {
    let mut rig = Rig::new()?;
    translated(&mut rig, 10_240..10_241)?;
    for (family, vip) in VIP.into_iter().enumerate() {
        for first in clients(family, 0) {
            let (_, counted) = rig.run_counted(&first.frame())?;
            assert_eq!(counted, [Reason::NewFlow], "{} at {vip}", first.from);
        }
        check(&rig, &refused(family, 1, Reason::NatExhausted))?;
    }
    Ok(())
}

#[test]
fn a_flow_beyond_the_cap_cannot_go_unpinned_and_is_refused() -> Result<()> {
    let mut rig = Rig::new()?;
    translated(&mut rig, 10_240..32_768)?;
    super::limits::on_one_cpu()?;
    rig.tables().set_new_flows_per_tick(1);
    for family in 0..2 {
        let mut number = 0;
        loop {
            rig.wait_ticks(1)?;
            let tick = rig.kernel().now()?;
            rig.run(&clients(family, number)[0].frame())?;
            let rows = refused(family, number + 1, Reason::NatUnpinned);
            let mut met = Vec::new();
            for row in &rows {
                met.push(rig.run_counted(&row.packet)?);
            }
            if rig.kernel().now()? == tick {
                for (row, (outcome, counted)) in rows.iter().zip(met) {
                    assert_eq!((outcome.action, counted), (row.action, vec![row.reason]));
                    assert_eq!(outcome.packet, row.out, "{}", row.what);
                }
                break;
            }
            // Another tick began meanwhile, and with it another pin was free.
            number += 2;
        }
    }
    Ok(())
}
