#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use super::{Bpffs, HostError, ensure_bpffs, is_bpffs, lock_instance};
use crate::sandbox;

#[test]
fn a_bpf_file_system_is_mounted_where_it_is_missing_and_only_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/the/way");
    sandbox::mounts(|| {
        assert_eq!(ensure_bpffs(&path).unwrap(), Bpffs::Mounted);
        assert!(is_bpffs(&path).unwrap());
        assert_eq!(ensure_bpffs(&path).unwrap(), Bpffs::Found);
        assert_eq!(ensure_bpffs(&path.join("below")).unwrap(), Bpffs::Found);
    });
    assert!(!is_bpffs(&path).unwrap());
}

#[test]
fn no_bpf_file_system_is_mounted_over_a_directory_that_holds_something() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), b"").unwrap();
    sandbox::mounts(|| {
        let error = ensure_bpffs(directory.path()).unwrap_err();
        assert!(matches!(error, HostError::NotBpffs { .. }), "{error}");
        assert!(error.to_string().contains("not empty"), "{error}");
    });
}

#[test]
fn a_second_agent_of_one_name_is_refused_with_the_pid_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    sandbox::mounts(|| {
        ensure_bpffs(directory.path()).unwrap();
        let path = directory.path().join("splitter");
        let lock = lock_instance(&path).unwrap();
        let error = lock_instance(&path).unwrap_err();
        assert!(
            matches!(error, HostError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        lock_instance(&directory.path().join("other")).unwrap();
        drop(lock);
        lock_instance(&path).unwrap();
    });
}

#[test]
fn a_lock_on_a_directory_that_was_removed_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("splitter");
    let removed = lock_instance(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    let lock = lock_instance(&path).unwrap();
    drop(removed);
    assert!(matches!(
        lock_instance(&path),
        Err(HostError::Locked { .. })
    ));
    drop(lock);
}
