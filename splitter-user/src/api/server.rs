//! JSON over HTTP over a unix socket, for anything that implements [`Agent`].
//!
//! Who may connect is the socket's file mode; what a caller may ask for is its role ([`access`]). What a caller can cost is bounded:
//! [`MAX_CONNECTIONS`] connections ([`MAX_OF_ONE`] of one user that is no admin), [`MAX_BODY`] bytes a request,
//! [`REQUEST_TIME`] a request, and [`TURN_TIME`] for sending one or for taking its answer.
//!
//! Tasks: axum spawns one for each connection (at most [`MAX_CONNECTIONS`]); a changing request runs in one of its own, so that
//! a change that has begun goes on when its caller hangs up. No channels.

pub mod access;
mod description;
mod peer;
mod peers;
mod reply;
mod routes;
mod socket;
mod text;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

pub use routes::{LONG_POLL, MAX_YAML};
pub use socket::{BindError, Door, bind, group_id, listen};

use super::Agent;
use crate::config::Roles;
use crate::connection::serve_until;
use peer::Peer;
use peers::Peers;

/// Connections of callers with a role served at once. More of admins wait; others are sent away.
pub const MAX_CONNECTIONS: usize = 64;
/// Those of them that only admins get.
pub const RESERVED: usize = 16;
/// Connections of one user that is no admin.
pub const MAX_OF_ONE: usize = 16;
/// Connections of callers without any role served at once, so that they leave the others their room. More are closed.
pub const MAX_STRANGERS: usize = 4;
/// Largest body of a request. YAML grows when it is quoted as JSON, hence more than [`MAX_YAML`].
pub const MAX_BODY: usize = 2 * MAX_YAML;
/// Longest time for a request, its body included.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);
/// How long a caller may take to send a request, and to take its answer and begin the next: a connection that takes longer
/// is closed. Longer than any request may take.
pub const TURN_TIME: Duration = Duration::from_secs(60);

/// Serves until `stop` is cancelled; then lets requests under way end (at most five seconds) and removes the socket.
///
/// # Errors
/// When the listener has no path, or its socket is gone already.
pub async fn serve<A: Agent>(
    agent: Arc<A>,
    listener: UnixListener,
    roles: Roles,
    stop: CancellationToken,
) -> io::Result<()> {
    serve_with(agent, listener, roles, stop, TURN_TIME).await
}

async fn serve_with<A: Agent>(
    agent: Arc<A>,
    listener: UnixListener,
    roles: Roles,
    stop: CancellationToken,
    turn: Duration,
) -> io::Result<()> {
    let socket = OwnSocket::of(&listener)?;
    let router = routes::router(agent, stop.clone());
    let peers = Peers::new(listener, roles, turn);
    let server = axum::serve(peers, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let result = serve_until(&stop, "API", server).await;
    socket.remove();
    result
}

/// The socket file that this process made; removed only while it is still that file.
struct OwnSocket {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnSocket {
    fn of(listener: &UnixListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| {
            io::Error::other("the API listener has no path: make it with api::server::bind")
        })?;
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the API socket stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]

    use super::*;
    use crate::api::client::Client;
    use crate::api::fake::Fake;

    #[tokio::test]
    async fn silent_connections_make_room_for_others_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let listener = bind(&socket, None).unwrap();
        let stop = CancellationToken::new();
        let turn = Duration::from_secs(1);
        let server = tokio::spawn(serve_with(
            Arc::new(Fake::default()),
            listener,
            Roles::default(),
            stop.clone(),
            turn,
        ));
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(tokio::net::UnixStream::connect(&socket).await.unwrap());
        }
        let asked = std::time::Instant::now();
        Client::new(&socket).unwrap().status().await.unwrap();
        assert!(
            asked.elapsed() > turn / 2,
            "there was room though every place was taken"
        );
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
