//! Which role may ask for what.

#![expect(clippy::unwrap_used, reason = "test code")]

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::MockConnectInfo;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::api::fake::Fake;
use crate::api::server::access::{NEEDS, needed};
use crate::api::types::Actor;
use crate::config::Role;

/// A request: what to get, or where to post what.
enum Ask {
    Get(&'static str),
    Post(&'static str, Value),
}

/// Every request that can be made, with the verb that it is.
fn asks() -> Vec<(&'static str, Ask)> {
    let change = |command: Value| Ask::Post("/v1/changes", json!({ "command": command }));
    let blue = json!({"service": "web", "what": "blue"});
    vec![
        ("get", Ask::Get("/v1/services")),
        ("get", Ask::Get("/v1/services/web")),
        ("get", Ask::Get("/v1/services/web/drain?what=blue")),
        ("flows", Ask::Get("/v1/flows")),
        ("status", Ask::Get("/v1/status")),
        ("doctor", Ask::Get("/v1/doctor")),
        (
            "diff",
            Ask::Post("/v1/diff", json!({"yaml": "a: b", "origin": "-"})),
        ),
        ("history", Ask::Get("/v1/history")),
        ("audit", Ask::Get("/v1/audit")),
        ("export", Ask::Get("/v1/export")),
        (
            "set-weight",
            change(json!({"setWeight": {"target": "web", "weights": [["green", "5%"]]}})),
        ),
        (
            "cutover",
            change(json!({"cutover": {"target": "web", "to": "green"}})),
        ),
        ("undo", change(json!({"undo": {"target": "web"}}))),
        ("drain", change(json!({"drain": blue}))),
        ("ready", change(json!({"ready": blue}))),
        (
            "apply",
            change(json!({"apply": {"yaml": "a: b", "origin": "-"}})),
        ),
        ("delete", change(json!({"delete": {"service": "web"}}))),
        ("import", change(json!({"import": {"text": "a: b"}}))),
        (
            "export --with-secret",
            Ask::Get("/v1/export?withSecret=true&service=web"),
        ),
        ("freeze", Ask::Post("/v1/freeze", json!({"frozen": true}))),
        (
            "unfreeze",
            Ask::Post("/v1/freeze", json!({"frozen": false})),
        ),
        ("detach", Ask::Post("/v1/detach", json!({}))),
    ]
}

async fn answer(agent: &Arc<Fake>, role: Option<Role>, ask: Ask) -> (u16, Value) {
    let actor = Actor {
        uid: 1000,
        gid: 100,
        pid: None,
    };
    let router = router(Arc::clone(agent), CancellationToken::new())
        .layer(MockConnectInfo(Peer { actor, role }));
    let request = match ask {
        Ask::Get(path) => Request::get(path).body(Body::empty()),
        Ask::Post(path, body) => Request::post(path).body(Body::from(body.to_string())),
    };
    let response = router.oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), MAX_BODY).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    for role in [
        None,
        Some(Role::Viewer),
        Some(Role::Operator),
        Some(Role::Admin),
    ] {
        for (verb, ask) in asks() {
            let agent = Arc::new(Fake::default());
            let reads = needed(verb) == Role::Viewer;
            let (status, body) = answer(&agent, role, ask).await;
            if role.is_some_and(|role| role >= needed(verb)) {
                assert_eq!(status, 200, "{role:?} {verb}: {body}");
                continue;
            }
            assert_eq!(
                (status, &body["code"]),
                (403, &json!("policy")),
                "{role:?} {verb}"
            );
            let message = body["message"].as_str().unwrap();
            for part in [verb, "uid 1000", &needed(verb).to_string(), "[roles]"] {
                assert!(message.contains(part), "{message}");
            }
            assert!(
                agent.asked.lock().unwrap().is_empty(),
                "{verb} reached the agent"
            );
            assert!(agent.detached.lock().unwrap().is_none());
            let noted = agent.denied.lock().unwrap().len();
            assert_eq!(
                noted,
                usize::from(!reads),
                "{verb}: changes that are refused are noted"
            );
        }
    }
}

#[test]
fn every_verb_is_in_the_table_once_and_readers_change_nothing() {
    for (verb, ask) in asks() {
        let rows = NEEDS.iter().filter(|(of, _)| *of == verb).count();
        assert_eq!(rows, 1, "{verb}");
        if let Ask::Post(..) = ask
            && verb != "diff"
        {
            assert!(needed(verb) > Role::Viewer, "{verb}");
        }
    }
    assert_eq!(needed("something new"), Role::Admin);
}
