//! The loaded program and its tables, without an interface: packets go in by `BPF_PROG_TEST_RUN`.
//!
//! A [`Rig`] programs services straight through the agent's `DataPlane`, with no agent: what packets
//! meet is exactly what a test has written. The ingress interface of a test run is `lo`, index 1, so
//! a next hop over 1 gives `XDP_TX`, and over any other index `XDP_REDIRECT`.

mod flips;
mod maps;
mod network;
mod packet;
mod run;
mod service;
mod told;

pub use maps::map_of;
pub use network::{isolate, limit_clients, route_to_clients};
pub use packet::{BALANCER_MAC, CLIENT_MAC, Echo, Segment, mac_of, tcp, udp};
pub use run::{DROP, Outcome, PASS, REDIRECT, Runner, TX};
pub use service::{Plan, Server, Service, all, split};
pub use told::Told;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use splitter_ebpf::abi::{EndpointKind, Pair};
use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6};
use splitter_ebpf::flow::TICK_MASK;
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{WireAddress, WirePort};
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

/// A backend endpoint's reply record, what it answers for, and as what.
type Answerer = (u32, Vec<Pair>, EndpointKind);

/// A loaded program and its tables.
pub struct Rig {
    plane: Kernel,
    runner: Runner,
    listeners: u16,
    services: u16,
    backends: u16,
    pools: u16,
    /// By backend endpoint: address, port and protocol.
    replies: BTreeMap<(IpAddr, u16, u8), Answerer>,
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

    /// A rig with tables of these sizes, in a network of this thread's own.
    ///
    /// # Errors
    /// As for [`Rig::new`].
    pub fn sized(layout: Layout) -> Result<Self> {
        isolate()?;
        let loaded = load(layout, &SECRET, None);
        Self::of(loaded.context("packet tests load the XDP program: run them as root")?)
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
            pools: 0,
            replies: BTreeMap::new(),
            rows: flips::Rows::default(),
        })
    }

    /// What the agent would drive.
    pub const fn plane(&mut self) -> &mut Kernel {
        &mut self.plane
    }

    /// What the agent would drive, to be asked.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.plane
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

    /// The flow of a client's packet to a listener, if it is pinned.
    #[must_use]
    pub fn flow(&self, packet: &Segment, listener: u16) -> Option<FlowSlot> {
        let key = self.key(packet, listener);
        let (mut found, mut count) = (None, 0);
        self.tables().scan(0..self.tables().flow_buckets(), |flow| {
            if flow.key == key {
                found = Some(flow);
                count += 1;
            }
        });
        assert!(count <= 1, "{count} entries of one flow");
        found
    }

    /// The name of the flow of a client's packet to a listener.
    #[must_use]
    pub fn key(&self, packet: &Segment, listener: u16) -> u64 {
        let port = WirePort::new(packet.from.port());
        match WireAddress::from(packet.from.ip()) {
            address if packet.from.is_ipv4() => flow_key_v4(address.0[0], port, listener),
            address => flow_key_v6(self.tables().keys.fingerprint, address, port, listener),
        }
    }

    /// Waits until the packets' clock has gone on by so many ticks.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_ticks(&self, ticks: u32) -> Result<()> {
        let start = self.plane.now()?;
        while self.plane.now()?.wrapping_sub(start) & TICK_MASK < ticks {
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Frees every flow.
    pub fn forget_flows(&self) {
        for flow in self.flows() {
            let _freed = self.tables().free_flow(&flow);
        }
    }
}
