//! Making the socket: its directory, its mode, and what to do with one that is there already.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::unix::net::UnixListener as Socket;
use tokio::net::UnixListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another agent answers there.
    #[error(
        "{path}: another agent answers on this socket; stop it, or give this one another `name` or `socket`"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("{path}: exists and is not a socket; move it away, or set `socket` to another path")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system said no.
    #[error("{path}: cannot {action}: {source}")]
    System {
        /// The path.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Whom the socket's file mode lets connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Root alone: mode 0600.
    Root,
    /// Root and a group: mode 0660.
    Group(u32),
    /// Everybody, mode 0666: for roles by user and group. The file mode knows one group only; the server asks the kernel who
    /// connected, and answers nobody without a role.
    Everybody,
}

impl From<Option<u32>> for Door {
    fn from(group: Option<u32>) -> Self {
        group.map_or(Self::Root, Self::Group)
    }
}

impl Door {
    fn socket_mode(self) -> u32 {
        match self {
            Self::Root => 0o600,
            Self::Group(_) => 0o660,
            Self::Everybody => 0o666,
        }
    }

    /// Everybody may see that there is a socket, unless a group is to have it.
    fn directory_mode(self) -> u32 {
        match self {
            Self::Group(_) => 0o750,
            Self::Root | Self::Everybody => 0o755,
        }
    }

    fn group(self) -> Option<Gid> {
        match self {
            Self::Group(gid) => Some(Gid::from_raw(gid)),
            Self::Root | Self::Everybody => None,
        }
    }
}

/// As [`listen`], for a runtime's thread.
///
/// # Errors
/// As for [`listen`], and when there is no runtime.
pub fn bind(path: &Path, door: impl Into<Door>) -> Result<UnixListener, BindError> {
    let socket = listen(path, door)?;
    UnixListener::from_std(socket).map_err(|source| BindError::System {
        path: path.to_owned(),
        action: "listen on it",
        source,
    })
}

/// Listens on `path`, with the mode that `door` asks for.
///
/// Missing directories are made (the last one 0750 and of the group; 0755 without one). A stale socket is removed, but only if
/// nobody answers on it. The socket never has a wider mode than the final one, not even for a moment.
///
/// # Errors
/// When another agent answers there, something else has that name, or the system refuses.
pub fn listen(path: &Path, door: impl Into<Door>) -> Result<Socket, BindError> {
    let door = door.into();
    let failed = |action| {
        move |source: io::Error| BindError::System {
            path: path.to_owned(),
            action,
            source,
        }
    };
    make_directory(path, door).map_err(failed("make its directory"))?;
    remove_stale(path)?;

    let address = SocketAddrUnix::new(path)
        .map_err(|errno| failed("use it as a socket address")(errno.into()))?;
    let socket = stream_socket().map_err(|errno| failed("make a socket")(errno.into()))?;
    // Linux gives the file the mode of the socket's own inode, so this holds from the file's first moment on.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| failed("set its mode")(errno.into()))?;
    rustix::net::bind(&socket, &address).map_err(|errno| failed("bind it")(errno.into()))?;
    if let Some(group) = door.group() {
        rustix::fs::chown(path, None, Some(group))
            .map_err(|errno| failed("give it to its group")(errno.into()))?;
    }
    let mode = std::fs::Permissions::from_mode(door.socket_mode());
    std::fs::set_permissions(path, mode).map_err(failed("set its mode"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(|errno| failed("listen on it")(errno.into()))?;
    Ok(Socket::from(socket))
}

/// The id of a group by name; none if there is no such group.
///
/// # Errors
/// When the system's databases cannot be read.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    let mut buffer: Vec<libc::c_char> = vec![0; 4096];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: `name` is a C string; `entry`, `buffer` (with its true length) and `found` outlive the call and are not aliased.
        let code = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        match code {
            0 if found.is_null() => return Ok(None),
            // SAFETY: on success with a non-null `found`, getgrnam_r has filled `entry`, which `found` points to.
            0 => return Ok(Some(unsafe { entry.assume_init() }.gr_gid)),
            libc::ERANGE if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 2, 0),
            // Databases say "no such group" in several ways; see ERRORS in getgrnam(3).
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn make_directory(path: &Path, door: Door) -> io::Result<()> {
    let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        std::fs::create_dir_all(above)?;
    }
    let mode = door.directory_mode();
    match std::fs::DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    if let Some(group) = door.group() {
        rustix::fs::chown(directory, None, Some(group))?;
    }
    // Again: the process's umask took bits away.
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode))
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |action| {
        move |source: io::Error| BindError::System {
            path: path.to_owned(),
            action,
            source,
        }
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at it")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    let address = SocketAddrUnix::new(path)
        .map_err(|errno| failed("use it as a socket address")(errno.into()))?;
    let probe = stream_socket().map_err(|errno| failed("make a socket")(errno.into()))?;
    match rustix::net::connect(&probe, &address) {
        // AGAIN: somebody listens, and the backlog is full.
        Ok(()) | Err(Errno::AGAIN) => Err(BindError::InUse {
            path: path.to_owned(),
        }),
        Err(Errno::CONNREFUSED) => {
            std::fs::remove_file(path).map_err(failed("remove the stale socket"))
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("ask whether somebody answers on it")(errno.into())),
    }
}
