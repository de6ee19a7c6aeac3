//! Giving up what the agent does not need once it has begun: it parses what others write, as root.

use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::HostError;

/// What an agent that runs needs.
const NEEDED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW);

/// Lets this thread, and with it every thread that it starts from now on, keep what an agent that runs
/// needs, and nothing else, for good. CAP_SYS_ADMIN is kept by those alone who have it in place of CAP_BPF or
/// CAP_PERFMON.
///
/// For the first and only thread of a process: capabilities are each thread's own.
pub fn keep_least_privileges() -> Result<(), HostError> {
    let failed = |action| {
        move |errno: Errno| HostError::Drop {
            action,
            source: errno.into(),
        }
    };
    thread::set_no_new_privs(true).map_err(failed("forbid new privileges"))?;
    let held = thread::capabilities(None).map_err(failed("read capabilities"))?;
    let kept = kept_of(held.permitted);
    limit(kept, held).map_err(failed("limit what programs it starts could get"))?;
    thread::clear_ambient_capability_set().map_err(failed("clear ambient capabilities"))?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets).map_err(failed("drop capabilities"))
}

/// What is kept of `held`.
fn kept_of(held: CapabilitySet) -> CapabilitySet {
    let alone = CapabilitySet::BPF.union(CapabilitySet::PERFMON);
    if held.contains(alone) {
        held.intersection(NEEDED)
    } else {
        held.intersection(NEEDED.union(CapabilitySet::SYS_ADMIN))
    }
}

/// Takes everything else out of the bounding set; without CAP_SETPCAP that stays as whoever started the
/// agent has made it.
fn limit(kept: CapabilitySet, held: CapabilitySets) -> Result<(), Errno> {
    if !held.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for bit in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(one) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(one) {
            // The kernel knows no more.
            Err(Errno::INVAL) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_keeps_what_is_needed_and_no_more() {
        assert_eq!(kept_of(CapabilitySet::all()), NEEDED);
        assert_eq!(kept_of(NEEDED), NEEDED);
    }

    #[test]
    fn sys_admin_stays_where_it_stands_for_another() {
        let old = CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN);
        assert_eq!(kept_of(old.union(CapabilitySet::CHOWN)), old);
        let bpf_alone = old.union(CapabilitySet::BPF);
        assert_eq!(kept_of(bpf_alone), bpf_alone);
    }
}
