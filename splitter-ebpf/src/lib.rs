//! The contract between the XDP program and user space, and every piece of arithmetic they share.
//!
//! Everything here is pure: it builds for the BPF target and for the host, so host tests, fuzzers,
//! the bench and the agent run the very code that runs on packets. The program itself is the binary
//! of this package (`src/main.rs`, feature `program`).
#![no_std]

pub mod abi;
pub mod answer;
pub mod checksum;
pub mod choice;
pub mod decap;
#[cfg(feature = "bench")]
pub mod drive;
pub mod endpoint;
pub mod flow;
pub mod hash;
pub mod headers;
pub mod lanes;
pub mod rewrite;
pub mod unusual;
pub mod verdict;
pub mod wire;
