//! Whether clients find a VIP, and backends an address that stands for clients. The agent adds no address
//! to an interface; this says which command does.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Finding, interface_setting};
use crate::interface::{Address, Interface};

/// An address that others have to find here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// Clients, a VIP.
    Vip(IpAddr),
    /// Backends, one that clients are translated to.
    Nat(IpAddr),
}

impl Asked {
    const fn address(self) -> IpAddr {
        match self {
            Self::Vip(address) | Self::Nat(address) => address,
        }
    }

    fn check(self) -> String {
        match self {
            Self::Vip(address) => format!("vip {address}"),
            Self::Nat(address) => format!("nat {address}"),
        }
    }

    const fn who(self) -> &'static str {
        match self {
            Self::Vip(_) => "clients",
            Self::Nat(_) => "backends",
        }
    }
}

pub(super) fn finding(
    asked: Asked,
    attached: &[Interface],
    all: &[Interface],
    addresses: &[Address],
) -> Finding {
    let (check, vip) = (asked.check(), asked.address());
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
        IpAddr::V4(_) => asked_by_arp(asked, link, &holders),
        IpAddr::V6(_) => asked_by_discovery(asked, link, &holders),
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
fn asked_by_arp(asked: Asked, link: &Interface, holders: &[&Interface]) -> Finding {
    let (check, vip, who) = (asked.check(), asked.address(), asked.who());
    let name = &link.name;
    let Some(holder) = holders.first() else {
        return Finding::bad(
            check,
            format!("{who} on {name} ask for it by ARP, and nobody answers"),
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
            "is an address of {}; {who} on {name} find it by ARP",
            holder.name
        ),
    )
}

/// Neighbour discovery is answered for addresses of the interface that is asked, and for no others.
fn asked_by_discovery(asked: Asked, link: &Interface, holders: &[&Interface]) -> Finding {
    let (check, vip, who) = (asked.check(), asked.address(), asked.who());
    let name = &link.name;
    if holders.iter().any(|holder| holder.index == link.index) {
        return Finding::good(
            check,
            format!("is an address of {name}; {who} there find it by neighbour discovery"),
        );
    }
    let message = match holders.first() {
        Some(holder) => format!(
            "is an address of {}, but neighbour discovery on {name} is answered for its own alone",
            holder.name
        ),
        None => format!("{who} on {name} ask for it by neighbour discovery, and nobody answers"),
    };
    Finding::bad(check, message).fix(format!("ip -6 addr add {vip}/128 dev {name} nodad"))
}
