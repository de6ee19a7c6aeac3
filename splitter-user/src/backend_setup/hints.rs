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
    // Behind `splitterd decap --once`, without options that say what is so by default.
    let options = words.get(3..).unwrap_or_default().chunks(2);
    let arguments: Vec<String> = options
        .filter(|option| !DEFAULTS.iter().any(|default| option == default))
        .map(|option| option.join(" "))
        .collect();
    format!(
        "/etc/splitter/decap.env, for `systemctl enable --now splitter-decap`, which also looks after it:\n  DECAP=\"{}\"\n",
        arguments.join(" ")
    )
}

/// What `splitterd decap` does without these options.
const DEFAULTS: [[&str; 2]; 2] = [["--bpffs", "/sys/fs/bpf"], ["--name", "splitter-decap"]];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decap::AttachMode;

    fn attach(bpffs: &str, name: &str) -> Change {
        Change::Decapsulator {
            interface: "eth0".to_owned(),
            vips: vec![[198, 18, 1, 100].into()],
            sources: Vec::new(),
            addresses: Vec::new(),
            mode: AttachMode::Native,
            bpffs: bpffs.into(),
            name: name.to_owned(),
            present: true,
        }
    }

    #[test]
    fn the_unit_is_told_of_the_same_instance() {
        let hint = service(&attach("/run/bpf", "edge"));
        assert!(hint.contains("--bpffs /run/bpf"), "{hint}");
        assert!(hint.contains("--name edge"), "{hint}");
        let hint = service(&attach("/sys/fs/bpf", "splitter-decap"));
        assert!(
            !hint.contains("--bpffs") && !hint.contains("--name"),
            "{hint}"
        );
        assert!(
            hint.contains("--interface eth0 --vip 198.18.1.100"),
            "{hint}"
        );
    }
}
