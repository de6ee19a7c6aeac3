//! Where each field of a service was written.

use std::collections::BTreeMap;

use crate::diagnostic::Position;
use crate::model::Place;

/// Positions by field.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(BTreeMap<Place, Position>);

impl Places {
    pub(super) fn put(&mut self, place: Place, at: Position) {
        self.0.insert(place, at);
    }

    /// Where the field stands, or the nearest one around it that was written.
    pub(super) fn find(&self, place: Place) -> Option<Position> {
        let mut place = Some(place);
        while let Some(here) = place {
            if let Some(at) = self.0.get(&here) {
                return Some(*at);
            }
            place = here.parent();
        }
        None
    }
}
