//! Agent and command line of the splitter: a pure core, and the shell around it.

pub mod api;
pub mod config;
pub mod ctl;
pub mod dataplane;
pub mod diagnostic;
pub mod doctor;
pub mod host;
pub mod interface;
pub mod loader;
pub mod model;
pub mod nexthop;
pub mod resource;
pub mod share;
pub mod store;
pub mod table;

#[cfg(test)]
mod sandbox;
