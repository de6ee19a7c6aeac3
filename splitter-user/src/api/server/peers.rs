//! Who gets a connection: the kernel says who is at the other end, and each kind of caller has places of its own.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::peer::Peer;
use super::{MAX_CONNECTIONS, MAX_OF_ONE, MAX_STRANGERS, RESERVED};
use crate::api::types::{ApiError, ErrorBody, ErrorCode};
use crate::config::{Role, Roles};
use crate::connection::Connection;

/// Pause after an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two lines of the log about callers that were sent away.
const QUIET: Duration = Duration::from_secs(1);

/// Accepts connections and asks the kernel who is at the other end. Admins wait for a place, and nobody else can take the
/// last ones; others are sent away when there is none for them.
pub struct Peers {
    listener: UnixListener,
    roles: Roles,
    /// For callers with a role.
    room: Arc<Semaphore>,
    /// The part of it that is not kept for admins.
    shared: Arc<Semaphore>,
    /// For callers without any role: they are told so, and hold up nobody.
    strangers: Arc<Semaphore>,
    users: Users,
    turn: Duration,
    sent_away: SentAway,
}

impl Peers {
    pub fn new(listener: UnixListener, roles: Roles, turn: Duration) -> Self {
        Self {
            listener,
            roles,
            room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            shared: Arc::new(Semaphore::new(MAX_CONNECTIONS - RESERVED)),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            users: Users::default(),
            turn,
            sent_away: SentAway::default(),
        }
    }

    /// A place for the caller; none if those that it may take are taken.
    async fn place(&self, peer: &Peer) -> Option<Place> {
        let now = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        Some(match peer.role {
            Some(Role::Admin) => {
                let room = Arc::clone(&self.room).acquire_owned().await;
                Place {
                    _room: room.ok()?,
                    _shared: None,
                    _user: None,
                }
            }
            Some(Role::Viewer | Role::Operator) => Place {
                _user: Some(self.users.enter(peer.actor.uid)?),
                _shared: Some(now(&self.shared)?),
                _room: now(&self.room)?,
            },
            None => Place {
                _room: now(&self.strangers)?,
                _shared: None,
                _user: None,
            },
        })
    }
}

impl Listener for Peers {
    type Io = Connection<UnixStream, Place>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Peer) {
        loop {
            let accepted = self.listener.accept().await.and_then(|(stream, _)| {
                let peer = Peer::of(&stream, &self.roles)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) => match self.place(&peer).await {
                    Some(place) => return (Connection::new(stream, place, self.turn), peer),
                    None => self.sent_away.send(stream, &peer),
                },
                Err(error) => {
                    tracing::warn!(%error, "no API connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Connected<IncomingStream<'_, Peers>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Peers>) -> Self {
        *stream.remote_addr()
    }
}

/// What a connection takes, for as long as it lives.
pub struct Place {
    _room: OwnedSemaphorePermit,
    _shared: Option<OwnedSemaphorePermit>,
    _user: Option<Entered>,
}

/// Connections of each user that has any.
#[derive(Default)]
struct Users(Arc<Mutex<BTreeMap<u32, usize>>>);

impl Users {
    /// One more of this user; none if it has as many as one may.
    fn enter(&self, uid: u32) -> Option<Entered> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.entry(uid).or_default();
        if *count >= MAX_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Entered {
            users: Arc::clone(&self.0),
            uid,
        })
    }
}

/// One connection of a user.
struct Entered {
    users: Arc<Mutex<BTreeMap<u32, usize>>>,
    uid: u32,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(&self.uid) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(users.remove(&self.uid)),
        }
    }
}

/// Callers that found no place: told so, and logged now and then.
#[derive(Default)]
struct SentAway {
    said: Option<Instant>,
    since: u64,
}

impl SentAway {
    fn send(&mut self, stream: UnixStream, peer: &Peer) {
        // A connection that nothing was written to takes this at once; who does not read it sees the end alone.
        if let Ok(mut stream) = stream.into_std() {
            let _written = stream.write(busy(peer).as_bytes());
        }
        self.since += 1;
        if self.said.is_none_or(|said| said.elapsed() >= QUIET) {
            tracing::warn!(last = %peer.actor, callers = self.since, "callers found no place and were sent away");
            self.said = Some(Instant::now());
            self.since = 0;
        }
    }
}

/// The whole answer to a caller without a place.
fn busy(peer: &Peer) -> String {
    let (kind, most) = match peer.role {
        Some(_) => ("a user", MAX_OF_ONE),
        None => ("callers without a role", MAX_STRANGERS),
    };
    let message = format!(
        "the agent is busy: uid {} finds no place among {MAX_CONNECTIONS} connections, of which {kind} may have {most}: \
         close some, or try again",
        peer.actor.uid
    );
    let error = ErrorBody::from(ApiError::new(ErrorCode::Busy, message));
    let body = serde_json::to_string(&error).unwrap_or_default();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]

    use super::*;
    use crate::api::types::Actor;

    fn peers(directory: &tempfile::TempDir) -> Peers {
        let listener = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
        Peers::new(listener, Roles::default(), Duration::from_secs(60))
    }

    fn peer(uid: u32, role: Option<Role>) -> Peer {
        let actor = Actor {
            uid,
            gid: uid,
            pid: None,
        };
        Peer { actor, role }
    }

    #[tokio::test]
    async fn viewers_and_operators_leave_places_for_admins_and_for_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let peers = peers(&directory);
        let mut held = Vec::new();
        for uid in 1000..1100 {
            for role in [Role::Viewer, Role::Operator] {
                while let Some(place) = peers.place(&peer(uid, Some(role))).await {
                    held.push(place);
                }
            }
            assert!(held.len() <= MAX_OF_ONE * usize::try_from(uid - 999).unwrap());
        }
        assert_eq!(held.len(), MAX_CONNECTIONS - RESERVED);
        for _ in 0..RESERVED {
            held.push(peers.place(&peer(0, Some(Role::Admin))).await.unwrap());
        }
        // Who leaves makes room for one more of the same kind.
        drop(held.remove(0));
        let again = peers.place(&peer(1000, Some(Role::Viewer))).await;
        assert!(again.is_some());
        assert!(peers.place(&peer(1000, Some(Role::Viewer))).await.is_none());
    }

    #[tokio::test]
    async fn callers_without_a_role_take_no_place_of_others() {
        let directory = tempfile::tempdir().unwrap();
        let peers = peers(&directory);
        let mut held = Vec::new();
        while let Some(place) = peers.place(&peer(4711, None)).await {
            held.push(place);
        }
        assert_eq!(held.len(), MAX_STRANGERS);
        assert_eq!(peers.room.available_permits(), MAX_CONNECTIONS);
    }

    #[test]
    fn a_user_that_is_gone_is_forgotten() {
        let users = Users::default();
        let entered: Vec<_> = (0..MAX_OF_ONE).filter_map(|_| users.enter(7)).collect();
        assert_eq!(entered.len(), MAX_OF_ONE);
        assert!(users.enter(7).is_none());
        assert!(users.enter(8).is_some());
        drop(entered);
        assert!(users.0.lock().unwrap().is_empty());
    }

    #[test]
    fn who_is_sent_away_is_told_why() {
        let answer = busy(&peer(1000, Some(Role::Viewer)));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let error: ErrorBody = serde_json::from_str(body).unwrap();
        assert_eq!(error.code, ErrorCode::Busy);
        assert!(error.message.contains("uid 1000"), "{}", error.message);
    }
}
