//! Full and read-only file systems: tmpfs in a mount namespace of the test's own.

use std::fs;
use std::path::Path;

use super::{change, service};
use crate::sandbox;
use crate::store::{Store, StoreError, secret};

#[test]
fn a_full_disk_changes_nothing_and_the_change_can_be_tried_again() {
    in_own_mounts(|directory| {
        mount(directory, "size=1m", 0);
        let mut store = Store::open(directory).unwrap();
        store.apply_now(&change(1, &["web"])).unwrap();
        let ballast = directory.join("ballast");
        fill(&ballast);

        let error = store.prepare(&change(2, &["web"])).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        assert!(error.to_string().contains("no space left"), "{error}");
        assert_eq!(store.pending().unwrap(), None);
        assert_eq!(store.load_services().unwrap(), [service("web", 1)]);

        fs::remove_file(ballast).unwrap();
        store.prepare(&change(2, &["web"])).unwrap();
        store.commit(2).unwrap();
        assert_eq!(store.load_services().unwrap(), [service("web", 2)]);
    });
}

#[test]
fn a_disk_that_fills_up_after_the_flip_leaves_the_change_pending() {
    in_own_mounts(|directory| {
        mount(directory, "size=1m", 0);
        let mut store = Store::open(directory).unwrap();
        store.prepare(&change(1, &["web"])).unwrap();
        let ballast = directory.join("ballast");
        fill(&ballast);
        let error = store.commit(1).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        assert_eq!(store.pending().unwrap(), Some(change(1, &["web"])));

        fs::remove_file(ballast).unwrap();
        store.commit(1).unwrap();
        assert_eq!(store.load_services().unwrap(), [service("web", 1)]);
    });
}

#[test]
fn a_full_disk_at_the_first_start_leaves_nothing_half_made() {
    in_own_mounts(|directory| {
        mount(directory, "size=64k", 0);
        fill(&directory.join("ballast"));
        let error = Store::open(directory).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        let error = secret(directory).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        fs::remove_file(directory.join("ballast")).unwrap();
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    });
}

#[test]
fn a_read_only_directory_is_refused() {
    in_own_mounts(|directory| {
        mount(directory, "size=4m", libc::MS_RDONLY);
        for error in [
            Store::open(directory).unwrap_err(),
            secret(directory).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
            assert!(error.to_string().contains("Remount"), "{error}");
        }
    });
}

#[test]
fn a_journal_on_a_file_system_that_became_read_only_is_refused() {
    in_own_mounts(|directory| {
        mount(directory, "size=4m", 0);
        drop(Store::open(directory).unwrap());
        mount(directory, "", libc::MS_RDONLY | libc::MS_REMOUNT);
        let error = Store::open(directory).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    });
}

/// Runs `test` on an empty directory in mounts of its own; what it mounts there is gone afterwards.
fn in_own_mounts(test: impl FnOnce(&Path) + Send) {
    let directory = tempfile::tempdir().unwrap();
    sandbox::mounts(|| test(directory.path()));
}

fn mount(directory: &Path, options: &str, flags: libc::c_ulong) {
    let options = ["mode=0700", options].join(",");
    sandbox::mount("tmpfs", directory, options.trim_end_matches(','), flags);
}

fn fill(ballast: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(ballast).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
}
