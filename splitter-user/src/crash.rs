//! Where tests end the agent in the middle of a change: between any two of its writes. Compiled into
//! builds for tests alone: the package of the tests asks for the feature `crash-points`, and a build
//! without debug assertions has none whatever it asks for.

/// A place between two writes.
#[cfg(not(all(feature = "crash-points", debug_assertions)))]
#[inline(always)]
pub(crate) const fn point() {}

/// A place between two writes: counts the file down that `SPLITTER_CRASH` names, and ends the agent as
/// `kill -9` would when it stands at 0. Without the variable or the file it does nothing.
#[cfg(all(feature = "crash-points", debug_assertions))]
pub(crate) fn point() {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("SPLITTER_CRASH").map(PathBuf::from));
    let Some(file) = file else { return };
    let left = std::fs::read_to_string(file).ok();
    let Some(left) = left.and_then(|text| text.trim().parse::<u64>().ok()) else {
        return;
    };
    if left == 0 {
        let own = rustix::process::getpid();
        // It cannot fail for the process itself, and does not come back.
        let _killed = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        std::thread::park();
    }
    if let Err(error) = std::fs::write(file, (left - 1).to_string()) {
        tracing::error!(%error, "cannot count steps");
    }
}
