//! Shares as text: assignments from a command line, and measured shares for people.

use super::ShareError;
use crate::model::Weight;

/// Reads `green=25%`.
pub fn parse_assignment(text: &str) -> Result<(String, Weight), ShareError> {
    let not = || ShareError::NotAssignment {
        text: text.to_owned(),
    };
    let (track, weight) = text.split_once('=').ok_or_else(not)?;
    if track.is_empty() || weight.is_empty() {
        return Err(not());
    }
    match weight.parse() {
        Ok(weight) => Ok((track.to_owned(), weight)),
        Err(error) => Err(ShareError::NotWeight {
            text: text.to_owned(),
            error,
        }),
    }
}

/// A measured share as a percentage with two decimals and no sign, such as `4.98`; `None` of
/// nothing.
pub fn percent(part: u64, whole: u64) -> Option<String> {
    if whole == 0 {
        return None;
    }
    let hundredths = (u128::from(part) * 10_000 + u128::from(whole) / 2) / u128::from(whole);
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}
