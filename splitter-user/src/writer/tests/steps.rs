//! Every step of every change fails once, and from every step on everything fails for a while: what
//! packets see and what the journal holds are those of before the change or of after it, both of the
//! same, and the next change works. The steps are counted in a run without faults, so that new ones are
//! met without being named here.

mod sight;

use std::ops::Range;

use super::super::clock;
use super::*;
use crate::api::types::Existing;
use crate::dataplane::faulty::{Faults, Faulty};
use sight::{Journal, Sight};

type Shaky = Writer<Faulty<Memory>>;

/// Two services of one release; `web` is on two listeners and has two backends in a track.
const SCENE: &str = "
apiVersion: splitter/v1
kind: Service
metadata: {name: web}
spec:
  release: shop
  listeners:
    - {vip: 198.18.1.100, port: 80, protocol: tcp}
    - {vip: 198.18.1.100, port: 81, protocol: tcp}
  tracks:
    - {name: blue, weight: 60%, backends: [{address: 198.18.2.11, port: 80}, {address: 198.18.2.12, port: 80}]}
    - {name: green, weight: 40%, backends: [{address: 198.18.2.21, port: 80}]}
---
apiVersion: splitter/v1
kind: Service
metadata: {name: cart}
spec:
  release: shop
  listeners: [{vip: 198.18.1.101, port: 80, protocol: tcp}]
  tracks:
    - {name: blue, weight: 60%, backends: [{address: 198.18.2.31, port: 80}]}
    - {name: green, weight: 40%, backends: [{address: 198.18.2.41, port: 80}]}
";

/// The time by the agent's clock; it stands still, so that two runs write the same into the journal.
const NOW: u64 = 1_800_000_000_000;

fn apply(yaml: &str) -> Command {
    Command::Apply {
        yaml: yaml.into(),
        origin: "test".into(),
    }
}

fn shop() -> Target {
    Target::Release("shop".into())
}

fn drain(what: &DrainTarget) -> Command {
    Command::Drain {
        service: "web".into(),
        what: what.clone(),
        timeout: None,
        on_timeout: None,
        spread: None,
    }
}

fn cutover() -> Command {
    Command::Cutover {
        target: shop(),
        to: "green".into(),
        existing: Existing::Keep,
    }
}

fn ready(what: &DrainTarget) -> Command {
    Command::Ready {
        service: "web".into(),
        what: what.clone(),
    }
}

fn blue() -> DrainTarget {
    DrainTarget::Track("blue".into())
}

fn one_backend() -> DrainTarget {
    DrainTarget::Backend {
        address: "198.18.2.12".parse().unwrap(),
        port: 80,
    }
}

fn shaky(plane: Faulty<Memory>, mut store: Store, faults: &Faults, adopted: bool) -> Shaky {
    store.fail_as(faults);
    Writer::recover(
        plane,
        store,
        SECRET,
        adopted,
        Grace::start(|| Ok(())).unwrap(),
        watch::channel(BTreeSet::new()).0,
    )
    .unwrap()
}

/// The scene after `setup`, with a flow at a backend of `web`'s blue track, and nothing left to do.
fn scene(setup: &[Command], faults: &Faults) -> Shaky {
    let plane = Faulty::new(Memory::new(layout(), &SECRET).unwrap(), faults);
    let mut writer = shaky(plane, Store::open_in_memory().unwrap(), faults, false);
    change(&mut writer, &apply(SCENE)).unwrap();
    let backend = writer.backends_of("web", &blue())[0];
    let tables = writer.plane.tables();
    let key = flow_key_v4(7, WirePort::new(4000), 1);
    let mask = u32::try_from(tables.flow_buckets() - 1).unwrap();
    let place = flow_place(tables.keys.flow, key, mask);
    let value = Value::new(backend, State::Established as u8, place.tag, 0);
    tables.put_flow(place.buckets[0] as usize, 0, key, value);
    for command in setup {
        change(&mut writer, command).unwrap();
    }
    settle(&mut writer);
    writer
}

