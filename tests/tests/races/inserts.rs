use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::rig::{Rig, SMALL};
use lab::{heavy, soak};
use splitter_ebpf::flow::{ACK, SYN};
use splitter_user::loader::Layout;

use super::{VIP, WEB, assert_consistent, on_two_cpus, plan, runners};

/// Two threads that wait for each other.
#[derive(Default)]
struct Meeting(AtomicUsize);

impl Meeting {
    /// Returns when both are here for the `n`-th time; an error if one will never come.
    fn meet(&self, n: usize, stop: &AtomicBool) -> Result<()> {
        self.0.fetch_add(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) < 2 * n {
            ensure!(!stop.load(Ordering::Relaxed), "the other CPU has failed");
            spin_loop();
        }
        Ok(())
    }
}

/// Both CPUs send the first packets of the same flows at the same time, round by round. The table has
/// two buckets, so that each flow may lie in either, and goes to the second when the first fills.
fn insert_together(flows: u32, flags: [u8; 2]) -> Result<()> {
    let _turn = heavy()?;
    let mut rig = Rig::sized(Layout {
        flow_buckets: 2,
        ..SMALL
    })?;
    rig.serve(&plan("web", &[WEB], &[2]))?;
    let rig = &rig;
    let rounds = soak(30_000, 1_000_000) / flows as usize;
    let (begin, end) = (Meeting::default(), Meeting::default());
    on_two_cpus(
        runners(rig)?,
        |mut worker, stop| {
            for round in 0..rounds {
                let first = u32::try_from(round)? * flows;
                begin.meet(round + 1, stop)?;
                for flow in first..first + flows {
                    worker.send(flow, VIP, flags[worker.cpu])?;
                }
                end.meet(round + 1, stop)?;
                // The other CPU waits at the beginning of the next round.
                if worker.cpu == 0 {
                    assert_consistent(rig)?;
                    ensure!(
                        rig.flows().len() == flows as usize,
                        "round {round}: a flow is missing"
                    );
                    rig.forget_flows();
                }
            }
            Ok(())
        },
        || {
            sleep(Duration::from_millis(5));
            Ok(())
        },
    )
}

#[test]
fn one_flow_that_two_cpus_pin_at_once_is_pinned_once() -> Result<()> {
    insert_together(1, [SYN, SYN])
}

#[test]
fn flows_that_two_cpus_pin_at_once_are_pinned_once_in_either_bucket() -> Result<()> {
    insert_together(12, [SYN, SYN])
}

#[test]
fn a_syn_and_a_packet_in_mid_flow_on_two_cpus_make_one_flow() -> Result<()> {
    insert_together(5, [SYN, ACK])
}
