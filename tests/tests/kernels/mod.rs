//! What the kernel of this machine may lack, and Debian's have: bonding, kernel tunnels, IPVS.
//!
//! Run by `cargo xtask test --kernels` alone, in a machine of their own under qemu. A kernel without what a test asks for fails
//! it.

mod bonding;
mod ipvs;
