//! What a packet may cost.

/// Nanoseconds that a case may take at the median, the floor taken off, if there is a target for it.
/// IPv6 may take half as much again.
pub(super) fn of(case: &str) -> Option<f64> {
    let v4 = match case {
        _ if case.starts_with("foreign ") => 8.0,
        _ if case.ends_with(" existing hot") && case.starts_with("ipip ") => 50.0,
        _ if case.ends_with(" existing hot") => 35.0,
        _ if case.ends_with(" reply hot") => 35.0,
        _ if case.ends_with(" existing 1 M") || case.ends_with(" reply 1 M") => 220.0,
        _ if case.ends_with(" new hot") => 90.0,
        _ if case.ends_with(" new into 1 M") => 260.0,
        _ => return None,
    };
    // No target was set for the mode that translates twice.
    if case.starts_with("fullnat ") && case.ends_with(" hot") {
        return None;
    }
    let v6 = case.split(' ').any(|word| word == "v6");
    Some(if v6 { v4 * 1.5 } else { v4 })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_target_is_for_its_case_and_half_as_much_again_for_ipv6() {
        let targets = [
            ("foreign v4", Some(8.0)),
            ("dnat v4 existing hot", Some(35.0)),
            ("dsr-l2 v6 existing hot", Some(52.5)),
            ("ipip v4 existing hot", Some(50.0)),
            ("dnat udp v4 reply 1 M", Some(220.0)),
            ("ipip v6 new hot", Some(135.0)),
            ("dnat v6 new into 1 M", Some(390.0)),
            ("fullnat v4 existing hot", None),
            ("flip", None),
        ];
        for (case, target) in targets {
            assert_eq!(of(case), target, "{case}");
        }
    }
}
