//! Filling the flow table with established flows, as their packets would.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use splitter_ebpf::abi::Mode;
use splitter_ebpf::drive::Drive;
use splitter_ebpf::endpoint::{flow_key_v4, flow_key_v6};
use splitter_ebpf::flow::{ACK, SYN, State};
use splitter_ebpf::verdict::Reason;
use splitter_ebpf::wire::{WireAddress, WirePort};
use splitter_user::dataplane::DataPlane as _;

use super::scene::{CLIENT, Crew, Scene};
use super::world::World;
use crate::rig::Segment;

/// Any odd number would do: the flow table's places are hashed anyhow.
const STRIDE: u64 = 0x9e37_79b1;

/// Packets of one kind: what the driver is told, and the frame that it starts from.
pub(super) type Packets = (Drive, Segment);

/// From clients, of whom `client` is the first, to a listener: `flows` of them.
pub(super) fn to_listener(scene: Scene, crew: Crew, client: &str, flows: u64) -> Packets {
    let segment = scene.packet(client, crew);
    let drive = Drive {
        mask: flows - 1,
        stride: STRIDE,
        port_bits: 12,
        forward: 1,
        server: segment.to.ip().into(),
        client: segment.from.ip().into(),
        server_port: WirePort::new(segment.to.port()).0.into(),
        overhead: scene.overhead(usize::from(segment.from.is_ipv6())),
        ..Drive::default()
    };
    (drive, segment)
}

/// From the backend `number` to the clients of `requests`, or to what stands for them there.
pub(super) fn to_clients(
    scene: Scene,
    crew: Crew,
    number: usize,
    (drive, segment): &Packets,
) -> Packets {
    let family = usize::from(segment.from.is_ipv6());
    let backend = scene.backends(crew, family)[number];
    let mut answer = segment.answered();
    answer.from = backend;
    let mut drive = Drive {
        forward: 0,
        server: backend.ip().into(),
        server_port: WirePort::new(backend.port()).0.into(),
        overhead: 0,
        ..*drive
    };
    if scene.mode == Mode::FullNat {
        drive.listed = 1;
        answer.to.set_ip(Scene::pool(family)[0]);
        drive.client = answer.to.ip().into();
    }
    (drive, answer)
}

impl World {
    /// Fills the table with established flows of a scene, and with nothing else: each backend answers
    /// all clients, of which those that are its own go on.
    pub(super) fn establish(
        &mut self,
        scene: Scene,
        crew: Crew,
        family: usize,
        flows: u64,
    ) -> Result<()> {
        let packets = to_listener(scene, crew, CLIENT[family], flows);
        self.establish_these(scene, crew, &packets)
    }

    /// The same, of these packets to a scene's listener.
    pub(super) fn establish_these(
        &mut self,
        scene: Scene,
        crew: Crew,
        packets: &Packets,
    ) -> Result<()> {
        let (drive, segment) = packets;
        let (flows, family) = (drive.mask + 1, usize::from(segment.from.is_ipv6()));
        let count = u32::try_from(flows)?;
        self.rig.forget_flows();
        let before = self.rig.kernel().verdicts()?;
        self.send(drive, &segment.clone().flags(SYN), count)?;
        if Mode::one_way(scene.mode as u8) {
            self.send(drive, segment, count)?;
            self.rig.wait_ticks(6)?;
        } else {
            self.list_ends(scene, crew, packets)?;
            for number in 0..scene.backends(crew, family).len() {
                let (drive, answer) = to_clients(scene, crew, number, packets);
                self.send(&drive, &answer.flags(SYN | ACK), count)?;
            }
        }
        self.send(drive, segment, count)?;
        let state = |bits| {
            [State::Established, State::UdpEstablished]
                .map(|s| s as u8)
                .contains(&bits)
        };
        let flow_values = self.rig.flows().into_iter().map(|flow| flow.value);
        let established = flow_values
            .filter(|value| state(value.state_bits()))
            .count();
        if established * 1000 < usize::try_from(flows)? * 999 {
            let after = self.rig.kernel().verdicts()?;
            let met = Reason::ALL.iter().filter_map(|reason| {
                let number = *reason as usize;
                let count = after.packets[number] - before.packets[number];
                (count > 0).then(|| format!("{} {count}", reason.name()))
            });
            let met = met.collect::<Vec<_>>().join(", ");
            let scene = scene.name();
            bail!("{scene}: of {flows} flows only {established} are established: {met}");
        }
        Ok(())
    }

    /// Lists what stands for each flow's client, where something does.
    fn list_ends(&self, scene: Scene, crew: Crew, (drive, segment): &Packets) -> Result<()> {
        if scene.mode != Mode::FullNat {
            return Ok(());
        }
        let v6 = segment.from.is_ipv6();
        let (family, last) = (usize::from(v6), if v6 { 3 } else { 0 });
        let listener = self.listener(scene, crew, family);
        let listener = listener.context("every scene has its listeners")?;
        let flows = self.rig.flows().into_iter();
        let slots: HashMap<u64, usize> = flows
            .filter(|flow| !flow.value.is_pointing())
            .map(|flow| (flow.key, flow.slot))
            .collect();
        let pool: Vec<WireAddress> = Scene::pool(family).into_iter().map(Into::into).collect();
        for number in 0..=u32::try_from(drive.mask)? {
            let (mut client, port) = (drive.client, WirePort(drive.port(number)));
            client.0[last] = drive.address(number, client.0[last]);
            let key = if v6 {
                flow_key_v6(self.rig.tables().keys.fingerprint, client, port, listener)
            } else {
                flow_key_v4(client.0[0], port, listener)
            };
            // Without one it has no flow: then its packets are missed where they are counted.
            let translation = slots
                .get(&key)
                .map(|slot| self.keys.read(*slot).translation());
            let end = translation.map_or(0, |translation| {
                let address = pool[translation.address() as usize].0[last];
                Drive::listed_end(address, translation.port().0)
            });
            self.ends.write(number as usize, end);
        }
        Ok(())
    }
}
