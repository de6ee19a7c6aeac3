//! The library behind `splitterd`, the agent, and `splitterctl`, its command line.

pub mod config;
pub mod diagnostic;
pub mod model;
pub mod resource;
pub mod share;
pub mod table;
