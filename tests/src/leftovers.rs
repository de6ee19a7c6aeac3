//! What a killed run (SIGKILL, a runner's time limit) left on the machine.
//!
//! Names carry the id of the process that owns them: where that process is gone, the next run takes them away.

use std::path::Path;
use std::process::Command;
use std::sync::Once;

use crate::scratch::PREFIX;

/// Takes away, once a process, what dead processes of the lab left behind.
pub(crate) fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        namespaces();
        mounts();
        directories();
    });
}

/// Whether `name` is one of the lab's and its owner is gone.
fn orphaned(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

fn namespaces() {
    for name in entries(Path::new("/run/netns")).filter(|name| orphaned(name)) {
        for pid in run("ip", &["netns", "pids", &name]).split_whitespace() {
            run("kill", &["-KILL", pid]);
        }
        run("ip", &["netns", "del", &name]);
    }
}

fn mounts() {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in table.lines().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(target)
            .iter()
            .filter_map(|part| part.to_str())
            .any(orphaned)
        {
            run("umount", &["--lazy", target]);
        }
    }
}

fn directories() {
    let root = std::env::temp_dir();
    for name in entries(&root).filter(|name| orphaned(name)) {
        // Another run may be sweeping at the same time.
        let _ = std::fs::remove_dir_all(root.join(name));
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
}

fn run(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
