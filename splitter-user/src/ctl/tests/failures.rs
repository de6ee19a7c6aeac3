//! Exit codes and messages when something is wrong.

use clap::CommandFactory;

use super::{ClosedAfter, ctl, ctl_with};
use crate::api::fake::{self, Fake, Running};
use crate::api::types::*;
use crate::ctl::{Cli, later};

#[test]
fn the_command_line_is_sound() {
    later::extend(Cli::command()).debug_assert();
}

#[tokio::test]
async fn each_refusal_has_its_exit_code_and_prints_all_details() {
    let running = Running::start(Fake::default());
    let cases = [
        (ErrorCode::Refused, 1),
        (ErrorCode::NotFound, 1),
        (ErrorCode::Internal, 1),
        (ErrorCode::Busy, 2),
        (ErrorCode::RolledBack, 3),
        (ErrorCode::TimedOut, 4),
        (ErrorCode::Conflict, 6),
        (ErrorCode::Policy, 7),
    ];
    for (code, exit) in cases {
        let details = vec![
            "  3 |   wieght: 5%\n    |   ^^^^^^".to_owned(),
            "line 9: too".to_owned(),
        ];
        *running.fake.refusal.lock().unwrap() =
            Some(ApiError::new(code, "web.yaml: 2 errors").with_details(details));
        for line in [
            "cutover web --to green",
            "get services",
            "status",
            "flows",
            "export",
            "doctor",
            "detach",
            "version",
            "history",
            "audit",
            "freeze",
            "unfreeze",
        ] {
            let ran = ctl(&running.socket, line).await;
            assert_eq!(ran.code, exit, "{line}");
            let expected =
                "error: web.yaml: 2 errors\n  3 |   wieght: 5%\n    |   ^^^^^^\nline 9: too\n";
            assert_eq!(ran.err, expected, "{line}");
        }
    }
}

#[tokio::test]
async fn an_unreachable_agent_is_exit_2() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    for line in [
        "get services",
        "cutover web --to green",
        "get tracks -w",
        "status --timeout 5s",
        "drain web blue --wait",
    ] {
        let ran = ctl(&socket, line).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}");
        assert!(
            ran.err
                .contains("none.sock: no agent there; is splitterd running?"),
            "{}",
            ran.err
        );
    }
}

#[tokio::test]
async fn wrong_usage_is_exit_1_and_reaches_nobody() {
    let running = Running::start(Fake::default());
    let cases = [
        ("", "Usage:"),
        ("conjure", "unrecognized subcommand"),
        ("set-weight web", "TRACK=P%"),
        ("set-weight web green", "green=25%"),
        ("set-weight web green=25", "green=25%"),
        ("set-weight web =25%", "green=25%"),
        ("set-weight web/1 green=25%", "release/NAME"),
        ("cutover web", "--to"),
        (
            "cutover web --to green --expect-generation x",
            "invalid digit",
        ),
        ("drain web 198.18.2.11", "ADDR:PORT"),
        ("drain web blue --timeout soon", "30s, 5m or 1h"),
        ("delete track blue", "service"),
        ("get", "services"),
        ("get services -o xml", "jsonl"),
        ("flows --source somewhere", "198.18.9.0/24"),
        ("apply", "--file"),
    ];
    for (line, part) in cases {
        let ran = ctl(&running.socket, line).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{line}");
        assert!(ran.err.contains(part), "{line}: {}", ran.err);
    }
    assert!(running.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn verbs_and_flags_of_later_versions_say_so() {
    let running = Running::start(Fake::default());
    let verbs = "start pause resume promote skip goto approve reject abort retry analysis plan events top capture";
    for verb in verbs.split_whitespace() {
        let ran = ctl(&running.socket, &format!("{verb} web --full -o json 5")).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{verb}");
        assert!(
            ran.err.starts_with(&format!("error: {verb} comes with ")),
            "{}",
            ran.err
        );
    }
    assert_eq!(
        ctl(&running.socket, "promote").await.err,
        "error: promote comes with rollouts, which this version does not have yet\n"
    );
    let flags = ["flows --top", "status --top"];
    for line in flags {
        let ran = ctl(&running.socket, line).await;
        assert_eq!(ran.code, 1, "{line}");
        assert!(
            ran.err.contains("comes with a later version"),
            "{line}: {}",
            ran.err
        );
    }
    assert!(running.fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn help_is_data_lists_what_works_and_gives_examples() {
    let running = Running::start(Fake::default());
    let ran = ctl(&running.socket, "--help").await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in ["set-weight", "SPLITTER_SOCKET", "Examples:", "Exit codes:"] {
        assert!(ran.out.contains(part), "{}", ran.out);
    }
    assert!(
        !ran.out.contains("promote") && !ran.out.contains("capture"),
        "{}",
        ran.out
    );
    for verb in [
        "apply",
        "delete",
        "set-weight",
        "cutover",
        "undo",
        "drain",
        "maint",
        "quarantine",
        "ready",
        "get",
        "describe",
        "flows",
        "status",
        "history",
        "audit",
        "freeze",
        "unfreeze",
    ] {
        let ran = ctl(&running.socket, &format!("{verb} --help")).await;
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("Example"), "{verb}: {}", ran.out);
    }
    assert_eq!(
        ctl(&running.socket, "--version").await.out,
        format!("splitterctl {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn a_closed_pipe_is_success() {
    let running = Running::start(Fake::default());
    for line in [
        "get services -o json",
        "export",
        "--help",
        "doctor",
        "undo web",
    ] {
        let ran = ctl_with(&running.socket, line, |around| {
            around.out = Box::new(ClosedAfter(0))
        })
        .await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
    }
}

#[tokio::test]
async fn a_closed_pipe_hides_no_outcome() {
    let running = Running::start(Fake::default());
    *running.fake.drains.lock().unwrap() = [fake::drain(DrainState::TimedOut, 7)].into();
    *running.fake.statuses.lock().unwrap() = [fake::status(Phase::Draining)].into();
    for line in [
        "drain web blue --wait",
        "status --timeout 0s",
        "status --watch --timeout 0s",
    ] {
        let ran = ctl_with(&running.socket, line, |around| {
            around.out = Box::new(ClosedAfter(0))
        })
        .await;
        assert_eq!(ran.code, 4, "{line}");
    }
}

#[tokio::test]
async fn talk_to_a_closed_stderr_is_lost_without_harm() {
    let running = Running::start(Fake::default());
    let ran = ctl_with(&running.socket, "conjure", |around| {
        around.err = Box::new(ClosedAfter(0))
    })
    .await;
    assert_eq!(ran.code, 1);
}
