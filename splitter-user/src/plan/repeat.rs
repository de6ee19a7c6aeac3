//! A verb that takes out what is out in that way already.

use super::drain::{Wish, millis};
use crate::model::show_time;
use crate::state::{Drain, Out};

/// What it comes to.
pub struct Repeated {
    /// The record from now on: what was not asked for stays.
    pub record: Drain,
    /// What it changes, for people.
    pub changed: Vec<String>,
}

/// The record of what is out already, with what is asked for by name.
pub fn repeated(there: &Drain, wish: Wish, now: u64) -> Repeated {
    let mut record = there.clone();
    let mut changed = Vec::new();
    if let Some(timeout) = wish.timeout
        && there.out == Out::Draining
    {
        record.deadline = now.saturating_add(millis(timeout));
        if record.deadline != there.deadline {
            changed.push(format!("its deadline is in {} now", show_time(timeout)));
        }
    }
    if let Some(on_timeout) = wish.on_timeout
        && on_timeout != there.on_timeout
    {
        record.on_timeout = on_timeout;
        changed.push(format!("onTimeout: {} now", on_timeout.name()));
    }
    if let Some(spread) = wish.spread
        && millis(spread) != there.spread
    {
        record.spread = millis(spread);
        changed.push(format!("closeSpread: {} now", show_time(spread)));
    }
    Repeated { record, changed }
}
