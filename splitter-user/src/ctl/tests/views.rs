//! Verbs that only look.

use serde_json::{Value, json};

use super::{ClosedAfter, a_local_finding, ctl, ctl_with};
use crate::api::fake::{self, Fake, Running};
use crate::api::types::*;

#[tokio::test]
async fn services_are_a_list_and_a_named_service_is_one_object() {
    let running = Running::start(Fake::default());
    let list = ctl(&running.socket, "get services -o json").await.json();
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&json!("splitter/v1"), &json!("ServiceList"))
    );
    assert_eq!(
        list["items"],
        serde_json::to_value([fake::service()]).unwrap()
    );

    let mut expected = serde_json::to_value(fake::service()).unwrap();
    expected["apiVersion"] = json!("splitter/v1");
    expected["kind"] = json!("Service");
    assert_eq!(
        ctl(&running.socket, "get services web -o json")
            .await
            .json(),
        expected
    );
    assert_eq!(
        ctl(&running.socket, "describe service web -o json")
            .await
            .json(),
        expected
    );
    assert_eq!(
        ctl(&running.socket, "get services -o jsonl")
            .await
            .out
            .lines()
            .count(),
        1
    );
}

#[tokio::test]
async fn explain_says_where_why_and_by_what() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "explain 198.18.9.7:40000 198.18.1.100:80").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "198.18.9.7:40000 -> 198.18.1.100:80/tcp: forward (new_flow) to 198.18.2.21:80\n  \
             service web, track green, by weights, slot 7\n  \
             this client has slot 7, which belongs to track green\n"
        )
    );
    let line = "explain [2001:db8::7]:1 [2001:db8:1::100]:53 --protocol udp -o json";
    let json = ctl(&running.socket, line).await.json();
    assert_eq!(json["kind"], json!("Explanation"));
    assert_eq!(json["to"]["protocol"], json!("udp"));
    assert_eq!(json["client"], json!("[2001:db8::7]:1"));
    let ran = ctl(&running.socket, "explain 198.18.9.7 198.18.1.100:80").await;
    assert_eq!(ran.code, 1, "{}", ran.err);
}

#[tokio::test]
async fn which_names_the_track_and_the_weight_at_which_the_client_moves() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "which 198.18.9.7 web").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "198.18.9.7 meets track blue of web (slot 7, by weights); it moves to green when green has 12.5% or more\n"
        )
    );
    let json = ctl(&running.socket, "which 2001:db8::7 web -o json")
        .await
        .json();
    assert_eq!(json["kind"], json!("Which"));
    assert_eq!(json["moves"], json!({"to": "green", "at": "12.5"}));
}

#[tokio::test]
async fn yaml_says_what_json_says() {
    let running = Running::start(Fake::default());
    for line in [
        "get services",
        "get services web",
        "get tracks",
        "get backends web",
        "status",
        "flows",
        "undo web",
        "doctor",
    ] {
        let json = ctl(&running.socket, &format!("{line} -o json"))
            .await
            .json();
        let yaml = ctl(&running.socket, &format!("{line} -o yaml")).await.out;
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, json, "{line}:\n{yaml}");
    }
}

#[tokio::test]
async fn tables_show_desired_applied_and_observed_shares() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "get services").await;
    let expected = "\
SERVICE  STATE  GENERATION  LISTENERS            TRACK  DESIRED  APPLIED  OBSERVED  FLOWS
web      ready  42          198.18.1.100:80/tcp  blue   95%      95%      -         61203
                                                 green  5%       5%       4.98%     61203
