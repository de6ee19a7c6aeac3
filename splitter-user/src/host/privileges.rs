//! The capabilities of this process.

use super::HostError;

const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Refuses to go on without the privileges that attaching a program takes.
pub fn check_privileges() -> Result<(), HostError> {
    let missing = missing_capabilities()?;
    if missing.is_empty() {
        Ok(())
    } else {
        Err(HostError::Privileges { missing })
    }
}

/// What this thread lacks of CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN for both), CAP_NET_ADMIN and
/// CAP_NET_RAW. The verifier asks for CAP_PERFMON where a program compares pointers, as ours does with the ends of
/// packets (`bpf_allow_ptr_leaks` of include/linux/bpf.h).
pub fn missing_capabilities() -> Result<Vec<&'static str>, HostError> {
    let path = "/proc/thread-self/status";
    let failed = |source| HostError::Io {
        path: path.into(),
        action: "read",
        source,
    };
    let status = std::fs::read_to_string(path).map_err(failed)?;
    effective(&status)
        .map(missing)
        .ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |capability: u32| effective & (1 << capability) != 0;
    let mut missing = Vec::new();
    if !has(BPF) && !has(SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    if !has(PERFMON) && !has(SYS_ADMIN) {
        missing.push("CAP_PERFMON");
    }
    if !has(NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if !has(NET_RAW) {
        missing.push("CAP_NET_RAW");
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::{BPF, NET_ADMIN, NET_RAW, PERFMON, SYS_ADMIN, effective, missing};

    #[test]
    fn the_effective_set_is_read() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000008000003000\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(
            effective(status),
            Some(1 << BPF | 1 << NET_ADMIN | 1 << NET_RAW)
        );
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn sys_admin_stands_for_bpf_alone() {
        let least = 1 << BPF | 1 << NET_ADMIN | 1 << NET_RAW;
        assert_eq!(missing(least | 1 << PERFMON), [""; 0]);
        assert_eq!(missing(least), ["CAP_PERFMON"]);
        assert_eq!(
            missing(1 << SYS_ADMIN | 1 << NET_ADMIN | 1 << NET_RAW),
            [""; 0]
        );
        assert_eq!(missing(1 << SYS_ADMIN), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(
            missing(0),
            ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_NET_RAW"]
        );
    }
}
