use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::{Result, ensure};
use lab::rig::{Rig, split};
use lab::{heavy, soak};
use splitter_ebpf::abi::Binding;
use splitter_ebpf::flow::SYN;

use super::{OTHER, OTHER_VIP, VIP, WEB, on_two_cpus, plan, runners, tuple_of};

/// The network of a backend is its track's.
fn net([_, _, net, _]: [u8; 4]) -> u8 {
    net
}

/// Writes whole splits into tables that were idle for a grace period, and flips to them; in between
/// every table holds what no packet may ever see.
#[test]
fn every_new_flow_meets_one_of_two_whole_splits_while_tables_are_written_and_flipped() -> Result<()>
{
    let _turn = heavy()?;
    let mut rig = Rig::new()?;
    let service = rig.serve(&plan("web", &[WEB], &[10, 11, 12, 13, 14]))?;
    // Slot by slot other tracks, and a fifth that is in neither.
    let whole = [split(&[(0, 1), (1, 1)]), split(&[(2, 1), (3, 2)])];
    let torn = split(&[(4, 1)]);
    rig.write_split(&service, 0, &whole[0])?;
    let (rig, whole, header) = (&rig, &whole, service.header);
    let (flips, mut table, next) = (soak(150, 20_000), 0_u8, AtomicU32::new(0));
    let (mut done, finished) = (0, AtomicU64::new(0));
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            while finished.load(Ordering::Relaxed) == 0 && !stop.load(Ordering::Relaxed) {
                let client = next.fetch_add(1, Ordering::Relaxed);
                let (slot, _) = tuple_of(client, VIP).place_v4(&header);
                let went = net(worker.send(client, VIP, SYN)?);
                let allowed = [whole[0].owner(slot) + 10, whole[1].owner(slot) + 10];
                ensure!(
                    allowed.contains(&went),
                    "client {client}, slot {slot}: track {went}, not of {allowed:?}"
                );
            }
            Ok(())
        },
        || {
            if done == flips {
                finished.store(1, Ordering::Relaxed);
                return Ok(());
            }
            // Four tables in turn: the one written was current three flips ago, a barrier since.
            table = (table + 1) % 4;
            rig.write_split(&service, table, &torn)?;
            rig.write_split(&service, table, &whole[done % 2])?;
            rig.flip(&[(service.id, table)])?;
            done += 1;
            if done % 3 == 0 { rig.barrier() } else { Ok(()) }
        },
    )?;
    ensure!(
        next.into_inner() > 10_000,
        "too little traffic to show anything"
    );
    Ok(())
}

/// Two listeners of one service, a second service flipped in the same store, and a listener that
/// changes its service in it: between two equal reads of the selector all are in one state.
#[test]
fn listeners_and_services_of_one_flip_are_never_seen_in_two_states() -> Result<()> {
    const SECOND: &str = "198.18.1.102:80";
    const MOVING: &str = "198.18.1.103:80";
    let _turn = heavy()?;
    let mut rig = Rig::new()?;
    let first = rig.serve(&plan("first", &[WEB, OTHER], &[10, 11]))?;
    let second = rig.serve(&plan("second", &[SECOND], &[10, 11]))?;
    let away = rig.serve(&plan("away", &[MOVING], &[10, 11]))?;
    let home = rig.serve(&plan("home", &[], &[10, 11]))?;
    for service in [&first, &second] {
        rig.write_split(service, 1, &split(&[(1, 1)]))?;
    }
    // What the moving listener's two services are is told apart by their tracks.
    rig.write_split(&home, 1, &split(&[(1, 1)]))?;
    rig.flip(&[(home.id, 1)])?;
    rig.flip(&[])?;
    let start = rig.tables().selector().sequence();
    let (rig, next, finished) = (&rig, AtomicU32::new(0), AtomicU64::new(0));
    let (bracketed, mut done, flips) = (AtomicU64::new(0), 0_usize, soak(3_000, 10_000));
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            while finished.load(Ordering::Relaxed) == 0 && !stop.load(Ordering::Relaxed) {
                // A client each, so that no backend is reached twice from one tuple.
                let client = next.fetch_add(4, Ordering::Relaxed);
                let before = rig.tables().selector();
                let mut seen = [0; 4];
                let vips = [VIP, OTHER_VIP, [198, 18, 1, 102], [198, 18, 1, 103]];
                for ((n, seen), vip) in (0..).zip(&mut seen).zip(vips) {
                    *seen = net(worker.send(client + n, vip, SYN)?);
                }
                if rig.tables().selector() == before {
                    bracketed.fetch_add(1, Ordering::Relaxed);
                    let expected = 10 + u8::try_from((before.sequence() - start) % 2)?;
                    ensure!(
                        seen == [expected; 4],
                        "flip {}: tracks {seen:?}",
                        before.sequence()
                    );
                }
            }
            Ok(())
        },
        || {
            if done == flips {
                finished.store(1, Ordering::Relaxed);
                return Ok(());
            }
            done += 1;
            let table = u8::try_from(done % 2)?;
            let sequence = rig.tables().selector().short();
            let owners = [away.id, home.id];
            let binding = Binding::new(
                owners[(done + 1) % 2],
                owners[done % 2],
                sequence.wrapping_add(1),
            );
            rig.tables().bind(away.listeners[0], binding);
            rig.flip(&[(first.id, table), (second.id, table)])?;
            Ok(())
        },
    )?;
    ensure!(
        bracketed.into_inner() > 1000,
        "too few sequences between two flips to show anything"
    );
    Ok(())
}
