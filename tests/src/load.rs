//! Load from the client's host, over real sockets, that notices when anything goes wrong.
//!
//! A [`Load`] runs in one thread inside the client's namespace, with a task for each connection:
//!
//! - *keep-alive* and *UDP flow* connections stay open and ask again and again. The first answer names the backend;
//!   an answer from another one is a **moved** flow, and a reset, an error or silence is a **failure**;
//! - *one-shot* workers open a connection for each request, so that each request is a new flow.

mod connection;
mod totals;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;

use totals::Tally;
pub use totals::Totals;
use worker::Worker;

use crate::namespace::Namespace;

/// Longest wait for a connection or an answer before it counts as failed: several retransmissions.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to ask, from where, how often.
#[derive(Clone, Debug)]
pub struct Load {
    targets: Vec<IpAddr>,
    port: u16,
    clients: Vec<IpAddr>,
    keep_alive: usize,
    one_shot: usize,
    udp_flows: usize,
    udp_one_shot: usize,
    pause: Duration,
    requests: Option<u64>,
}

impl Load {
    /// A load on port 80 of `target`.
    pub fn at(target: impl Into<IpAddr>) -> Self {
        Self {
            targets: vec![target.into()],
            port: 80,
            clients: Vec::new(),
            keep_alive: 0,
            one_shot: 0,
            udp_flows: 0,
            udp_one_shot: 0,
            pause: Duration::ZERO,
            requests: None,
        }
    }

    /// Spreads the connections over another target too.
    pub fn and_at(mut self, target: impl Into<IpAddr>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// Another port than 80.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Connections that stay open.
    pub fn keep_alive(mut self, connections: usize) -> Self {
        self.keep_alive = connections;
        self
    }

    /// Workers that open a connection for each request.
    pub fn one_shot(mut self, workers: usize) -> Self {
        self.one_shot = workers;
        self
    }

    /// UDP sockets that stay open.
    pub fn udp_flows(mut self, flows: usize) -> Self {
        self.udp_flows = flows;
        self
    }

    /// Workers that open a UDP socket for each request.
    pub fn udp_one_shot(mut self, workers: usize) -> Self {
        self.udp_one_shot = workers;
        self
    }

    /// Source addresses that the connections take in turn.
    pub fn from_clients(mut self, clients: &[IpAddr]) -> Self {
        self.clients = clients.to_vec();
        self
    }

    /// A pause between two requests of a connection or a worker; none unless told.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Ends by itself after so many requests, all connections together.
    pub fn requests(mut self, requests: u64) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Starts the load in `client`'s namespace.
    pub fn start(self, client: &Namespace) -> Result<Running> {
        let tally = Arc::new(Tally::new(self.requests));
        let (stop, stopped) = watch::channel(Order::Go);
        let thread = {
            let tally = Arc::clone(&tally);
            client.thread("load", move || self.run(&tally, &stopped))?
        };
        Ok(Running {
            tally,
            stop,
            thread: Some(thread),
        })
    }

    /// Runs it to its end, which [`Load::requests`] gives it.
    pub fn run_to_end(self, client: &Namespace) -> Result<Totals> {
        if self.requests.is_none() {
            return Err(anyhow!(
                "a load without a number of requests never ends: say .requests(N)"
            ));
        }
        self.start(client)?.join()
    }

    fn run(&self, tally: &Arc<Tally>, stopped: &watch::Receiver<Order>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot make a runtime for the load")?;
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for worker in self.workers(tally, stopped) {
                tasks.spawn(worker.run());
            }
            let mut abandoned = stopped.clone();
            loop {
                tokio::select! {
                    ended = tasks.join_next() => match ended {
                        Some(ended) => ended.context("a connection of the load panicked")?,
                        None => return Ok(()),
                    },
                    _ = abandoned.wait_for(|order| *order == Order::Abandon) => return Ok(()),
                }
            }
        })
    }

    fn workers(&self, tally: &Arc<Tally>, stopped: &watch::Receiver<Order>) -> Vec<Worker> {
        let kinds = [
            (worker::Kind::KEEP_ALIVE, self.keep_alive),
            (worker::Kind::ONE_SHOT, self.one_shot),
            (worker::Kind::UDP_FLOW, self.udp_flows),
            (worker::Kind::UDP_ONE_SHOT, self.udp_one_shot),
        ];
        let mut workers = Vec::new();
        for (kind, count) in kinds {
            for number in 0..count {
                let target = self.targets[number % self.targets.len()];
                workers.push(Worker {
                    kind,
                    target: SocketAddr::new(target, self.port),
                    clients: self
                        .clients
                        .iter()
                        .copied()
                        .filter(|ip| ip.is_ipv4() == target.is_ipv4())
                        .collect(),
                    next_client: number,
                    pause: self.pause,
                    tally: Arc::clone(tally),
                    stopped: stopped.clone(),
                });
            }
        }
        workers
    }
}

/// What a load's connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Go,
    /// Finish the request at hand, then close.
    Finish,
    /// Nobody wants the result any more.
    Abandon,
}

/// A load at work. Dropping it cuts it off without a result.
#[derive(Debug)]
pub struct Running {
    tally: Arc<Tally>,
    stop: watch::Sender<Order>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Running {
    /// The counts up to now.
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// Lets each connection finish the request it is at, closes it, and returns the counts.
    pub fn stop(self) -> Result<Totals> {
        self.stop.send_replace(Order::Finish);
        self.join()
    }

    /// Waits for its end and returns the counts.
    pub fn join(mut self) -> Result<Totals> {
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(self.tally.totals())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(Order::Abandon);
        if let Some(thread) = self.thread.take() {
            // Its failure was to be told by `join`; whoever drops doesn't ask.
            let _ = thread.join();
        }
    }
}
