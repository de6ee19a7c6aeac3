//! One task of a load: opens connections and asks, until told to stop.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Order;
use super::connection::{Connection, Last};
use super::totals::Tally;

/// Pause after a failed connection, so that an outage isn't counted a million times.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    OneRequest,
    ManyRequests,
}

/// What a worker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    transport: Transport,
    life: Life,
}

impl Kind {
    pub(super) const KEEP_ALIVE: Self = Self {
        transport: Transport::Tcp,
        life: Life::ManyRequests,
    };
    pub(super) const ONE_SHOT: Self = Self {
        transport: Transport::Tcp,
        life: Life::OneRequest,
    };
    pub(super) const UDP_FLOW: Self = Self {
        transport: Transport::Udp,
        life: Life::ManyRequests,
    };
    pub(super) const UDP_ONE_SHOT: Self = Self {
        transport: Transport::Udp,
        life: Life::OneRequest,
    };
}

pub(super) struct Worker {
    pub(super) kind: Kind,
    pub(super) target: SocketAddr,
    /// Source addresses, of the target's family, taken in turn; none: the kernel chooses.
    pub(super) clients: Vec<IpAddr>,
    pub(super) next_client: usize,
    pub(super) pause: Duration,
    pub(super) tally: Arc<Tally>,
    pub(super) stopped: watch::Receiver<Order>,
}

impl Worker {
    pub(super) async fn run(mut self) {
        while !self.is_stopped() && self.tally.take_request() {
            if let Err(failure) = self.one_connection().await {
                self.tally.failed(failure);
                self.rest(AFTER_FAILURE).await;
            }
        }
    }

    /// Opens a connection and uses it up. The first request was taken by the caller.
    async fn one_connection(&mut self) -> Result<(), String> {
        let client = self.take_client();
        let from = client.map_or_else(|| "any address".to_owned(), |client| client.to_string());
        let mut connection = match self.kind.transport {
            Transport::Tcp => Connection::tcp(self.target, client).await,
            Transport::Udp => Connection::udp(self.target, client).await,
        }
        .map_err(|error| format!("{from} -> {}: cannot connect: {error}", self.target))?;
        let client = connection
            .client()
            .map_err(|error| format!("{from}: no local address: {error}"))?;

        let last = if self.kind.life == Life::OneRequest {
            Last::Yes
        } else {
            Last::No
        };
        let backend = self
            .ask(&mut connection, last, client, "no backend yet")
            .await?;
        self.tally.opened(client.ip(), &backend);
        let result = match self.kind.life {
            Life::OneRequest => Ok(()),
            Life::ManyRequests => self.keep_asking(&mut connection, client, &backend).await,
        };
        drop(connection);
        self.tally.closed(&backend);
        if self.kind.life == Life::OneRequest {
            self.rest(self.pause).await;
        }
        result
    }

    async fn keep_asking(
        &mut self,
        connection: &mut Connection,
        client: SocketAddr,
        pinned: &str,
    ) -> Result<(), String> {
        loop {
            self.rest(self.pause).await;
            if self.is_stopped() || !self.tally.take_request() {
                return Ok(());
            }
            let backend = self.ask(connection, Last::No, client, pinned).await?;
            if backend != pinned {
                self.tally.moved(format!(
                    "{client} -> {}: was on {pinned}, now {backend} answers",
                    self.target
                ));
            }
        }
    }

    async fn ask(
        &self,
        connection: &mut Connection,
        last: Last,
        client: SocketAddr,
        pinned: &str,
    ) -> Result<String, String> {
        let start = Instant::now();
        let backend = connection
            .ask(last)
            .await
            .map_err(|error| format!("{client} -> {} ({pinned}): {error}", self.target))?;
        self.tally.answered(start.elapsed());
        Ok(backend)
    }

    fn is_stopped(&self) -> bool {
        *self.stopped.borrow() != Order::Go
    }

    fn take_client(&mut self) -> Option<IpAddr> {
        let client = self
            .clients
            .get(self.next_client % self.clients.len().max(1))
            .copied();
        self.next_client += 1;
        client
    }

    /// Rests, but not beyond the end of the load. Without a pause other connections still get their turn: every answer
    /// was awaited.
    async fn rest(&mut self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // An error means that whoever could stop us is gone, with the `Running`: stop as well.
            _ = self.stopped.wait_for(|order| *order != Order::Go) => {}
        }
    }
}
