//! What the kernel of this machine may lack, and Debian's have: bonding, VLAN interfaces, kernel tunnels, IPVS.
//!
//! Run by `cargo xtask test --kernels` alone, in a machine of their own under qemu. A kernel without what a test asks for fails
//! it. Nothing here says how fast anything is: those machines' CPUs are translated.

mod bonding;
mod decap;
mod ends;
mod ipvs;
mod scene;
mod tunnels;
mod vlan;
