//! The agent's life: start, serve, end. Ending leaves the data plane running.

mod agent;
mod arguments;
mod names;
mod resources;
mod start;

pub use arguments::{Arguments, Part};

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::server::{self, Door};
use crate::api::types::ConditionKind;
use crate::config::{Config, Holder, Role, Roles};
use crate::dataplane::kernel::Kernel;
use crate::host;
use crate::interface::XdpMode;
use crate::loader::{Attached, Pins};
use crate::nexthop::{NextHops, Resolver};
use crate::telemetry;
use crate::writer::{Handle, Request};

/// How long the start waits for next hops of backends that are known already.
const HOPS_WAIT: Duration = Duration::from_secs(2);

/// How long the end waits for threads that wait for others.
const END_WAIT: Duration = Duration::from_secs(1);

/// From one look at the pins to the next.
const PINS_PERIOD: Duration = Duration::from_secs(1);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The host.
    #[error(transparent)]
    Host(#[from] host::HostError),
    /// The state.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The secret is not the one that the state was made with.
    #[error(
        "{path} is not the secret that the state in this directory was made with: put the right one back, for with \
         another one clients would meet other tracks; to accept that, and that every flow is cut, run `splitterd --config FILE \
         --detach`, remove state.db and apply the resources anew"
    )]
    OtherSecret {
        /// The secret's file.
        path: PathBuf,
    },
    /// Pins.
    #[error(transparent)]
    Pins(#[from] crate::loader::PinError),
    /// Interfaces.
    #[error(transparent)]
    Attach(#[from] crate::loader::AttachError),
    /// The writer.
    #[error(transparent)]
    Writer(#[from] crate::writer::WriterError),
    /// The API's socket.
    #[error(transparent)]
    Bind(#[from] server::BindError),
    /// The metrics' socket.
    #[error("cannot serve metrics on {listen}: {source}; set another [metrics] listen")]
    Metrics {
        /// The address.
        listen: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else the system refuses.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is nothing to detach.
    #[error("nothing is attached: {} does not exist", .0.display())]
    NotAttached(PathBuf),
}

fn io(action: &'static str) -> impl Fn(std::io::Error) -> DaemonError {
    move |source| DaemonError::Io { action, source }
}

/// Runs the agent until it is told to stop. For the only thread of a process, which gives up the
/// privileges that only the beginning takes.
///
/// # Errors
/// [`DaemonError`]; a data plane that ran before goes on running.
pub fn run(config: Config) -> Result<(), DaemonError> {
    let claim = start::claim(&config)?;
    // Sockets before the data plane: an address in use must not leave a program without an agent.
    let sockets = bind(&config)?;
    // Before there is another thread, and before anything is read that others send.
    host::keep_least_privileges()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(io("start threads"))?;
    let outcome = runtime.block_on(live(config, claim, sockets));
    // A look-up of a user's name may hang for as long as the network likes.
    runtime.shutdown_timeout(END_WAIT);
    outcome
}

async fn live(config: Config, claim: start::Claim, sockets: Bound) -> Result<(), DaemonError> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let sockets = sockets.listen(&config)?;
    let started = start::start(&config, claim)?;
    let start::Started {
        lock,
        pins,
        writer,
        kernel_attached,
        epoch,
        addresses,
    } = started;
    let (writer, thread) = writer.start().map_err(io("start the writer's thread"))?;
    let attached = Attachment {
        interfaces: kernel_attached,
        epoch,
        addresses,
    };
    let outcome = serve(&config, &stop, &writer, attached, sockets).await;
    let detach = matches!(outcome, Ok(true));
    let (done, stopped) = tokio::sync::oneshot::channel();
    writer.insist(Request::Stop(done)).await;
    drop(writer);
    // The thread ends at once; if it is gone already the channel says so.
    let _ended = stopped.await;
    let kernel: Option<Kernel> = thread.join().ok();
    drop(kernel);
    if detach {
        // The agent's own directory was locked until now, and may have outlived its content.
        pins.remove()?;
    }
    drop(lock);
    outcome.map(drop)
}

/// The sockets of the agent.
struct Sockets {
    api: UnixListener,
    roles: Roles,
    metrics: TcpListener,
}

/// The same, before there is a runtime.
struct Bound {
    api: std::os::unix::net::UnixListener,
    roles: Roles,
    metrics: std::net::TcpListener,
}

fn no_metrics(config: &Config) -> impl Fn(std::io::Error) -> DaemonError + '_ {
    |source| DaemonError::Metrics {
        listen: config.metrics.listen,
        source,
    }
}

fn bind(config: &Config) -> Result<Bound, DaemonError> {
    let group = server::group_id(&config.name).map_err(io("look up the group"))?;
    let metrics = std::net::TcpListener::bind(config.metrics.listen).map_err(no_metrics(config))?;
    metrics.set_nonblocking(true).map_err(no_metrics(config))?;
    // Without [roles], who gets through the file's mode may do everything.
    let (door, roles) = if config.roles.is_empty() {
        let everything = |gid| Roles::default().with(Holder::Group(gid), Role::Admin);
        (Door::from(group), group.map(everything).unwrap_or_default())
    } else {
        (Door::Everybody, config.roles.clone())
    };
    Ok(Bound {
        api: server::listen(&config.socket, door)?,
        roles,
        metrics,
    })
}

impl Bound {
    fn listen(self, config: &Config) -> Result<Sockets, DaemonError> {
        Ok(Sockets {
            api: UnixListener::from_std(self.api).map_err(io("listen on the API's socket"))?,
            roles: self.roles,
            metrics: TcpListener::from_std(self.metrics).map_err(no_metrics(config))?,
        })
    }
}

/// What the program is attached to, and what is known of the ways from there.
struct Attachment {
    interfaces: Vec<Attached>,
    epoch: u32,
    addresses: watch::Sender<BTreeSet<IpAddr>>,
}

/// Serves until stopped; says whether to detach.
async fn serve(
    config: &Config,
    stop: &CancellationToken,
    writer: &Handle,
    attached: Attachment,
    sockets: Sockets,
) -> Result<bool, DaemonError> {
    let Attachment {
        interfaces: attached,
        epoch,
        addresses,
    } = attached;
    let (resolver, outputs) = Resolver::new(addresses.subscribe(), epoch);
    tokio::spawn(resolver.run(stop.clone()));
    tokio::spawn(forward_news(
        outputs.clone(),
        writer.clone(),
        attached.clone(),
    ));
    settle_hops(&addresses, outputs.hops.clone(), HOPS_WAIT).await;
    {
        // Held until it is queued, so that nothing newer overtakes it.
        let hops = outputs.hops.borrow();
        writer.tell(Request::Hops(hops.clone()));
    }
    tell_conditions(config, writer, &attached);
    tokio::spawn(watch_pins(
        Pins::new(&config.bpffs, &config.name),
        writer.clone(),
        stop.clone(),
    ));

    if sockets.roles.is_empty() {
        let message = format!(
            "there is no group `{0}`: only root may use the socket; `groupadd --system {0}` and a restart of the \
             agent let its members use it",
            config.name
        );
        tracing::warn!(message, "access");
        writer.tell(Request::Condition(
            ConditionKind::GroupMissing,
            Some(message),
        ));
    }
    let detach = Arc::new(AtomicBool::new(false));
    let agent = Arc::new(agent::Daemon {
        config: config.clone(),
        writer: writer.clone(),
        started: Instant::now(),
        attached,
        hops: outputs.hops,
        stop: stop.clone(),
        detach: Arc::clone(&detach),
        names: names::Names::default(),
        work: agent::Work::default(),
    });
    resources::apply_all(&agent, &config.resources).await;
    let metrics = tokio::spawn(serve_metrics(sockets.metrics, writer.clone(), stop.clone()));
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "cannot tell systemd that the agent is ready");
    }
    tracing::info!(socket = %config.socket.display(), interfaces = ?config.interfaces, "ready");
    let served = server::serve(agent, sockets.api, sockets.roles, stop.clone()).await;
    stop.cancel();
    // Nobody waits for scrapes: the end, and a detach, must not depend on whoever reaches that address.
    metrics.abort();
    served.map_err(io("serve the API"))?;
    Ok(detach.load(Ordering::SeqCst))
}

