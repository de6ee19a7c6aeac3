//! The agent and the command line of the splitter.

pub mod doctor;
pub mod host;
pub mod interface;
pub mod nexthop;
pub mod store;

#[cfg(test)]
mod sandbox;
