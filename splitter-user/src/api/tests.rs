#![expect(clippy::unwrap_used, reason = "test code")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::client::Client;
use super::fake::{self, Fake, Running};
use super::server::{self, BindError, MAX_BODY, MAX_YAML};
use super::types::*;

fn cutover() -> ChangeRequest {
    ChangeRequest::new(Command::Cutover {
        target: Target::Service("web".to_owned()),
        to: "green".to_owned(),
        existing: Existing::Keep,
    })
}

/// Sends bytes as they are; returns status and body.
async fn raw(socket: &Path, request: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

async fn post(socket: &Path, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let (status, body) = raw(socket, &request).await;
    (status, serde_json::from_str(&body).unwrap())
}

async fn get(socket: &Path, path: &str) -> (u16, Value) {
    let (status, body) = raw(
        socket,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
    .await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_service_has_the_fields_that_the_contract_names() {
    let running = Running::start(Fake::default());
    let (status, list) = get(&running.socket, "/v1/services").await;
    assert_eq!(status, 200);
    let expected = json!({
        "name": "web", "labels": {"team": "pay"}, "generation": 42, "undoGeneration": 41, "anchors": [{"since": 39, "generation": 41, "weights": {"blue": "100", "green": "0"}}], "state": "ready", "release": "shop",
        "mode": "dnat", "noBackend": "drop", "affinity": {"key": "clientIP", "backend": "flow", "prefix": {"v4": 24, "v6": 56}, "salt": "shop"}, "digest": "9f86d081",
        "fallback": "blue", "preview": {"vip": "198.18.1.101", "port": 80, "protocol": "tcp", "track": "green"},
        "routes": [{"source": ["198.18.9.0/24"], "track": "green", "reason": "staff"}], "ramp": null, "unpinned": 3,
        "listeners": [{"vip": "198.18.1.100", "port": 80, "protocol": "tcp"}],
        "tracks": [
            {"name": "blue", "version": "1.8.2", "state": "ready", "weight": "95", "slots": 62259,
             "observed": {"newFlows": 10432, "share": null}, "flows": 61203,
             "backends": [{"address": "198.18.2.11", "port": 80, "mode": "dnat", "weight": 1, "state": "ready", "health": "unknown", "flows": 61203}]},
            {"name": "green", "version": "1.9.0", "state": "ready", "weight": "5", "slots": 3277,
             "observed": {"newFlows": 10432, "share": "4.98"}, "flows": 61203,
             "backends": [{"address": "2001:db8:2::21", "port": 80, "mode": "dnat", "weight": 1, "state": "ready", "health": "unknown", "flows": 61203,
                "slowStart": {"share": "35", "remainingSeconds": 63}}]},
        ],
        "conditions": [],
    });
    assert_eq!(
        list,
        json!({"apiVersion": "splitter/v1", "kind": "ServiceList", "items": [expected.clone()]})
    );

    let (status, one) = get(&running.socket, "/v1/services/web").await;
    assert_eq!(status, 200);
    let mut document = expected;
    document["apiVersion"] = json!("splitter/v1");
    document["kind"] = json!("Service");
    assert_eq!(one, document);
}

#[tokio::test]
async fn a_change_has_the_fields_that_the_contract_names() {
    let running = Running::start(Fake::default());
    let body = r#"{"command": {"cutover": {"target": "release/shop", "to": "green"}}, "reason": "1.9.0", "expectGeneration": 41}"#;
    let item = |service: &str| {
        json!({
            "kind": "Change", "service": service, "generation": 42, "before": {"blue": "95", "green": "5"},
            "after": {"blue": "75", "green": "25"}, "flipNanoseconds": 812, "dryRun": false, "moved": 13107, "warnings": [],
        })
    };
    assert_eq!(
        post(&running.socket, "/v1/changes", body).await,
        (200, item("web"))
    );

    *running.fake.changes.lock().unwrap() = vec![fake::change("web"), fake::change("api")];
    let several = json!({"kind": "ChangeList", "items": [item("web"), item("api")]});
    assert_eq!(
        post(&running.socket, "/v1/changes", body).await,
        (200, several)
    );

    running.fake.changes.lock().unwrap().clear();
    assert_eq!(
        post(&running.socket, "/v1/changes", body).await,
        (200, json!({"kind": "ChangeList", "items": []}))
    );

    let (request, _) = running.fake.asked.lock().unwrap()[0].clone();
    let command = Command::Cutover {
        target: Target::Release("shop".to_owned()),
        to: "green".to_owned(),
        existing: Existing::Keep,
    };
    assert_eq!(
        request,
        ChangeRequest {
            command,
            dry_run: false,
            reason: Some("1.9.0".to_owned()),
            expect_generation: Some(41)
        }
    );
}

#[tokio::test]
async fn status_flows_drain_doctor_have_their_shapes() {
    let running = Running::start(Fake::default());
    let mut status = fake::status(Phase::Draining);
    status
        .conditions
        .push(fake::condition(ConditionKind::NeighbourMissing));
    *running.fake.statuses.lock().unwrap() = [status].into();
    let expected = json!({
        "kind": "Status",
        "agent": {"name": "splitter", "version": "0.1.0", "pid": 4711, "uptimeSeconds": 3661},
        "interfaces": [{"name": "eth0", "index": 2, "xdpMode": "native"}],
        "selectorSequence": 7,
        "limits": {"services": 256, "backends": 4096, "flows": 1000000},
        "flowTable": {"entries": 61203, "capacity": 4194304},
        "conditions": [{"type": "NeighbourMissing", "status": "True", "message": "198.18.2.11 has no neighbour", "since": "2023-11-14T22:13:20Z"}],
        "services": [{"name": "web", "generation": 42, "mode": "dnat", "phase": "draining", "flows": 61203, "conditions": []}],
    });
    assert_eq!(get(&running.socket, "/v1/status").await, (200, expected));

    let flows = json!({"kind": "FlowList", "total": 2, "items": [{
        "service": "web", "listener": {"vip": "198.18.1.100", "port": 80, "protocol": "tcp"}, "client": "198.18.9.7:40000",
        "track": "green", "backend": "198.18.2.21:80", "mode": "fullnat", "translated": "198.18.2.9:10240",
        "state": "established", "idleSeconds": 12,
    }]});
    let path = "/v1/flows?service=web&backend=198.18.2.21:80&source=198.18.9.0/24";
    assert_eq!(get(&running.socket, path).await, (200, flows));
    let filter = running.fake.filter.lock().unwrap().clone().unwrap();
    assert_eq!(filter.backend, Some("198.18.2.21:80".parse().unwrap()));
    assert_eq!(filter.source, Some("198.18.9.0/24".parse().unwrap()));
    assert_eq!(
        (filter.service.as_deref(), filter.track, filter.limit),
        (Some("web"), None, DEFAULT_FLOW_LIMIT)
    );

    let drain = json!({
        "kind": "Drain", "state": "drained", "mode": "dnat", "pins": 0, "resetting": 0, "oldestAgeSeconds": null,
        "idlestSeconds": null, "endedPerMinute": null, "estimatedSecondsLeft": null, "onTimeout": "keep", "neverPinned": 3,
        "deadline": "2096-10-02T07:06:40Z", "proven": true,
    });
    assert_eq!(
        get(&running.socket, "/v1/services/web/drain?what=blue").await,
        (200, drain)
    );

    let findings = json!({"kind": "FindingList", "items": [{"check": "interface eth0", "ok": true, "message": "XDP native", "fix": null}]});
    assert_eq!(get(&running.socket, "/v1/doctor").await, (200, findings));
}

#[tokio::test]
async fn what_the_client_reads_is_what_the_agent_said() {
    let running = Running::start(Fake::default());
    let client = running.client();
    assert_eq!(
        client.services().await.unwrap(),
        vec![fake::service()].into()
    );
    assert_eq!(client.service("web").await.unwrap(), fake::service().into());
    assert_eq!(
        client.change(&cutover()).await.unwrap(),
        vec![fake::change("web")].into()
    );
    assert_eq!(
        client.flows(&FlowFilter::default()).await.unwrap(),
        fake::flows()
    );
    assert_eq!(client.status().await.unwrap(), fake::status(Phase::Steady));
    assert_eq!(
        client.export().await.unwrap(),
        "apiVersion: splitter/v1\nkind: Service\n"
    );
    let what = "[2001:db8:2::11]:80".parse().unwrap();
    assert_eq!(
        client
            .drain_state("web", &what, Duration::ZERO)
            .await
            .unwrap(),
        fake::drain(DrainState::Drained, 0)
    );

    *running.fake.changes.lock().unwrap() = vec![fake::change("web"), fake::change("api")];
    assert_eq!(client.change(&cutover()).await.unwrap().items().len(), 2);
    assert_eq!(
        client.service("../status").await.unwrap_err().code,
        ErrorCode::NotFound
    );
    assert_eq!(
        client.service("..").await.unwrap_err().code,
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn every_command_survives_the_way_to_the_agent() {
    let running = Running::start(Fake::default());
    let target = || Target::Service("web".to_owned());
    let what = || "198.18.2.11:80".parse::<DrainTarget>().unwrap();
    let service = || "web".to_owned();
    let commands = [
        Command::Apply {
            yaml: "a: \"\u{e4}\"\n".to_owned(),
            origin: "-".to_owned(),
        },
        Command::Delete {
            service: service(),
            now: true,
        },
        Command::SetWeight {
            target: target(),
            weights: vec![("green".to_owned(), "0.5%".to_owned())],
            ramp: None,
        },
        Command::Cutover {
            target: Target::Release("shop".to_owned()),
            to: "green".to_owned(),
            existing: Existing::Keep,
        },
        Command::Undo {
            target: target(),
            existing: Existing::Keep,
            to_generation: None,
        },
        Command::Drain {
            service: service(),
            what: what(),
            timeout: Some(Duration::from_millis(90_500)),
            on_timeout: None,
            spread: None,
        },
        Command::Drain {
            service: service(),
            what: what(),
            timeout: None,
            on_timeout: None,
            spread: None,
        },
        Command::Ready {
            service: service(),
            what: DrainTarget::Track("blue".to_owned()),
        },
    ];
    for command in commands {
        let request = ChangeRequest {
            command,
            dry_run: true,
            reason: Some("why".to_owned()),
            expect_generation: Some(9),
        };
        running.client().change(&request).await.unwrap();
        assert_eq!(
            running.fake.asked.lock().unwrap().last().unwrap().0,
            request
        );
    }
}

#[tokio::test]
async fn the_agent_learns_who_asked_from_the_kernel() {
    let running = Running::start(Fake::default());
    running.client().change(&cutover()).await.unwrap();
    running.client().detach().await.unwrap();
    let expected = Actor {
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        pid: Some(i32::try_from(std::process::id()).unwrap()),
    };
    assert_eq!(running.fake.asked.lock().unwrap()[0].1, expected);
    assert_eq!(*running.fake.detached.lock().unwrap(), Some(expected));
}

#[tokio::test]
async fn each_refusal_keeps_its_code_message_and_details() {
    let running = Running::start(Fake::default());
    let cases = [
        (ErrorCode::Refused, 400, "refused", 1),
        (ErrorCode::NotFound, 404, "notFound", 1),
        (ErrorCode::RolledBack, 500, "rolledBack", 3),
        (ErrorCode::TimedOut, 504, "timedOut", 4),
        (ErrorCode::Conflict, 409, "conflict", 6),
        (ErrorCode::Policy, 403, "policy", 7),
        (ErrorCode::Internal, 500, "internal", 1),
        (ErrorCode::Busy, 503, "busy", 2),
    ];
    for (code, status, name, exit) in cases {
        let error = ApiError::new(code, "no").with_details(vec!["line 3".to_owned()]);
        *running.fake.refusal.lock().unwrap() = Some(error.clone());
        let body = json!({"kind": "Error", "code": name, "message": "no", "details": ["line 3"]});
        assert_eq!(get(&running.socket, "/v1/status").await, (status, body));
        assert_eq!(
            running.client().change(&cutover()).await.unwrap_err(),
            error
        );
        assert_eq!(code.exit_code(), exit);
    }
    assert_eq!(ErrorCode::Unreachable.exit_code(), 2);
}

#[tokio::test]
async fn malformed_requests_are_refused_and_reach_nobody() {
    let running = Running::start(Fake::default());
    let deep = "[".repeat(100_000);
    let cases = [
        "",
        "{",
        "[]",
        "{\"command\": \"undo\"}",
        r#"{"command": {"undo": {"target": "web"}}, "dryrun": true}"#,
        r#"{"command": {"undo": {"target": "web", "to": 3}}}"#,
        r#"{"command": {"undo": {"target": "web/1"}}}"#,
        r#"{"command": {"promote": {"target": "web"}}}"#,
        r#"{"command": {"drain": {"service": "web", "what": "198.18.2.11"}}}"#,
        r#"{"command": {"drain": {"service": "web", "what": "blue", "timeout": "soon"}}}"#,
        r#"{"command": {"cutover": {"target": "web"}}}"#,
        deep.as_str(),
    ];
    for body in cases {
        let (status, answer) = post(&running.socket, "/v1/changes", body).await;
        assert_eq!(
            (status, &answer["kind"], &answer["code"]),
            (400, &json!("Error"), &json!("refused")),
            "{body:.80}"
        );
        assert!(
            answer["message"].as_str().unwrap().starts_with("body: "),
            "{answer}"
        );
    }
    for path in [
        "/v1/flows?servcie=web",
        "/v1/flows?source=x",
        "/v1/flows?limit=-1",
        "/v1/flows?limit=10001",
        "/v1/services/web/drain",
    ] {
        assert_eq!(get(&running.socket, path).await.0, 400, "{path}");
    }
    assert_eq!(get(&running.socket, "/v2/status").await.0, 404);
    assert_eq!(get(&running.socket, "/v1/changes").await.0, 405);
    assert!(running.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let running = Running::start(Fake::default());
    let head = format!(
        "POST /v1/changes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    let (status, body) = raw(&running.socket, &head).await;
    assert_eq!(status, 413);
    assert!(body.contains("too large"), "{body}");

    let chunks = "100000\r\n".to_owned() + &" ".repeat(0x10_0000) + "\r\n";
    let unannounced = "POST /v1/changes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (status, _) = raw(
        &running.socket,
        &format!("{unannounced}{}", chunks.repeat(2) + "1\r\n \r\n"),
    )
    .await;
    assert_eq!(status, 413);

    let yaml = "#".repeat(MAX_YAML + 1);
    let request = ChangeRequest::new(Command::Apply {
        yaml,
        origin: "big.yaml".to_owned(),
    });
    let error = running.client().change(&request).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Refused);
    assert!(
        error.message.starts_with("big.yaml: 1048577 bytes"),
        "{error}"
    );
    assert!(running.fake.asked.lock().unwrap().is_empty());

    // Every byte of it doubled by JSON.
    let yaml = "\n".repeat(MAX_YAML - 100);
    let request = ChangeRequest::new(Command::Apply {
        yaml,
        origin: "lines.yaml".to_owned(),
    });
    running.client().change(&request).await.unwrap();
}

#[tokio::test]
async fn a_text_to_compare_is_as_long_as_one_to_apply_at_most() {
    let running = Running::start(Fake::default());
    let request = DiffRequest {
        yaml: "#".repeat(MAX_YAML + 1),
        origin: "big.yaml".to_owned(),
        prune: false,
    };
    let body = serde_json::to_string(&request).unwrap();
    let (status, answer) = post(&running.socket, "/v1/diff", &body).await;
    assert_eq!((status, &answer["code"]), (413, &json!("refused")));
    let error = running.client().diff(&request).await.unwrap_err();
    assert_eq!(error.code.exit_code(), 1);
    assert!(
        error.message.starts_with("big.yaml: 1048577 bytes"),
        "{error}"
    );
    assert!(running.fake.records.lock().unwrap().is_none());
}

#[tokio::test]
async fn texts_that_are_kept_have_a_length_and_no_control_characters() {
    let running = Running::start(Fake::default());
    let undo = |extra: Value| {
        let mut body = json!({"command": {"undo": {"target": "web"}}});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    let long = |length: usize| "x".repeat(length);
    let cutover = |to: String| json!({"command": {"cutover": {"target": "web", "to": to}}});
    let apply = |origin: &str| json!({"command": {"apply": {"yaml": "a: b", "origin": origin}}});
    let cases = [
        ("/v1/changes", undo(json!({"reason": long(254)})), "254"),
        (
            "/v1/changes",
            undo(json!({"reason": "a\u{1b}[2Jb"})),
            "U+001B",
        ),
        ("/v1/changes", cutover(long(2_000)), "at most 1024"),
        ("/v1/changes", cutover("gr\neen".to_owned()), "U+000A"),
        ("/v1/changes", apply("/etc/\u{7}.yaml"), "U+0007"),
        (
            "/v1/freeze",
            json!({"frozen": true, "reason": long(300)}),
            "at most 253",
        ),
        (
            "/v1/diff",
            json!({"yaml": "a: b", "origin": "\u{0}"}),
            "U+0000",
        ),
    ];
    for (path, body, part) in cases {
        let (status, answer) = post(&running.socket, path, &body.to_string()).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("refused")),
            "{body}"
        );
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(running.fake.asked.lock().unwrap().is_empty());
    let body = undo(json!({"reason": long(253)})).to_string();
    assert_eq!(post(&running.socket, "/v1/changes", &body).await.0, 200);
}

#[tokio::test]
async fn who_is_sent_away_before_it_has_asked_may_try_again() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let answer = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = stream.into_std().unwrap();
        let busy = r#"{"kind":"Error","code":"busy","message":"the agent is busy"}"#;
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json";
        std::io::Write::write_all(
            &mut stream,
            format!(
                "{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{busy}",
                busy.len()
            )
            .as_bytes(),
        )
        .unwrap();
        stream
    });
    let error = Client::new(&socket).unwrap().status().await.unwrap_err();
    drop(answer.await.unwrap());
    assert!(error.code.may_pass(), "{error}");
    assert_eq!(error.code.exit_code(), 2);
}

#[tokio::test]
async fn an_unreachable_agent_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let error = Client::new(&socket).unwrap().status().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unreachable);
    for part in [
        socket.to_str().unwrap(),
        "no agent there",
        "is splitterd running?",
        "SPLITTER_SOCKET",
    ] {
        assert!(error.message.contains(part), "{error}");
    }
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let error = Client::new(&socket).unwrap().status().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unreachable);
    assert!(error.message.contains("nobody answers"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_says_that_a_change_may_have_been_made() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = server::bind(&socket, None).unwrap();
    let hang_up = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
    });
    let error = Client::new(&socket)
        .unwrap()
        .change(&cutover())
        .await
        .unwrap_err();
    hang_up.await.unwrap();
    assert_eq!(error.code, ErrorCode::Unreachable);
    assert!(error.message.contains("may have been made"), "{error}");
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_hangs_up() {
    let running = Running::start(Fake::default());
    *running.fake.delay.lock().unwrap() = Duration::from_millis(200);
    let client = running.client();
    let call = tokio::spawn(async move { client.change(&cutover()).await });
    while running.fake.asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    while *running.fake.ended.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn waiting_for_a_drain_ends_with_the_drain() {
    let running = Running::start(Fake::default());
    *running.fake.drains.lock().unwrap() = [
        fake::drain(DrainState::Draining, 2),
        fake::drain(DrainState::Draining, 1),
        fake::drain(DrainState::Drained, 0),
    ]
    .into();
    let what = DrainTarget::Track("blue".to_owned());
    let view = running
        .client()
        .drain_state("web", &what, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(view.state, DrainState::Drained);
}

#[tokio::test]
async fn stopping_answers_who_waits_and_removes_the_socket() {
    let mut running = Running::start(Fake::default());
    *running.fake.drains.lock().unwrap() = [fake::drain(DrainState::Draining, 1)].into();
    let client = running.client();
    let waiting = tokio::spawn(async move {
        client
            .drain_state(
                "web",
                &DrainTarget::Track("blue".to_owned()),
                Duration::from_secs(20),
            )
            .await
    });
    while *running.fake.looked.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    running.stop.cancel();
    assert_eq!(waiting.await.unwrap().unwrap().state, DrainState::Draining);
    (&mut running.server).await.unwrap().unwrap();
    assert!(!running.socket.exists());
    assert_eq!(
        running.client().status().await.unwrap_err().code,
        ErrorCode::Unreachable
    );
}

#[tokio::test]
async fn the_socket_is_for_root_alone_or_for_root_and_a_group() {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let directory = tempfile::tempdir().unwrap();

    let alone = directory.path().join("alone/agent.sock");
    let _listener = server::bind(&alone, None).unwrap();
    assert_eq!(
        (mode(&alone), mode(alone.parent().unwrap())),
        (0o600, 0o755)
    );

    let group = rustix::process::getgid().as_raw();
    let shared = directory.path().join("some/where/agent.sock");
    let _listener = server::bind(&shared, Some(group)).unwrap();
    assert_eq!(
        (mode(&shared), mode(shared.parent().unwrap())),
        (0o660, 0o750)
    );
    assert_eq!(
        std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&shared).unwrap()),
        group
    );
}

