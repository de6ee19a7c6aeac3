//! A drain, `maint` or `quarantine` of what is out in the same way already.

use std::time::Duration;

use super::*;
use crate::model::OnTimeout;
use crate::state::Drain;

fn blue() -> DrainTarget {
    DrainTarget::Track("blue".to_owned())
}

fn backend() -> DrainTarget {
    DrainTarget::Backend {
        address: "198.18.2.11".parse().unwrap(),
        port: 80,
    }
}

fn drain_as(
    what: DrainTarget,
    timeout: Option<u64>,
    on_timeout: Option<OnTimeout>,
    spread: Option<u64>,
) -> Command {
    Command::Drain {
        service: "web".to_owned(),
        what,
        timeout: timeout.map(Duration::from_secs),
        on_timeout,
        spread: spread.map(Duration::from_secs),
    }
}

fn record(world: &World, what: &DrainTarget) -> Drain {
    let web = &world.services["web"];
    match what {
        DrainTarget::Track(track) => web.drained_tracks[track].clone(),
        DrainTarget::Backend { address, port } => web.drained_backends[&(*address, *port)].clone(),
    }
}

#[test]
fn a_repeated_drain_that_asks_for_nothing_new_changes_nothing() {
    for what in [blue(), backend()] {
        let first = drain_as(what.clone(), Some(600), Some(OnTimeout::Reset), Some(60));
        let world = after(&web(), &first);
        let again = plan(&world, &drain(what.clone()), None, NOW + 5_000).unwrap();
        assert!(again.is_empty());
        assert_eq!(record(&again.next, &what), record(&world, &what));
        let told = drain_as(what.clone(), None, Some(OnTimeout::Reset), Some(60));
        assert!(plan(&world, &told, None, NOW + 5_000).unwrap().is_empty());
    }
}

#[test]
fn a_repeated_drain_replaces_what_it_is_told_and_says_so() {
    for what in [blue(), backend()] {
        let first = drain_as(what.clone(), Some(600), Some(OnTimeout::Reset), Some(60));
        let world = after(&web(), &first);
        let longer = drain_as(what.clone(), Some(1_200), None, None);
        let longer = plan(&world, &longer, None, NOW + 5_000).unwrap();
        let (was, is) = (record(&world, &what), record(&longer.next, &what));
        assert_eq!(is.deadline, NOW + 5_000 + 1_200_000);
        assert_eq!(
            (is.since, is.on_timeout, is.spread),
            (was.since, was.on_timeout, was.spread)
        );
        assert_eq!(longer.next.services["web"].generation, 3);
        let said = longer.changes[0].warnings.join("\n");
        assert!(
            said.contains("draining already") && said.contains("deadline"),
            "{said}"
        );
        let gentler = drain_as(what.clone(), None, Some(OnTimeout::Keep), Some(5));
        let gentler = plan(&world, &gentler, None, NOW + 5_000).unwrap();
        let is = record(&gentler.next, &what);
        assert_eq!(
            (is.since, is.deadline, is.on_timeout, is.spread),
            (was.since, was.deadline, OnTimeout::Keep, 5_000)
        );
        let said = gentler.changes[0].warnings.join("\n");
        assert!(
            said.contains("onTimeout: keep") && said.contains("closeSpread: 5s"),
            "{said}"
        );
    }
}

#[test]
fn maint_and_quarantine_may_be_repeated_and_a_drain_of_either_is_a_new_one() {
    let maint = Command::Maint {
        service: "web".to_owned(),
        what: blue(),
    };
    let quarantine = Command::Quarantine {
        service: "web".to_owned(),
        what: blue(),
        spread: None,
    };
    for command in [maint, quarantine] {
        let world = after(&web(), &command);
        assert!(plan(&world, &command, None, NOW + 5).unwrap().is_empty());
        let drained = plan(&world, &drain(blue()), None, NOW + 5).unwrap().next;
        assert_eq!(record(&drained, &blue()).since, NOW + 5);
    }
}
