//! In mode `dnat` answers pass through the balancer.

use super::{Item, everywhere};
use crate::backend_setup::change::joined;
use crate::backend_setup::facts::Facts;
use crate::backend_setup::wish::{SetupError, Wish};

/// Whether the ways to clients lead by the balancer. To change that is for a person: it may be the way
/// that they came in by.
pub(super) fn through_balancer(wish: &Wish, facts: &Facts) -> Result<Vec<Item>, SetupError> {
    let balancer = wish.balancer.ok_or(SetupError::NoBalancer)?;
    let why = "in mode dnat the backend sees the client's address, and its answers must come by the balancer, which gives \
        them the VIP's";
    let mut clients = wish.clients.clone();
    clients.retain(|net| net.addr().is_ipv4() == balancer.is_ipv4());
    if wish.clients.is_empty() {
        clients.push(everywhere(balancer));
    }
    let item = |net| {
        let what = format!("route to {net}");
        let routes = facts.routes_to(net);
        let via: Vec<_> = routes.iter().filter_map(|route| route.via).collect();
        if !via.is_empty() && via.iter().all(|via| *via == balancer) {
            return Item::met(what, format!("via {balancer}"), why);
        }
        let now = if via.is_empty() {
            "by no router".to_owned()
        } else {
            format!("via {}", joined(&via))
        };
        let how = format!(
            "it leads {now}. Where all traffic may go by the balancer: ip route replace {net} via {balancer}. Where only \
             the backend's may, BACKEND being its address: ip rule add from BACKEND lookup 100; ip route add default via \
             {balancer} table 100"
        );
        Item::person(what, how, why)
    };
    Ok(clients.into_iter().map(item).collect())
}
