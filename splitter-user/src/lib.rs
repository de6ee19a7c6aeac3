//! The agent and the command line of the splitter.

pub mod host;
pub mod store;
