//! history, audit, freeze and unfreeze.

use serde_json::json;

use super::ctl;
use crate::api::fake::{Fake, Running};

#[tokio::test]
async fn history_is_a_table_newest_first_and_json_lines() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "history web").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        [
            "SERVICE",
            "GENERATION",
            "WHEN",
            "WHO",
            "VERB",
            "WEIGHTS",
            "SPLIT",
            "REASON"
        ]
    );
    for part in [
        "42",
        "2023-11-14T22:13:20Z",
        "root (uid 0)",
        "blue 95% -> 75%, green 5% -> 25%",
        "current",
        "release 1.9.0",
    ] {
        assert!(lines[1].contains(part), "{}", lines[1]);
    }
    assert!(lines[2].contains("anchor"), "{}", lines[2]);
    let asked = running.fake.records.lock().unwrap().clone().unwrap();
    assert!(
        asked.contains("Some(\"web\")") && asked.contains("100"),
        "{asked}"
    );

    let ran = ctl(&running.socket, "history --limit 7 -o jsonl").await;
    assert_eq!(ran.out.lines().count(), 2);
    let first: serde_json::Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["generation"], &first["split"], &first["by"]["user"]),
        (&json!(42), &json!("current"), &json!("root"))
    );
}

#[tokio::test]
async fn audit_tells_done_from_refused() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "audit --since 24h").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let asked = running.fake.records.lock().unwrap().clone().unwrap();
    assert!(
        asked.contains("Some(86400)") && asked.contains("11000"),
        "{asked}"
    );
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines[1].contains("uid 1000") && lines[1].contains("refused: delete takes the role admin"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("done") && lines[2].contains("blue 95% -> 0%, green 5% -> 100%"),
        "{}",
        lines[2]
    );
    let ran = ctl(&running.socket, "audit -o json").await;
    assert_eq!(ran.json()["kind"], "AuditList");
    assert_eq!(ran.json()["items"][0]["outcome"], "refused");
}

#[tokio::test]
async fn freeze_and_unfreeze_say_what_holds_from_then_on() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "freeze --reason sale -o json").await;
    let frozen = ran.json();
    assert_eq!(
        (&frozen["kind"], &frozen["frozen"], &frozen["reason"]),
        (&json!("Freeze"), &json!(true), &json!("sale"))
    );
    let ran = ctl(&running.socket, "freeze --reason sale --dry-run").await;
    assert!(
        ran.out.starts_with("frozen by ") && ran.out.contains("dry run"),
        "{}",
        ran.out
    );
    let ran = ctl(&running.socket, "unfreeze").await;
    assert_eq!(ran.out, "not frozen: changes are possible\n");
}
