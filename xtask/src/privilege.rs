//! What the demo, the tests and the bench may do: a lack is an error, never a reason to skip.

use std::fs;

use anyhow::{Context as _, Result, bail};

/// Capabilities that loading XDP and making network namespaces need, by their number in the kernel.
const NEEDED: [(u32, &str); 5] = [
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (21, "CAP_SYS_ADMIN"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// Fails unless this process may do all that `verb` does.
pub fn check(verb: &str) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")
        .context("cannot read this process's capabilities")?;
    let effective = effective(&status).context("the kernel names no effective capabilities")?;
    let missing = missing(effective);
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "`cargo xtask {verb}` loads XDP programs and makes network namespaces, and this process lacks {}: \
         run it as root, for example `sudo --preserve-env=PATH,HOME $(command -v cargo) xtask {verb}`",
        missing.join(", ")
    )
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<&'static str> {
    NEEDED
        .iter()
        .filter(|(bit, _)| (effective >> bit) & 1 == 0)
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_process_lacks_nothing() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001ffffffffff\n").map(missing),
            Some(Vec::new())
        );
    }

    #[test]
    fn an_ordinary_user_is_told_every_capability_it_lacks() {
        let lacks = effective("CapEff:\t0000000000000000\n").map(missing);
        assert_eq!(lacks.map(|names| names.len()), Some(NEEDED.len()));
    }

    #[test]
    fn one_capability_too_few_is_named() {
        assert_eq!(missing(0x1ff_ffff_ffff & !(1 << 39)), ["CAP_BPF"]);
    }
}
