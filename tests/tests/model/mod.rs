//! The loaded program beside the plain model, over random packets and events.

use anyhow::{Context as _, Result};
use lab::model::Shard;
use lab::soak;

/// Other packets and events than usual: the seed of a failure, to see it again.
const SEED: &str = "SPLITTER_MODEL_SEED";

/// Parts that a run is cut into, for several CPUs, each with a seed of its own: the tests below.
const SHARDS: usize = 4;

macro_rules! shards {
    ($($name:ident = $number:literal;)+) => {
        $(#[test]
        fn $name() -> Result<()> {
            shard($number)
        })+

        const _: () = assert!([$($number),+].len() == SHARDS);
    };
}

shards! {
    the_program_does_what_the_plain_model_does_1 = 0;
    the_program_does_what_the_plain_model_does_2 = 1;
    the_program_does_what_the_plain_model_does_3 = 2;
    the_program_does_what_the_plain_model_does_4 = 3;
}

fn shard(number: usize) -> Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{SEED} is {text:?}: give a number"))?,
        Err(_) => 1 + u64::try_from(number)?,
    };
    let packets = soak(1_000_000, 100_000_000) / SHARDS;
    let shard = Shard {
        seed,
        packets,
        // Loading the program takes as long as some thousand steps.
        steps: soak(16_000, 60_000),
        number,
    };
    let verdicts = shard.run()?;
    for (reason, count) in &verdicts {
        assert!(
            *count > 0 || UNMET.contains(reason),
            "{reason}: not once; of {verdicts:#?}"
        );
    }
    Ok(())
}

/// Verdicts that a trial does not meet: those of contention (`unpinned_contended`, `nat_unfinished`), for one
/// CPU runs; those of faults (`inconsistent`: a table without its entry; `unwritable`: a frame without room
/// in front); and `no_return_path`, for which another client of a flow must have taken the one's cell among
/// [`LEARNED_HOPS`](splitter_ebpf::abi::LEARNED_HOPS), and the trial has few clients.
const UNMET: [&str; 5] = [
    "inconsistent",
    "no_return_path",
    "unpinned_contended",
    "unwritable",
    "nat_unfinished",
];
