use std::time::{Duration, Instant};

use super::{change, service, slots};
use crate::store::Store;

/// The two synced writes of a cutover; `--nocapture` shows them. The bound is loose: it catches a mistake, not a slow disk.
#[test]
fn preparing_and_committing_a_change_takes_milliseconds() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let mut others = change(1, &[]);
    others.services = (0..64)
        .map(|number| service(&format!("other-{number}"), number + 1))
        .collect();
    store.apply_now(&others).unwrap();

    let mut times: Vec<(Duration, Duration)> = Vec::new();
    for sequence in 2..202 {
        let mut change = change(sequence, &["web"]);
        change.services[0].current = slots(1_000 + sequence);
        change.services[0].anchors.truncate(1);
        let start = Instant::now();
        store.prepare(&change).unwrap();
        let prepared = start.elapsed();
        store.commit(sequence).unwrap();
        times.push((prepared, start.elapsed()));
        if sequence % 50 == 0 {
            let start = Instant::now();
            store.maintain().unwrap();
            println!("maintain: {:?}", start.elapsed());
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        (times[times.len() / 2], times[times.len() - 1])
    };
    let prepared = median(times.iter().map(|time| time.0).collect());
    let both = median(times.iter().map(|time| time.1).collect());
    println!(
        "prepare: median {:?}, max {:?}; with commit: median {:?}, max {:?}",
        prepared.0, prepared.1, both.0, both.1
    );
    assert!(both.0 < Duration::from_millis(100), "{both:?}");
}