/// Serves metrics; a failure costs metrics alone.
async fn serve_metrics(listener: TcpListener, writer: Handle, stop: CancellationToken) {
    if let Err(error) = telemetry::serve(listener, writer, stop).await {
        tracing::warn!(%error, "metrics ended");
    }
}

/// Looks now and then whether the pins are there. Where their file system was taken away, the directory that the agent
/// keeps locked holds it, and with it the data plane; both end when the agent does.
async fn watch_pins(pins: Pins, writer: Handle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PINS_PERIOD);
    let mut missing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if missing == pins.exist() {
            missing = !missing;
            let message = missing.then(|| {
                format!(
                    "{} is gone, was it unmounted? Traffic goes on while this agent runs; when it ends, the program leaves \
                     the interfaces, and the next agent begins without flows. Plan a restart",
                    pins.root().display()
                )
            });
            let condition = Request::Condition(ConditionKind::PinsMissing, message);
            writer.insist(condition).await;
        }
    }
}

fn tell_conditions(config: &Config, writer: &Handle, attached: &[Attached]) {
    for warning in config.warnings() {
        tracing::warn!(warning, "configuration");
    }
    let shared = host::local_ports().and_then(|local| host::overlap(&config.nat.ports, &local));
    if let Some(message) = shared {
        tracing::warn!(message, "ports of [nat]");
        writer.tell(Request::Condition(
            ConditionKind::PortOverlap,
            Some(message),
        ));
    }
    writer.tell(Request::Condition(
        ConditionKind::GenericMode,
        generic_interfaces(attached),
    ));
}

