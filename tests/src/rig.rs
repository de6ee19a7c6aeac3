//! The loaded program and its tables, without an interface: packets go in by `BPF_PROG_TEST_RUN`.
//!
//! A [`Rig`] programs services straight through the agent's `DataPlane`, with no agent: what packets
//! meet is exactly what a test has written. The ingress interface of a test run is `lo`, index 1, so
//! a next hop over 1 gives `XDP_TX`, and over any other index `XDP_REDIRECT`.

mod flips;
mod packet;
mod run;
mod service;

pub use packet::{BALANCER_MAC, CLIENT_MAC, Echo, Segment, mac_of, tcp, udp};
pub use run::{DROP, Outcome, PASS, REDIRECT, Runner, TX};
pub use service::{Plan, Server, Service, all, split};

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use splitter_ebpf::abi::Pair;
use splitter_ebpf::verdict::Reason;
use splitter_user::dataplane::kernel::Kernel;
use splitter_user::dataplane::{DataPlane as _, FlowSlot, Tables};
use splitter_user::loader::{Layout, Loaded, load};

/// The secret of every rig: places, slots and shares are the same in every run.
pub const SECRET: [u8; 32] = *b"one secret for every test's rig.";

/// Sizes that serve most tests: 8192 flows.
pub const SMALL: Layout = Layout {
    services: 15,
    backends: 4095,
    listeners: 63,
    replies: 4096,
    endpoint_buckets: 4096,
    flow_buckets: 1024,
};

/// A loaded program and its tables.
pub struct Rig {
    plane: Kernel,
    runner: Runner,
    listeners: u16,
    services: u16,
    backends: u16,
    /// By backend endpoint: its reply record, and what it answers for.
    replies: BTreeMap<(IpAddr, u16, u8), (u32, Vec<Pair>)>,
    rows: flips::Rows,
}

impl Rig {
    /// A rig of [`SMALL`] tables.
    ///
    /// # Errors
    /// What the kernel says; without root, that is no.
    pub fn new() -> Result<Self> {
        Self::sized(SMALL)
    }

    /// A rig with tables of these sizes.
    ///
    /// # Errors
    /// As for [`Rig::new`].
    pub fn sized(layout: Layout) -> Result<Self> {
        Self::of(
            load(layout, &SECRET, None)
                .context("packet tests load the XDP program: run them as root")?,
        )
    }

    /// A rig over an object that is loaded with [`SECRET`].
    ///
    /// # Errors
    /// As for [`Rig::new`].
    pub fn of(mut loaded: Loaded) -> Result<Self> {
        let runner = Runner::of(loaded.program("splitter")?)?;
        let plane = Kernel::new(loaded, &SECRET)?;
        Ok(Self {
            plane,
            runner,
            listeners: 0,
            services: 0,
            backends: 0,
            replies: BTreeMap::new(),
            rows: flips::Rows::default(),
        })
    }

    /// What the agent would drive.
    pub const fn plane(&mut self) -> &mut Kernel {
        &mut self.plane
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        self.plane.tables()
    }

    /// Another handle on the program, for another thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn runner(&self) -> Result<Runner> {
        self.runner.again()
    }

    /// Gives the program a packet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(&self, packet: &[u8]) -> Result<Outcome> {
        self.runner.run(packet)
    }

    /// Gives the program a packet, and says what it counted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run_counted(&self, packet: &[u8]) -> Result<(Outcome, Vec<Reason>)> {
        let before = self.plane.verdicts()?;
        let outcome = self.run(packet)?;
        let after = self.plane.verdicts()?;
        let mut counted = Vec::new();
        for reason in Reason::ALL {
            let number = *reason as usize;
            for _ in before.packets[number]..after.packets[number] {
                counted.push(*reason);
            }
        }
        Ok((outcome, counted))
    }

    /// How often each reason was counted so far.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counted(&self, reason: Reason) -> Result<u64> {
        Ok(self.plane.verdicts()?.packets[reason as usize])
    }

    /// Every flow in the table.
    #[must_use]
    pub fn flows(&self) -> Vec<FlowSlot> {
        let mut flows = Vec::new();
        self.tables()
            .scan(0..self.tables().flow_buckets(), |flow| flows.push(flow));
        flows
    }

    /// Frees every flow.
    pub fn forget_flows(&self) {
        for flow in self.flows() {
            let _freed = self.tables().free_flow(&flow);
        }
    }
}
