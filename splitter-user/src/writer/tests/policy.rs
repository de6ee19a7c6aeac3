//! History, audit and freeze, as the writer keeps them.

use super::*;
use crate::api::types::{
    AuditFilter, AuditOutcome, ConditionKind, ErrorCode, FreezeRequest, HistoryFilter, SplitFate,
};
use crate::store::{AUDIT_ROWS, REFUSED_ROWS};

const SOMEBODY: Actor = Actor {
    uid: 1000,
    gid: 100,
    pid: Some(4711),
};

fn undo() -> Command {
    Command::Undo {
        target: target(),
        to_generation: None,
        existing: crate::api::types::Existing::Keep,
    }
}

fn because(command: Command, reason: &str) -> ChangeRequest {
    ChangeRequest {
        reason: Some(reason.to_owned()),
        ..ChangeRequest::new(command)
    }
}

fn history(writer: &Under) -> Vec<crate::api::types::HistoryItem> {
    let filter = HistoryFilter {
        service: Some("web".to_owned()),
        limit: 1000,
    };
    writer.history(&filter).unwrap().items
}

fn audit(writer: &mut Under) -> Vec<crate::api::types::AuditItem> {
    let filter = AuditFilter {
        since_seconds: None,
        limit: u32::MAX,
    };
    writer.audit_list(&filter).unwrap().items
}

fn freeze(writer: &mut Under, frozen: bool) -> crate::api::types::FreezeView {
    let request = FreezeRequest {
        frozen,
        reason: Some("Black Friday".to_owned()),
        dry_run: false,
    };
    writer.freeze(&request, SOMEBODY).unwrap()
}

#[test]
fn history_says_who_changed_what_and_why_and_what_became_of_the_split() {
    let mut writer = web();
    let request = because(cutover("green"), "1.9.0 is good");
    writer.change(&request, SOMEBODY).unwrap();
    let items = history(&writer);
    assert_eq!(items.len(), 2);
    let item = &items[0];
    assert_eq!(
        (
            item.generation,
            item.verb.as_str(),
            item.by.uid,
            item.by.pid
        ),
        (2, "cutover", 1000, Some(4711))
    );
    assert_eq!(item.reason.as_deref(), Some("1.9.0 is good"));
    assert_eq!(
        (item.from["blue"].as_str(), item.to["blue"].as_str()),
        ("100", "0")
    );
    assert_eq!(
        (items[0].split, items[1].split),
        (SplitFate::Current, SplitFate::Anchor)
    );
    assert!(items[1].from.is_empty(), "it was new");

    for round in 0..10 {
        run(
            &mut writer,
            cutover(if round % 2 == 0 { "blue" } else { "green" }),
        );
    }
    let fates: Vec<SplitFate> = history(&writer).iter().map(|item| item.split).collect();
    let mut expected = vec![SplitFate::Current];
    expected.extend([SplitFate::Anchor; 8]);
    expected.extend([SplitFate::Gone; 3]);
    assert_eq!(fates, expected);
}

#[test]
fn generations_of_a_service_that_was_deleted_are_gone_and_not_those_of_its_successor() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let delete = Command::Delete {
        service: "web".into(),
        now: true,
    };
    run(&mut writer, delete);
    assert!(
        history(&writer)
            .iter()
            .all(|item| item.split == SplitFate::Gone)
    );
    run(
        &mut writer,
        Command::Apply {
            yaml: YAML.into(),
            origin: "test".into(),
        },
    );
    let items = history(&writer);
    let fates: Vec<(u64, SplitFate)> = items.iter().map(|i| (i.generation, i.split)).collect();
    assert_eq!(
        fates,
        [
            (1, SplitFate::Current),
            (2, SplitFate::Gone),
            (1, SplitFate::Gone)
        ]
    );
}

#[test]
fn history_of_nothing_is_answered_with_the_known_services() {
    let filter = HistoryFilter {
        service: Some("wbe".to_owned()),
        limit: 10,
    };
    let error = web().history(&filter).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.message.contains("web"), "{}", error.message);
}

