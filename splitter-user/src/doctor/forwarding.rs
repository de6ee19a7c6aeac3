//! Whether the kernel routes: the program asks it for the way to clients (`bpf_fib_lookup`), and it answers only if it does.

use std::net::IpAddr;

use super::{Finding, interface_setting, setting};
use crate::interface::Interface;

pub(super) fn findings(attached: &[Interface], vips: &[IpAddr]) -> Vec<Finding> {
    let needed = |of: fn(&IpAddr) -> bool| vips.is_empty() || vips.iter().any(of);
    let mut findings = Vec::new();
    if needed(IpAddr::is_ipv4) {
        findings.push(routing("ipv4", attached));
    }
    if needed(IpAddr::is_ipv6) {
        findings.push(routing("ipv6", attached));
    }
    findings.extend(
        attached
            .iter()
            .filter_map(|interface| reverse_path(&interface.name)),
    );
    findings
}

fn routing(family: &str, attached: &[Interface]) -> Finding {
    let check = format!("{family} forwarding");
    let off = |interface: &&Interface| {
        interface_setting(family, &interface.name, "forwarding") == Some(0)
    };
    let off: Vec<_> = attached
        .iter()
        .filter(off)
        .map(|interface| interface.name.as_str())
        .collect();
    let everywhere = if family == "ipv4" {
        "sysctl -w net.ipv4.ip_forward=1"
    } else {
        "sysctl -w net.ipv6.conf.all.forwarding=1"
    };
    // Writing again what `all` has already does not reach the interfaces.
    let each = || {
        let setting =
            |name: &&str| format!("net.{family}.conf.{}.forwarding=1", name.replace('.', "/"));
        format!(
            "sysctl -w {}",
            off.iter().map(setting).collect::<Vec<_>>().join(" ")
        )
    };
    let why = "the kernel tells no ways to clients";
    match setting(&format!("{family}/conf/all/forwarding")) {
        None => Finding::bad(
            check,
            "this kernel, or this network namespace, has no such protocol",
        ),
        Some(0) if off.len() == attached.len() => {
            Finding::bad(check, format!("is off: {why}")).fix(everywhere)
        }
        _ if !off.is_empty() => {
            Finding::bad(check, format!("is off on {}: {why}", off.join(", "))).fix(each())
        }
        _ => Finding::good(check, "is on"),
    }
}

/// Strict filtering concerns what goes up the stack alone: the program is there before.
fn reverse_path(interface: &str) -> Option<Finding> {
    let own = interface_setting("ipv4", interface, "rp_filter")?;
    let all = interface_setting("ipv4", "all", "rp_filter")?;
    if own.max(all) != 1 {
        return None;
    }
    let message = format!(
        "is strict on {interface}: harmless for what the program forwards; packets that it passes to the stack are dropped \
         if their answer would leave by another interface"
    );
    // The greater of both counts, and 2 is the loose one.
    let name = interface.replace('.', "/");
    Some(
        Finding::good("reverse path filter", message)
            .fix(format!("sysctl -w net.ipv4.conf.{name}.rp_filter=2")),
    )
}
