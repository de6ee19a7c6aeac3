//! Failures that other projects are known for, replayed by name: those of draining and splitting.
//!
//! Elsewhere in this binary: HAProxy's "60,000 clients reconnect at once" (#1614) is
//! `drain::closing::at_the_deadline_idle_connections_close_evenly_over_the_spread_and_both_ends_learn_it`.

mod draining;
mod splitting;
