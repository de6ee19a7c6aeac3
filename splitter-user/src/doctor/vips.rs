//! Whether clients find a VIP. The agent adds no address to an interface; this says which command does.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Finding, interface_setting};
use crate::interface::{Address, Interface};

pub(super) fn finding(
    vip: IpAddr,
    attached: &[Interface],
    all: &[Interface],
    addresses: &[Address],
) -> Finding {
    let check = format!("vip {vip}");
    let holders: Vec<&Interface> = addresses
        .iter()
        .filter(|address| address.address == vip)
        .filter_map(|address| {
            all.iter()
                .find(|interface| interface.index == address.index)
        })
        .collect();
    let Some(link) = attached
        .iter()
        .find(|interface| is_on_link(vip, interface, addresses))
    else {
        let message = match holders.first() {
            Some(holder) => format!(
                "is an address of {}, in nobody's subnet: routers have to send it here",
                holder.name
            ),
            None => {
                "is in no subnet of an attached interface: routers have to send it here".to_owned()
            }
        };
        return Finding::good(check, message);
    };
    match vip {
        IpAddr::V4(_) => asked_by_arp(check, vip, link, &holders),
        IpAddr::V6(_) => asked_by_discovery(check, vip, link, &holders),
    }
}

fn is_on_link(vip: IpAddr, interface: &Interface, addresses: &[Address]) -> bool {
    addresses.iter().any(|address| {
        address.index == interface.index
            && address.address != vip
            && IpNet::new(address.address, address.prefix).is_ok_and(|subnet| subnet.contains(&vip))
    })
}

/// The kernel answers for an address of whatever interface, unless `arp_ignore` says otherwise.
fn asked_by_arp(check: String, vip: IpAddr, link: &Interface, holders: &[&Interface]) -> Finding {
    let name = &link.name;
    let Some(holder) = holders.first() else {
        return Finding::bad(
            check,
            format!("clients on {name} ask for it by ARP, and nobody answers"),
        )
        .fix(format!("ip addr add {vip}/32 dev lo"));
    };
    let ignore = ["all", name.as_str()]
        .into_iter()
        .filter_map(|of| interface_setting("ipv4", of, "arp_ignore"))
        .max();
    let elsewhere = holders.iter().all(|holder| holder.index != link.index);
    if elsewhere && ignore.unwrap_or(0) > 0 {
        let message = format!(
            "is an address of {}, but arp_ignore keeps {name} from answering for it",
            holder.name
        );
        return Finding::bad(check, message).fix(format!("ip addr add {vip}/32 dev {name}"));
    }
    Finding::good(
        check,
        format!(
            "is an address of {}; clients on {name} find it by ARP",
            holder.name
        ),
    )
}

/// Neighbour discovery is answered for addresses of the interface that is asked, and for no others.
fn asked_by_discovery(
    check: String,
    vip: IpAddr,
    link: &Interface,
    holders: &[&Interface],
) -> Finding {
    let name = &link.name;
    if holders.iter().any(|holder| holder.index == link.index) {
        return Finding::good(
            check,
            format!("is an address of {name}; clients there find it by neighbour discovery"),
        );
    }
    let message = match holders.first() {
        Some(holder) => format!(
            "is an address of {}, but neighbour discovery on {name} is answered for its own alone",
            holder.name
        ),
        None => format!("clients on {name} ask for it by neighbour discovery, and nobody answers"),
    };
    Finding::bad(check, message).fix(format!("ip -6 addr add {vip}/128 dev {name} nodad"))
}