#[test]
fn the_audit_tells_of_what_was_done_and_of_what_was_refused_but_not_of_rehearsals() {
    let mut writer = web();
    writer
        .change(&because(cutover("green"), "go"), SOMEBODY)
        .unwrap();
    writer
        .change(&because(cutover("gren"), "typo"), SOMEBODY)
        .unwrap_err();
    let mut rehearsal = because(cutover("gren"), "dry");
    rehearsal.dry_run = true;
    writer.change(&rehearsal, SOMEBODY).unwrap_err();
    let items = audit(&mut writer);
    assert_eq!(items.len(), 3);
    let refused = &items[0];
    assert_eq!(
        (
            refused.outcome,
            refused.verb.as_str(),
            refused.target.as_str(),
            refused.by.uid
        ),
        (AuditOutcome::Refused, "cutover", "web", 1000)
    );
    assert_eq!(refused.reason.as_deref(), Some("typo"));
    assert!(refused.message.as_deref().unwrap().contains("gren"));
    let done = &items[1];
    assert_eq!((done.outcome, done.code), (AuditOutcome::Done, None));
    assert_eq!(done.to["web"]["green"], "100");
    // It is in the journal, not in memory alone.
    let Writer { plane, store, .. } = writer;
    assert_eq!(audit(&mut writer_over(plane, store, true)), items);
}

#[test]
fn the_audit_is_bounded_and_refusals_push_out_nothing_that_was_done() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    for _ in 0..REFUSED_ROWS / 100 + 3 {
        for _ in 0..150 {
            writer
                .change(&because(cutover("gren"), "again"), SOMEBODY)
                .unwrap_err();
        }
        writer.write_refusals();
    }
    writer.store.maintain().unwrap();
    let items = audit(&mut writer);
    let (done, refused): (Vec<_>, Vec<_>) = items
        .iter()
        .partition(|item| item.outcome == AuditOutcome::Done);
    assert_eq!(
        (done.len(), refused.len()),
        (2, usize::try_from(REFUSED_ROWS).unwrap())
    );

    let row = super::super::policy::act("cutover", "web".into(), None, SOMEBODY);
    let rows = vec![row; usize::try_from(AUDIT_ROWS).unwrap()];
    writer.store.note(&rows).unwrap();
    writer.store.maintain().unwrap();
    assert_eq!(audit(&mut writer).len(), rows.len());
}

#[test]
fn refusals_of_callers_without_a_role_push_out_no_others_however_many_they_are() {
    let mut writer = web();
    let denials = writer.refusals.denials();
    let error = ApiError::new(ErrorCode::Policy, "no".repeat(1 << 20));
    for _ in 0..10_000 {
        let request = because(undo(), "again");
        denials.add(Refusal::of(&request, SOMEBODY, &error));
    }
    writer
        .change(&because(cutover("gren"), "typo"), ROOT)
        .unwrap_err();
    let items = audit(&mut writer);
    let of = |uid: u32| {
        items
            .iter()
            .filter(move |item| item.by.uid == uid && item.code.is_some())
    };
    assert_eq!((of(SOMEBODY.uid).count(), of(0).count()), (100, 1));
    let told: usize = of(SOMEBODY.uid)
        .filter_map(|item| item.message.as_deref())
        .map(str::len)
        .sum();
    assert!(told <= 100 * 1_000, "{told} bytes");
}

#[test]
fn history_and_audit_say_what_was_asked_for_flags_and_all() {
    let mut writer = web();
    let drain = Command::Drain {
        service: "web".into(),
        what: DrainTarget::Track("green".into()),
        timeout: Some(Duration::from_secs(600)),
        on_timeout: Some(crate::model::OnTimeout::Reset),
        spread: None,
    };
    run(&mut writer, drain);
    let mut wrong = because(cutover("gren"), "typo");
    wrong.expect_generation = Some(2);
    writer.change(&wrong, SOMEBODY).unwrap_err();
    let done = Some("drain web green --timeout 10m --on-timeout reset");
    assert_eq!(history(&writer)[0].command.as_deref(), done);
    let items = audit(&mut writer);
    assert_eq!(items[1].command.as_deref(), done);
    assert_eq!(
        items[0].command.as_deref(),
        Some("cutover web --to gren --expect-generation 2")
    );
    assert_eq!(items[2].command.as_deref(), Some("apply -f test"));
}

#[test]
fn of_refusals_that_come_by_the_hundred_in_one_second_the_first_hundred_are_written_down() {
    let mut writer = web();
    for number in 0..150 {
        let request = because(cutover("gren"), &number.to_string());
        writer.change(&request, SOMEBODY).unwrap_err();
    }
    let refused: Vec<String> = audit(&mut writer)
        .into_iter()
        .filter(|item| item.outcome == AuditOutcome::Refused)
        .filter_map(|item| item.reason)
        .collect();
    let first: Vec<String> = (0..100).rev().map(|number| number.to_string()).collect();
    assert_eq!(refused, first, "newest first");
}

