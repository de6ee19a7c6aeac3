//! The verifier's work, against the figures that are kept.

use std::path::Path;

use anyhow::Result;
use lab::verifier::Figures;

#[test]
fn the_verifiers_work_has_not_grown() -> Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../splitter-ebpf/verifier.json");
    Figures::shipped()?.compare(&Figures::read(&kept)?)
}
