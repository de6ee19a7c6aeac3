//! The `[nat]` and `[tunnel]` tables: addresses that packets leave with in modes `fullnat` and `ipip`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};
use splitter_ebpf::abi::{self, NAT_ADDRESSES};
use splitter_ebpf::wire::{Family as WireFamily, WireAddress};

use super::read::{Table, Value};
use crate::diagnostic::Report;
use crate::model::{Family, unusable};

/// Bits of an IPv6 outer source address that the program varies: the last word.
const VARIED_V6: u8 = 32;
/// Fewer than these many varying bits leave receivers' queues unevenly used.
const FEW_BITS: u8 = 4;

/// The `[nat]` table: what clients' addresses and ports are translated to, in mode `fullnat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// Addresses of this host, at most 15 of a family. A family without any uses the address that this
    /// host itself has towards the backend.
    pub addresses: Vec<IpAddr>,
    /// Ports of each of them.
    pub ports: RangeInclusive<u16>,
}

impl Default for Nat {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            ports: 10_240..=32_767,
        }
    }
}

impl Nat {
    /// The addresses of one family.
    #[must_use]
    pub fn of_family(&self, family: Family) -> Vec<IpAddr> {
        let ours = |address: &&IpAddr| Family::of(**address) == family;
        self.addresses.iter().filter(ours).copied().collect()
    }
}

/// The `[tunnel]` table: where outer source addresses are taken from, by flow, in mode `ipip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// The IPv4 network.
    pub outer_source_v4: Ipv4Net,
    /// The IPv6 network. At most the last 32 bits of an address vary; the others are the network's.
    pub outer_source_v6: Ipv6Net,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            outer_source_v4: Ipv4Net::new_assert(Ipv4Addr::new(198, 19, 0, 0), 16),
            outer_source_v6: Ipv6Net::new_assert(
                Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0),
                64,
            ),
        }
    }
}

impl Tunnel {
    /// As the program wants it.
    #[must_use]
    pub fn wire(&self) -> abi::Tunnel {
        let (v4, v6) = (self.outer_source_v4, self.outer_source_v6);
        abi::Tunnel {
            prefix_v6: WireAddress::from(IpAddr::V6(v6.network())),
            mask_v6: WireAddress::prefix_mask(v6.prefix_len(), WireFamily::V6).0[3],
            prefix_v4: WireAddress::from(IpAddr::V4(v4.network())).0[0],
            mask_v4: WireAddress::prefix_mask(v4.prefix_len(), WireFamily::V4).0[0],
            reserved: [0; 5],
        }
    }

    /// Networks with so few addresses that they miss their purpose, for people.
    pub(super) fn warnings(&self) -> Vec<String> {
        let varying = [
            (
                "outer_source_v4",
                self.outer_source_v4.to_string(),
                32 - self.outer_source_v4.prefix_len(),
            ),
            (
                "outer_source_v6",
                self.outer_source_v6.to_string(),
                (128 - self.outer_source_v6.prefix_len()).min(VARIED_V6),
            ),
        ];
        let few = varying.into_iter().filter(|(_, _, bits)| *bits < FEW_BITS);
        few.map(|(key, network, bits)| {
            format!(
                "tunnel.{key} is {network}: only {bits} bits of outer source addresses vary, so that backends' network \
                 cards cannot spread the flows of mode ipip over their queues; write a shorter prefix"
            )
        })
        .collect()
    }
}

pub(super) fn nat(table: &Table<'_>, nat: &mut Nat, report: &mut Report<'_>) {
    table.only(&["addresses", "ports"], &[], report);
    if let Some(value) = table.get("addresses") {
        nat.addresses = addresses(&value, report);
    }
    if let Some(value) = table.get("ports") {
        nat.ports = ports(&value, report).unwrap_or(nat.ports.clone());
    }
}

