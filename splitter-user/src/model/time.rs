//! Durations as people write them.

use std::time::Duration;

/// A duration in the units that resources take, such as `1h 30m` or `500ms`. Nothing shorter than
/// a nanosecond exists, and nothing is rounded.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let nanos = time.subsec_nanos();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(nanos / 1_000_000), "ms"),
        (u64::from(nanos / 1_000 % 1_000), "us"),
        (u64::from(nanos % 1_000), "ns"),
    ];
    let shown: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() {
        return "0s".to_owned();
    }
    shown.join(" ")
}
