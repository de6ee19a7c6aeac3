//! Which addresses of this host tunnels may end at, if nobody says it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::interface::{self, Address, InterfaceError};

/// All addresses of this host but the VIPs, and those that no other host can send to.
///
/// # Errors
/// [`InterfaceError::Netlink`].
pub fn locals(vips: &[IpAddr]) -> Result<Vec<IpAddr>, InterfaceError> {
    Ok(reachable(&interface::addresses()?, vips))
}

/// The same, of these addresses.
#[must_use]
pub fn reachable(addresses: &[Address], vips: &[IpAddr]) -> Vec<IpAddr> {
    let addresses: BTreeSet<IpAddr> = addresses.iter().map(|found| found.address).collect();
    addresses
        .into_iter()
        .filter(|address| !vips.contains(address) && !is_of_the_link(*address))
        .collect()
}

fn is_of_the_link(address: IpAddr) -> bool {
    address.is_loopback()
        || match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[test]
    fn tunnels_end_at_what_other_hosts_can_send_to_and_no_vip_is() {
        let given = [
            "127.0.0.1",
            "::1",
            "198.18.2.11",
            "fe80::1",
            "169.254.3.3",
            "2001:db8:2::11",
            "198.18.1.100",
        ];
        let addresses = given.map(|text| Address {
            index: 1,
            address: text.parse().unwrap(),
            prefix: 24,
        });
        let vip = "198.18.1.100".parse().unwrap();
        let found: Vec<String> = reachable(&addresses, &[vip])
            .iter()
            .map(IpAddr::to_string)
            .collect();
        assert_eq!(found, ["198.18.2.11", "2001:db8:2::11"]);
    }
}
