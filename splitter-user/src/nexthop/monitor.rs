//! Hears of the kernel's changes.
//!
//! A socket of its own, read here: rtnetlink would queue without bound what is not read in time. So the bound is the
//! socket's own buffer, and when that overflows the kernel says so (`ENOBUFS`).

use std::future::poll_fn;
use std::io;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};

use super::mirror::{Event, Link, neighbour};

/// The kernel never sends more in one piece (32 KiB since Linux 4.9).
const LARGEST: usize = 65_536;
const HEADER: usize = 16;
const GROUPS: [MulticastGroup; 9] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
    MulticastGroup::Nexthop,
];

/// The ear.
pub(super) struct Monitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Hears everything from now on.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        for group in GROUPS {
            socket.socket_ref().add_membership(group as u32)?;
        }
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(LARGEST),
        })
    }

    /// The next changes, one or several. Cancel-safe: what was not returned is still in the socket.
    pub(super) async fn next(&mut self) -> io::Result<Vec<Event>> {
        self.buffer.clear();
        let Self { socket, buffer } = self;
        match poll_fn(|context| socket.poll_recv(context, buffer)).await {
            Ok(()) => Ok(events(buffer)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(vec![Event::Lost]),
            Err(error) => Err(error),
        }
    }

    #[cfg(test)]
    pub(super) fn shrink(&self) -> io::Result<()> {
        self.socket.socket_ref().set_rx_buf_sz(1)
    }
}

pub(super) fn events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(length) = bytes
        .first_chunk()
        .map(|length| u32::from_ne_bytes(*length))
    {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else {
            events.push(Event::Lost);
            break;
        };
        events.extend(event(message));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    events
}

/// Links and neighbours are read; of the others it is enough that they changed.
fn event(message: &[u8]) -> Option<Event> {
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK | libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
                Ok(message) => read(message.payload),
                Err(error) => {
                    tracing::debug!(%error, kind, "a message of the kernel could not be read");
                    Some(Event::Lost)
                }
            }
        }
        _ => Some(Event::Routing),
    }
}

fn read(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Event> {
    let NetlinkPayload::InnerMessage(message) = payload else {
        return None;
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => {
            Link::of(link).map(|(index, link)| Event::Link(index, link))
        }
        RouteNetlinkMessage::DelLink(link) => {
            Link::of(link).map(|(index, _)| Event::LinkGone(index))
        }
        RouteNetlinkMessage::NewNeighbour(message) => {
            neighbour(&message).map(|(place, neighbour)| Event::Neighbour(place, neighbour))
        }
        RouteNetlinkMessage::DelNeighbour(message) => {
            neighbour(&message).map(|(place, _)| Event::NeighbourGone(place))
        }
        _ => None,
    }
}
