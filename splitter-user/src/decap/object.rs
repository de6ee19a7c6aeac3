//! The decapsulator's object in the kernel.

use std::path::Path;

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod, include_bytes_aligned};
use splitter_ebpf::decap::{Config, Counters, REASONS};
use splitter_ebpf::wire::Family;

use super::Rules;
use crate::loader::LoadError;

static OBJECT: &[u8] = include_bytes_aligned!(env!("SPLITTER_DECAP_OBJECT"));

/// The program's name.
const PROGRAM: &str = "splitter_decap";
/// The map that it is told its rules in.
pub(super) const CONFIG: &str = "DECAP_CONFIG";
/// The map that it counts in.
pub(super) const COUNTERS: &str = "DECAP_COUNTERS";

/// A plain value of the contract, as aya wants it marked.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Plain<T: Copy>(T);

// SAFETY: the contract's types are repr(C), without padding, and valid for any bytes.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

/// The program in the kernel, with its rules.
pub struct Program {
    ebpf: Ebpf,
}

impl Program {
    /// Loads the program. With `counters`, those pinned there are counted on, or fresh ones pinned.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is attached then.
    pub fn load(rules: &Rules, counters: Option<&Path>) -> Result<Self, LoadError> {
        let mut loader = EbpfLoader::new();
        if let Some(path) = counters {
            loader.map_pin_path(COUNTERS, path);
        }
        let mut ebpf = loader.load(OBJECT)?;
        let map = ebpf.map_mut(CONFIG).ok_or(LoadError::Missing(CONFIG))?;
        let mut config: Array<_, Plain<Config>> = Array::try_from(map)?;
        for family in Family::ALL {
            config.set(family.index(), Plain(rules.config(family)), 0)?;
        }
        let mut program = Self { ebpf };
        program.xdp()?.load()?;
        Ok(program)
    }

    /// The program itself.
    ///
    /// # Errors
    /// [`LoadError::Missing`].
    pub fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        let program = self
            .ebpf
            .program_mut(PROGRAM)
            .ok_or(LoadError::Missing(PROGRAM))?;
        Ok(program.try_into()?)
    }

    /// The rules' map.
    pub(super) fn take_config(&mut self) -> Result<MapData, LoadError> {
        match self.ebpf.take_map(CONFIG) {
            Some(Map::Array(data)) => Ok(data),
            _ => Err(LoadError::Missing(CONFIG)),
        }
    }

    /// The names of its maps.
    #[must_use]
    pub fn maps(&self) -> Vec<String> {
        let mut names: Vec<String> = self.ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// What was counted, over all CPUs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counters(&self) -> Result<Counters, LoadError> {
        let map = self
            .ebpf
            .map(COUNTERS)
            .ok_or(LoadError::Missing(COUNTERS))?;
        let counters: PerCpuArray<_, Plain<Counters>> = PerCpuArray::try_from(map)?;
        Ok(sum(counters.get(&0, 0)?.iter()))
    }
}

/// The rules that are pinned at `path`.
pub(super) fn pinned_rules(path: &Path) -> Result<Rules, MapError> {
    let config: Array<_, Plain<Config>> = Array::try_from(Map::Array(MapData::from_pin(path)?))?;
    let mut configs = Vec::new();
    for family in Family::ALL {
        configs.push((family, config.get(&family.index(), 0)?.0));
    }
    Ok(Rules::of_configs(&configs))
}

/// What was counted in the map that is pinned at `path`, over all CPUs.
pub(super) fn pinned_counters(path: &Path) -> Result<Counters, MapError> {
    let map = Map::PerCpuArray(MapData::from_pin(path)?);
    let counters: PerCpuArray<_, Plain<Counters>> = PerCpuArray::try_from(map)?;
    Ok(sum(counters.get(&0, 0)?.iter()))
}

fn sum<'c>(cpus: impl Iterator<Item = &'c Plain<Counters>>) -> Counters {
    let mut sum = Counters {
        frames: [0; REASONS],
    };
    for Plain(counters) in cpus {
        for (total, frames) in sum.frames.iter_mut().zip(counters.frames) {
            *total += frames;
        }
    }
    sum
}
