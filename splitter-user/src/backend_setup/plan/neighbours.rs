//! No interface may answer ARP for a VIP: the balancer does.

use super::Item;
use crate::backend_setup::change::Change;
use crate::backend_setup::facts::{Facts, setting_of};

const ALL: &str = "all";

/// Of both parameters the kernel takes the larger of `all` and the interface's own
/// (Documentation/networking/ip-sysctl.rst), so an interface can be stricter than `all`, never laxer.
pub(super) fn silence(facts: &Facts) -> Vec<Item> {
    let mut items = vec![
        ignore(facts, ALL),
        at_least(
            facts,
            "arp_announce",
            2,
            "no ARP request of this host names a VIP as its sender: neighbours would learn it (the larger of all and the \
             interface's applies)",
        ),
    ];
    // Values that would undo it are rare, and the larger wins.
    let stricter = facts.links.iter().filter(|link| !link.loopback);
    items.extend(stricter.filter_map(|link| {
        let own = facts.setting(&link.name, "arp_ignore");
        (!is_good(own) && own > 2).then(|| ignore(facts, &link.name))
    }));
    items
}

/// 1 and 2 answer for addresses of the interface asked alone, 8 for none. 3 spares addresses of scope
/// host, which a VIP is not; 0 answers for everything.
fn is_good(value: i64) -> bool {
    matches!(value, 1 | 2 | 8)
}

fn ignore(facts: &Facts, interface: &str) -> Item {
    let why = "no interface answers ARP for a VIP that is on the loopback: clients' routers would send here, past the \
        balancer (the larger of all and the interface's applies)";
    let key = setting_of(interface, "arp_ignore");
    let now = facts.setting(interface, "arp_ignore");
    if is_good(now) {
        return Item::met(key, now.to_string(), why);
    }
    let change = Change::Setting {
        key,
        from: now,
        to: 1,
    };
    Item::change(change, facts, why)
}

fn at_least(facts: &Facts, name: &str, least: i64, why: &str) -> Item {
    let key = setting_of(ALL, name);
    let now = facts.setting(ALL, name);
    if now >= least {
        return Item::met(key, now.to_string(), why);
    }
    let change = Change::Setting {
        key,
        from: now,
        to: least,
    };
    Item::change(change, facts, why)
}
