use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use aya::include_bytes_aligned;
use splitter_ebpf::drive::Drive;
use splitter_ebpf::flow::State;
use splitter_ebpf::wire::TCP;
use splitter_user::dataplane::mapping::Mapping;
use splitter_user::loader::{Layout, load_object};

use super::measure::cpu_time;
use crate::memory;
use crate::rig::{Plan, Rig, Runner, SECRET, Segment, isolate};

static OBJECT: &[u8] = include_bytes_aligned!(env!("SPLITTER_BENCH_OBJECT"));

/// The driver of a family, with the program and without.
pub(super) struct Driver {
    pub with: Runner,
    pub floor: Runner,
}

/// A rig with a driver.
pub struct World {
    /// Its tables.
    pub rig: Rig,
    /// Bytes of kernel memory of its maps.
    pub memory: BTreeMap<String, u64>,
    pub(super) splitter: Runner,
    pub(super) nothing: Runner,
    pub(super) drivers: [Driver; 2],
    pub(super) drive: Mapping<Drive>,
}

impl World {
    /// A flow table that fits a CPU's cache.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn small() -> Result<Self> {
        Self::new(Layout::new(16, 1024, 4096))
    }

    /// The table for a million flows.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn large() -> Result<Self> {
        Self::new(Layout::new(16, 1024, 1_000_000))
    }

    /// The table for so many flows.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sized(flows: u32) -> Result<Self> {
        isolate()?;
        Self::new(Layout::new(16, 1024, flows))
    }

    fn new(layout: Layout) -> Result<Self> {
        let mut loaded = load_object(OBJECT, layout, &SECRET, None)
            .context("load the program: run the bench as root")?;
        let mut runner = |name| Runner::of(loaded.program(name)?);
        let drivers = [
            Driver {
                with: runner("drive_v4")?,
                floor: runner("drive_v4_floor")?,
            },
            Driver {
                with: runner("drive_v6")?,
                floor: runner("drive_v6_floor")?,
            },
        ];
        let (splitter, nothing) = (runner("splitter")?, runner("splitter_floor")?);
        let memory = memory::of_maps(&mut loaded)?;
        let drive = Mapping::of_map(loaded.take_array("DRIVE")?.fd(), 1)?;
        let mut rig = Rig::of(loaded)?;
        let many: Vec<String> = web_backends().iter().map(SocketAddr::to_string).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let web = Plan::new("web")
            .listen(WEB[0], TCP)
            .listen(WEB[1], TCP)
            .track(&many);
        let solo = Plan::new("solo")
            .listen(SOLO[0], TCP)
            .listen(SOLO[1], TCP)
            .track(&SOLO_BACKEND);
        for plan in [web, solo] {
            rig.serve(&plan)?;
        }
        Ok(Self {
            rig,
            memory,
            splitter,
            nothing,
            drivers,
            drive,
        })
    }

    /// Nanoseconds that each of `count` packets like `template` takes, with the program and without.
    pub(super) fn turn(
        &mut self,
        orders: &Drive,
        template: &Segment,
        count: u32,
    ) -> Result<[f64; 2]> {
        let driver = &self.drivers[usize::from(template.from.is_ipv6())];
        let frame = template.frame();
        let mut took = [0.0; 2];
        for (runner, took) in [&driver.floor, &driver.with].into_iter().zip(&mut took) {
            self.drive.write(0, *orders);
            let time = cpu_time(|| {
                let action = runner.repeat(&frame, count)?;
                ensure!(
                    action >= crate::rig::PASS,
                    "a packet of the bench met action {action}"
                );
                Ok(())
            })?;
            *took = time / f64::from(count);
        }
        let [floor, with] = took;
        Ok([with, floor])
    }

    /// Sends `count` packets through the program, unmeasured.
    pub(super) fn send(&self, orders: &Drive, template: &Segment, count: u32) -> Result<()> {
        self.drive.write(0, *orders);
        let driver = &self.drivers[usize::from(template.from.is_ipv6())];
        driver.with.repeat(&template.frame(), count)?;
        Ok(())
    }

    /// Backends of the service that listens there.
    pub(super) fn backends_of(&self, listener: &SocketAddr) -> Vec<SocketAddr> {
        let web = WEB.map(|at| at.parse().ok()).contains(&Some(*listener));
        let solo = SOLO_BACKEND.iter().filter_map(|at| at.parse().ok());
        let all: Vec<SocketAddr> = if web { web_backends() } else { solo.collect() };
        let family = |at: &SocketAddr| at.is_ipv6() == listener.is_ipv6();
        all.into_iter().filter(family).collect()
    }

    /// Frees the flows in one state.
    pub(super) fn free(&self, state: State) {
        for flow in self.rig.flows() {
            if flow.value.state_bits() == state as u8 {
                let _freed = self.rig.tables().free_flow(&flow);
            }
        }
    }
}

/// Eight a family.
fn web_backends() -> Vec<SocketAddr> {
    let of = |n: u8| {
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, n.into());
        [IpAddr::from([198, 18, 2, n]), v6.into()].map(|ip| SocketAddr::new(ip, 8080))
    };
    (1..=8).flat_map(of).collect()
}

/// Listeners of the service with eight backends, by family.
pub(super) const WEB: [&str; 2] = ["198.18.1.100:80", "[2001:db8:1::100]:80"];
/// Listeners of the service with one backend, so that all replies come from it.
pub(super) const SOLO: [&str; 2] = ["198.18.1.101:80", "[2001:db8:1::101]:80"];
/// Its backend.
pub(super) const SOLO_BACKEND: [&str; 2] = ["198.18.3.1:8080", "[2001:db8:3::1]:8080"];
/// The first client.
pub(super) const CLIENT: [&str; 2] = ["198.19.0.0:8192", "[2001:db8:c::]:8192"];
/// The first client of new flows among many old ones.
pub(super) const STRANGER: [&str; 2] = ["198.19.128.0:8192", "[2001:db8:c::8000:0]:8192"];
