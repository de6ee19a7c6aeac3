//! Who is at the other end of a connection, as the kernel recorded it when it connected.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::UnixStream;

use crate::api::types::Actor;
use crate::config::{Role, Roles};

/// Most supplementary groups that Linux gives a process (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;
/// Groups that there is room for at the first attempt.
const FEW_GROUPS: usize = 64;

/// A caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub actor: Actor,
    /// How much it may do; none: nothing at all.
    pub role: Option<Role>,
}

impl Peer {
    /// Asks the kernel.
    pub fn of(stream: &UnixStream, roles: &Roles) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let actor = Actor {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        };
        let groups = groups(stream)?.into_iter().chain([actor.gid]);
        Ok(Self {
            actor,
            role: roles.of(actor.uid, groups),
        })
    }
}

/// The peer's supplementary groups (`SO_PEERGROUPS`, Linux 4.13).
fn groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; FEW_GROUPS];
    loop {
        let size = |count: usize| libc::socklen_t::try_from(count * size_of::<u32>());
        let mut length = size(groups.len()).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for as long as `stream` lives; `groups` is writable for the `length` bytes that are
        // announced, and the kernel writes no more than those, whole numbers of 32 bits.
        let code = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).map_err(io::Error::other)? / size_of::<u32>();
        if code == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // The kernel says how much room it wants.
        if error.raw_os_error() != Some(libc::ERANGE)
            || count <= groups.len()
            || count > MOST_GROUPS
        {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}
