//! Asks the kernel.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::{Error, Handle};
use tokio::task::JoinHandle;

use super::combine::{Route, refuse};
use super::mirror::{Link, Mirror, Place, neighbour};

/// The mouth. The task it has spawned carries questions and answers, and ends with it.
pub(super) struct Kernel {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// All links and neighbours.
    pub(super) async fn mirror(&self) -> Result<Mirror, Error> {
        let links = collect(self.handle.link().get().execute(), Link::of).await?;
        let neighbours = collect(self.handle.neighbours().get().execute(), |message| {
            neighbour(&message)
        })
        .await?;
        Ok(Mirror { links, neighbours })
    }

    /// The way to `destination`.
    pub(super) async fn route(&self, destination: IpAddr) -> Result<Route, Error> {
        if let Some(refused) = refuse(destination) {
            return Ok(refused);
        }
        let mut answers = std::pin::pin!(self.handle.route().get(question(destination)).execute());
        match answers.next().await {
            Some(Ok(answer)) => Ok(route(destination, &answer)),
            Some(Err(Error::NetlinkError(error))) => Ok(Route::None(error.to_io().to_string())),
            Some(Err(error)) => Err(error),
            None => Err(Error::RequestFailed),
        }
    }

    /// Has the kernel ask the neighbour at `place`, if it is not sure of it (`NTF_USE`).
    pub(super) async fn ask(&self, place: Place) -> Result<(), Error> {
        let (ifindex, address) = place;
        let asked = self
            .handle
            .neighbours()
            .add(ifindex, address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace()
            .execute()
            .await;
        match asked {
            // The interface may have gone down or away since; that is told by itself.
            Err(Error::NetlinkError(error)) => {
                tracing::debug!(%address, ifindex, %error, "the kernel does not ask for a neighbour");
                Ok(())
            }
            other => other,
        }
    }
}

async fn collect<M, K: Ord, V>(
    answers: impl Stream<Item = Result<M, Error>>,
    entry: impl Fn(M) -> Option<(K, V)>,
) -> Result<BTreeMap<K, V>, Error> {
    answers
        .try_filter_map(|message| std::future::ready(Ok(entry(message))))
        .try_collect()
        .await
}

fn question(destination: IpAddr) -> RouteMessage {
    let mut question = RouteMessage::default();
    (
        question.header.address_family,
        question.header.destination_prefix_length,
    ) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    question
        .attributes
        .push(RouteAttribute::Destination(destination.into()));
    question
}

fn route(destination: IpAddr, answer: &RouteMessage) -> Route {
    match answer.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Route::Local,
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => return Route::NoHost,
        kind => return Route::None(format!("{kind:?}").to_lowercase()),
    }
    let (mut via, mut source, mut mtu, mut interface) = (destination, None, None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => via = IpAddr::V4(*v4),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => via = IpAddr::V6(*v6),
            RouteAttribute::Via(RouteVia::Inet(v4)) => via = IpAddr::V4(*v4),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => via = IpAddr::V6(*v6),
            RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => source = Some(IpAddr::V4(*v4)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => source = Some(IpAddr::V6(*v6)),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    match interface {
        Some(ifindex) => Route::Out {
            ifindex,
            via,
            source,
            mtu,
        },
        None => Route::None("it leaves by no interface".to_owned()),
    }
}
