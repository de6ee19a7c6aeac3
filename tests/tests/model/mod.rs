//! The loaded program beside the plain model, over random packets and events.

use anyhow::{Context as _, Result};
use lab::{model, soak};

/// Other packets and events than usual: the seed of a failure, to see it again.
const SEED: &str = "SPLITTER_MODEL_SEED";

#[test]
fn the_program_does_what_the_plain_model_does() -> Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{SEED} is {text:?}: give a number"))?,
        Err(_) => 1,
    };
    let verdicts = model::run(seed, soak(1_000_000, 100_000_000))?;
    for (reason, count) in &verdicts {
        assert!(
            *count > 0 || UNMET.contains(reason),
            "{reason}: not once; of {verdicts:#?}"
        );
    }
    Ok(())
}

/// Verdicts that the model's packets do not meet: of contention and faults, and of what it leaves out.
const UNMET: [&str; 13] = [
    "inconsistent",
    "no_return_path",
    "unpinned_contended",
    "unwritable",
    "nat_unfinished",
    "flow_cut",
    "flow_cut_onward",
    "fragment",
    "fragment_followed",
    "icmp_error",
    "icmp_error_followed",
    "ipv4_options",
    "ipv6_extension",
];
