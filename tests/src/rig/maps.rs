use anyhow::{Context as _, Result, bail};
use aya::maps::MapData;
use splitter_user::loader::Loaded;

/// A handle of our own on a map of the loaded program.
///
/// # Errors
/// If there is no such map, and what the kernel says.
pub fn map_of(loaded: &mut Loaded, name: &str) -> Result<MapData> {
    for program in ["splitter", "splitter_unusual"] {
        let maps = loaded.program(program)?.info()?.map_ids()?;
        for id in maps.context("the kernel names no maps of the program")? {
            let map = MapData::from_id(id)?;
            if map.info()?.name_as_str() == Some(name) {
                return Ok(map);
            }
        }
    }
    bail!("the program has no map {name}")
}
