use anyhow::Result;
use lab::rig::{Plan, Rig, Server, tcp};
use splitter_ebpf::abi::{Binding, Hop, Path};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::TCP;

use super::{BACKEND, CLIENT, WEB, check, round_trip, sent, untouched, web};

#[test]
fn a_listener_that_nobody_owns_is_the_hosts() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    rig.tables().bind(service.listeners[0], Binding(0));
    check(
        &rig,
        &[untouched(
            "no owner",
            tcp(CLIENT[0], WEB[0]).frame(),
            Reason::InactiveListener,
        )],
    )
}

#[test]
fn a_flow_outlives_its_listeners_owner() -> Result<()> {
    let mut rig = Rig::new()?;
    let service = web(&mut rig)?;
    let request = tcp(CLIENT[0], WEB[0]);
    check(&rig, &round_trip("owned", &request, BACKEND[0]))?;
    rig.tables().bind(service.listeners[0], Binding(0));
    let [mut again, reply] = round_trip("no longer owned", &request, BACKEND[0]);
    again.reason = Reason::Pinned;
    check(&rig, &[again, reply])
}

#[test]
fn a_listener_changes_its_service_exactly_at_its_flip() -> Result<()> {
    let mut rig = Rig::new()?;
    let old = rig.serve(
        &Plan::new("old")
            .listen(WEB[0], TCP)
            .track(&["198.18.2.1:8080"]),
    )?;
    let new = rig.serve(&Plan::new("new").track(&["198.18.2.2:8080"]))?;
    let listener = old.listeners[0];
    let at = rig.tables().selector().short();
    rig.tables()
        .bind(listener, Binding::new(old.id, new.id, at.wrapping_add(2)));
    for (flips, backend) in ["198.18.2.1:8080", "198.18.2.1:8080", "198.18.2.2:8080"]
        .into_iter()
        .enumerate()
    {
        let request = tcp(&format!("198.18.0.9:{}", 1000 + flips), WEB[0]);
        let out = request.forwarded(backend).frame();
        check(
            &rig,
            &[sent(
                &format!("after {flips} flips"),
                request.frame(),
                Reason::NewFlow,
                out,
            )],
        )?;
        rig.flip(&[])?;
    }
    Ok(())
}

#[test]
fn without_a_backend_that_may_serve_a_new_flow_is_dropped() -> Result<()> {
    let mut rig = Rig::new()?;
    // A track without backends of one family.
    let plan = Plan::new("half")
        .listen(WEB[0], TCP)
        .listen(WEB[1], TCP)
        .track(&[BACKEND[0]]);
    rig.serve(&plan)?;
    check(
        &rig,
        &[
            untouched(
                "none of its family",
                tcp(CLIENT[1], WEB[1]).frame(),
                Reason::NoBackend,
            ),
            round_trip("one of its family", &tcp(CLIENT[0], WEB[0]), BACKEND[0])
                .into_iter()
                .next()
                .unwrap(),
        ],
    )
}

#[test]
fn a_backend_without_a_next_hop_gets_no_flow_until_it_is_known() -> Result<()> {
    let mut rig = Rig::new()?;
    let server = Server::at(BACKEND[0].parse()?).over(0);
    let service = rig.serve(&Plan::new("web").listen(WEB[0], TCP).servers(&[server]))?;
    let request = tcp(CLIENT[0], WEB[0]);
    check(
        &rig,
        &[untouched("no next hop", request.frame(), Reason::NoNextHop)],
    )?;
    assert!(rig.flows().is_empty());
    let forwarded = request.forwarded(BACKEND[0]);
    let hop = Hop::new(forwarded.macs[0], forwarded.macs[1], 1);
    assert!(
        rig.tables()
            .set_hop(service.backends[0][0], hop, Path::default())
    );
    check(&rig, &round_trip("known now", &request, BACKEND[0]))?;
    // Lost again: the flow stays pinned, its packets wait.
    rig.barrier()?;
    assert!(
        rig.tables()
            .set_hop(service.backends[0][0], Hop::default(), Path::default())
    );
    check(
        &rig,
        &[untouched("lost", request.frame(), Reason::NoNextHop)],
    )?;
    assert_eq!(rig.flows().len(), 1);
    Ok(())
}
