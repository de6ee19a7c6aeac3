//! The kernel's own balancer, IPVS, on the same hosts as ours: what both ends of a flow see is the same.

use std::net::IpAddr;

use anyhow::Result;
use lab::{VIP_V4, VIP_V6};

use super::scene::{Scene, Way, client, listener};

/// What both ends of some flows see. Which of the backends a flow gets is each balancer's own affair, so that stands there as
/// `a backend`; all of them must have got some.
fn seen(scene: &Scene, way: Way, vip: IpAddr) -> Result<Vec<String>> {
    let places = way.served(vip).into_iter();
    let mut backends: Vec<_> = places.map(|at| (format!("came to {at}"), 0)).collect();
    let mut seen = Vec::new();
    for port in 40_000..40_016 {
        for text in [scene.connect(vip, port)?.ask()?, scene.datagram(vip, port)?] {
            let backend = backends
                .iter_mut()
                .find(|(came, _)| text.ends_with(came.as_str()));
            let (came, count) = backend.unwrap_or_else(|| panic!("not a backend: {text}"));
            *count += 1;
            seen.push(text.replace(came.as_str(), "came to a backend"));
        }
    }
    assert!(backends.iter().all(|(_, count)| *count > 0), "{backends:?}");
    Ok(seen)
}

fn sees_the_same(way: Way) -> Result<()> {
    let (ipvs, splitter) = (Scene::with_ipvs(way)?, Scene::with_splitter(way)?);
    for vip in [VIP_V4, VIP_V6] {
        let ours = seen(&splitter, way, vip)?;
        assert_eq!(ours, seen(&ipvs, way, vip)?);
        let (listener, client) = (listener(vip), client(vip, 40_000));
        let first = format!("answered by {listener}: {client} came to a backend");
        assert_eq!(ours[0], first);
    }
    Ok(())
}

#[test]
fn ends_of_a_flow_see_the_same_through_dnat_as_through_ipvs_nat() -> Result<()> {
    sees_the_same(Way::Translated)
}

#[test]
fn ends_of_a_flow_see_the_same_through_dsr_l2_as_through_ipvs_direct_routing() -> Result<()> {
    sees_the_same(Way::Direct)
}

#[test]
fn ends_of_a_flow_see_the_same_through_ipip_as_through_ipvs_tunnels() -> Result<()> {
    sees_the_same(Way::Tunneled)
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones_as_with_ipvs() -> Result<()> {
    let way = Way::Translated;
    for scene in [Scene::with_ipvs(way)?, Scene::with_splitter(way)?] {
        for vip in [VIP_V4, VIP_V6] {
            let mut old = scene.connect(vip, 40_000)?;
            let before = old.ask()?;
            let backends = way.backends(vip);
            let (drained, left): (Vec<_>, Vec<_>) = backends
                .into_iter()
                .partition(|at| before.ends_with(&at.to_string()));
            scene.drain(vip, drained[0])?;
            assert_eq!(old.ask()?, before);
            for port in 40_001..40_009 {
                let new = scene.connect(vip, port)?.ask()?;
                assert!(new.ends_with(&left[0].to_string()), "{new}");
            }
            assert_eq!(old.ask()?, before);
        }
    }
    Ok(())
}
