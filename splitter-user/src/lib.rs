//! x
pub mod api;
pub mod ctl;
