//! An agent without a data plane, for tests of the server, the client and the command line.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::types::*;
use super::{Agent, Denied, server};
use crate::config::{Holder, Role, Roles};

/// Answers with fixed data and remembers what it was asked.
pub struct Fake {
    /// Changing requests, with who asked.
    pub asked: Mutex<Vec<(ChangeRequest, Actor)>>,
    /// Who detached it.
    pub detached: Mutex<Option<Actor>>,
    /// The filter of the last listing of flows.
    pub filter: Mutex<Option<FlowFilter>>,
    /// Given instead of every answer.
    pub refusal: Mutex<Option<ApiError>>,
    /// Taken one by one; the last one stays.
    pub drains: Mutex<VecDeque<DrainView>>,
    /// How often a drain was looked at.
    pub looked: Mutex<u32>,
    /// Taken one by one; the last one stays.
    pub statuses: Mutex<VecDeque<StatusView>>,
    /// Taken one by one, as the ramp of the service; then there is none.
    pub ramps: Mutex<VecDeque<RampView>>,
    /// Given for every change.
    pub changes: Mutex<Vec<Change>>,
    /// The agent's own checks.
    pub findings: Mutex<Vec<Finding>>,
    /// What was refused before it was asked.
    pub denied: Mutex<Vec<Denied>>,
    /// The last question about history or audit.
    pub records: Mutex<Option<String>>,
    /// How long a change takes.
    pub delay: Mutex<Duration>,
    /// How many changes have ended.
    pub ended: Mutex<u32>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            detached: Mutex::default(),
            filter: Mutex::default(),
            refusal: Mutex::default(),
            drains: Mutex::new([drain(DrainState::Drained, 0)].into()),
            looked: Mutex::default(),
            statuses: Mutex::new([status(Phase::Steady)].into()),
            ramps: Mutex::default(),
            changes: Mutex::new(vec![change("web")]),
            findings: Mutex::new(vec![Finding::passed("interface eth0", "XDP native")]),
            denied: Mutex::default(),
            records: Mutex::default(),
            delay: Mutex::default(),
            ended: Mutex::default(),
        }
    }
}

impl Fake {
    fn answer<T>(&self, value: T) -> Result<T, ApiError> {
        match &*self.refusal.lock().unwrap() {
            Some(error) => Err(error.clone()),
            None => Ok(value),
        }
    }
}

fn next<T: Clone>(queue: &Mutex<VecDeque<T>>) -> T {
    let mut queue = queue.lock().unwrap();
    if queue.len() > 1 {
        queue.pop_front().unwrap()
    } else {
        queue[0].clone()
    }
}

impl Agent for Fake {
    async fn change(&self, request: ChangeRequest, actor: Actor) -> Result<Vec<Change>, ApiError> {
        let dry_run = request.dry_run;
        self.asked.lock().unwrap().push((request, actor));
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        *self.ended.lock().unwrap() += 1;
        let mut changes = self.changes.lock().unwrap().clone();
        for change in changes.iter_mut().filter(|_| dry_run) {
            change.dry_run = true;
            change.flip_nanoseconds = None;
        }
        self.answer(changes)
    }

    async fn services(&self, name: Option<&str>) -> Result<Vec<ServiceView>, ApiError> {
        match name {
            None | Some("web") => {
                let ramp = self.ramps.lock().unwrap().pop_front();
                self.answer(vec![ServiceView { ramp, ..service() }])
            }
            Some(name) => Err(ApiError::not_found(format!(
                "there is no service {name:?}; there is: web"
            ))),
        }
    }

    async fn flows(&self, filter: FlowFilter) -> Result<FlowList, ApiError> {
        *self.filter.lock().unwrap() = Some(filter);
        self.answer(flows())
    }

    async fn explain(&self, query: ExplainQuery) -> Result<Explanation, ApiError> {
        self.answer(Explanation {
            client: query.client,
            to: ListenerView {
                vip: query.to.ip(),
                port: query.to.port(),
                protocol: query.protocol,
            },
            verdict: "forward".to_owned(),
            reason: "new_flow".to_owned(),
            why: vec!["this client has slot 7, which belongs to track green".to_owned()],
            service: Some("web".to_owned()),
            pin: None,
            slot: Some(7),
            by: Some("weights".to_owned()),
            track: Some("green".to_owned()),
            fallback: false,
            backend: Some("198.18.2.21:80".parse().unwrap()),
        })
    }