";
    assert_eq!((ran.code, ran.out.as_str()), (0, expected));

    let expected = "\
SERVICE  TRACK  VERSION  STATE  DESIRED  APPLIED  OBSERVED  NEW/60s  FLOWS  BACKENDS
web      blue   1.8.2    ready  95%      95%      -         10432    61203  1
web      green  1.9.0    ready  5%       5%       4.98%     10432    61203  1
";
    assert_eq!(ctl(&running.socket, "get tracks web").await.out, expected);

    let expected = "\
SERVICE  TRACK  BACKEND              MODE  WEIGHT  STATE  HEALTH   FLOWS
web      blue   198.18.2.11:80       dnat  1       ready  unknown  61203
web      green  [2001:db8:2::21]:80  dnat  1       ready  unknown  61203
";
    assert_eq!(ctl(&running.socket, "get backends").await.out, expected);
    let expected = "\
SERVICE  TRACK  BACKEND              MODE  WEIGHT  STATE  HEALTH   FLOWS  SLOW START
web      blue   198.18.2.11:80       dnat  1       ready  unknown  61203  -
web      green  [2001:db8:2::21]:80  dnat  1       ready  unknown  61203  35% of its weight, 1m 3s left
";
    let wide = ctl(&running.socket, "get backends -o wide").await.out;
    assert_eq!(wide, expected);

    let wide = ctl(&running.socket, "get services -o wide").await.out;
    for part in ["DIGEST", "9f86d081", "shop", "dnat", "clientIP"] {
        assert!(wide.contains(part), "{wide}");
    }
    assert!(
        ctl(&running.socket, "get tracks -o wide")
            .await
            .out
            .contains("62259")
    );
}

#[tokio::test]
async fn tracks_and_backends_are_lists_that_name_their_service() {
    let running = Running::start(Fake::default());
    let tracks = ctl(&running.socket, "get tracks web -o json").await.json();
    assert_eq!(
        (&tracks["kind"], &tracks["items"][1]["service"]),
        (&json!("TrackList"), &json!("web"))
    );
    assert_eq!(tracks["items"][1]["slots"], json!(3277));
    let backends = ctl(&running.socket, "get backends -o jsonl").await.out;
    let first: Value = serde_json::from_str(backends.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["service"], &first["track"], &first["port"]),
        (&json!("web"), &json!("blue"), &json!(80))
    );
}

#[tokio::test]
async fn describe_says_everything() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "describe service web").await;
    let expected = "\
Service:    web
State:      ready
Labels:     team=pay
Generation: 42 (undo goes to 41)
Release:    shop
Mode:       dnat
No backend: drop
Affinity:   clientIP (/24, /56), backend flow, salt shop
Digest:     9f86d081
Listeners:  198.18.1.100:80/tcp
Ramp:       -
Preview:    198.18.1.101:80/tcp -> green
Fallback:   blue
Unpinned:   3 new flows could not be pinned
Anchor:     generation 39-41: blue 100%, green 0%
Route 1:    198.18.9.0/24 -> green (staff)

Track blue (version 1.8.2): desired 95%, applied 95% (62259 slots), observed - (10432 new flows in 60 s), 61203 flows
  198.18.2.11:80  mode dnat, weight 1, health unknown, 61203 flows

Track green (version 1.9.0): desired 5%, applied 5% (3277 slots), observed 4.98% (10432 new flows in 60 s), 61203 flows
  [2001:db8:2::21]:80  mode dnat, weight 1, health unknown, 61203 flows
";
    assert_eq!((ran.code, ran.out.as_str()), (0, expected));
}

#[tokio::test]
async fn flows_are_filtered_and_a_cut_list_says_so() {
    let running = Running::start(Fake::default());
    let line = "flows --service web --track green --backend [2001:db8::1]:80 --source 198.18.9.7 --limit 1";
    let ran = ctl(&running.socket, line).await;
    let expected = "\
SERVICE  LISTENER             CLIENT            TRACK  BACKEND         MODE     TRANSLATED        STATE        IDLE
web      198.18.1.100:80/tcp  198.18.9.7:40000  green  198.18.2.21:80  fullnat  198.18.2.9:10240  established  12s
";
    assert_eq!((ran.code, ran.out.as_str()), (0, expected));
    assert_eq!(ran.err, "1 of 2 flows are listed; --limit N lists more\n");
    let filter = FlowFilter {
        service: Some("web".to_owned()),
        track: Some("green".to_owned()),
        backend: Some("[2001:db8::1]:80".parse().unwrap()),
        source: Some("198.18.9.7/32".parse().unwrap()),
        limit: 1,
    };
    assert_eq!(*running.fake.filter.lock().unwrap(), Some(filter));
}

