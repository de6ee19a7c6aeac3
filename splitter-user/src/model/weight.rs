//! A track's share of new flows, exact to a thousandth of a percent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share of new flows in thousandths of a percent, 0 to 100,000.
///
/// Written with a sign on the way in (`5%`, `0.125%`), without one on the way out (`5`, `0.125`).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

impl Weight {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// All new flows: 100 %.
    pub const FULL: Self = Self(100_000);
    /// The least weight above zero: a slot is 100 / 65,536 %, so 0.001 % is less than one.
    pub const LEAST: Self = Self(2);

    /// A weight of so many thousandths of a percent.
    pub const fn from_millis(millis: u32) -> Result<Self, WeightError> {
        if millis > Self::FULL.0 {
            return Err(WeightError::OverFull);
        }
        Ok(Self(millis))
    }

    /// Thousandths of a percent.
    pub const fn millis(self) -> u32 {
        self.0
    }

    /// Whether the track takes no new flows.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether this is above zero and yet less than one slot of the split table.
    pub const fn is_under_one_slot(self) -> bool {
        self.0 > 0 && self.0 < Self::LEAST.0
    }
}

/// Why a text or number is not a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// No sign, no digits, or something else in it.
    #[error("not a percentage: write digits and a percent sign, such as 5% or 0.125%")]
    NotPercent,
    /// Finer than a thousandth.
    #[error("too fine: a percentage has at most 3 decimals")]
    TooFine,
    /// More than everything.
    #[error("more than 100%: weights lie between 0% and 100%")]
    OverFull,
}

impl TryFrom<u32> for Weight {
    type Error = WeightError;

    fn try_from(millis: u32) -> Result<Self, WeightError> {
        Self::from_millis(millis)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl FromStr for Weight {
    type Err = WeightError;

    fn from_str(text: &str) -> Result<Self, WeightError> {
        let number = text.strip_suffix('%').ok_or(WeightError::NotPercent)?;
        let (whole, decimals) = match number.split_once('.') {
            Some((_, "")) => return Err(WeightError::NotPercent),
            Some(parts) => parts,
            None => (number, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) {
            return Err(WeightError::NotPercent);
        }
        if decimals.len() > 3 {
            return Err(WeightError::TooFine);
        }
        let whole: u32 = whole.parse().map_err(|_| WeightError::OverFull)?;
        let decimals: u32 = format!("{decimals:0<3}")
            .parse()
            .map_err(|_| WeightError::NotPercent)?;
        whole
            .checked_mul(1_000)
            .and_then(|millis| millis.checked_add(decimals))
            .ok_or(WeightError::OverFull)
            .and_then(Self::from_millis)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 1_000, self.0 % 1_000);
        let text = match decimals {
            0 => whole.to_string(),
            _ => format!("{whole}.{decimals:03}")
                .trim_end_matches('0')
                .to_owned(),
        };
        f.pad(&text)
    }
}
