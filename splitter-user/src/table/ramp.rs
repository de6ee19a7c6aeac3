//! A ramp: from the slots of one split to those of another, a few at a time.
//!
//! It gives counts, not slots: which slots move is the allocator's, with its promises. The counts of the
//! tracks that grow only grow on the way, and the others' only shrink, so every step keeps what the steps
//! before gave.

use std::cmp::Ordering;

use crate::model::MAX_TRACKS;

/// Slots by track number.
pub type Counts = [u32; MAX_TRACKS];

/// Slots that have another track at the end than at the start.
#[must_use]
pub fn distance(start: &Counts, goal: &Counts) -> u32 {
    let grown = |(start, goal): (&u32, &u32)| goal.saturating_sub(*start);
    start.iter().zip(goal).map(grown).sum()
}

/// The slots that have moved after `elapsed` of `duration`, of `distance`.
#[must_use]
pub fn moved(distance: u32, elapsed: u64, duration: u64) -> u32 {
    if elapsed >= duration {
        return distance;
    }
    let moved = u128::from(distance) * u128::from(elapsed) / u128::from(duration);
    u32::try_from(moved).unwrap_or(distance)
}

/// The counts once `moved` slots have moved.
#[must_use]
pub fn counts(start: &Counts, goal: &Counts, moved: u32) -> Counts {
    let distance = distance(start, goal);
    let mut counts = *start;
    let moved = moved.min(distance);
    let grow = dealt(&difference(goal, start), distance, moved);
    let shrink = dealt(&difference(start, goal), distance, moved);
    for (count, (grow, shrink)) in counts.iter_mut().zip(grow.iter().zip(&shrink)) {
        *count = *count + grow - shrink;
    }
    counts
}

fn difference(more: &Counts, less: &Counts) -> Counts {
    let mut difference = [0; MAX_TRACKS];
    for (index, place) in difference.iter_mut().enumerate() {
        *place = more[index].saturating_sub(less[index]);
    }
    difference
}

/// Deals the first `moved` of `all` slots to tracks with these parts of them: each next one to the track
/// whose turn comes first, if the `k`-th turn of a part `p` comes at the time `(2k - 1) / 2p` (Webster's
/// method). So what `moved` deals is what `moved - 1` deals and one more, which rounding each count by itself
/// would not promise.
fn dealt(parts: &Counts, all: u32, moved: u32) -> Counts {
    // Close to it at once, then by single turns.
    let near = |part: u32| u64::from(part) * u64::from(moved) / u64::from(all.max(1));
    let mut dealt = parts.map(|part| u32::try_from(near(part)).unwrap_or(part));
    for _ in dealt.iter().sum::<u32>()..moved {
        if let Some(next) = (0..MAX_TRACKS)
            .filter(|track| parts[*track] > 0)
            .min_by(|a, b| sooner((*a, dealt[*a] + 1), (*b, dealt[*b] + 1), parts))
        {
            dealt[next] += 1;
        }
    }
    loop {
        let last = (0..MAX_TRACKS)
            .filter(|track| dealt[*track] > 0)
            .max_by(|a, b| sooner((*a, dealt[*a]), (*b, dealt[*b]), parts));
        let next = (0..MAX_TRACKS)
            .filter(|track| parts[*track] > 0)
            .min_by(|a, b| sooner((*a, dealt[*a] + 1), (*b, dealt[*b] + 1), parts));
        match (last, next) {
            (Some(last), Some(next))
                if sooner((next, dealt[next] + 1), (last, dealt[last]), parts)
                    == Ordering::Less =>
            {
                dealt[last] -= 1;
                dealt[next] += 1;
            }
            _ => return dealt,
        }
    }
}

/// Which of two turns, of a track and its number from 1, comes first; of two at one time the first track's.
fn sooner(a: (usize, u32), b: (usize, u32), parts: &Counts) -> Ordering {
    let time = |turn: u32, other: usize| (2 * u64::from(turn) - 1) * u64::from(parts[other]);
    time(a.1, b.0).cmp(&time(b.1, a.0)).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests;