    async fn which(&self, client: IpAddr, service: &str) -> Result<Which, ApiError> {
        self.answer(Which {
            client,
            service: service.to_owned(),
            generation: 42,
            slot: 7,
            by: "weights".to_owned(),
            reason: None,
            track: "blue".to_owned(),
            backend: None,
            moves: Some(Move {
                to: "green".to_owned(),
                at: "12.5".to_owned(),
            }),
        })
    }

    async fn status(&self) -> Result<StatusView, ApiError> {
        self.answer(next(&self.statuses))
    }

    async fn export(&self) -> Result<String, ApiError> {
        self.answer("apiVersion: splitter/v1\nkind: Service\n".to_owned())
    }

    async fn diff(&self, request: DiffRequest) -> Result<DiffView, ApiError> {
        *self.records.lock().unwrap() = Some(format!("{request:?}"));
        self.answer(diff())
    }

    async fn export_state(&self, _: Option<String>, _: Actor) -> Result<String, ApiError> {
        self.answer("apiVersion: splitter/v1\nkind: HostState\nsecret: 0f\n".to_owned())
    }

    async fn doctor(&self) -> Result<Vec<Finding>, ApiError> {
        self.answer(self.findings.lock().unwrap().clone())
    }

    async fn detach(&self, actor: Actor) -> Result<(), ApiError> {
        *self.detached.lock().unwrap() = Some(actor);
        self.answer(())
    }

    async fn history(&self, filter: HistoryFilter) -> Result<HistoryList, ApiError> {
        *self.records.lock().unwrap() = Some(format!("{filter:?}"));
        self.answer(HistoryList {
            items: vec![
                history(42, SplitFate::Current),
                history(41, SplitFate::Anchor),
            ],
        })
    }

    async fn audit(&self, filter: AuditFilter) -> Result<AuditList, ApiError> {
        *self.records.lock().unwrap() = Some(format!("{filter:?}"));
        self.answer(audit())
    }

    async fn freeze(&self, request: FreezeRequest, actor: Actor) -> Result<FreezeView, ApiError> {
        self.answer(FreezeView {
            frozen: request.frozen,
            by: request.frozen.then(|| who(actor.uid)),
            since: request.frozen.then(moment),
            reason: request.reason,
            dry_run: request.dry_run,
        })
    }

    fn refused(&self, denied: Denied) {
        self.denied.lock().unwrap().push(denied);
    }

    async fn drain_state(&self, _: &str, _: &DrainTarget) -> Result<DrainView, ApiError> {
        *self.looked.lock().unwrap() += 1;
        self.answer(next(&self.drains))
    }
}

/// A fake behind the real server on a socket in a directory of its own; gone when dropped.
pub struct Running {
    pub fake: Arc<Fake>,
    pub socket: PathBuf,
    pub stop: CancellationToken,
    pub server: JoinHandle<std::io::Result<()>>,
    _directory: tempfile::TempDir,
}

impl Running {
    pub fn start(fake: Fake) -> Self {
        let myself = Holder::User(rustix::process::getuid().as_raw());
        Self::start_with(fake, Roles::default().with(myself, Role::Admin))
    }

    pub fn start_with(fake: Fake, roles: Roles) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let fake = Arc::new(fake);
        let stop = CancellationToken::new();
        let listener = server::bind(&socket, None).unwrap();
        let server = tokio::spawn(server::serve(
            Arc::clone(&fake),
            listener,
            roles,
            stop.clone(),
        ));
        Self {
            fake,
            socket,
            stop,
            server,
            _directory: directory,
        }
    }

    /// Serves on the same socket again, after a stop.
    pub fn serve_again(&mut self) {
        let myself = Holder::User(rustix::process::getuid().as_raw());
        let roles = Roles::default().with(myself, Role::Admin);
        self.stop = CancellationToken::new();
        let listener = server::bind(&self.socket, None).unwrap();
        let serving = server::serve(Arc::clone(&self.fake), listener, roles, self.stop.clone());
        self.server = tokio::spawn(serving);
    }

    pub fn client(&self) -> super::client::Client {
        super::client::Client::new(&self.socket).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn weights(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(track, weight)| ((*track).to_owned(), (*weight).to_owned()))
        .collect()
}

fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

pub fn who(uid: u32) -> Who {
    Who {
        uid,
        gid: 0,
        pid: Some(4711),
        user: (uid == 0).then(|| "root".to_owned()),
    }
}

pub fn history(generation: u64, split: SplitFate) -> HistoryItem {
    HistoryItem {
        service: "web".to_owned(),
        generation,
        at: moment(),
        by: who(0),
        verb: "set-weight".to_owned(),
        command: Some("set-weight web green=25%".to_owned()),
        reason: Some("release 1.9.0".to_owned()),
        from: weights(&[("blue", "95"), ("green", "5")]),
        to: weights(&[("blue", "75"), ("green", "25")]),
        split,
    }
}

pub fn audit() -> AuditList {
    let done = AuditItem {
        id: 7,
        at: moment(),
        by: who(0),
        verb: "cutover".to_owned(),
        target: "web".to_owned(),
        command: Some("cutover web --to green --existing reset".to_owned()),
        reason: None,
        outcome: AuditOutcome::Done,
        code: None,
        message: None,
        from: [("web".to_owned(), weights(&[("blue", "95"), ("green", "5")]))].into(),
        to: [(
            "web".to_owned(),
            weights(&[("blue", "0"), ("green", "100")]),
        )]
        .into(),
    };
    let refused = AuditItem {
        id: 8,
        by: who(1000),
        verb: "delete".to_owned(),
        command: None,
        reason: Some("old\u{1b}[2Jnews".to_owned()),
        outcome: AuditOutcome::Refused,
        code: Some(ErrorCode::Policy),
        message: Some("delete takes the role admin".to_owned()),
        from: BTreeMap::new(),
        to: BTreeMap::new(),
        ..done.clone()
    };
    AuditList {
        items: vec![refused, done],
    }
}

pub fn diff() -> DiffView {
    let weight = |track: &str, file: &str, desired: &str, applied: &str| FieldDiff {
        path: format!("spec.tracks.{track}.weight"),
        file: Some(file.to_owned()),
        desired: Some(desired.to_owned()),
        applied: Some(applied.to_owned()),
        changes: file != desired,
        runtime: desired != applied,
    };
    let backend = FieldDiff {
        path: "spec.tracks.green.backends.[198.18.2.22]:80.port".to_owned(),
        file: Some("80".to_owned()),
        desired: None,
        applied: None,
        changes: true,
        runtime: false,
    };
    DiffView {
        changed: true,
        services: vec![ServiceDiff {
            service: "web".to_owned(),
            action: DiffAction::Update,
            generation: 42,
            origin: Some("/etc/web.yaml".to_owned()),
            fields: vec![
                backend,
                weight("blue", "95%", "75%", "95%"),
                weight("green", "25%", "25%", "5%"),
            ],
            drained: vec!["track blue".to_owned()],
        }],
    }
}

pub fn change(service: &str) -> Change {
    Change {
        service: service.to_owned(),
        generation: 42,
        before: weights(&[("blue", "95"), ("green", "5")]),
        after: weights(&[("blue", "75"), ("green", "25")]),
        flip_nanoseconds: Some(812),
        dry_run: false,
        moved: 13_107,
        warnings: Vec::new(),
    }
}

pub fn drain(state: DrainState, pins: u64) -> DrainView {
    DrainView {
        state,
        mode: "dnat".to_owned(),
        pins,
        resetting: 0,
        oldest_age_seconds: (pins > 0).then_some(61),
        idlest_seconds: (pins > 0).then_some(7),
        ended_per_minute: (pins > 0).then_some(120),
        estimated_seconds_left: (pins > 0).then_some(pins / 2),
        on_timeout: crate::model::OnTimeout::Keep,
        never_pinned: 3,
        deadline: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)),
        proven: state == DrainState::Drained,
    }
}

