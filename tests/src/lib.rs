//! The lab: real hosts in network namespaces, real servers, real load, and the real agent, each as a guard
//! that takes itself away again.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let site = lab::Site::web(&[("blue", "95%"), ("green", "5%")])?;
//! let load = site.load().keep_alive(64).start(&site.hosts.client)?;
//! site.agent.change("cutover web --to green")?;
//! load.stop()?.assert_nothing_lost();
//! # Ok(())
//! # }
//! ```
//!
//! Everything here needs root, and touches nothing outside the namespaces, mounts and directories it makes.

mod agent;
mod backend_host;
pub mod bench;
mod cleanup;
mod datagram;
mod deaf;
mod digest;
mod disk;
mod echoes;
mod encapsulator;
mod foreign;
mod heavy;
mod hosts;
mod idle;
mod leftovers;
pub mod load;
pub mod memory;
mod mode;
pub mod model;
mod namespace;
mod nginx;
mod peer;
mod ping;
mod process;
pub mod rig;
mod scratch;
mod service;
mod site;
mod topology;
mod transfer;
mod udp;
pub mod verifier;
mod wait;

pub use agent::{Agent, Answer, Change, Configuration, Fate, open_to_all, profile_directory};
pub use backend_host::BackendHost;
pub use cleanup::on_signals as clean_up_on_signals;
pub use datagram::{End, Extra, refused, told_mtu, trace, with_extra};
pub use deaf::Deaf;
pub use digest::Digest;
pub use disk::Disk;
pub use echoes::{echo, exchange};
pub use encapsulator::{Encapsulator, OUTER_SOURCE_V4, OUTER_SOURCE_V6};
pub use foreign::ForeignXdp;
pub use heavy::{Heavy, heavy, soak};
pub use hosts::{BACKENDS, Backend, Hosts, VIP_V4, VIP_V6, backends_of, track_of};
pub use idle::{Ended, Idle, IdleEnd, IdleRole, hold_idle_ends};
pub use load::{Load, Running, Totals};
pub use mode::Mode;
pub use namespace::Namespace;
pub use nginx::Nginx;
pub use peer::Held;
pub use ping::ping;
pub use process::ChildGuard;
pub use scratch::Scratch;
pub use service::Service;
pub use site::{BRIEF, SOON, Site};
pub use topology::{SOLE, Topology};
pub use transfer::{Blob, MB, Transfer};
pub use udp::UdpEcho;
pub use wait::{await_some, await_until, for_a_while};
