//! What the agent makes of an apply before the writer does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::api::types::{AuditItem, AuditOutcome};
use crate::dataplane::memory::Memory;
use crate::loader::Layout;
use crate::store::Store;
use crate::writer::{Grace, Writer};

const SECRET: [u8; 32] = [9; 32];
const ROOT: Actor = Actor {
    uid: 0,
    gid: 0,
    pid: None,
};

/// An agent over tables in memory that knows the way to nowhere, and what its neighbours are asked for.
fn agent() -> (Daemon, watch::Receiver<BTreeSet<IpAddr>>) {
    let (addresses, asked) = watch::channel(BTreeSet::new());
    let writer = Writer::recover(
        Memory::new(Layout::new(16, 64, 1000), &SECRET).unwrap(),
        Store::open_in_memory().unwrap(),
        SECRET,
        false,
        Grace::start(|| Ok(())).unwrap(),
        addresses,
    )
    .unwrap();
    let (writer, _thread) = writer.start().unwrap();
    let agent = Daemon {
        config: Config::parse("interfaces = [\"eth0\"]", "test").unwrap(),
        writer,
        started: Instant::now(),
        attached: Vec::new(),
        // Nobody looks for ways: whoever waits for one is told so at once.
        hops: watch::channel(NextHops::default()).1,
        stop: CancellationToken::new(),
        detach: Arc::default(),
        names: Names::default(),
        work: Work::default(),
    };
    (agent, asked)
}

fn apply(name: &str, backend: &str) -> ChangeRequest {
    let yaml = format!(
        "apiVersion: splitter/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  listeners: [{{vip: 198.18.1.100, \
         port: 80, protocol: tcp}}]\n  tracks: [{{name: blue, backends: [{{address: {backend}, port: 80}}]}}]\n"
    );
    ChangeRequest::new(Command::Apply {
        yaml,
        origin: format!("{name}.yaml"),
    })
}

async fn audit(agent: &Daemon) -> Vec<AuditItem> {
    let filter = AuditFilter {
        since_seconds: None,
        limit: 100,
    };
    agent.audit(filter).await.unwrap().items
}

#[tokio::test]
async fn an_apply_that_is_refused_is_in_the_audit_though_its_backends_are_unknown() {
    let (agent, mut asked) = agent();
    agent
        .change(apply("web", "198.18.2.11"), ROOT)
        .await
        .unwrap();
    asked.mark_unchanged();
    // Another service has the listener.
    let error = agent
        .change(apply("cart", "198.18.2.99"), ROOT)
        .await
        .unwrap_err();
    assert!(!asked.has_changed().unwrap(), "a neighbour was asked for");
    let items = audit(&agent).await;
    let refused = &items[0];
    assert_eq!(
        (refused.outcome, refused.command.as_deref()),
        (AuditOutcome::Refused, Some("apply -f cart.yaml"))
    );
    assert_eq!(refused.message.as_deref(), Some(error.message.as_str()));
    assert_eq!(items.len(), 2, "once: {items:#?}");
}

#[tokio::test]
async fn under_a_freeze_no_neighbour_is_asked_for_an_apply() {
    let (agent, asked) = agent();
    let freeze = FreezeRequest {
        frozen: true,
        reason: None,
        dry_run: false,
    };
    agent.freeze(freeze, ROOT).await.unwrap();
    let error = agent
        .change(apply("web", "198.18.2.11"), ROOT)
        .await
        .unwrap_err();
    assert_eq!(error.code, crate::api::types::ErrorCode::Policy);
    assert!(!asked.has_changed().unwrap(), "a neighbour was asked for");
    assert_eq!(audit(&agent).await[0].outcome, AuditOutcome::Refused);
}
