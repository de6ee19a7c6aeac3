//! Changing verbs: what they ask for, and how they print what was done.

use std::time::Duration;

use serde_json::json;

use super::{ctl, ctl_with, last_command};
use crate::api::fake::{self, Fake, Running};
use crate::api::types::*;
use crate::model::OnTimeout;

#[tokio::test]
async fn each_changing_verb_asks_for_what_was_typed() {
    let running = Running::start(Fake::default());
    let web = || Target::Service("web".to_owned());
    let shop = || Target::Release("shop".to_owned());
    let service = || "web".to_owned();
    let weight = |track: &str, weight: &str| (track.to_owned(), weight.to_owned());
    let backend = |text: &str| text.parse::<DrainTarget>().unwrap();
    let cases = [
        (
            "set-weight web green=25%",
            Command::SetWeight {
                target: web(),
                weights: vec![weight("green", "25%")],
                ramp: None,
            },
        ),
        (
            "set-weight web green=50% --ramp 10m",
            Command::SetWeight {
                target: web(),
                weights: vec![weight("green", "50%")],
                ramp: Some(std::time::Duration::from_secs(600)),
            },
        ),
        (
            "set-weight release/shop green=0.5% canary=1%",
            Command::SetWeight {
                target: shop(),
                weights: vec![weight("green", "0.5%"), weight("canary", "1%")],
                ramp: None,
            },
        ),
        (
            "cutover web --to green",
            Command::Cutover {
                target: web(),
                to: "green".to_owned(),
                existing: Existing::Keep,
            },
        ),
        (
            "cutover --to=green release/shop",
            Command::Cutover {
                target: shop(),
                to: "green".to_owned(),
                existing: Existing::Keep,
            },
        ),
        (
            "undo web",
            Command::Undo {
                target: web(),
                existing: Existing::Keep,
                to_generation: None,
            },
        ),
        (
            "undo release/shop",
            Command::Undo {
                target: shop(),
                existing: Existing::Keep,
                to_generation: None,
            },
        ),
        (
            "delete service web",
            Command::Delete {
                service: service(),
                now: false,
            },
        ),
        (
            "delete service web --now",
            Command::Delete {
                service: service(),
                now: true,
            },
        ),
        (
            "drain web blue",
            Command::Drain {
                service: service(),
                what: backend("blue"),
                timeout: None,
                on_timeout: None,
                spread: None,
            },
        ),
        (
            "drain web 198.18.2.11:80 --timeout 10m",
            Command::Drain {
                service: service(),
                what: backend("198.18.2.11:80"),
                timeout: Some(Duration::from_secs(600)),
                on_timeout: None,
                spread: None,
            },
        ),
        (
            "drain web blue --timeout 10m --on-timeout reset --spread 2m",
            Command::Drain {
                service: service(),
                what: backend("blue"),
                timeout: Some(Duration::from_secs(600)),
                on_timeout: Some(OnTimeout::Reset),
                spread: Some(Duration::from_secs(120)),
            },
        ),
        (
            "maint web 198.18.2.11:80",
            Command::Maint {
                service: service(),
                what: backend("198.18.2.11:80"),
            },
        ),
        (
            "quarantine web green --spread 30s",
            Command::Quarantine {
                service: service(),
                what: backend("green"),
                spread: Some(Duration::from_secs(30)),
            },
        ),
        (
            "undo web --existing reset",
            Command::Undo {
                target: web(),
                existing: Existing::Reset,
                to_generation: None,
            },
        ),
        (
            "cutover web --to green --existing reset",
            Command::Cutover {
                target: web(),
                to: "green".to_owned(),
                existing: Existing::Reset,
            },
        ),
        (
            "ready web blue",
            Command::Ready {
                service: service(),
                what: backend("blue"),
            },
        ),
        (
            "ready web [2001:db8:2::11]:80",
            Command::Ready {
                service: service(),
                what: backend("[2001:db8:2::11]:80"),
            },
        ),
    ];
    for (line, command) in cases {
        let ran = ctl(&running.socket, line).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        let (request, _) = running.fake.asked.lock().unwrap().last().unwrap().clone();
        assert_eq!(request, ChangeRequest::new(command.clone()), "{line}");

        let ran = ctl(
            &running.socket,
            &format!("{line} --dry-run --reason because --expect-generation 41 -o json"),
        )
        .await;
        assert_eq!(
            (ran.code, &ran.json()["kind"], &ran.json()["dryRun"]),
            (0, &json!("Change"), &json!(true)),
            "{line}"
        );
        let (request, _) = running.fake.asked.lock().unwrap().last().unwrap().clone();
        let expected = ChangeRequest {
            command,
            dry_run: true,
            reason: Some("because".to_owned()),
            expect_generation: Some(41),
        };
        assert_eq!(request, expected, "{line}");
    }
}