pub fn condition(kind: ConditionKind) -> Condition {
    Condition {
        kind,
        status: ConditionStatus::True,
        message: "198.18.2.11 has no neighbour".to_owned(),
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

pub fn status(phase: Phase) -> StatusView {
    StatusView {
        agent: AgentView {
            name: "splitter".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_seconds: 3_661,
        },
        interfaces: vec![InterfaceView {
            name: "eth0".to_owned(),
            index: Some(2),
            xdp_mode: Some(XdpMode::Native),
        }],
        selector_sequence: 7,
        limits: LimitsView {
            services: 256,
            backends: 4096,
            flows: 1_000_000,
        },
        flow_table: FlowTableView {
            entries: 61_203,
            capacity: 4_194_304,
        },
        conditions: Vec::new(),
        services: vec![ServiceStatus {
            name: "web".to_owned(),
            generation: 42,
            mode: "dnat".to_owned(),
            phase,
            flows: 61_203,
            conditions: Vec::new(),
        }],
    }
}

pub fn listener() -> ListenerView {
    ListenerView {
        vip: "198.18.1.100".parse().unwrap(),
        port: 80,
        protocol: "tcp".to_owned(),
    }
}

fn track(
    name: &str,
    version: &str,
    weight: &str,
    slots: u32,
    share: Option<&str>,
    address: &str,
    slow_start: Option<SlowStartView>,
) -> TrackView {
    TrackView {
        name: name.to_owned(),
        version: Some(version.to_owned()),
        state: LifeState::Ready,
        weight: weight.to_owned(),
        slots,
        observed: Observed {
            new_flows: 10_432,
            share: share.map(str::to_owned),
        },
        flows: 61_203,
        backends: vec![BackendView {
            address: address.parse().unwrap(),
            port: Some(80),
            mode: "dnat".to_owned(),
            weight: 1,
            state: LifeState::Ready,
            health: Health::Unknown,
            flows: 61_203,
            slow_start,
        }],
    }
}

pub fn service() -> ServiceView {
    ServiceView {
        name: "web".to_owned(),
        labels: weights(&[("team", "pay")]),
        generation: 42,
        undo_generation: Some(41),
        anchors: vec![AnchorView {
            since: 39,
            generation: 41,
            weights: weights(&[("blue", "100"), ("green", "0")]),
        }],
        state: LifeState::Ready,
        release: Some("shop".to_owned()),
        mode: "dnat".to_owned(),
        no_backend: "drop".to_owned(),
        affinity: AffinityView {
            key: "clientIP".to_owned(),
            backend: "flow".to_owned(),
            prefix: PrefixView { v4: 24, v6: 56 },
            salt: "shop".to_owned(),
        },
        digest: "9f86d081".to_owned(),
        listeners: vec![listener()],
        fallback: Some("blue".to_owned()),
        preview: Some(PreviewView {
            listener: ListenerView {
                vip: "198.18.1.101".parse().unwrap(),
                ..listener()
            },
            track: "green".to_owned(),
        }),
        routes: vec![RouteView {
            source: vec!["198.18.9.0/24".parse().unwrap()],
            track: "green".to_owned(),
            reason: Some("staff".to_owned()),
        }],
        ramp: None,
        tracks: vec![
            track("blue", "1.8.2", "95", 62_259, None, "198.18.2.11", None),
            track(
                "green",
                "1.9.0",
                "5",
                3_277,
                Some("4.98"),
                "2001:db8:2::21",
                Some(SlowStartView {
                    share: "35".to_owned(),
                    remaining_seconds: 63,
                }),
            ),
        ],
        unpinned: 3,
        conditions: Vec::new(),
    }
}

pub fn flows() -> FlowList {
    FlowList {
        total: 2,
        items: vec![FlowView {
            service: "web".to_owned(),
            listener: listener(),
            client: Some("198.18.9.7:40000".parse().unwrap()),
            track: "green".to_owned(),
            backend: "198.18.2.21:80".parse().unwrap(),
            mode: "fullnat".to_owned(),
            translated: Some("198.18.2.9:10240".parse().unwrap()),
            state: FlowState::Established,
            idle_seconds: 12,
        }],
    }
}