#[test]
fn a_freeze_refuses_changes_and_says_who_froze_why_and_what_goes_on() {
    let mut writer = web();
    run(&mut writer, cutover("green"));
    let view = freeze(&mut writer, true);
    assert!(view.frozen && view.since.is_some());
    for command in [
        cutover("blue"),
        Command::Apply {
            yaml: YAML.into(),
            origin: "test".into(),
        },
        Command::Delete {
            service: "web".into(),
            now: false,
        },
        Command::Ready {
            service: "web".into(),
            what: DrainTarget::Track("blue".into()),
        },
    ] {
        let verb = command.verb();
        let error = writer
            .change(&ChangeRequest::new(command), ROOT)
            .unwrap_err();
        assert_eq!(error.code, ErrorCode::Policy, "{verb}");
        for part in [verb, "uid 1000", "Black Friday", "splitterctl unfreeze"] {
            assert!(error.message.contains(part), "{verb}: {}", error.message);
        }
    }
    assert_eq!(
        writer.begin_detach(ROOT).unwrap_err().code,
        ErrorCode::Policy
    );
    run(&mut writer, undo());
    run(
        &mut writer,
        Command::Drain {
            service: "web".into(),
            what: DrainTarget::Track("green".into()),
            timeout: None,
            on_timeout: None,
            spread: None,
        },
    );
    assert!(!freeze(&mut writer, false).frozen);
    run(&mut writer, undo());
    writer.begin_detach(ROOT).unwrap();
}

#[test]
fn under_a_freeze_a_dry_run_is_answered_and_says_that_the_change_would_be_refused() {
    let mut writer = web();
    freeze(&mut writer, true);
    let mut request = ChangeRequest::new(cutover("green"));
    request.dry_run = true;
    let changes = writer.change(&request, ROOT).unwrap();
    assert!(changes[0].warnings[0].contains("would be refused now"));
}

#[test]
fn a_freeze_outlives_a_restart_and_is_a_condition() {
    let mut writer = web();
    freeze(&mut writer, true);
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    let frozen = |writer: &Under| {
        let conditions = writer.status().conditions;
        conditions
            .into_iter()
            .find(|condition| condition.kind == ConditionKind::Frozen)
    };
    assert!(frozen(&writer).unwrap().message.contains("Black Friday"));
    let error = writer
        .change(&ChangeRequest::new(cutover("green")), ROOT)
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Policy);
    freeze(&mut writer, false);
    assert!(frozen(&writer).is_none());
    let Writer { plane, store, .. } = writer;
    assert!(frozen(&writer_over(plane, store, true)).is_none());
    let verbs: Vec<String> = {
        let mut writer = web();
        freeze(&mut writer, true);
        freeze(&mut writer, false);
        audit(&mut writer)
            .into_iter()
            .map(|item| item.verb)
            .collect()
    };
    assert_eq!(verbs, ["unfreeze", "freeze", "apply"]);
}

#[test]
fn what_was_applied_last_outlives_a_restart_and_is_noted_even_if_nothing_changes() {
    let applied = |writer: &Under| writer.world.applied["web"].clone();
    let mut writer = web();
    assert_eq!(applied(&writer).origin, "test");
    let same = Command::Apply {
        yaml: YAML.into(),
        origin: "other".into(),
    };
    let generation = run(&mut writer, same)[0].generation;
    assert_eq!((generation, applied(&writer).origin.as_str()), (1, "other"));
    run(&mut writer, cutover("green"));
    let kept = applied(&writer);
    let Writer { plane, store, .. } = writer;
    let mut writer = writer_over(plane, store, true);
    assert_eq!(applied(&writer), kept);
    let delete = Command::Delete {
        service: "web".into(),
        now: false,
    };
    run(&mut writer, delete);
    assert!(writer.store.metas("applied:").unwrap().is_empty());
}

#[test]
fn the_expected_generation_is_checked_before_the_freeze_and_before_the_text() {
    let mut writer = web();
    freeze(&mut writer, true);
    let mut request = ChangeRequest::new(Command::Apply {
        yaml:
            "apiVersion: splitter/v1\nkind: Service\nmetadata: {name: web}\nspec: {lisseners: 5}\n"
                .into(),
        origin: "test".into(),
    });
    request.expect_generation = Some(9);
    assert_eq!(
        writer.change(&request, ROOT).unwrap_err().code,
        ErrorCode::Conflict
    );
    request.expect_generation = Some(1);
    assert_eq!(
        writer.change(&request, ROOT).unwrap_err().code,
        ErrorCode::Policy
    );
    freeze(&mut writer, false);
    assert_eq!(
        writer.change(&request, ROOT).unwrap_err().code,
        ErrorCode::Refused
    );
}
