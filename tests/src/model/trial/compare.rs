//! What program and model say of a packet, and what is in their tables, compared.

use anyhow::{Result, ensure};
use splitter_ebpf::verdict::{Action, Reason};
use splitter_ebpf::wire::{ICMP, ICMPV6, TCP, UDP};
use splitter_user::dataplane::DataPlane as _;

use super::super::Expected;
use super::super::packet::{Known, read};
use super::super::rewrite::is_valid;
use super::super::shape::{self, Part, Shape};
use super::{INGRESS, Trial};
use crate::rig::{DROP, PASS, REDIRECT, TX};

/// Packets between two looks at counters and at the flow table.
const LOOK: usize = 128;

impl Trial {
    /// Gives both a packet.
    pub(super) fn packet(&mut self, frame: &[u8]) -> Result<()> {
        let expected = self.model.packet(frame);
        self.runner.run_into(frame, &mut self.outcome)?;
        let reason = expected.reason;
        self.counts[reason as usize] += 1;
        let action = match (expected.sent, reason.action()) {
            (Some(INGRESS), _) => TX,
            (Some(_), _) => REDIRECT,
            (None, Action::Pass) => PASS,
            (None, _) => DROP,
        };
        ensure!(
            self.outcome.action == action,
            "{}: action {action} was due and not {}",
            reason.name(),
            self.outcome.action
        );
        // What a dropped frame looks like is nobody's business.
        ensure!(
            action == DROP || self.outcome.packet == expected.frame,
            "{}: {}",
            reason.name(),
            difference(&expected.frame, &self.outcome.packet)
        );
        stays_valid(frame, &expected)?;
        self.since_look += 1;
        if self.since_look >= LOOK {
            self.look()?;
        }
        Ok(())
    }

    /// Compares what is in the tables.
    fn look(&mut self) -> Result<()> {
        self.since_look = 0;
        let verdicts = self.rig.kernel().verdicts()?;
        for reason in Reason::ALL {
            let (due, counted) = (
                self.counts[*reason as usize],
                verdicts.packets[*reason as usize],
            );
            ensure!(
                due == counted,
                "{} was counted {counted} times and not {due}",
                reason.name()
            );
        }
        let (flows, mut due) = (self.rig.flows(), self.model.room.table());
        for flow in &flows {
            let slot = due.next();
            ensure!(
                slot == Some((flow.slot, flow.key, flow.value)),
                "{flow:?} is in the table, {slot:?} was due"
            );
        }
        ensure!(due.next().is_none(), "a flow is not in the table");
        Ok(())
    }

    /// Compares everything, once more at the end.
    pub(in super::super) fn look_back(&mut self) -> Result<()> {
        self.look()?;
        for (backend, due) in &self.model.counters {
            let counted = self.rig.kernel().counters(*backend)?;
            ensure!(
                counted == *due,
                "backend {backend}: {counted:?}, {due:?} was due"
            );
        }
        Ok(())
    }
}

/// What was right before it was sent on still is, summed up in full.
fn stays_valid(frame: &[u8], expected: &Expected) -> Result<()> {
    let (Some(before), Some(after)) = (whole(frame), whole(&expected.frame)) else {
        return Ok(());
    };
    let forwarded = expected.sent.is_some() && before.protocol == after.protocol;
    if forwarded && is_valid(frame, &before) {
        ensure!(
            is_valid(&expected.frame, &after),
            "a right checksum became a wrong one"
        );
    }
    Ok(())
}

/// The shape of a whole packet with a checksum that can be looked at.
fn whole(frame: &[u8]) -> Option<Shape> {
    let shape = match read(frame) {
        Known::Nothing => return None,
        Known::Segment(_) | Known::Unusual(_) => shape::of_frame(frame)?,
    };
    let least = match shape.protocol {
        ICMP | ICMPV6 => {
            return Some(shape)
                .filter(|shape| shape.part == Part::Whole && shape.end >= shape.l4 + 8);
        }
        TCP | UDP => shape::segment(frame, &shape)?,
        _ => return None,
    };
    (!least.first && shape.part == Part::Whole).then_some(shape)
}

/// Where two frames differ.
fn difference(due: &[u8], got: &[u8]) -> String {
    if due.len() != got.len() {
        return format!("{} bytes were due and not {}", due.len(), got.len());
    }
    let place = due.iter().zip(got).position(|(due, got)| due != got);
    place.map_or_else(String::new, |at| {
        format!(
            "byte {at} is {:02x}, {:02x} was due\ndue {due:02x?}\ngot {got:02x?}",
            got[at], due[at]
        )
    })
}
