//! What `--status` shows.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;

use serde::Serialize;
use splitter_ebpf::decap::Reason;

use super::Rules;
use super::pins::{DecapError, Pinned};
use crate::interface;
use crate::loader::pin_name;

/// The decapsulator as it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename = "Decapsulator")]
pub struct Status {
    /// By interface: in which mode the program is attached, or nothing where it no longer is.
    pub interfaces: BTreeMap<String, Option<String>>,
    /// What it goes by.
    #[serde(flatten)]
    pub rules: Option<Rules>,
    /// Frames since it was first attached, by reason.
    pub frames: BTreeMap<&'static str, u64>,
}

impl Status {
    /// Reads the pins and the interfaces.
    ///
    /// # Errors
    /// [`DecapError`], [`DecapError::NotAttached`] among them.
    pub fn read(pinned: &Pinned) -> Result<Self, DecapError> {
        let counters = pinned.counted()?;
        let frames = Reason::ALL
            .iter()
            .zip(counters.frames)
            .map(|(reason, frames)| (reason.name(), frames))
            .collect();
        let there = interface::list()?;
        let mut interfaces = BTreeMap::new();
        for pin in fs::read_dir(pinned.links()).into_iter().flatten().flatten() {
            let pin = pin.file_name().to_string_lossy().into_owned();
            let found = there.iter().find(|found| pin_name(&found.name) == pin);
            let name = found.map_or_else(|| pin.clone(), |found| found.name.clone());
            let ours = pinned.program_on(&name);
            let mode = found
                .and_then(|found| found.xdp)
                .filter(|xdp| Some(xdp.program_id) == ours)
                .map(|xdp| xdp.mode.to_string());
            interfaces.insert(name, mode);
        }
        Ok(Self {
            interfaces,
            rules: pinned.rules(),
            frames,
        })
    }

    /// Whether every interface has the program.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.interfaces.is_empty() && self.interfaces.values().all(Option::is_some)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, mode) in &self.interfaces {
            match mode {
                Some(mode) => writeln!(formatter, "interface  {name} ({mode})")?,
                None => writeln!(
                    formatter,
                    "interface  {name} DOES NOT CARRY THE PROGRAM: restart splitter-decap"
                )?,
            }
        }
        if let Some(rules) = &self.rules {
            writeln!(formatter, "vip        {}", joined(rules.vips()))?;
            writeln!(formatter, "source     {}", joined(rules.sources()))?;
            writeln!(formatter, "address    {}", joined(rules.locals()))?;
        }
        // As the reasons go, not as the alphabet does.
        for reason in Reason::ALL {
            let name = reason.name();
            let frames = self.frames.get(name).copied().unwrap_or_default();
            let fate = if reason.drops() { "dropped" } else { "passed" };
            writeln!(formatter, "{frames:>14}  {fate:<7}  {name}")?;
        }
        Ok(())
    }
}

fn joined<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        let gap = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _written = write!(text, "{gap}{item}");
    }
    text
}