fn change(writer: &mut Shaky, command: &Command) -> Result<Vec<Change>, ApiError> {
    writer.change(&ChangeRequest::new(command.clone()), ROOT)
}

/// Lets the writer do what it does between requests, whatever fails of it, until nothing is left: what
/// is deleted and has no flows goes, and so do its numbers.
fn settle(writer: &mut Shaky) {
    for _ in 0..5 {
        if let Some(flip) = writer.tidy_after {
            assert!(writer.grace.wait_for(flip), "a grace period");
        }
        // Half a minute, so that numbers are free again.
        let tick = &writer.plane.inner.tick;
        tick.set(tick.get() + 130);
        writer.scan_now();
        let cycle = writer.scan_cycle();
        while writer.scan_cycle() == cycle {
            // As the writer's thread does it.
            if writer.housekeep(Instant::now()).is_err() {
                writer.scan.postpone(Instant::now());
                writer.scan_now();
            }
        }
    }
}

/// What a change must lead to, from a run in which nothing fails.
struct Fair {
    before: (Sight, Journal),
    after: (Sight, Journal),
    last: (Sight, Journal),
    /// Steps until the answer.
    answered: usize,
    /// Steps that are worth to fail: those, and of what follows the first two of each kind.
    steps: Vec<usize>,
}

fn see(writer: &Shaky) -> (Sight, Journal) {
    (Sight::of(writer), Journal::of(writer))
}

/// The change that follows.
fn next() -> Command {
    apply(
        &SCENE
            .replace("60%", "30%")
            .replace("40%", "70%")
            .replace("2.21", "2.22"),
    )
}

fn fair(setup: &[Command], command: &Command) -> Fair {
    let faults = Faults::default();
    let mut writer = scene(setup, &faults);
    let before = see(&writer);
    faults.arm(0..0);
    change(&mut writer, command).unwrap();
    let answered = faults.disarm();
    faults.arm(0..0);
    settle(&mut writer);
    let settled = faults.disarm();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let later = (answered.len()..).zip(settled).filter(|(_, kind)| {
        let met = kinds.entry(kind).or_default();
        *met += 1;
        *met <= 2
    });
    let steps = (0..answered.len()).chain(later.map(|(step, _)| step));
    let steps: Vec<usize> = steps.collect();
    let after = see(&writer);
    assert_ne!(before, after, "{command:?} changes nothing");
    change(&mut writer, &next()).unwrap();
    settle(&mut writer);
    Fair {
        before,
        after,
        last: see(&writer),
        answered: answered.len(),
        steps,
    }
}

/// Lets the steps `failing` fail in `command` and in what follows it, and compares.
fn trial(setup: &[Command], command: &Command, fair: &Fair, failing: Range<usize>) {
    let faults = Faults::default();
    let mut writer = scene(setup, &faults);
    assert!(see(&writer) == fair.before, "another beginning");
    let once = failing.len() == 1;
    faults.arm(failing);
    let answer = change(&mut writer, command);
    if once {
        // Packets need not wait until it is tidied up.
        let now = Sight::of(&writer);
        let wanted = if answer.is_ok() {
            &fair.after
        } else {
            &fair.before
        };
        now.assert_new_flows_as(&wanted.0, "at once");
    } else {
        faults.disarm();
    }
    settle(&mut writer);
    let failed = faults.disarm();
    let wanted = if answer.is_ok() {
        &fair.after
    } else {
        &fair.before
    };
    let (sight, journal) = see(&writer);
    sight.assert_is(&wanted.0, &format!("{answer:?}\n{failed:?}"));
    journal.assert_is(&wanted.1, "after the change");
    assert!(
        writer.store.pending().unwrap().is_none(),
        "left in the journal"
    );
    if answer.is_err() {
        change(&mut writer, command).expect("what was taken back can be tried again");
    }
    change(&mut writer, &next()).expect("the next change");
    settle(&mut writer);
    let (sight, journal) = see(&writer);
    sight.assert_is(&fair.last.0, "after the next change");
    journal.assert_is(&fair.last.1, "after the next change");
    let Writer { plane, store, .. } = writer;
    let mut writer = shaky(plane, store, &faults, true);
    settle(&mut writer);
    let (sight, journal) = see(&writer);
    sight.assert_is(&fair.last.0, "after a restart");
    journal.assert_is(&fair.last.1, "after a restart");
}

