//! The VIP belongs to this host, and packets from clients are let in.

use std::net::IpAddr;

use super::Item;
use crate::backend_setup::change::Change;
use crate::backend_setup::facts::{Facts, Link, setting_of};
use crate::backend_setup::wish::{Mode, Wish};

/// Each VIP on the loopback, alone in its prefix.
pub(super) fn on_loopback(wish: &Wish, facts: &Facts) -> Vec<Item> {
    wish.vips
        .iter()
        .map(|vip| place(wish.mode, *vip, facts))
        .collect()
}

fn place(mode: Mode, vip: IpAddr, facts: &Facts) -> Item {
    let loopback = facts.loopback();
    let why = match vip {
        IpAddr::V4(_) => "the backend accepts packets for the VIP, and answers as it".to_owned(),
        IpAddr::V6(_) => "the backend accepts packets for the VIP, and answers as it. Linux answers neighbour \
            solicitations only for addresses of the interface that is asked (unless proxy_ndp is set up for it), so the \
            loopback's are the balancer's to answer. preferred_lft 0: this host begins no connection from it"
            .to_owned(),
    };
    let what = format!("{vip} on {loopback}");
    let whole = if vip.is_ipv4() { 32 } else { 128 };
    for (link, prefix) in facts.places_of(vip) {
        if link.loopback && prefix != whole {
            return Item::person(
                what,
                format!(
                    "it is there as {vip}/{prefix}, which makes all of that network this host's own: ip addr del \
                     {vip}/{prefix} dev {loopback}, then run this again"
                ),
                why,
            );
        }
        if !link.loopback && mode == Mode::DsrL2 {
            return Item::person(
                what,
                format!(
                    "it is on {0}, which answers neighbours for it in the balancer's place: ip addr del {vip}/{prefix} \
                     dev {0}, then run this again",
                    link.name
                ),
                why,
            );
        }
        if !link.loopback {
            return Item::met(what, format!("on {}", link.name), why);
        }
    }
    let change = Change::Address {
        interface: loopback.to_owned(),
        address: vip,
        present: true,
    };
    Item::change(change, facts, why)
}

/// Reverse-path filtering must not be strict where clients' packets come in.
pub(super) fn source_check(link: &Link, facts: &Facts) -> Item {
    loosened(&link.name, facts)
}

/// The larger of `all` and the interface's own applies: 2 on the interface makes it loose whatever `all`
/// says, and leaves every other interface as it is.
pub(super) fn loosened(interface: &str, facts: &Facts) -> Item {
    let why = format!(
        "packets of clients come in by {interface} though the way back to them may be another: strict filtering (1) drops \
         them. The larger of all and the interface's applies, so 2 (loose) here is enough"
    );
    let key = setting_of(interface, "rp_filter");
    let (own, all) = (
        facts.setting(interface, "rp_filter"),
        facts.setting("all", "rp_filter"),
    );
    if own.max(all) != 1 {
        return Item::met(key, format!("{own} (all: {all})"), why);
    }
    let change = Change::Setting {
        key,
        from: own,
        to: 2,
    };
    Item::change(change, facts, why)
}
