//! Kernel memory of the tables, and tables of ten million flows.

use anyhow::Result;
use lab::bench::World;
use lab::rig::{SECRET, isolate};
use lab::{heavy, memory, soak};
use splitter_user::loader::{Layout, load};

/// Kernel memory of all maps for so many flows, at the agent's default limits otherwise.
fn bytes(flows: u32) -> Result<u64> {
    isolate()?;
    let mut loaded = load(Layout::new(256, 4096, flows), &SECRET, None)?;
    let bytes = memory::of_maps(&mut loaded)?;
    println!("{flows} flows: {}", memory::table(&bytes));
    Ok(bytes.values().sum())
}

const MEBIBYTE: u64 = 1 << 20;

#[test]
fn a_million_flows_take_at_most_192_mebibytes() -> Result<()> {
    let bytes = bytes(1_000_000)?;
    assert!(bytes <= 192 * MEBIBYTE, "{bytes} bytes");
    Ok(())
}

#[test]
fn four_million_flows_take_at_most_768_mebibytes() -> Result<()> {
    let _turn = heavy()?;
    let bytes = bytes(4_000_000)?;
    assert!(bytes <= 768 * MEBIBYTE, "{bytes} bytes");
    Ok(())
}

/// Under `--soak` ten million: each is pinned, and found again where it was pinned to.
#[test]
fn ten_million_flows_are_pinned_and_found_again() -> Result<()> {
    let _turn = heavy()?;
    let flows = soak(1_000_000, 10_000_000);
    World::sized(u32::try_from(flows)?)?.pins(u32::try_from(flows)?)
}
