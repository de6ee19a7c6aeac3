//! How the flows end of what was removed.

use serde::{Deserialize, Serialize};

use super::{Closing, Ending};
use crate::model::{DrainPolicy, OnTimeout};

/// The way that a number goes whose backend or listener was removed, as its service had it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When it was asked for; milliseconds since 1970. Journals that do not say mean long ago.
    #[serde(default)]
    pub since: u64,
    /// From when on its flows are closed; milliseconds since 1970. [`u64::MAX`]: never.
    pub deadline: u64,
    /// The milliseconds over which they are.
    #[serde(default)]
    pub spread: u64,
    /// How.
    #[serde(default = "told")]
    pub ending: Ending,
}

/// What journals mean that do not say how.
const fn told() -> Ending {
    Ending::Reset
}

impl Deletion {
    /// Its flows live as long as they like.
    pub const ENDLESS: Self = Self {
        since: 0,
        deadline: u64::MAX,
        spread: 0,
        ending: Ending::Reset,
    };

    /// Of what is removed at `now` from a service with this policy. Nothing can be kept where its entry goes:
    /// `keep` is `reset` here.
    #[must_use]
    pub fn of(policy: &DrainPolicy, now: u64) -> Self {
        let millis =
            |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            since: now,
            deadline: now.saturating_add(millis(policy.timeout)),
            spread: millis(policy.close_spread),
            ending: match policy.on_timeout {
                OnTimeout::Keep | OnTimeout::Reset => Ending::Reset,
                OnTimeout::Resteer => Ending::Resteer,
            },
        }
    }

    /// Lets the deadline be now, if it is not over yet, and both ends of each flow be told: there is nobody
    /// left to whom flows could be re-steered.
    pub fn cut(&mut self, now: u64) {
        if now < self.deadline {
            (self.since, self.deadline) = (now, now);
        }
        self.ending = Ending::Reset;
    }

    /// Whether its flows live as long as they like.
    #[must_use]
    pub const fn is_endless(&self) -> bool {
        self.deadline == u64::MAX
    }

    /// What is to be done to its flows: nothing if they live as long as they like.
    #[must_use]
    pub fn closing(&self) -> Option<Closing> {
        (!self.is_endless()).then_some(Closing {
            since: self.deadline,
            spread: self.spread,
            ending: self.ending,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::IdState;

    #[test]
    fn flows_of_what_was_removed_are_reset_but_where_the_policy_says_resteer() {
        let ending = |on_timeout| {
            let policy = DrainPolicy {
                timeout: Duration::from_secs(5),
                on_timeout,
                close_spread: Duration::from_secs(2),
            };
            let deletion = Deletion::of(&policy, 1_000);
            assert_eq!((deletion.deadline, deletion.spread), (6_000, 2_000));
            deletion.ending
        };
        assert_eq!(ending(OnTimeout::Keep), Ending::Reset);
        assert_eq!(ending(OnTimeout::Reset), Ending::Reset);
        assert_eq!(ending(OnTimeout::Resteer), Ending::Resteer);
    }

    #[test]
    fn a_cut_brings_the_deadline_forward_and_never_puts_it_off() {
        let mut deletion = Deletion {
            since: 1_000,
            deadline: 9_000,
            spread: 2_000,
            ending: Ending::Resteer,
        };
        deletion.cut(4_000);
        assert_eq!((deletion.deadline, deletion.ending), (4_000, Ending::Reset));
        deletion.cut(5_000);
        assert_eq!(deletion.deadline, 4_000);
        assert_eq!(Deletion::ENDLESS.closing(), None);
    }

    #[test]
    fn a_number_of_a_journal_that_knows_a_deadline_alone_is_reset_then() {
        let old: IdState =
            serde_json::from_str(r#"{"deleting":{"deadline":7}}"#).expect("an old record");
        let deletion = Deletion {
            since: 0,
            deadline: 7,
            spread: 0,
            ending: Ending::Reset,
        };
        assert_eq!(old, IdState::Deleting(deletion));
        let again = serde_json::to_string(&old).expect("plain data");
        assert_eq!(
            serde_json::from_str::<IdState>(&again).expect("a new record"),
            old
        );
    }
}
