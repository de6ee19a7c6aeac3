use super::{change, id, service};
use crate::store::{IdRecord, Store, StoreError};

#[test]
fn a_committed_change_is_read_back_as_it_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let written = change(3, &["web", "api"]);
    let mut store = Store::open(directory.path()).unwrap();
    store.prepare(&written).unwrap();
    store.commit(3).unwrap();
    drop(store);

    let store = Store::open(directory.path()).unwrap();
    assert_eq!(
        store.load_services().unwrap(),
        [service("api", 3), service("web", 3)]
    );
    assert_eq!(
        store.load_ids().unwrap(),
        [
            id("backend", 4_000_000_000, "deleting"),
            id("service", 7, "active")
        ]
    );
    assert_eq!(store.pending().unwrap(), None);
    assert_eq!(store.committed().unwrap(), Some(3));
    assert_eq!(store.audit(10).unwrap().len(), 1);
    assert_eq!(store.audit(10).unwrap()[0].audit, written.audit);
    let history = store.history(Some("web"), 10).unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(
        (
            history[0].sequence,
            history[0].generation,
            &history[0].audit
        ),
        (3, 3, &written.audit)
    );
    assert_eq!(store.history(None, 10).unwrap().len(), 2);
}

#[test]
fn a_prepared_change_outlives_a_crash_and_changes_nothing_until_it_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    store.prepare(&change(1, &["web"])).unwrap();
    store.commit(1).unwrap();
    store.prepare(&change(2, &["web"])).unwrap();
    drop(store);

    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.load_services().unwrap(), [service("web", 1)]);
    assert_eq!(store.pending().unwrap(), Some(change(2, &["web"])));
    assert_eq!(store.committed().unwrap(), Some(1));

    store.commit(2).unwrap();
    assert_eq!(store.load_services().unwrap(), [service("web", 2)]);
    assert_eq!(store.pending().unwrap(), None);
    assert_eq!(store.audit(10).unwrap().len(), 2);
}

#[test]
fn a_crash_of_the_process_leaves_what_was_synced() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    store.prepare(&change(1, &["web"])).unwrap();
    store.commit(1).unwrap();
    store.prepare(&change(2, &["web"])).unwrap();
    // What a killed process leaves: the file and its log as they are now, not as a close would leave them.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(directory.path().join(name), crashed.path().join(name)).unwrap();
    }
    drop(store);

    let store = Store::open(crashed.path()).unwrap();
    assert_eq!(store.load_services().unwrap(), [service("web", 1)]);
    assert_eq!(store.pending().unwrap(), Some(change(2, &["web"])));
}

#[test]
fn a_discarded_change_leaves_no_trace() {
    let mut store = Store::open_in_memory().unwrap();
    store.prepare(&change(1, &["web"])).unwrap();
    store.commit(1).unwrap();
    store.prepare(&change(2, &["web"])).unwrap();
    store.discard(2).unwrap();
    assert_eq!(store.pending().unwrap(), None);
    assert_eq!(store.load_services().unwrap(), [service("web", 1)]);
    assert_eq!(store.audit(10).unwrap().len(), 1);
    assert_eq!(split_tables(&store), 1);
    store.prepare(&change(2, &["web"])).unwrap();
}

#[test]
fn committing_the_last_change_again_does_nothing() {
    let mut store = Store::open_in_memory().unwrap();
    store.prepare(&change(1, &["web"])).unwrap();
    store.commit(1).unwrap();
    store.commit(1).unwrap();
    assert_eq!(store.audit(10).unwrap().len(), 1);
}

#[test]
fn a_change_that_was_not_prepared_is_neither_committed_nor_discarded() {
    let mut store = Store::open_in_memory().unwrap();
    assert!(matches!(
        store.commit(1),
        Err(StoreError::NotPending {
            sequence: 1,
            pending: None
        })
    ));
    assert!(matches!(
        store.discard(1),
        Err(StoreError::NotPending {
            sequence: 1,
            pending: None
        })
    ));
    store.prepare(&change(2, &["web"])).unwrap();
    assert!(matches!(
        store.commit(1),
        Err(StoreError::NotPending {
            sequence: 1,
            pending: Some(2)
        })
    ));
    assert!(matches!(
        store.discard(1),
        Err(StoreError::NotPending {
            sequence: 1,
            pending: Some(2)
        })
    ));
}

