//! Namespaces of a test's own: what is done in them reaches neither the machine nor another test.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Runs `test` in a thread with a network namespace of its own, its loopback up.
pub(crate) fn network(test: impl FnOnce() + Send) {
    in_thread(libc::CLONE_NEWNET, || {
        ip("link set dev lo up");
        no_duplicate_detection();
        test();
    });
}

/// Runs `test` in a thread with mounts of its own.
pub(crate) fn mounts(test: impl FnOnce() + Send) {
    in_thread(libc::CLONE_NEWNS, || {
        mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE);
        test();
    });
}

/// Mounts a file system of `kind` at `target`.
pub(crate) fn mount(kind: &str, target: &Path, options: &str, flags: libc::c_ulong) {
    let kind = CString::new(kind).unwrap();
    let target = CString::new(target.to_str().unwrap()).unwrap();
    let options = CString::new(options).unwrap();
    // SAFETY: all pointers are to strings that end in zero and outlive the call.
    let mounted = unsafe {
        libc::mount(
            kind.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    assert_eq!(mounted, 0, "mount: {}", io::Error::last_os_error());
}

/// Runs `ip` with `arguments` (split at spaces) in this thread's network namespace.
pub(crate) fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')));
}

/// Makes IPv6 addresses usable at once, of links made from now on: no wait for duplicates of them.
fn no_duplicate_detection() {
    sysctl("ipv6/conf/default/accept_dad", "0");
    sysctl("ipv6/conf/all/accept_dad", "0");
}

/// Writes a setting of this thread's network namespace, such as `ipv4/ip_forward`.
pub(crate) fn sysctl(name: &str, value: &str) {
    std::fs::write(Path::new("/proc/sys/net").join(name), value).unwrap();
}

/// Another network namespace, for the far end of a cable.
pub(crate) struct Peer(File);

impl Peer {
    /// A fresh one, with its loopback up.
    pub(crate) fn new() -> Self {
        let mut namespace = None;
        in_thread(libc::CLONE_NEWNET, || {
            ip("link set dev lo up");
            no_duplicate_detection();
            namespace = Some(File::open("/proc/thread-self/ns/net").unwrap());
        });
        Self(namespace.unwrap())
    }

    /// Lays a cable: `near` here, `far` there, both up.
    pub(crate) fn cable(&self, near: &str, far: &str) {
        let namespace = format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        ip(&format!(
            "link add {near} type veth peer name {far} netns {namespace}"
        ));
        ip(&format!("link set dev {near} up"));
        self.ip(&format!("link set dev {far} up"));
    }

    /// Runs `ip` there.
    pub(crate) fn ip(&self, arguments: &str) {
        let namespace = self.0.as_raw_fd();
        let mut command = Command::new("ip");
        // SAFETY: between fork and exec the closure makes one system call and touches no memory that is shared.
        unsafe {
            command.pre_exec(move || match libc::setns(namespace, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        run(command.args(arguments.split(' ')));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

fn in_thread(namespaces: libc::c_int, test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let test = scope.spawn(move || {
            // SAFETY: no pointers; what the thread leaves was shared, what it gets is its own.
            let left = unsafe { libc::unshare(namespaces) };
            assert_eq!(
                left,
                0,
                "namespaces need root (run as root, or cargo xtask test): {}",
                io::Error::last_os_error()
            );
            test();
        });
        if let Err(panic) = test.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
