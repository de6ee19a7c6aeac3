//! Arithmetic on the weights of one service: shift, cutover, drain. Exact, and pure.
//!
//! Weights are pairs of a track's name and its weight, in the order of the service's tracks. What
//! comes back has the same tracks in the same order, and sums to 100 %.

mod apportion;
mod error;
mod parse;

use std::collections::BTreeSet;

use crate::model::Weight;

pub(crate) use apportion::apportion;
pub use error::ShareError;
pub use parse::{parse_assignment, percent};

/// The weights after a shift.
///
/// Tracks left out share the rest in their present proportion; rounding never takes the last slot
/// from a track that had one. If all of them are at 0, one takes the rest, several are refused.
pub fn set_weight(
    current: &[(String, Weight)],
    given: &[(String, Weight)],
) -> Result<Vec<(String, Weight)>, ShareError> {
    check_given(current, given)?;
    let given_of = |name: &str| {
        let found = given.iter().find(|(other, _)| other == name);
        found.map(|(_, weight)| *weight)
    };
    let sum: u32 = given.iter().map(|(_, weight)| weight.millis()).sum();
    let left_out = |(name, _): &&(String, Weight)| given_of(name).is_none();
    let others: Vec<&(String, Weight)> = current.iter().filter(left_out).collect();
    let Some(rest) = Weight::FULL.millis().checked_sub(sum) else {
        return Err(ShareError::OverFull { sum });
    };
    if others.is_empty() && rest > 0 {
        return Err(ShareError::NotFull { sum });
    }
    let shared = share_out(rest, &others)?;
    let weight_of = |name: &str| {
        let shared = shared.iter().find(|(other, _)| *other == name);
        let shared = shared.map(|(_, weight)| *weight);
        given_of(name).or(shared).unwrap_or_default()
    };
    Ok(current
        .iter()
        .map(|(name, _)| (name.clone(), weight_of(name)))
        .collect())
}

/// The weights after a cutover: one track takes all new flows.
pub fn cutover(
    current: &[(String, Weight)],
    to: &str,
) -> Result<Vec<(String, Weight)>, ShareError> {
    set_weight(current, &[(to.to_owned(), Weight::FULL)])
}

/// The shares in force while some tracks are drained: their part is 0, the others keep their
/// proportion to each other. Parts are numerators of the sum of all parts, so that slots can be
/// counted from the exact ratios.
pub fn effective(
    desired: &[(String, Weight)],
    drained: &BTreeSet<String>,
) -> Result<Vec<(String, u64)>, ShareError> {
    let parts: Vec<(String, u64)> = desired
        .iter()
        .map(|(name, weight)| {
            let part = if drained.contains(name) {
                0
            } else {
                u64::from(weight.millis())
            };
            (name.clone(), part)
        })
        .collect();
    if parts.iter().any(|(_, part)| *part > 0) {
        return Ok(parts);
    }
    Err(ShareError::NobodyLeft {
        drained: desired
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| drained.contains(name))
            .collect(),
        open: desired
            .iter()
            .map(|(name, _)| name.clone())
            .filter(|name| !drained.contains(name))
            .collect(),
    })
}

/// The weights of a service that is applied without any: those in force. A new track comes in at
/// 0; a single track takes everything.
pub fn inherit(
    tracks: &[&str],
    in_force: Option<&[(String, Weight)]>,
) -> Result<Vec<(String, Weight)>, ShareError> {
    if let [only] = tracks {
        return Ok(vec![((*only).to_owned(), Weight::FULL)]);
    }
    let Some(in_force) = in_force else {
        return Err(ShareError::NoneInForce);
    };
    let gone: Vec<String> = in_force
        .iter()
        .filter(|(name, weight)| !weight.is_zero() && !tracks.contains(&name.as_str()))
        .map(|(name, weight)| format!("{name}={weight}%"))
        .collect();
    if !gone.is_empty() {
        return Err(ShareError::WeightGone { gone });
    }
    Ok(tracks
        .iter()
        .map(|name| {
            let found = in_force.iter().find(|(other, _)| other == name);
            let weight = found.map(|(_, weight)| *weight).unwrap_or_default();
            ((*name).to_owned(), weight)
        })
        .collect())
}

fn check_given(current: &[(String, Weight)], given: &[(String, Weight)]) -> Result<(), ShareError> {
    if given.is_empty() {
        return Err(ShareError::Nothing);
    }
    let mut seen = BTreeSet::new();
    for (name, weight) in given {
        if !current.iter().any(|(known, _)| known == name) {
            let known = current.iter().map(|(known, _)| known.clone()).collect();
            return Err(ShareError::Unknown {
                track: name.clone(),
                known,
            });
        }
        if !seen.insert(name) {
            return Err(ShareError::Duplicate {
                track: name.clone(),
            });
        }
        if weight.is_under_one_slot() {
            return Err(ShareError::UnderOneSlot {
                track: name.clone(),
                weight: *weight,
            });
        }
    }
    Ok(())
}

/// Shares `rest` thousandths among tracks in their present proportion, by largest remainder. Tracks
/// that get nothing are left out.
fn share_out<'c>(
    rest: u32,
    others: &[&'c (String, Weight)],
) -> Result<Vec<(&'c str, Weight)>, ShareError> {
    let weight = |millis: u32| Weight::from_millis(millis).unwrap_or(Weight::FULL);
    if rest == 0 {
        return Ok(Vec::new());
    }
    let names = || others.iter().map(|(name, _)| name.clone()).collect();
    let mut sharing: Vec<&(String, Weight)> = match others {
        [only] => vec![*only],
        _ => others
            .iter()
            .copied()
            .filter(|(_, w)| !w.is_zero())
            .collect(),
    };
    if sharing.is_empty() {
        return Err(ShareError::AllZero {
            rest: weight(rest),
            tracks: names(),
        });
    }
    let least = Weight::LEAST.millis();
    if u64::from(rest) < u64::from(least) * u64::try_from(sharing.len()).unwrap_or(u64::MAX) {
        return Err(ShareError::RestTooSmall {
            rest: weight(rest),
            tracks: names(),
        });
    }
    sharing.sort_unstable();
    let parts: Vec<u64> = sharing
        .iter()
        .map(|(_, part)| u64::from(part.millis()).max(1))
        .collect();
    let counts = apportion(rest, least, &parts);
    let shared = sharing.iter().zip(counts);
    Ok(shared
        .map(|((name, _), millis)| (name.as_str(), weight(millis)))
        .collect())
}

#[cfg(test)]
mod tests;