fn addresses(value: &Value<'_, '_>, report: &mut Report<'_>) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for element in value.elements(report).unwrap_or_default() {
        let Some(text) = element.string(report) else {
            continue;
        };
        let Ok(address) = text.parse::<IpAddr>() else {
            element.error(
                report,
                format!("`{text}` is not an IPv4 or IPv6 address"),
                "write an address of this host such as \"198.18.2.9\", without port or prefix",
            );
            continue;
        };
        if let Some(kind) = unusable(address) {
            element.error(
                report,
                format!("{address} is {kind}: only a unicast address can be used"),
                "write an address of this host that backends route to",
            );
        } else if seen.insert(address) {
            found.push(address);
        } else {
            let message = format!("{address} is given twice");
            element.error(report, message, "write each address once");
        }
    }
    for family in [Family::V4, Family::V6] {
        let count = found.iter().filter(|a| Family::of(**a) == family).count();
        if count > NAT_ADDRESSES {
            value.error(
                report,
                format!(
                    "{count} {family} addresses: at most {NAT_ADDRESSES} of a family are possible"
                ),
                "take some out, or give each more `ports`",
            );
        }
    }
    found
}

/// First and last port, as `10240-32767`.
fn ports(value: &Value<'_, '_>, report: &mut Report<'_>) -> Option<RangeInclusive<u16>> {
    let text = value.string(report)?;
    let range = text.split_once('-').and_then(|(first, last)| {
        let first: u16 = first.trim().parse().ok()?;
        let last: u16 = last.trim().parse().ok()?;
        Some(first..=last)
    });
    let range = range.filter(|range| *range.start() > 0 && !range.is_empty());
    if range.is_none() {
        value.error(
            report,
            format!(
                "`{text}` is not a range of ports: first and last, from 1 to 65535, the first not above the last"
            ),
            "write it like \"10240-32767\"",
        );
    }
    range
}

pub(super) fn tunnel(table: &Table<'_>, tunnel: &mut Tunnel, report: &mut Report<'_>) {
    table.only(&["outer_source_v4", "outer_source_v6"], &[], report);
    if let Some(value) = table.get("outer_source_v4") {
        let network = network(&value, "198.19.0.0/16", report, |net: &Ipv4Net| {
            (
                net.network().into(),
                net.broadcast().into(),
                net.trunc() == *net,
            )
        });
        tunnel.outer_source_v4 = network.unwrap_or(tunnel.outer_source_v4);
    }
    if let Some(value) = table.get("outer_source_v6") {
        let network = network(
            &value,
            "2001:db8:ffff::/64",
            report,
            // What varies of a network of unicast addresses is unicast too.
            |net: &Ipv6Net| {
                (
                    net.network().into(),
                    net.network().into(),
                    net.trunc() == *net,
                )
            },
        );
        tunnel.outer_source_v6 = network.unwrap_or(tunnel.outer_source_v6);
    }
}

/// A network of unicast addresses, written without bits beyond its prefix. `parts` gives its first
/// address and its last, and whether it was written so.
fn network<N: std::str::FromStr + std::fmt::Display>(
    value: &Value<'_, '_>,
    example: &str,
    report: &mut Report<'_>,
    parts: impl Fn(&N) -> (IpAddr, IpAddr, bool),
) -> Option<N> {
    let text = value.string(report)?;
    let fix = format!("write a network that leads back to this host, such as \"{example}\"");
    let Ok(network) = text.parse::<N>() else {
        value.error(
            report,
            format!(
                "`{text}` is not a network of this family: an address and the length of its prefix"
            ),
            fix,
        );
        return None;
    };
    let (address, last, plain) = parts(&network);
    for address in [address, last] {
        if let Some(kind) = unusable(address) {
            value.error(
                report,
                format!("{network} holds {address}, {kind}: only unicast addresses can be used"),
                fix,
            );
            return None;
        }
    }
    if !plain {
        value.error(
            report,
            format!("{network} has bits set beyond its prefix: its network begins with {address}"),
            format!("write the network's first address, {address}, with the prefix"),
        );
        return None;
    }
    Some(network)
}
