//! The other end of modes `ipip` and `dsr-l2`: the decapsulator and what a backend's host needs.

mod life;
mod packets;
mod setup;
pub mod traffic;
