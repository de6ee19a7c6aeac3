//! Two CPUs at once, and somebody who changes the tables meanwhile. Counts are reduced; those of
//! `cargo xtask test --soak` find what is rarer.

mod backends;
mod expiry;
mod flips;
mod inserts;
mod slots;
mod translated;

use std::hint::spin_loop;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, anyhow};
use lab::bench::pin_to_cpu;
use lab::rig::{Outcome, Plan, Rig, Runner, TX, tcp};
use splitter_ebpf::endpoint::{FlowPlace, FlowTuple, flow_place};
use splitter_ebpf::wire::{TCP, WirePort};
use splitter_user::dataplane::FlowSlot;

const WEB: &str = "198.18.1.100:80";
const OTHER: &str = "198.18.1.101:80";

/// One of two threads, on a CPU of its own, with its own handle on the program.
struct Worker {
    cpu: usize,
    runner: Runner,
    packet: Vec<u8>,
    outcome: Outcome,
}

impl Worker {
    fn new(cpu: usize, runner: Runner) -> Self {
        let packet = tcp("198.18.0.1:1", WEB).with(b"data").frame();
        let outcome = Outcome {
            action: 0,
            packet: Vec::new(),
        };
        Self {
            cpu,
            runner,
            packet,
            outcome,
        }
    }

    /// Sends a TCP packet of client number `client` to a VIP's port 80, and says to which backend it went.
    fn send(&mut self, client: u32, vip: [u8; 4], flags: u8) -> Result<[u8; 4]> {
        let (address, port) = client_of(client);
        self.packet[26..30].copy_from_slice(&address.octets());
        self.packet[30..34].copy_from_slice(&vip);
        self.packet[34..36].copy_from_slice(&port.to_be_bytes());
        self.packet[47] = flags;
        self.runner.run_into(&self.packet, &mut self.outcome)?;
        if self.outcome.action != TX {
            return Err(anyhow!("client {client}: action {}", self.outcome.action));
        }
        let to = &self.outcome.packet[30..34];
        Ok([to[0], to[1], to[2], to[3]])
    }

    /// The backend's answer to a client.
    fn answer(&mut self, client: u32, backend: [u8; 4], flags: u8) -> Result<u32> {
        let (address, port) = client_of(client);
        let mut packet = self.packet.clone();
        packet[26..30].copy_from_slice(&backend);
        packet[30..34].copy_from_slice(&address.octets());
        packet[34..36].copy_from_slice(&80_u16.to_be_bytes());
        packet[36..38].copy_from_slice(&port.to_be_bytes());
        packet[47] = flags;
        self.runner.run_into(&packet, &mut self.outcome)?;
        Ok(self.outcome.action)
    }
}

const VIP: [u8; 4] = [198, 18, 1, 100];
const OTHER_VIP: [u8; 4] = [198, 18, 1, 101];

/// Client number `n`: sixteen bits of it choose the address, the others the port.
fn client_of(n: u32) -> (Ipv4Addr, u16) {
    let [a, b, c, d] = n.to_be_bytes();
    (
        Ipv4Addr::new(198, 19, c, d),
        u16::from_be_bytes([a, b]).wrapping_add(1024),
    )
}

/// The tuple of client number `n` at a VIP.
fn tuple_of(n: u32, vip: [u8; 4]) -> FlowTuple {
    let (address, port) = client_of(n);
    FlowTuple {
        client: address.into(),
        vip: Ipv4Addr::from(vip).into(),
        client_port: WirePort::new(port),
        vip_port: WirePort::new(80),
        protocol: TCP,
    }
}

/// Runs `work` on CPUs 0 and 1, and `meanwhile` on this thread until both are done or one has failed.
fn on_two_cpus(
    runners: [Runner; 2],
    work: impl Fn(Worker, &AtomicBool) -> Result<()> + Sync,
    mut meanwhile: impl FnMut() -> Result<()>,
) -> Result<()> {
    let (stop, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let [first, second] = runners;
    std::thread::scope(|scope| {
        let threads = [Worker::new(0, first), Worker::new(1, second)].map(|worker| {
            let (work, stop, ended) = (&work, &stop, &ended);
            scope.spawn(move || {
                let result = pin_to_cpu(worker.cpu).and_then(|()| work(worker, stop));
                if result.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                ended.fetch_add(1, Ordering::Release);
                result
            })
        });
        let mut result = Ok(());
        while result.is_ok() && ended.load(Ordering::Acquire) < 2 {
            result = meanwhile();
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            let ended = thread.join().map_err(|_| anyhow!("a worker panicked"));
            result = result.and(ended.flatten());
        }
        result
    })
}

/// What this thread does while the CPUs are among themselves.
fn idle() -> Result<()> {
    sleep(Duration::from_millis(5)); // paced: gives way to the threads that race
    Ok(())
}

/// Two threads that wait for each other.
#[derive(Default)]
struct Meeting(AtomicUsize);

impl Meeting {
    /// Returns when both are here for the `n`-th time; false if one will never come.
    fn meet(&self, n: usize, stop: &AtomicBool) -> bool {
        self.0.fetch_add(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) < 2 * n {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            spin_loop();
        }
        true
    }
}

/// Two handles on the program.
fn runners(rig: &Rig) -> Result<[Runner; 2]> {
    Ok([rig.runner()?, rig.runner()?])
}

/// The backend's address.
fn address_of(rig: &Rig, backend: u16) -> [u8; 4] {
    rig.tables().backend(backend).address.0[0].to_ne_bytes()
}

/// Addresses of `count` backends in 198.18.`net`.0/24, with the listener's port.
fn backends(net: u8, count: u8) -> Vec<String> {
    (1..=count)
        .map(|host| format!("198.18.{net}.{host}:0"))
        .collect()
}

/// A plan of a service at these listeners with tracks of four backends in these networks.
fn plan(name: &str, listeners: &[&str], nets: &[u8]) -> Plan {
    let mut plan = Plan::new(name);
    for at in listeners {
        plan = plan.listen(at, TCP);
    }
    for net in nets {
        let track = backends(*net, 4);
        plan = plan.track(&track.iter().map(String::as_str).collect::<Vec<_>>());
    }
    plan
}

/// Where a flow's name says that it lies.
fn place(rig: &Rig, flow: &FlowSlot) -> FlowPlace {
    let mask = u32::try_from(rig.tables().flow_buckets() - 1).expect("few buckets");
    flow_place(rig.tables().keys.flow, flow.key, mask)
}

/// When nobody writes: every flow's value is its own, in one of its buckets, and there is one of each.
fn assert_consistent(rig: &Rig) -> Result<()> {
    let mut keys = std::collections::BTreeSet::new();
    for flow in rig.flows() {
        let place = place(rig, &flow);
        let bucket = u32::try_from(flow.slot / splitter_ebpf::abi::BUCKET_FLOWS)?;
        if flow.value.tag() != place.tag || !place.buckets.contains(&bucket) {
            return Err(anyhow!(
                "slot {} has one flow's key and another's value",
                flow.slot
            ));
        }
        if !keys.insert(flow.key) {
            return Err(anyhow!("flow {:#x} appears twice", flow.key));
        }
    }
    Ok(())
}