#[tokio::test]
async fn apply_reads_a_file_or_stdin() {
    let running = Running::start(Fake::default());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, "kind: Service\n").unwrap();
    let origin = file.to_str().unwrap().to_owned();
    assert_eq!(
        ctl(&running.socket, &format!("apply -f {origin}"))
            .await
            .code,
        0
    );
    assert_eq!(
        last_command(&running),
        Command::Apply {
            yaml: "kind: Service\n".to_owned(),
            origin
        }
    );

    let ran = ctl_with(&running.socket, "apply -f -", |around| {
        around.input = Box::new(&b"kind: X\n"[..])
    })
    .await;
    assert_eq!(ran.code, 0);
    assert_eq!(
        last_command(&running),
        Command::Apply {
            yaml: "kind: X\n".to_owned(),
            origin: "-".to_owned()
        }
    );
}

#[tokio::test]
async fn apply_refuses_what_it_cannot_read() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "apply -f /no/such/file.yaml").await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.starts_with("error: /no/such/file.yaml: "),
        "{}",
        ran.err
    );

    let ran = ctl_with(&running.socket, "apply -f -", |around| {
        around.input = Box::new(std::io::repeat(b'#'))
    })
    .await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("more than 1048576 bytes"), "{}", ran.err);

    let ran = ctl_with(&running.socket, "apply -f -", |around| {
        around.input = Box::new(&b"name: \xff"[..])
    })
    .await;
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "error: -: byte 6 is not UTF-8 text\n")
    );
    assert!(running.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_change_is_printed_from_before_to_after() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "set-weight web green=25%").await;
    let expected = "\
web: generation 42, 13107 slots moved, flipped in 812 ns
  blue   95% -> 75%
  green   5% -> 25%
";
    assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""));

    let ran = ctl(&running.socket, "set-weight web green=25% --dry-run").await;
    assert!(
        ran.out.starts_with(
            "web: generation 42, 13107 slots would move (dry run: nothing was changed)\n"
        ),
        "{}",
        ran.out
    );

    let mut change = fake::change("web");
    change.before.clear();
    change.warnings.push("blue has one backend".to_owned());
    *running.fake.changes.lock().unwrap() = vec![change];
    let ran = ctl(&running.socket, "undo web").await;
    assert!(
        ran.out
            .ends_with("  blue   none -> 75%\n  green  none -> 25%\n"),
        "{}",
        ran.out
    );
    assert_eq!(ran.err, "warning: web: blue has one backend\n");

    running.fake.changes.lock().unwrap().clear();
    assert_eq!(
        ctl(&running.socket, "undo web").await.out,
        "nothing to change\n"
    );
}

#[tokio::test]
async fn a_change_is_data_in_each_format() {
    let running = Running::start(Fake::default());
    let one = ctl(&running.socket, "undo web -o json").await.json();
    let expected = json!({
        "kind": "Change", "service": "web", "generation": 42, "before": {"blue": "95", "green": "5"},
        "after": {"blue": "75", "green": "25"}, "flipNanoseconds": 812, "dryRun": false, "moved": 13107, "warnings": [],
    });
    assert_eq!(one, expected);

    *running.fake.changes.lock().unwrap() = vec![fake::change("web"), fake::change("api")];
    let several = ctl(&running.socket, "undo release/shop -o json")
        .await
        .json();
    assert_eq!(
        (&several["kind"], &several["items"][0]),
        (&json!("ChangeList"), &expected)
    );
    let lines = ctl(&running.socket, "undo release/shop -o jsonl").await.out;
    let services: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["service"].clone())
        .collect();
    assert_eq!(services, ["web", "api"]);
}

