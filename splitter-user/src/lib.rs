//! Agent and command line of the splitter: a pure core, and the shell around it.

pub mod api;
pub mod ctl;
pub mod dataplane;
pub mod loader;