#[tokio::test]
async fn a_stale_socket_is_removed_and_a_living_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let living = server::bind(&socket, None).unwrap();

    let error = server::bind(&socket, None).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(socket.to_str().unwrap()));
    drop(living);
    drop(server::bind(&socket, None).unwrap());

    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(
        server::bind(&file, None).unwrap_err(),
        BindError::NotASocket { .. }
    ));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn groups_are_found_by_name() {
    assert_eq!(server::group_id("root").unwrap(), Some(0));
    assert_eq!(server::group_id("no-such-group-here").unwrap(), None);
}

#[test]
fn targets_are_read_and_written_alike() {
    for text in ["web", "release/shop"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    for text in ["", "release/", "release/a/b", "service/web", "/"] {
        assert!(
            text.parse::<Target>()
                .unwrap_err()
                .to_string()
                .contains("release/NAME"),
            "{text}"
        );
    }
    for text in ["blue", "198.18.2.11:80", "[2001:db8::1]:443"] {
        assert_eq!(text.parse::<DrainTarget>().unwrap().to_string(), text);
    }
    assert!(matches!(
        "198.18.2.11:80".parse().unwrap(),
        DrainTarget::Backend { port: 80, .. }
    ));
    for text in [
        "",
        "198.18.2.11",
        "2001:db8::1",
        "198.18.2.11:99999",
        "[2001:db8::1]",
        "blue:80",
    ] {
        assert!(
            text.parse::<DrainTarget>()
                .unwrap_err()
                .to_string()
                .contains("ADDR:PORT"),
            "{text}"
        );
    }
}
