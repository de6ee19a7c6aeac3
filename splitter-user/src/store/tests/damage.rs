use std::fs;
use std::path::Path;

use super::{change, id, service};
use crate::store::{IdRecord, ServiceRecord, Store, StoreError, VERSION};

/// A journal with a bit of everything, and nothing left in the log.
fn written(directory: &Path) {
    let mut store = Store::open(directory).unwrap();
    store.prepare(&change(3, &["web", "api"])).unwrap();
    store.commit(3).unwrap();
    store.set_meta("limits", "{\"flows\":1000000}").unwrap();
    store.prepare(&change(4, &["web"])).unwrap();
}

fn refused(directory: &Path) -> String {
    let before = fs::read(directory.join("state.db")).unwrap();
    let error = Store::open(directory).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(
        fs::read(directory.join("state.db")).unwrap(),
        before,
        "a refused file must stay as it is"
    );
    let message = error.to_string();
    assert!(
        message.contains("is corrupt") && message.contains("Restore it from a backup"),
        "{message}"
    );
    message
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    fs::write(
        directory.path().join("state.db"),
        b"no database at all, but text of some length",
    )
    .unwrap();
    refused(directory.path());
}

#[test]
fn an_empty_file_is_refused_and_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    fs::write(directory.path().join("state.db"), b"").unwrap();
    assert!(refused(directory.path()).contains("it ends after 0 bytes"));
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let whole = Contents::new();
    let mut refused = 0;
    let lengths: Vec<usize> = (0..whole.bytes.len())
        .step_by(whole.bytes.len() / 61)
        .collect();
    for &length in &lengths {
        let outcome = whole.refused_or_equal(&whole.bytes[..length], &format!("{length} bytes"));
        refused += usize::from(outcome == Outcome::Refused);
    }
    // The last page may be a free one, whose contents nobody misses.
    assert!(
        refused + 1 >= lengths.len(),
        "{refused} of {}",
        lengths.len()
    );
}

#[test]
fn a_file_overwritten_with_zeros_anywhere_is_refused_or_read_right() {
    let whole = Contents::new();
    for page in 0..whole.bytes.len() / 4_096 {
        let mut bytes = whole.bytes.clone();
        bytes[page * 4_096..(page + 1) * 4_096].fill(0);
        whole.refused_or_equal(&bytes, &format!("page {page}"));
    }
}

#[test]
fn a_flipped_bit_is_never_read_as_something_else() {
    let whole = Contents::new();
    let mut refused = 0;
    let step = if cfg!(debug_assertions) { 1_021 } else { 127 };
    for position in (0..100).chain((100..whole.bytes.len()).step_by(step)) {
        let mut bytes = whole.bytes.clone();
        bytes[position] ^= 1 << (position % 8);
        refused += usize::from(
            whole.refused_or_equal(&bytes, &format!("byte {position}")) == Outcome::Refused,
        );
    }
    assert!(refused > 100, "the flips have to hit contents: {refused}");
}

#[test]
fn a_newer_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    raw(
        directory.path(),
        &format!("PRAGMA user_version = {}", VERSION + 1),
    );
    let before = fs::read(directory.path().join("state.db")).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found, known, .. } if found == VERSION + 1 && known == VERSION)
    );
    assert!(
        error.to_string().contains("a newer one wrote it"),
        "{error}"
    );
    assert_eq!(fs::read(directory.path().join("state.db")).unwrap(), before);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(directory.path().join("state.db"))
        .unwrap()
        .execute_batch("CREATE TABLE theirs(a); PRAGMA application_id = 7")
        .unwrap();
    chmod(&directory.path().join("state.db"), 0o600);
    assert!(matches!(
        Store::open(directory.path()),
        Err(StoreError::Foreign { found: 7, .. })
    ));
}

#[test]
fn a_log_whose_file_is_missing_is_refused_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("state.db-wal");
    fs::write(&log, b"the log of a file that somebody moved away").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, StoreError::LogWithoutFile { .. }),
        "{error}"
    );
    assert!(log.exists());
}

#[test]
fn leftovers_of_an_unfinished_first_start_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("state.db.new"), b"half").unwrap();
    fs::write(directory.path().join("state.db.new-wal"), b"half").unwrap();
    Store::open(directory.path()).unwrap();
    assert!(!directory.path().join("state.db.new").exists());
    assert!(!directory.path().join("state.db.new-wal").exists());
}

#[derive(PartialEq)]
enum Outcome {
    Refused,
    Equal,
}

/// What a good journal holds, byte for byte and as records.
struct Contents {
    bytes: Vec<u8>,
    services: Vec<ServiceRecord>,
    ids: Vec<IdRecord>,
}

impl Contents {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        let bytes = fs::read(directory.path().join("state.db")).unwrap();
        let ids = vec![
            id("backend", 4_000_000_000, "deleting"),
            id("service", 7, "active"),
        ];
        Self {
            bytes,
            services: vec![service("api", 3), service("web", 3)],
            ids,
        }
    }

    fn refused_or_equal(&self, bytes: &[u8], what: &str) -> Outcome {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state.db");
        fs::write(&file, bytes).unwrap();
        chmod(&file, 0o600);
        match Store::open(directory.path()) {
            Err(
                StoreError::Corrupt { .. } | StoreError::Newer { .. } | StoreError::Foreign { .. },
            ) => {
                assert_eq!(
                    fs::read(&file).unwrap(),
                    bytes,
                    "{what}: a refused file must stay as it is"
                );
                Outcome::Refused
            }
            Err(error) => panic!("{what}: {error:?}"),
            Ok(store) => {
                assert_eq!(store.load_services().unwrap(), self.services, "{what}");
                assert_eq!(store.load_ids().unwrap(), self.ids, "{what}");
                assert_eq!(
                    store.pending().unwrap(),
                    Some(change(4, &["web"])),
                    "{what}"
                );
                assert_eq!(store.committed().unwrap(), Some(3), "{what}");
                assert_eq!(
                    store.meta("limits").unwrap().as_deref(),
                    Some("{\"flows\":1000000}"),
                    "{what}"
                );
                Outcome::Equal
            }
        }
    }
}

fn raw(directory: &Path, sql: &str) {
    rusqlite::Connection::open(directory.join("state.db"))
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
