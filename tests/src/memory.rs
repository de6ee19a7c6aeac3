//! How much kernel memory the maps of a loaded program take.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use splitter_user::loader::Loaded;

/// Bytes of each map of the program, by its name, as the kernel accounts them (`memlock` in fdinfo).
///
/// # Errors
/// What the kernel says.
pub fn of_maps(loaded: &mut Loaded) -> Result<BTreeMap<String, u64>> {
    let maps = loaded.program("splitter")?.info()?.map_ids()?;
    let mut bytes = BTreeMap::new();
    for id in maps.context("the kernel names no maps of the program")? {
        let map = MapData::from_id(id)?;
        let name = map.info()?.name_as_str().unwrap_or_default().to_owned();
        let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let memory = text.lines().find_map(|line| line.strip_prefix("memlock:"));
        let memory = memory.context("the kernel does not say what a map takes")?;
        *bytes.entry(name).or_default() += memory.trim().parse::<u64>()?;
    }
    Ok(bytes)
}

/// The same, the largest first, for people.
#[must_use]
pub fn table(bytes: &BTreeMap<String, u64>) -> String {
    let mut maps: Vec<_> = bytes.iter().collect();
    maps.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    let line = |(name, bytes): &(&String, &u64)| format!("{name} {:.1}", mebibytes(**bytes));
    let lines: Vec<String> = maps.iter().take(6).map(line).collect();
    let all = bytes.values().sum();
    format!("{:.1} MiB: {}, ...", mebibytes(all), lines.join(", "))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
