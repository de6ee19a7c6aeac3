//! What tunnels are recognised by, as a person writes it and as the program reads it: pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::Serialize;
use splitter_ebpf::decap::{Config, LOCALS, SOURCES, Source, VIPS};
use splitter_ebpf::wire::{Family, WireAddress};

use crate::config::Tunnel;

/// Where balancers take outer sources from unless their configuration says otherwise.
#[must_use]
pub fn default_sources() -> [IpNet; 2] {
    let tunnel = Tunnel::default();
    [tunnel.outer_source_v4.into(), tunnel.outer_source_v6.into()]
}

/// Rules as they were given, before anybody looked at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// What the packets inside may be for.
    pub vips: Vec<IpAddr>,
    /// Prefixes where tunnels may begin.
    pub sources: Vec<IpNet>,
    /// Addresses of this host where tunnels may end.
    pub locals: Vec<IpAddr>,
}

/// What tunnels are recognised by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rules {
    vips: BTreeSet<IpAddr>,
    sources: BTreeSet<IpNet>,
    #[serde(rename = "addresses")]
    locals: BTreeSet<IpAddr>,
}

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// No VIP.
    #[error(
        "no VIP is given: name what the balancers' listeners are at, such as --vip 198.18.1.100"
    )]
    NoVip,
    /// An address that no packet is for.
    #[error("{0} can be no VIP: a unicast address that clients dial is needed")]
    NotUnicast(IpAddr),
    /// A VIP of a family that lacks the rest.
    #[error(
        "the VIP {vip} needs {what} of its own family, and there is none: give one with {option}"
    )]
    Lacking {
        /// The VIP.
        vip: IpAddr,
        /// What is missing.
        what: &'static str,
        /// How to give it.
        option: &'static str,
    },
    /// A prefix that covers everything.
    #[error(
        "{0} lets anybody send packets past this host's filters: give the balancers' [tunnel] outer_source_v4 and \
         outer_source_v6, such as 198.19.0.0/16"
    )]
    Anywhere(IpNet),
    /// More than the program has room for.
    #[error("{count} {what} of one family are given, at most {most} are possible: {fix}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        most: usize,
        /// What to do.
        fix: &'static str,
    },
}

/// Reads a prefix of outer sources.
///
/// # Errors
/// One line that says what to write.
pub fn parse_source(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| {
        "write an address and the length of its prefix, such as 198.19.0.0/16".to_owned()
    })?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(format!(
            "bits behind the prefix are not 0: write {}",
            net.trunc()
        ))
    }
}

impl Rules {
    /// Checks rules. Of a family without a VIP nothing is kept: nothing can be taken out there, and the
    /// program would have no room for the addresses of a host with hundreds of them.
    ///
    /// # Errors
    /// The first [`RulesError`].
    pub fn new(given: Unchecked) -> Result<Self, RulesError> {
        let mut rules = Self {
            vips: given.vips.into_iter().collect(),
            sources: given.sources.into_iter().collect(),
            locals: given.locals.into_iter().collect(),
        };
        if rules.vips.is_empty() {
            return Err(RulesError::NoVip);
        }
        if let Some(vip) = rules.vips.iter().find(|vip| !is_unicast(**vip)) {
            return Err(RulesError::NotUnicast(*vip));
        }
        if let Some(source) = rules.sources.iter().find(|net| net.prefix_len() == 0) {
            return Err(RulesError::Anywhere(*source));
        }
        for family in Family::ALL {
            rules.check(family)?;
        }
        let served: BTreeSet<Family> = rules.vips.iter().map(Family::of).collect();
        rules
            .sources
            .retain(|net| served.contains(&Family::of(&net.addr())));
        rules
            .locals
            .retain(|local| served.contains(&Family::of(local)));
        Ok(rules)
    }

    fn check(&self, family: Family) -> Result<(), RulesError> {
        let vips = of(&self.vips, family);
        let Some(vip) = vips.first().copied() else {
            return Ok(());
        };
        let locals = of(&self.locals, family);
        let sources = self.sources_of(family).len();
        let lacking = |what, option| Err(RulesError::Lacking { vip, what, option });
        if sources == 0 {
            return lacking("a prefix of outer sources", "--source");
        }
        if locals.is_empty() {
            return lacking("an address of this host", "--address");
        }
        let lists = [
            (
                "VIPs",
                vips.len(),
                VIPS,
                "serve the others from other hosts",
            ),
            (
                "addresses of this host",
                locals.len(),
                LOCALS,
                "name those that balancers know as backends with --address",
            ),
            ("prefixes of outer sources", sources, SOURCES, "join them"),
        ];
        match lists.into_iter().find(|(_, count, most, _)| count > most) {
            Some((what, count, most, fix)) => Err(RulesError::TooMany {
                what,
                count,
                most,
                fix,
            }),
            None => Ok(()),
        }
    }

