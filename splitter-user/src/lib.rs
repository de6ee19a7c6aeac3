//! Agent and command line of the splitter: a pure core, and the shell around it.

pub mod api;
pub mod ctl;
pub mod dataplane;
pub mod host;
pub mod interface;
pub mod loader;
pub mod nexthop;
pub mod store;

#[cfg(test)]
mod sandbox;
