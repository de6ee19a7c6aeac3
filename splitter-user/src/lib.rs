//! Agent and command line of the splitter: a pure core, and the shell around it.

pub mod dataplane;
pub mod loader;
