//! Interfaces that are a tag on one that carries the program.

use super::Finding;
use crate::interface::Interface;
use crate::nexthop::carrier;

/// What becomes of packets over the VLANs of this host's attached interfaces.
pub(super) fn findings(attached: &[Interface], all: &[Interface]) -> Vec<Finding> {
    let concerned = all
        .iter()
        .filter(|interface| is_on(interface, attached, all));
    let mut findings: Vec<Finding> = concerned.clone().map(|vlan| way(vlan, all)).collect();
    let below = |parent: &&Interface| {
        concerned
            .clone()
            .any(|vlan| vlan.tag.is_some_and(|tag| tag.parent == Some(parent.index)))
    };
    findings.extend(attached.iter().filter(below).filter_map(stripped));
    findings
}

/// Whether an interface is a tag on one of `attached`, be it through another tag.
fn is_on(interface: &Interface, attached: &[Interface], all: &[Interface]) -> bool {
    let mut here = interface;
    // The kernel nests interfaces no deeper (`MAX_NEST_DEV`, include/linux/netdevice.h).
    for _ in 0..8 {
        let Some(parent) = here.tag.and_then(|tag| tag.parent) else {
            return false;
        };
        if attached.iter().any(|interface| interface.index == parent) {
            return true;
        }
        let Some(below) = all.iter().find(|interface| interface.index == parent) else {
            return false;
        };
        here = below;
    }
    false
}

fn way(vlan: &Interface, all: &[Interface]) -> Finding {
    let check = format!("vlan {}", vlan.name);
    let below = |index: u32| {
        let found = all.iter().find(|interface| interface.index == index)?;
        Some((found.name.as_str(), found.tag))
    };
    match carrier(vlan.index, &vlan.name, vlan.tag, below) {
        Ok((parent, id)) => {
            let parent = below(parent).map_or("?", |(name, _)| name);
            let id = id.unwrap_or(0);
            Finding::good(
                check,
                format!("packets leave by {parent} with the tag {id}"),
            )
        }
        Err(why) => Finding::good(check, format!("no packet of a service leaves by it: {why}")),
    }
}

/// A tag that the driver takes off before the program sees the frame is one that it cannot give back.
fn stripped(interface: &Interface) -> Option<Finding> {
    if interface.strips_tags() != Some(true) {
        return None;
    }
    let name = &interface.name;
    let message = "takes tags off before the program sees them: clients on its VLANs are answered only where the \
                   kernel's routes and neighbours tell the way to them";
    let finding = Finding::good(format!("tags of {name}"), message);
    Some(finding.fix(format!("ethtool -K {name} rxvlan off")))
}
