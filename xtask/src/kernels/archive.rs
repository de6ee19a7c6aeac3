//! An archive that a kernel unpacks as its first file system: cpio, "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// An archive that is being written. Paths are from the root, without a slash before them.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    seen: BTreeSet<PathBuf>,
}

impl Archive {
    /// A file that may be executed. The first of a name counts.
    pub fn file(&mut self, path: &Path, content: &[u8]) {
        self.put(path, FILE | 0o755, content);
    }

    /// A symbolic link. The first of a name counts.
    pub fn link(&mut self, path: &Path, target: &str) {
        self.put(path, LINK | 0o777, target.as_bytes());
    }

    /// A folder, and those that it is in.
    pub fn folder(&mut self, path: &Path) {
        self.put(path, FOLDER | 0o755, &[]);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn put(&mut self, path: &Path, mode: u32, content: &[u8]) {
        if self.seen.contains(path) {
            return;
        }
        if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
            self.folder(parent);
        }
        self.seen.insert(path.to_path_buf());
        self.entry(&path.to_string_lossy(), mode, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = |length: usize| u32::try_from(length).expect("files of less than 4 GiB");
        // Number, mode, owner, group, links, time, size, four device numbers, length of the name, checksum.
        let (length, name_length) = (size(content.len()), size(name.len() + 1));
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length,
            0,
            0,
            0,
            0,
            name_length,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let (mut names, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let field = |number: usize| {
                let start = at + 6 + number * 8;
                let digits = std::str::from_utf8(&bytes[start..start + 8]).expect("digits");
                usize::from_str_radix(digits, 16).expect("a number")
            };
            assert_eq!(&bytes[at..at + 6], b"070701", "an entry at {at}");
            let (size, name) = (field(6), field(11));
            let text = &bytes[at + 110..at + 110 + name - 1];
            names.push(String::from_utf8_lossy(text).into_owned());
            at = (at + 110 + name).next_multiple_of(4) + size;
            at = at.next_multiple_of(4);
        }
        names
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file(Path::new("usr/bin/ip"), b"12345");
        archive.link(Path::new("usr/bin/sh"), "dash");
        archive.file(Path::new("usr/bin/ip"), b"another");
        assert_eq!(
            names(&archive.finish()),
            ["usr", "usr/bin", "usr/bin/ip", "usr/bin/sh", "TRAILER!!!"]
        );
    }
}
