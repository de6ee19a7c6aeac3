//! The data plane as the agent sees it.

pub mod mapping;
