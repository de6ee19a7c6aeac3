//! Agent and command line of the splitter: a pure core, and the shell around it.

pub mod api;
pub mod backend_setup;
pub mod config;
mod connection;
mod crash;
pub mod ctl;
pub mod daemon;
pub mod dataplane;
pub mod decap;
pub mod diagnostic;
pub mod doctor;
pub mod host;
pub mod interface;
pub mod loader;
pub mod manual;
pub mod model;
pub mod nexthop;
pub mod plan;
pub mod prod;
pub mod resource;
pub mod share;
pub mod state;
pub mod store;
pub mod table;
pub mod telemetry;
pub mod writer;

#[cfg(test)]
mod sandbox;