#[tokio::test]
async fn export_is_the_agents_yaml() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "export").await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "apiVersion: splitter/v1\nkind: Service\n")
    );
    assert_eq!(ctl(&running.socket, "export -o json").await.code, 1);
}

#[tokio::test]
async fn status_is_healthy_or_needs_a_person() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "status").await;
    let expected = "\
agent splitter 0.1.0 (pid 4711), up 1h 1m 1s
flow table 61203 of 4194304; flips 7; limits: 256 services, 4096 backends, 1000000 flows
interface eth0: native
service web: steady, generation 42, mode dnat, 61203 flows
";
    assert_eq!((ran.code, ran.out.as_str()), (0, expected));
    assert_eq!(ctl(&running.socket, "status web").await.code, 0);
    let ran = ctl(&running.socket, "status api").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.contains("there is no service \"api\""),
        "{}",
        ran.err
    );

    *running.fake.statuses.lock().unwrap() = [fake::status(Phase::Draining)].into();
    assert_eq!(
        ctl(&running.socket, "status").await.code,
        0,
        "a drain is healthy"
    );

    let mut advice = fake::status(Phase::Steady);
    advice
        .conditions
        .push(fake::condition(ConditionKind::GenericMode));
    *running.fake.statuses.lock().unwrap() = [advice].into();
    assert_eq!(
        ctl(&running.socket, "status").await.code,
        0,
        "generic mode is slow, not ill"
    );

    let mut ill = fake::status(Phase::Steady);
    ill.services[0]
        .conditions
        .push(fake::condition(ConditionKind::NeighbourMissing));
    *running.fake.statuses.lock().unwrap() = [ill].into();
    let ran = ctl(&running.socket, "status").await;
    assert_eq!(ran.code, 5);
    let line = "  NeighbourMissing: 198.18.2.11 has no neighbour (since 2023-11-14T22:13:20Z)\n";
    assert!(ran.out.ends_with(line), "{}", ran.out);
}

#[tokio::test]
async fn status_with_a_timeout_waits_until_settled() {
    let running = Running::start(Fake::default());
    let stages = [
        fake::status(Phase::Pending),
        fake::status(Phase::Draining),
        fake::status(Phase::Steady),
    ];
    *running.fake.statuses.lock().unwrap() = stages.clone().into();
    let ran = ctl(&running.socket, "status web --timeout 30s -o json").await;
    assert_eq!(
        (ran.code, &ran.json()["services"][0]["phase"]),
        (0, &json!("steady"))
    );

    *running.fake.statuses.lock().unwrap() = [fake::status(Phase::Draining)].into();
    let ran = ctl(&running.socket, "status --timeout 300ms").await;
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (4, "error: not settled in time\n")
    );
    assert_eq!(
        ctl(&running.socket, "status --watch --timeout 0s -o jsonl")
            .await
            .code,
        4
    );

    *running.fake.statuses.lock().unwrap() = stages.into();
    let ran = ctl(&running.socket, "status --watch --timeout 30s -o jsonl").await;
    assert_eq!((ran.code, ran.out.lines().count()), (0, 3));
}

