use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::{Result, ensure};
use lab::rig::Rig;
use lab::{heavy, soak};
use splitter_ebpf::abi::track_table_index;
use splitter_ebpf::flow::SYN;
use splitter_ebpf::wire::Family;
use splitter_user::dataplane::DataPlane as _;
use splitter_user::table::maglev::{Member, build};

use super::{VIP, WEB, address_of, on_two_cpus, plan, runners, tuple_of};

#[test]
fn every_new_flow_meets_one_of_two_whole_track_tables_while_they_are_replaced() -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::new()?;
    let service = rig.serve(&plan("web", &[WEB], &[2]))?;
    let ids = service.backends[0].clone();
    let index = track_table_index(service.id, 0, Family::V4);
    // One table of the first two backends, one of the last two.
    let tables = [&ids[..2], &ids[2..]].map(|ids| {
        let members: Vec<_> = ids
            .iter()
            .map(|id| Member {
                id: *id,
                address: address_of(&rig, *id).into(),
                port: 0,
                weight: 1,
            })
            .collect();
        build(&members)
    });
    rig.plane()
        .set_track_tables(vec![(index, Some(tables[1].clone()))])?;
    let addresses: Vec<_> = ids.iter().map(|id| (*id, address_of(&rig, *id))).collect();
    let id_of = |address: [u8; 4]| {
        addresses
            .iter()
            .find(|(_, at)| *at == address)
            .map_or(0, |(id, _)| *id)
    };
    let (next, finished) = (AtomicU32::new(0), AtomicU64::new(0));
    let (tables, header) = (&tables, service.header);
    // Tables that were in place when a packet began: the one before `replaced`, or later ones.
    let mut done = 0_usize;
    on_two_cpus(
        runners(&rig)?,
        |mut worker, stop| {
            while finished.load(Ordering::Relaxed) == 0 && !stop.load(Ordering::Relaxed) {
                let client = next.fetch_add(1, Ordering::Relaxed);
                let (_, entry) = tuple_of(client, VIP).place_v4(&header);
                let went = id_of(worker.send(client, VIP, SYN)?);
                let allowed = tables.each_ref().map(|table| table[entry as usize]);
                ensure!(
                    allowed.contains(&went),
                    "client {client}: backend {went}, not of {allowed:?}"
                );
            }
            Ok(())
        },
        || {
            if done == soak(40, 2_000) {
                finished.store(1, Ordering::Relaxed);
                return Ok(());
            }
            rig.plane()
                .set_track_tables(vec![(index, Some(tables[done % 2].clone()))])?;
            done += 1;
            Ok(())
        },
    )?;
    ensure!(
        next.into_inner() > 10_000,
        "too little traffic to show anything"
    );
    Ok(())
}
