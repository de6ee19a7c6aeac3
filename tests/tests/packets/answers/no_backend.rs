use anyhow::Result;
use lab::rig::{Plan, Rig, Service, Told};
use splitter_ebpf::abi::{NoBackend, ServiceWord};
use splitter_ebpf::flow::{ACK, FIN, SYN};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{TCP, UDP};

use super::super::{CLIENT, DNS, WEB, check, sent, untouched};
use super::{requests, told};

/// A service without backends, whose new flows get `no_backend`.
pub fn deserted(rig: &mut Rig, no_backend: NoBackend) -> Result<Service> {
    let mut plan = Plan::new("web").track(&[]);
    for (web, dns) in WEB.into_iter().zip(DNS) {
        plan = plan.listen(web, TCP).listen(dns, UDP);
    }
    let service = rig.serve(&plan)?;
    rig.tables().set_service_word(
        service.id,
        ServiceWord {
            no_backend: no_backend as u32,
            reserved: 0,
        },
    );
    Ok(service)
}

#[test]
fn drop_tells_nobody_anything() -> Result<()> {
    let mut rig = Rig::new()?;
    deserted(&mut rig, NoBackend::Drop)?;
    for family in 0..2 {
        for (what, request) in requests(family, 5) {
            check(&rig, &[untouched(what, request.frame(), Reason::NoBackend)])?;
        }
    }
    Ok(())
}

#[test]
fn reset_answers_tcp_with_a_rst_and_udp_with_port_unreachable() -> Result<()> {
    let mut rig = Rig::new()?;
    deserted(&mut rig, NoBackend::Reset)?;
    for family in 0..2 {
        for data in [0, 1, 5, 1400] {
            let [(_, tcp), (_, udp)] = requests(family, data);
            for flags in [SYN, ACK, SYN | ACK, FIN, FIN | ACK, SYN | FIN, 0] {
                let segment = tcp.clone().flags(flags);
                let what = format!("flags {flags:#x}, {data} bytes over {family}");
                let reset = segment.reset();
                check(
                    &rig,
                    &[sent(&what, segment.frame(), Reason::NoBackendReset, reset)],
                )?;
            }
            let udp = udp.frame();
            let row = told(
                "UDP",
                family,
                &udp,
                Reason::NoBackendReset,
                Told::Unreachable,
            );
            check(&rig, &[row])?;
        }
    }
    assert!(rig.flows().is_empty());
    Ok(())
}

#[test]
fn a_padded_segment_is_acknowledged_without_its_padding() -> Result<()> {
    let mut rig = Rig::new()?;
    deserted(&mut rig, NoBackend::Reset)?;
    for family in 0..2 {
        let [(_, segment), _] = requests(family, 3);
        let segment = segment.flags(SYN);
        let mut frame = segment.frame();
        frame.extend(b"padding");
        let row = sent("padded", frame, Reason::NoBackendReset, segment.reset());
        check(&rig, &[row])?;
    }
    Ok(())
}

#[test]
fn unreachable_answers_both_with_port_unreachable() -> Result<()> {
    let mut rig = Rig::new()?;
    deserted(&mut rig, NoBackend::Unreachable)?;
    for family in 0..2 {
        for data in [0, 1, 1400] {
            for (what, request) in requests(family, data) {
                let (reason, frame) = (Reason::NoBackendUnreachable, request.frame());
                check(
                    &rig,
                    &[told(what, family, &frame, reason, Told::Unreachable)],
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_new_flows_get_changes_at_once() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = deserted(&mut rig, NoBackend::Drop)?;
    let [(_, segment), _] = requests(0, 0);
    let segment = segment.flags(SYN);
    for (no_backend, reason) in [
        (NoBackend::Drop, Reason::NoBackend),
        (NoBackend::Unreachable, Reason::NoBackendUnreachable),
        (NoBackend::Reset, Reason::NoBackendReset),
        (NoBackend::Drop, Reason::NoBackend),
    ] {
        let word = ServiceWord {
            no_backend: no_backend as u32,
            reserved: 0,
        };
        rig.tables().set_service_word(service.id, word);
        let (_, counted) = rig.run_counted(&segment.frame())?;
        assert_eq!(counted, [reason], "{}", CLIENT[0]);
    }
    Ok(())
}
