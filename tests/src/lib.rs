//! The lab of the splitter's tests, demo and bench.

pub mod bench;
pub mod rig;