    /// What packets inside may be for.
    pub fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.vips.iter().copied()
    }

    /// Prefixes where tunnels may begin.
    pub fn sources(&self) -> impl Iterator<Item = IpNet> {
        self.sources.iter().copied()
    }

    /// Where tunnels may end.
    pub fn locals(&self) -> impl Iterator<Item = IpAddr> {
        self.locals.iter().copied()
    }

    fn sources_of(&self, family: Family) -> Vec<IpNet> {
        let of_family = |net: &IpNet| Family::of(&net.addr()) == family;
        self.sources.iter().copied().filter(of_family).collect()
    }

    /// What the program reads of one family.
    #[must_use]
    pub fn config(&self, family: Family) -> Config {
        let mut config = Config::EMPTY;
        config.local_count = fill(&mut config.locals, of(&self.locals, family).into_iter());
        config.vip_count = fill(&mut config.vips, of(&self.vips, family).into_iter());
        let sources = self.sources_of(family).into_iter().map(|net| Source {
            prefix: net.network().into(),
            mask: WireAddress::prefix_mask(net.prefix_len(), family),
        });
        config.source_count = fill(&mut config.sources, sources);
        config
    }

    /// What rules the program goes by that reads these, one for each family.
    #[must_use]
    pub fn of_configs(configs: &[(Family, Config)]) -> Self {
        let mut rules = Self {
            vips: BTreeSet::new(),
            sources: BTreeSet::new(),
            locals: BTreeSet::new(),
        };
        for (family, config) in configs {
            let vips = counted(&config.vips, config.vip_count);
            rules.vips.extend(vips.map(|vip| vip.to_ip(*family)));
            let locals = counted(&config.locals, config.local_count);
            rules
                .locals
                .extend(locals.map(|local| local.to_ip(*family)));
            let sources = counted(&config.sources, config.source_count);
            rules.sources.extend(sources.filter_map(|source| {
                IpNet::with_netmask(source.prefix.to_ip(*family), source.mask.to_ip(*family)).ok()
            }));
        }
        rules
    }
}

fn of(addresses: &BTreeSet<IpAddr>, family: Family) -> Vec<IpAddr> {
    let of_family = |address: &IpAddr| Family::of(address) == family;
    addresses.iter().copied().filter(of_family).collect()
}

fn fill<T: From<S>, S>(places: &mut [T], values: impl ExactSizeIterator<Item = S>) -> u32 {
    let count = values.len().min(places.len());
    for (place, value) in places.iter_mut().zip(values) {
        *place = value.into();
    }
    u32::try_from(count).unwrap_or(0)
}

fn counted<T>(places: &[T], count: u32) -> impl Iterator<Item = &T> {
    places.iter().take(usize::try_from(count).unwrap_or(0))
}

fn is_unicast(address: IpAddr) -> bool {
    let never = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !never && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn unchecked(vips: &[&str], sources: &[&str], locals: &[&str]) -> Unchecked {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Unchecked {
            vips: addresses(vips),
            sources: sources
                .iter()
                .map(|text| parse_source(text).unwrap())
                .collect(),
            locals: addresses(locals),
        }
    }

    #[test]
    fn rules_survive_the_way_to_the_program_and_back() {
        let rules = Rules::new(unchecked(
            &["198.18.1.100", "2001:db8:1::100", "198.18.1.101"],
            &["198.19.0.0/16", "2001:db8:ffff::/64", "198.18.7.0/25"],
            &["198.18.2.11", "2001:db8:2::11"],
        ))
        .unwrap();
        let configs = Family::ALL.map(|family| (family, rules.config(family)));
        assert_eq!(configs[0].1.vip_count, 2);
        assert_eq!(Rules::of_configs(&configs), rules);
        let trusted = |text: &str| configs[0].1.trusts(text.parse::<IpAddr>().unwrap().into());
        assert!(trusted("198.19.255.1") && trusted("198.18.7.127"));
        assert!(!trusted("198.18.7.128") && !trusted("198.20.0.0"));
    }

    #[test]
    fn of_a_family_without_a_vip_nothing_is_kept() {
        let many: Vec<String> = (0..65).map(|last| format!("2001:db8::{last:x}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let locals = [many.as_slice(), &["198.18.2.11"]].concat();
        let sources = ["198.19.0.0/16", "2001:db8:ffff::/64"];
        let rules = Rules::new(unchecked(&["198.18.1.100"], &sources, &locals)).unwrap();
        let configs = Family::ALL.map(|family| (family, rules.config(family)));
        // What is attached says so, too: nothing is put in force anew every few seconds.
        assert_eq!(Rules::of_configs(&configs), rules);
        assert_eq!(rules.locals().count(), 1);
        assert_eq!(rules.sources().count(), 1);
    }

    #[test]
    fn rules_that_cannot_work_are_refused_with_what_to_do() {
        let many: Vec<String> = (0..65).map(|last| format!("198.18.1.{last}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (source, local) = (&["198.19.0.0/16"], &["198.18.2.11"]);
        let cases: [(Unchecked, &[&str]); 7] = [
            (unchecked(&[], source, local), &["no VIP", "--vip"]),
            (
                unchecked(&["224.0.0.1"], source, local),
                &["224.0.0.1", "unicast"],
            ),
            (
                unchecked(&["198.18.1.1"], &["0.0.0.0/0"], local),
                &["0.0.0.0/0", "outer_source_v4"],
            ),
            (
                unchecked(&["198.18.1.1"], &["2001:db8::/64"], local),
                &["198.18.1.1", "--source"],
            ),
            (
                unchecked(&["2001:db8::1"], &["2001:db8::/64"], local),
                &["2001:db8::1", "--address"],
            ),
            (unchecked(&many, source, local), &["65 VIPs", "at most 64"]),
            (
                unchecked(&["198.18.1.1"], source, &many),
                &["65 addresses", "at most 32", "--address"],
            ),
        ];
        for (given, words) in cases {
            let message = Rules::new(given).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
        assert!(
            parse_source("198.19.7.0/16")
                .unwrap_err()
                .contains("198.19.0.0/16")
        );
        assert!(
            parse_source("198.19.0.0")
                .unwrap_err()
                .contains("198.19.0.0/16")
        );
    }
}
