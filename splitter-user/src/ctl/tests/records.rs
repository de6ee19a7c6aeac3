//! history, audit, freeze and unfreeze, export and import.

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
    // What somebody wrote does not steer the terminal.
    assert!(!ran.out.contains('\u{1b}'), "{:?}", ran.out);
    assert!(lines[1].contains("old\\u{1b}[2Jnews"), "{}", lines[1]);
    let ran = ctl(&running.socket, "audit -o wide").await;
    assert!(
        ran.out
            .lines()
            .next()
            .unwrap()
            .trim_end()
            .ends_with("COMMAND")
            && ran.out.contains("cutover web --to green --existing reset"),
        "{}",
        ran.out
    );
    let ran = ctl(&running.socket, "history -o wide").await;
    assert!(ran.out.contains("set-weight web green=25%"), "{}", ran.out);
    let ran = ctl(&running.socket, "audit -o json").await;
    assert_eq!(ran.json()["kind"], "AuditList");
    assert_eq!(
        ran.json()["items"][1]["command"],
        "cutover web --to green --existing reset"
    );
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

#[tokio::test]
async fn the_secret_goes_to_no_terminal_and_into_private_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let running = Running::start(Fake::default());
    let ran = super::ctl_with(&running.socket, "export --with-secret", |around| {
        around.terminal = true;
    })
    .await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("--file"), "{}", ran.err);
    let ran = super::ctl_with(&running.socket, "export --with-secret --file -", |around| {
        around.terminal = true;
    })
    .await;
    assert!(ran.code == 0 && ran.out.contains("secret:"));
    let ran = ctl(&running.socket, "export --with-secret").await;
    assert!(ran.code == 0 && ran.out.contains("kind: HostState"));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.yaml");
    std::fs::write(&file, "readable by all").unwrap();
    let line = format!(
        "export --with-secret --service web --file {}",
        file.display()
    );
    let ran = ctl(&running.socket, &line).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("HostState")
    );
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left");

    let line = format!("import -f {} --dry-run", file.display());
    assert_eq!(ctl(&running.socket, &line).await.code, 0);
    let asked = super::last_command(&running);
    assert!(
        matches!(&asked, crate::api::types::Command::Import { text } if text.contains("HostState"))
    );
}
