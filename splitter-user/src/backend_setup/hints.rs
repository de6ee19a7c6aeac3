//! How to have it all again after a boot: nothing of it is written by us.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::change::Change;
use super::plan::{Item, Need};
use super::wish::Wish;

/// Files for those who want what was planned to outlive a reboot, as text.
#[must_use]
pub fn hints(wish: &Wish, items: &[Item]) -> Vec<String> {
    let changes = items
        .iter()
        .any(|item| matches!(item.need, Need::Change(_)));
    if !wish.mode.answers_directly() || !changes {
        return Vec::new();
    }
    let mut hints = Vec::new();
    let settings = items.iter().filter_map(|item| match &item.need {
        Need::Change(Change::Setting { key, to, .. }) => Some(format!("  {key} = {to}\n")),
        _ => None,
    });
    let settings: String = settings.collect();
    if !settings.is_empty() {
        hints.push(format!(
            "/etc/sysctl.d/90-splitter-backend.conf:\n{settings}"
        ));
    }
    let mut network = "/etc/systemd/network/90-splitter-lo.network, where systemd-networkd runs:\n  [Match]\n  Name=lo\n".to_owned();
    for vip in &wish.vips {
        let text = match vip {
            IpAddr::V4(v4) => format!("  [Address]\n  Address={v4}/32\n"),
            IpAddr::V6(v6) => format!("  [Address]\n  Address={v6}/128\n  PreferredLifetime=0\n"),
        };
        network += &text;
    }
    hints.push(network);
    let segments = items.iter().filter_map(|item| match &item.need {
        Need::Change(Change::Route { to, .. }) => to.advmss().map(|advmss| (item, advmss)),
        _ => None,
    });
    let mut routes = String::new();
    for (item, advmss) in segments {
        // Writing to a string cannot fail.
        let _written = writeln!(
            routes,
            "  {}: TCPAdvertisedMaximumSegmentSize={advmss}",
            item.what
        );
    }
    if !routes.is_empty() {
        hints.push(format!(
            "the section [Route] of what systemd-networkd makes them from (a lease or an advertisement that comes anew \
             forgets it otherwise):\n{routes}"
        ));
    }
    for item in items {
        match &item.need {
            Need::Change(change @ Change::Decapsulator { .. }) => hints.push(service(change)),
            Need::Change(Change::Tunnel { tunnel, .. }) => hints.push(format!(
                "a .netdev file of systemd-networkd with Name={}, Kind={} and [Tunnel] Local={}, and the same address on it\n",
                tunnel.name,
                if tunnel.local.is_ipv4() {
                    "ipip"
                } else {
                    "ip6tnl"
                },
                tunnel.local
            )),
            _ => {}
        }
    }
    hints
}

/// What the unit is told that attaches the same decapsulator, and looks after it.
fn service(change: &Change) -> String {
    let words = change.commands().concat();
    // Behind `splitterd decap --once`, without what it is run with by default.
    let words: Vec<&str> = words.iter().skip(3).map(String::as_str).collect();
    let own = words.iter().position(|word| *word == "--bpffs");
    let arguments = words.get(..own.unwrap_or(words.len())).unwrap_or_default();
    format!(
        "/etc/splitter/decap.env, for `systemctl enable --now splitter-decap`, which also looks after it:\n  DECAP=\"{}\"\n",
        arguments.join(" ")
    )
}
