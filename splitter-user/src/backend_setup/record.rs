//! What was changed, so that it can be taken back.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::change::Change;

/// Version of the file's shape.
const VERSION: u32 = 1;

/// Changes in the order in which they were made, in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    path: PathBuf,
    changes: Vec<Change>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    changes: Vec<Change>,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file.
    #[error(
        "cannot {action} {path}, where changes are written down for --undo: {source}; another place is given with --record"
    )]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could have written it, and root would do what it says.
    #[error(
        "{path} may have been written by others (owner uid {uid}, mode {mode:04o}): it must be root's or yours, and writable by its \
         owner alone; if you trust what is in it: chown root {path} && chmod 600 {path}"
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Its content.
    #[error(
        "{path} is no record of backend-setup ({message}): move it away; nothing can be taken back by it"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Record {
    /// Reads the record at `path`; none is an empty one.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let content = match File::open(path) {
            Ok(file) => trusted(file, path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    path: path.to_owned(),
                    changes: Vec::new(),
                });
            }
            Err(source) => return Err(failed("read", path)(source)),
        };
        let wrong = |message: String| RecordError::Content {
            path: path.to_owned(),
            message,
        };
        let content: Content =
            serde_json::from_slice(&content).map_err(|error| wrong(error.to_string()))?;
        if content.version != VERSION {
            return Err(wrong(format!(
                "version {}, known is {VERSION}",
                content.version
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            changes: content.changes,
        })
    }

    /// The changes, the oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Writes down a change that is about to be made. Of what was changed before, what stood there first
    /// is kept.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn add(&mut self, change: Change) -> Result<(), RecordError> {
        let subject = change.subject();
        match self
            .changes
            .iter_mut()
            .find(|older| older.subject() == subject)
        {
            Some(older) => *older = change.since(older),
            None => self.changes.push(change),
        }
        self.write()
    }

    /// Strikes out a change that was taken back.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn strike(&mut self, change: &Change) -> Result<(), RecordError> {
        self.changes.retain(|other| other != change);
        if self.changes.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(failed("remove", &self.path)(source))
                }
                _ => Ok(()),
            };
        }
        self.write()
    }

    /// The old file is there until the new one takes its name.
    fn write(&self) -> Result<(), RecordError> {
        let failed = |action| failed(action, &self.path);
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory).map_err(failed("make the directory of"))?;
        }
        let content = Content {
            version: VERSION,
            changes: self.changes.clone(),
        };
        let text =
            serde_json::to_vec_pretty(&content).map_err(|error| failed("write")(error.into()))?;
        let fresh = self.path.with_extension("new");
        let write = || {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(failed("write"))?;
        fs::rename(&fresh, &self.path).map_err(failed("write"))
    }
}

/// The content of a file that nobody but its owner, root or who runs this, can have written.
fn trusted(mut file: File, path: &Path) -> Result<Vec<u8>, RecordError> {
    let metadata = file.metadata().map_err(failed("read", path))?;
    let (uid, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if ![0, rustix::process::geteuid().as_raw()].contains(&uid) || mode & 0o022 != 0 {
        return Err(RecordError::Untrusted {
            path: path.to_owned(),
            uid,
            mode,
        });
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)
        .map_err(failed("read", path))?;
    Ok(content)
}

fn failed<'p>(action: &'static str, path: &'p Path) -> impl Fn(io::Error) -> RecordError + 'p {
    move |source| RecordError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    fn setting(key: &str, from: i64, to: i64) -> Change {
        Change::Setting {
            key: key.to_owned(),
            from,
            to,
        }
    }

    #[test]
    fn changes_are_kept_with_what_stood_there_first_until_the_last_is_struck_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/record.json");
        let mut record = Record::open(&path).unwrap();
        assert_eq!(record.changes(), []);
        for change in [setting("a", 0, 1), setting("b", 0, 1), setting("a", 1, 2)] {
            record.add(change).unwrap();
        }
        let mut record = Record::open(&path).unwrap();
        assert_eq!(record.changes(), [setting("a", 0, 2), setting("b", 0, 1)]);
        record.strike(&setting("a", 0, 2)).unwrap();
        assert_eq!(Record::open(&path).unwrap().changes(), [setting("b", 0, 1)]);
        record.strike(&setting("b", 0, 1)).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_record_that_others_can_write_is_not_followed() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        Record::open(&path)
            .unwrap()
            .add(setting("a", 0, 1))
            .unwrap();
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let message = Record::open(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("{mode:04o}")), "{message}");
            assert!(message.contains("chmod 600"), "{message}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Record::open(&path).unwrap().changes().len(), 1);
    }

    #[test]
    fn a_file_that_is_no_record_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        for content in ["", "{", "{\"version\": 2, \"changes\": []}"] {
            std::fs::write(&path, content).unwrap();
            let message = Record::open(&path).unwrap_err().to_string();
            assert!(message.contains("no record of backend-setup"), "{message}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }
}