#[tokio::test]
async fn waiting_for_a_drain_ends_with_proof() {
    let running = Running::start(Fake::default());
    let stages = [
        fake::drain(DrainState::Draining, 12),
        fake::drain(DrainState::Draining, 12),
        fake::drain(DrainState::Drained, 0),
    ];
    *running.fake.drains.lock().unwrap() = stages.clone().into();
    let ran = ctl(&running.socket, "drain web blue --wait").await;
    assert_eq!(ran.code, 0);
    assert!(ran.out.starts_with("web: generation 42"), "{}", ran.out);
    assert!(
        ran.out
            .ends_with("drained: 0 flows left (proven), 3 packets never pinned; mode dnat\n"),
        "{}",
        ran.out
    );

    *running.fake.drains.lock().unwrap() = stages.into();
    let ran = ctl(&running.socket, "drain web blue --wait -o json").await;
    assert_eq!(
        (ran.code, &ran.json()["kind"], &ran.json()["service"]),
        (0, &json!("Change"), &json!("web"))
    );
    assert_eq!(ran.json()["drain"]["proven"], json!(true));
    assert_eq!(ran.json()["drain"]["neverPinned"], json!(3));
}

#[tokio::test]
async fn a_ramp_is_waited_for_and_its_progress_is_talk() {
    let ramp = |moved, remaining_seconds| RampView {
        slots: 13_107,
        moved,
        remaining_seconds,
    };
    let fake = Fake::default();
    fake.ramps
        .lock()
        .unwrap()
        .extend([ramp(0, 30), ramp(0, 30), ramp(6_553, 15)]);
    let running = Running::start(fake);
    let ran = ctl(
        &running.socket,
        "set-weight web green=25% --ramp 30s -o json",
    )
    .await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.json()["generation"], json!(42));
    assert_eq!(
        ran.err,
        "web: 0 of 13107 slots moved (0% of 20%), 30s left\n\
         web: 6553 of 13107 slots moved (9.999% of 20%), 15s left\n"
    );
}

#[tokio::test]
async fn a_ramp_that_another_change_ended_has_an_exit_code_of_its_own() {
    let fake = Fake::default();
    fake.changes.lock().unwrap()[0].generation = 41;
    let running = Running::start(fake);
    let ran = ctl(&running.socket, "set-weight web green=25% --ramp 30s").await;
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("another change (generation 42)"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn progress_of_a_drain_is_talk() {
    let running = Running::start(Fake::default());
    // Eleven looks in a second: the first answer comes back while it still drains.
    let mut stages = vec![fake::drain(DrainState::Draining, 12); 15];
    stages.push(fake::drain(DrainState::Drained, 0));
    *running.fake.drains.lock().unwrap() = stages.into();
    let ran = ctl(&running.socket, "drain web blue --wait").await;
    assert_eq!(ran.code, 0);
    assert!(
        ran.err.starts_with(
            "draining: 12 flows left, all older than 1m 1s, silent for at most 7s, 120 end a minute, none left in about 6s, 3 packets never \
             pinned, deadline in "
        ),
        "{}",
        ran.err
    );
    assert!(!ran.out.contains("draining"), "{}", ran.out);
}

#[tokio::test]
async fn a_drain_that_times_out_or_is_ended_says_so_by_its_exit_code() {
    let running = Running::start(Fake::default());
    *running.fake.drains.lock().unwrap() = [fake::drain(DrainState::TimedOut, 7)].into();
    let ran = ctl(&running.socket, "drain web blue --wait").await;
    assert_eq!(ran.code, 4);
    assert!(
        ran.out.ends_with(
            "they go on: 7 flows left, all older than 1m 1s, silent for at most 7s, 120 end a minute, none left in about 3s, 3 packets never \
             pinned; mode dnat\n"
        ),
        "{}",
        ran.out
    );

    *running.fake.drains.lock().unwrap() = [fake::drain(DrainState::Ready, 7)].into();
    assert_eq!(ctl(&running.socket, "drain web blue --wait").await.code, 3);

    let looked = *running.fake.looked.lock().unwrap();
    assert_eq!(
        ctl(&running.socket, "drain web blue --wait --dry-run")
            .await
            .code,
        0
    );
    assert_eq!(
        *running.fake.looked.lock().unwrap(),
        looked,
        "a dry run has nothing to wait for"
    );
}

#[tokio::test]
async fn detach_is_asked_for() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "detach -o json").await;
    assert_eq!((ran.code, ran.json()), (0, json!({"kind": "Detached"})));
    assert!(running.fake.detached.lock().unwrap().is_some());
}
