use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result, ensure};
use aya::include_bytes_aligned;
use splitter_ebpf::abi::ColdKey;
use splitter_ebpf::drive::Drive;
use splitter_ebpf::flow::State;
use splitter_user::dataplane::mapping::Mapping;
use splitter_user::loader::{Layout, load_object};

use super::measure::cpu_time;
use super::scene::{Crew, SCENES, Scene};
use crate::memory;
use crate::rig::{Rig, Runner, SECRET, Segment, Service, isolate, map_of};

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
    pub(super) ends: Mapping<u64>,
    /// Full keys and translations, beside the flows' slots.
    pub(super) keys: Mapping<ColdKey>,
    services: Vec<(Scene, [Service; 2])>,
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
        let ends = Mapping::of_map(loaded.take_array("DRIVE_ENDS")?.fd(), Drive::LISTED)?;
        let keys = map_of(&mut loaded, "FLOW_KEYS")?;
        let keys = Mapping::of_map(keys.fd(), layout.flow_slots())?;
        let mut rig = Rig::of(loaded)?;
        let mut services = Vec::new();
        for scene in SCENES {
            let [eight, one] = scene.plans();
            services.push((scene, [rig.serve(&eight)?, rig.serve(&one)?]));
        }
        Ok(Self {
            rig,
            memory,
            splitter,
            nothing,
            drivers,
            drive,
            ends,
            keys,
            services,
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

    /// The id of a scene's listener.
    pub(super) fn listener(&self, scene: Scene, crew: Crew, family: usize) -> Option<u16> {
        let mut services = self.services.iter().filter(|(of, _)| *of == scene);
        let (_, services) = services.next()?;
        Some(services[crew as usize].listeners[family])
    }

    /// Frees the flows that were never answered, and their second entries.
    pub(super) fn free_new(&self) {
        let (flows, mut freed) = (self.rig.flows(), HashSet::new());
        let new = [State::New as u8, State::UdpNew as u8];
        for flow in &flows {
            if new.contains(&flow.value.state_bits()) && self.rig.tables().free_flow(flow) {
                freed.insert(flow.slot as u64);
            }
        }
        for flow in flows {
            if flow.value.is_pointing() && freed.contains(&flow.value.slot()) {
                let _freed = self.rig.tables().free_flow(&flow);
            }
        }
    }
}