#[tokio::test]
async fn watching_redraws_on_a_terminal_alone_and_ends_with_its_reader() {
    let running = Running::start(Fake::default());
    let ran = ctl_with(&running.socket, "get services -w", |around| {
        around.out = Box::new(ClosedAfter(2))
    })
    .await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));

    let ran = ctl(&running.socket, "status --watch --timeout 10s").await;
    assert!(!ran.out.contains('\x1b'), "{}", ran.out);
    let ran = ctl_with(&running.socket, "status --watch --timeout 10s", |around| {
        around.terminal = true
    })
    .await;
    assert!(ran.out.starts_with("\x1b[H\x1b[2J"), "{}", ran.out);
}

#[tokio::test]
async fn watching_goes_on_across_a_restart_of_the_agent() {
    let mut running = Running::start(Fake::default());
    *running.fake.statuses.lock().unwrap() =
        [fake::status(Phase::Pending), fake::status(Phase::Steady)].into();
    let socket = running.socket.clone();
    let restart = async {
        while running.fake.statuses.lock().unwrap().len() > 1 {
            tokio::task::yield_now().await;
        }
        running.stop.cancel();
        (&mut running.server).await.unwrap().unwrap();
        // Until the watcher has seen that nobody is there.
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await; // paced: it looks once a second
        running.serve_again();
    };
    let (ran, ()) = tokio::join!(
        ctl(&socket, "status --watch --timeout 60s -o jsonl"),
        restart
    );
    assert_eq!((ran.code, ran.out.lines().count()), (0, 2), "{}", ran.err);
    assert!(
        ran.err.contains("trying again every second") && ran.err.ends_with("answers again\n"),
        "{}",
        ran.err
    );

    // An agent that never was there is an error, and one that stays away ends with the time.
    running.stop.cancel();
    let ran = ctl(&socket, "status --watch --timeout 60s").await;
    assert_eq!(ran.code, 2);
}

#[tokio::test]
async fn doctor_joins_the_hosts_findings_and_the_agents() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "doctor").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(
        ran.out.ends_with("ok    interface eth0: XDP native\n"),
        "{}",
        ran.out
    );

    let ran = ctl_with(&running.socket, "doctor", |around| {
        around.local_findings = a_local_finding
    })
    .await;
    assert_eq!(ran.code, 1);
    let expected =
        "FAIL  ip_forward: net.ipv4.ip_forward is 0\n      fix: sysctl -w net.ipv4.ip_forward=1\n";
    assert!(ran.out.starts_with(expected), "{}", ran.out);

    let directory = tempfile::tempdir().unwrap();
    let nobody = directory.path().join("none.sock");
    let ran = ctl_with(&nobody, "doctor -o json", |around| {
        around.local_findings = a_local_finding
    })
    .await;
    assert_eq!(ran.code, 1);
    let checks: Vec<_> = ran.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["check"].clone())
        .collect();
    assert_eq!(checks, ["ip_forward", "agent"]);
}

#[tokio::test]
async fn version_names_client_and_agent() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "version").await;
    assert_eq!(
        (ran.code, ran.out),
        (
            0,
            format!("client {}\nagent  0.1.0\n", env!("CARGO_PKG_VERSION"))
        )
    );

    let directory = tempfile::tempdir().unwrap();
    let ran = ctl(&directory.path().join("none.sock"), "version -o json").await;
    assert_eq!((ran.code, &ran.json()["agent"]), (2, &Value::Null));
}

#[tokio::test]
async fn colours_are_used_only_where_they_are_wanted() {
    let running = Running::start(Fake::default());
    *running.fake.statuses.lock().unwrap() = [fake::status(Phase::Draining)].into();
    let colored = ctl_with(&running.socket, "status", |around| around.color = true)
        .await
        .out;
    assert!(colored.contains("\x1b[33mdraining\x1b[0m"), "{colored}");
    let plain = ctl_with(&running.socket, "status --no-color", |around| {
        around.color = true
    })
    .await
    .out;
    assert!(!plain.contains('\x1b'), "{plain}");
    let json = ctl_with(&running.socket, "status -o json", |around| {
        around.color = true
    })
    .await
    .out;
    assert!(!json.contains('\x1b'), "{json}");
}
