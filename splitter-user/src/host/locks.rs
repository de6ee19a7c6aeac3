//! Who holds a lock on a file: the kernel tells in `/proc/locks`.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The process that holds a lock on the file at `path`, if the kernel tells.
pub(crate) fn lock_holder(path: &Path) -> Option<u32> {
    holder_of(&fs::metadata(path).ok()?)
}

/// The process that holds a lock on the file that `metadata` is of.
pub(crate) fn holder_of(metadata: &Metadata) -> Option<u32> {
    find(
        &fs::read_to_string("/proc/locks").ok()?,
        metadata.dev(),
        metadata.ino(),
    )
}

/// A line is `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`: process, then device and inode. Those that wait for a lock
/// have `->` behind the number.
fn find(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let file = format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(4);
        let (process, locked) = (fields.next()?, fields.next()?);
        (locked == file).then(|| process.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 301 fe:00:5678 0 EOF
2: -> FLOCK  ADVISORY  WRITE 999 00:1a:42 0 EOF
3: FLOCK  ADVISORY  WRITE 302 00:1a:42 0 EOF
4: OFDLCK ADVISORY  READ  -1 00:1a:43 0 EOF
";

    #[test]
    fn the_holder_is_found_by_device_and_inode_and_waiters_are_not_holders() {
        let device = rustix::fs::makedev(0, 0x1a);
        assert_eq!(find(LOCKS, device, 42), Some(302));
        assert_eq!(find(LOCKS, rustix::fs::makedev(0xfe, 0), 5678), Some(301));
        assert_eq!(find(LOCKS, device, 5678), None);
    }

    #[test]
    fn a_lock_without_a_process_has_no_known_holder() {
        assert_eq!(find(LOCKS, rustix::fs::makedev(0, 0x1a), 43), None);
    }
}
