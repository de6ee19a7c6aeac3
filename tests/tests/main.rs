//! Every test of the whole: one binary, a directory a subject, names that are sentences.
//!
//! All of them need root and fail without it; those that need an agent need `cargo xtask build` first.
#![expect(
    clippy::unwrap_used,
    reason = "a test says what went wrong by panicking"
)]

mod bad_input;
mod cli;
mod decap;
mod drain;
mod failures;
mod flood;
mod hosts;
mod kernels;
mod lab_itself;
mod life;
mod memory;
mod model;
mod modes;
mod packets;
mod races;
mod restart;
mod shares;
mod verifier;