/// Fails each step of a change, and all from each step on.
fn every_step(setup: &[Command], command: &Command) {
    clock::FROZEN.set(Some(NOW));
    let fair = fair(setup, command);
    let answered = fair.answered;
    assert!(answered > 0, "a change without steps");
    for step in fair.steps.iter().copied() {
        let failing = step..step + 1;
        let told = std::panic::AssertUnwindSafe(|| trial(setup, command, &fair, failing));
        if std::panic::catch_unwind(told).is_err() {
            panic!("step {step} fails, {answered} come before the answer");
        }
    }
    for step in 0..answered {
        let told = std::panic::AssertUnwindSafe(|| trial(setup, command, &fair, step..usize::MAX));
        if std::panic::catch_unwind(told).is_err() {
            panic!("all fail from step {step} of {answered} on");
        }
    }
}

/// A test for each kind of change: what is done first, and the change whose steps fail.
macro_rules! changes {
    ($($name:ident: [$($setup:expr),*], $command:expr;)*) => {$(
        #[test]
        fn $name() {
            every_step(&[$($setup),*], &$command);
        }
    )*};
}

changes! {
    of_an_apply_with_a_new_service: [], apply(
        &SCENE.split("---").next().unwrap().replace("name: web", "name: api").replace("release: shop", "noBackend: reset")
            .replace("1.100", "1.102").replace("198.18.2.", "198.18.3.")
    );
    of_an_apply_with_other_backends: [], apply(&SCENE.replace("198.18.2.12", "198.18.2.13"));
    of_an_apply_with_other_weights_and_backends: [],
        apply(&SCENE.replace("60%", "50%").replace("40%", "50%").replace("2.21", "2.23"));
    of_an_apply_that_moves_a_listener: [], apply(
        &SCENE.replace("    - {vip: 198.18.1.100, port: 81, protocol: tcp}\n", "").replace(
            "[{vip: 198.18.1.101, port: 80, protocol: tcp}]",
            "[{vip: 198.18.1.100, port: 81, protocol: tcp}]",
        )
    );
    of_an_apply_that_empties_a_track: [], apply(&SCENE.replace("60%", "100%").replacen(
        "green, weight: 40%, backends: [{address: 198.18.2.21, port: 80}]", "green, weight: 0%, backends: []", 1
    ).replace("40%", "0%"));
    of_another_mode: [], apply(&SCENE.replacen("release: shop", "release: shop\n  mode: dsr-l2", 1)
        .replace("    - {vip: 198.18.1.100, port: 81, protocol: tcp}\n", ""));
    of_a_delete: [], Command::Delete { service: "web".into(), now: false };
    of_a_delete_now: [], Command::Delete { service: "cart".into(), now: true };
    of_a_shift: [], Command::SetWeight { target: target(), weights: vec![("green".into(), "55%".into())], ramp: None };
    of_a_cutover_of_a_release: [], cutover();
    of_an_undo: [cutover()], Command::Undo { target: shop(), existing: Existing::Keep, to_generation: None };
    of_a_drain_of_a_track: [], drain(&blue());
    of_a_drain_of_a_backend: [], drain(&one_backend());
    of_a_track_that_is_ready_again: [drain(&blue())], ready(&blue());
    of_a_backend_that_is_ready_again: [drain(&one_backend())], ready(&one_backend());
}