#[test]
fn only_one_change_is_pending() {
    let mut store = Store::open_in_memory().unwrap();
    store.prepare(&change(1, &["web"])).unwrap();
    assert!(matches!(
        store.prepare(&change(2, &["web"])),
        Err(StoreError::Pending { sequence: 1 })
    ));
    assert!(matches!(
        store.apply_now(&change(2, &["web"])),
        Err(StoreError::Pending { sequence: 1 })
    ));
    assert_eq!(store.pending().unwrap(), Some(change(1, &["web"])));
}

#[test]
fn a_change_without_a_flip_is_recorded_in_one_step() {
    let mut store = Store::open_in_memory().unwrap();
    store.prepare(&change(5, &["web"])).unwrap();
    store.commit(5).unwrap();
    store.apply_now(&change(6, &["web"])).unwrap();
    assert_eq!(store.load_services().unwrap(), [service("web", 6)]);
    assert_eq!(store.committed().unwrap(), Some(5));
    assert_eq!(store.audit(1).unwrap()[0].audit, change(6, &["web"]).audit);
}

#[test]
fn a_deleted_service_goes_with_its_anchors_and_others_stay() {
    let mut store = Store::open_in_memory().unwrap();
    store.apply_now(&change(3, &["web", "api"])).unwrap();
    let mut deletion = change(4, &[]);
    deletion.deleted = vec!["web".to_owned()];
    store.prepare(&deletion).unwrap();
    store.commit(4).unwrap();
    assert_eq!(store.load_services().unwrap(), [service("api", 3)]);
    assert_eq!(split_tables(&store), 3);
}

#[test]
fn a_freed_number_is_forgotten_and_the_others_stay() {
    let mut store = Store::open_in_memory().unwrap();
    store.apply_now(&change(1, &["web"])).unwrap();
    let mut freed = change(2, &[]);
    freed.ids = vec![
        id("service", 7, IdRecord::FREE),
        id("listener", 7, "active"),
    ];
    store.apply_now(&freed).unwrap();
    let expected = [
        id("backend", 4_000_000_000, "deleting"),
        id("listener", 7, "active"),
    ];
    assert_eq!(store.load_ids().unwrap(), expected);

    store.replace_ids(&[id("backend", 1, "active")]).unwrap();
    assert_eq!(store.load_ids().unwrap(), [id("backend", 1, "active")]);
}

#[test]
fn split_tables_that_nothing_speaks_of_are_dropped() {
    let mut store = Store::open_in_memory().unwrap();
    for sequence in 1..20 {
        store.prepare(&change(sequence, &["web", "api"])).unwrap();
        store.commit(sequence).unwrap();
        // Both services share one current split and two anchors.
        assert_eq!(split_tables(&store), sequence.min(3));
    }
}

#[test]
fn history_and_audit_are_bounded() {
    let mut store = Store::open_in_memory().unwrap();
    for sequence in 1..=150 {
        let mut change = change(sequence, &["web"]);
        if sequence == 1 {
            change.services.push(service("rare", 1));
        }
        store.apply_now(&change).unwrap();
    }
    store.maintain().unwrap();
    let history = store.history(Some("web"), 1_000).unwrap();
    assert_eq!(history.len(), 100);
    assert_eq!((history[0].sequence, history[99].sequence), (150, 51));
    assert_eq!(store.history(Some("rare"), 1_000).unwrap().len(), 1);
    assert_eq!(store.audit(1_000).unwrap().len(), 150);
}

#[test]
fn values_are_stored_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    assert_eq!(store.meta("limits").unwrap(), None);
    store.set_meta("limits", "{}").unwrap();
    store.set_meta("limits", "{\"flows\":1000000}").unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(
        store.meta("limits").unwrap().as_deref(),
        Some("{\"flows\":1000000}")
    );
}

fn split_tables(store: &Store) -> u64 {
    let count: i64 = store
        .connection
        .query_row("SELECT count(*) FROM split", (), |row| row.get(0))
        .unwrap();
    u64::try_from(count).unwrap()
}
