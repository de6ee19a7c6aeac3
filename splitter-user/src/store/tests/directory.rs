use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::change;
use crate::store::{Store, StoreError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_directory_and_the_files_are_made_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("lib/splitter");
    let mut store = Store::open(&directory).unwrap();
    store.apply_now(&change(1, &["web"])).unwrap();
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("state.db")), 0o600);
    assert_eq!(mode(&directory.join("state.db-wal")), 0o600);
}

#[test]
fn a_directory_that_others_may_write_to_is_refused_with_the_fix_and_not_altered() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Mode { mode: 0o777, .. }));
    assert!(error.to_string().contains("chmod 0700"), "{error}");
    assert_eq!(mode(directory.path()), 0o777);
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let file = directory.path().join("state.db");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("chmod 0600 {}", file.display())),
        "{error}"
    );
}

#[test]
fn something_else_in_the_place_of_the_directory_or_the_file_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(
        Store::open(&file),
        Err(StoreError::Kind {
            expected: "directory",
            ..
        })
    ));
    assert!(matches!(
        Store::open(&file.join("below")),
        Err(StoreError::Kind {
            expected: "directory",
            ..
        })
    ));

    let directory = parent.path().join("directory");
    fs::create_dir_all(directory.join("state.db")).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(
        Store::open(&directory),
        Err(StoreError::Kind {
            expected: "plain file",
            ..
        })
    ));
}

#[test]
fn a_second_store_on_the_same_directory_is_refused_while_the_first_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    first.apply_now(&change(1, &["web"])).unwrap();
    drop(first);
    assert_eq!(
        Store::open(directory.path())
            .unwrap()
            .load_services()
            .unwrap()
            .len(),
        1
    );
}
