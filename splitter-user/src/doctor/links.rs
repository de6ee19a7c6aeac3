//! The interfaces that carry the program.

use super::Finding;
use crate::interface::{Interface, Xdp, XdpMode};

/// The interfaces of these names, and a finding for each that cannot be used.
pub(super) fn find(names: &[String]) -> (Vec<Interface>, Vec<Finding>) {
    let mut found = Vec::new();
    let mut findings = Vec::new();
    for name in names {
        match Interface::find(name) {
            Ok(interface) => found.push(interface),
            Err(error) => {
                findings.push(Finding::bad(format!("interface {name}"), error.to_string()))
            }
        }
    }
    (found, findings)
}

pub(super) fn findings(attached: &[Interface], all: &[Interface]) -> Vec<Finding> {
    let mut findings: Vec<_> = attached.iter().map(state).collect();
    findings.extend(
        attached
            .iter()
            .filter_map(|interface| far_end(interface, all)),
    );
    findings.extend(sizes(attached));
    findings
}

fn state(interface: &Interface) -> Finding {
    let name = &interface.name;
    let check = format!("interface {name}");
    if !interface.running {
        return Finding::bad(check, "is down or has no carrier")
            .fix(format!("ip link set dev {name} up"));
    }
    let driver = interface.driver().unwrap_or_else(|| "unknown".to_owned());
    let program = match interface.xdp {
        None => "no XDP program".to_owned(),
        Some(Xdp {
            mode: XdpMode::Generic,
            program_id,
        }) => {
            format!("XDP program {program_id} in generic mode, which costs much more than native")
        }
        Some(Xdp { mode, program_id }) => format!("XDP program {program_id} in {mode} mode"),
    };
    Finding::good(
        check,
        format!("is up, driver {driver}, MTU {}, {program}", interface.mtu),
    )
}

/// A veth hands frames of an XDP program over only to an end that polls (NAPI), and computes no checksums.
fn far_end(interface: &Interface, all: &[Interface]) -> Option<Finding> {
    if interface.kind.as_deref() != Some("veth") {
        return None;
    }
    let check = format!("veth {}", interface.name);
    let here = interface
        .link
        .and_then(|index| all.iter().find(|other| other.index == index));
    let Some(peer) = here else {
        let message = "its other end is in another network namespace; unless that end has GRO on (or carries an XDP \
                       program), every frame that the program sends there is lost, and local senders there have to compute \
                       their checksums themselves";
        return Some(
            Finding::good(check, message).fix("over there: ethtool -K DEVICE gro on tx off"),
        );
    };
    let name = &peer.name;
    if peer.gro() == Some(true) || peer.xdp.is_some() {
        return Some(Finding::good(
            check,
            format!("its other end {name} takes frames of an XDP program"),
        ));
    }
    let message = format!(
        "its other end {name} has GRO off and no XDP program: every frame that the program sends there is lost"
    );
    Some(Finding::bad(check, message).fix(format!("ethtool -K {name} gro on tx off")))
}

fn sizes(attached: &[Interface]) -> Option<Finding> {
    let smallest = attached.iter().min_by_key(|interface| interface.mtu)?;
    let largest = attached.iter().max_by_key(|interface| interface.mtu)?;
    if smallest.mtu == largest.mtu {
        return None;
    }
    let message = format!(
        "{} takes {} octets and {} only {}: larger packets cannot go from the one to the other",
        largest.name, largest.mtu, smallest.name, smallest.mtu
    );
    Some(Finding::good("mtu", message).fix(format!(
        "ip link set dev {} mtu {}",
        smallest.name, largest.mtu
    )))
}
