use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::store::{StoreError, secret};

#[test]
fn the_secret_is_made_once_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let first = secret(directory.path()).unwrap();
    assert_eq!(secret(directory.path()).unwrap(), first);
    assert_ne!(first, [0; 32]);
    let other = tempfile::tempdir().unwrap();
    assert_ne!(secret(other.path()).unwrap(), first);
}

#[test]
fn the_secret_is_for_its_owner_alone_and_leaves_nothing_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    secret(directory.path()).unwrap();
    let names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["secret"]);
    let mode = fs::metadata(directory.path().join("secret"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_secret_that_others_may_read_is_refused_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    secret(directory.path()).unwrap();
    let file = directory.path().join("secret");
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let error = secret(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Mode { .. }));
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    secret(directory.path()).unwrap();
}

#[test]
fn a_secret_of_another_length_is_refused_and_stays() {
    for length in [0, 31, 33] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        fs::write(&file, vec![1; length]).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let error = secret(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::SecretLength { .. }), "{error}");
        assert!(error.to_string().contains("32"), "{error}");
        assert_eq!(fs::read(&file).unwrap().len(), length);
    }
}