/// Interfaces that carry the program in generic mode, for people; `None` if none does.
fn generic_interfaces(attached: &[Attached]) -> Option<String> {
    let generic: Vec<&str> = attached
        .iter()
        .filter(|a| a.mode == XdpMode::Generic)
        .map(|a| a.name.as_str())
        .collect();
    (!generic.is_empty()).then(|| {
        format!(
            "XDP runs in generic mode on {}: it works, but slowly",
            generic.join(", ")
        )
    })
}

/// Carries news of next hops, routes and interfaces to the writer.
async fn forward_news(
    mut outputs: crate::nexthop::Outputs,
    writer: Handle,
    mut attached: Vec<Attached>,
) {
    loop {
        tokio::select! {
            changed = outputs.hops.changed() => {
                if changed.is_err() {
                    return;
                }
                let hops = outputs.hops.borrow_and_update().clone();
                writer.insist(Request::Hops(hops)).await;
            }
            changed = outputs.epoch.changed() => {
                if changed.is_err() {
                    return;
                }
                outputs.epoch.mark_unchanged();
                writer.insist(Request::RoutesChanged).await;
                let mut missing = missing_interfaces(&attached);
                if missing.is_some() {
                    missing = attach_again(&writer, &mut attached).await;
                }
                let condition = Request::Condition(ConditionKind::InterfaceMissing, missing);
                writer.insist(condition).await;
            }
        }
    }
}

/// Puts the program on interfaces that have come back; says what is still missing.
async fn attach_again(writer: &Handle, attached: &mut [Attached]) -> Option<String> {
    let why = match writer.ask(Request::AttachAgain).await {
        Ok(again) => {
            for now in again.attached {
                tracing::info!(interface = now.name, mode = ?now.mode, "it is back, and carries the program");
                let known = attached.iter_mut().find(|known| known.name == now.name);
                if let Some(known) = known {
                    *known = now;
                }
            }
            again.failed.join("; ")
        }
        Err(error) => error.message,
    };
    // One that may fall back to generic mode may have.
    let generic = generic_interfaces(attached);
    writer
        .insist(Request::Condition(ConditionKind::GenericMode, generic))
        .await;
    let missing = missing_interfaces(attached)?;
    Some(if why.is_empty() {
        missing
    } else {
        format!("{missing} ({why})")
    })
}

/// Interfaces that have gone, or come back without the program, for people; `None` if all are well.
fn missing_interfaces(attached: &[Attached]) -> Option<String> {
    let there = crate::interface::list().ok()?;
    let missing: Vec<String> = attached
        .iter()
        .filter_map(|wanted| {
            let now = there.iter().find(|interface| interface.name == wanted.name);
            match now {
                None => Some(format!("{} is gone", wanted.name)),
                Some(now) if now.index != wanted.index || now.xdp.is_none() => Some(format!(
                    "{} does not carry the program, which is attached when the interface changes next, and at a restart",
                    wanted.name
                )),
                Some(_) => None,
            }
        })
        .collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Waits until every address wanted has a next hop, or a reason why not, or the time is over.
async fn settle_hops(
    addresses: &watch::Sender<BTreeSet<IpAddr>>,
    mut hops: watch::Receiver<NextHops>,
    most: Duration,
) {
    let wanted = addresses.borrow().clone();
    let settled = |known: &NextHops| {
        wanted
            .iter()
            .all(|address| known.hops.contains_key(address))
    };
    // Running out of time is fine: what is missing shows as a condition.
    let _settled = tokio::time::timeout(most, hops.wait_for(settled)).await;
}

fn stop_on_signals(stop: &CancellationToken) -> Result<(), DaemonError> {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signal = signal(kind).map_err(io("wait for signals"))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            if signal.recv().await.is_some() {
                tracing::info!("stopping; the data plane goes on");
                stop.cancel();
            }
        });
    }
    Ok(())
}

/// Removes the data plane of an instance whose agent does not run.
///
/// # Errors
/// [`DaemonError`], [`host::HostError::Locked`] among them if it does run.
pub fn detach(config: &Config) -> Result<(), DaemonError> {
    let pins = Pins::new(&config.bpffs, &config.name);
    if !pins.root().exists() {
        return Err(DaemonError::NotAttached(pins.root().to_owned()));
    }
    let lock = host::lock_instance(pins.root())?;
    pins.remove()?;
    drop(lock);
    Ok(())
}
