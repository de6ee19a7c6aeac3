//! The ports that the kernel gives to this host's own connections.

use std::fs;
use std::ops::RangeInclusive;

/// `net.ipv4.ip_local_port_range`, which holds for IPv6 too, of this thread's network namespace.
#[must_use]
pub fn local_ports() -> Option<RangeInclusive<u16>> {
    parse(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?)
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// What `ports`, which clients are translated to, share with this host's own, for people.
#[must_use]
pub fn overlap(ports: &RangeInclusive<u16>, local: &RangeInclusive<u16>) -> Option<String> {
    let first = *ports.start().max(local.start());
    let last = *ports.end().min(local.end());
    (first <= last).then(|| {
        format!(
            "nat.ports {}-{} and net.ipv4.ip_local_port_range {}-{} share {first}-{last}: a connection of this host \
             itself to a backend of mode fullnat may get an answer that is a client's; keep them apart",
            ports.start(),
            ports.end(),
            local.start(),
            local.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{overlap, parse};

    #[test]
    fn the_kernels_range_is_two_numbers() {
        assert_eq!(parse("32768\t60999\n"), Some(32_768..=60_999));
        for text in ["", "1", "a b", "1 65536"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_two_ranges_share_is_named() {
        assert_eq!(overlap(&(10_240..=32_767), &(32_768..=60_999)), None);
        assert_eq!(overlap(&(61_000..=65_535), &(32_768..=60_999)), None);
        for (ports, shared) in [
            (10_240..=32_768, "32768-32768"),
            (1_024..=65_535, "32768-60999"),
            (60_999..=65_535, "60999-60999"),
            (40_000..=50_000, "40000-50000"),
        ] {
            let said = overlap(&ports, &(32_768..=60_999));
            assert!(said.is_some_and(|text| text.contains(&format!("share {shared}:"))));
        }
    }
}
