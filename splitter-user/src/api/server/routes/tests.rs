//! Which role may ask for what, and whether answers are as they are described.

#![expect(clippy::unwrap_used, reason = "test code")]

use axum::body::{Body, to_bytes};
use axum::extract::connect_info::MockConnectInfo;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::api::fake::Fake;
use crate::api::server::access::{NEEDS, needed};
use crate::api::types::{Actor, Phase};
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
        (
            "which",
            Ask::Get("/v1/services/web/which?client=198.18.7.1"),
        ),
        (
            "explain",
            Ask::Get("/v1/explain?client=198.18.7.1:4711&to=198.18.1.100:80&protocol=tcp"),
        ),
        ("flows", Ask::Get("/v1/flows")),
        ("status", Ask::Get("/v1/status")),
        ("doctor", Ask::Get("/v1/doctor")),
        (
            "diff",
            Ask::Post("/v1/diff", json!({"yaml": "a: b", "origin": "-"})),
        ),
        ("schemas", Ask::Get("/openapi.json")),
        ("schemas", Ask::Get("/schemas")),
        ("schemas", Ask::Get("/schemas/ServiceList.json")),
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
        ("maint", change(json!({"maint": blue}))),
        ("quarantine", change(json!({"quarantine": blue}))),
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

#[tokio::test]
async fn a_caller_without_a_role_leaves_nothing_long_behind() {
    let agent = Arc::new(Fake::default());
    let undo = json!({"undo": {"target": "web"}});
    let long = "x".repeat(1 << 20);
    for body in [
        json!({"command": undo, "reason": long}),
        json!({"command": {"undo": {"target": long}}}),
        json!({"command": {"apply": {"yaml": "a: b", "origin": long}}}),
    ] {
        let (status, _) = answer(&agent, None, Ask::Post("/v1/changes", body)).await;
        assert_eq!(status, 400);
    }
    let body = json!({"frozen": true, "reason": long});
    assert_eq!(
        answer(&agent, None, Ask::Post("/v1/freeze", body)).await.0,
        400
    );
    assert!(agent.denied.lock().unwrap().is_empty());
    let body = json!({"command": undo, "reason": "why not"});
    assert_eq!(
        answer(&agent, None, Ask::Post("/v1/changes", body)).await.0,
        403
    );
    let noted = agent.denied.lock().unwrap().remove(0);
    assert_eq!(noted.command.as_deref(), Some("undo web"));
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

/// The path as it is described: `/v1/services/{name}`.
fn described(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    path.replace("/services/web", "/services/{name}")
        .replace("/schemas/ServiceList.json", "/schemas/{name}")
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let document = description::openapi();
    let described: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let mut there: Vec<&str> = routes::<Fake>().into_iter().map(|(path, _)| path).collect();
    there.sort_unstable();
    assert_eq!(described, there);
}

#[tokio::test]
async fn every_answer_is_as_it_is_described() {
    let document = description::openapi();
    let mut answered = std::collections::BTreeSet::new();
    for (verb, ask) in asks() {
        let (method, path) = match &ask {
            Ask::Get(path) => ("get", described(path)),
            Ask::Post(path, _) => ("post", described(path)),
        };
        let operation = &document["paths"][&path][method];
        if let Ask::Post(_, body) = &ask
            && let Some(schema) =
                operation["requestBody"]["content"]["application/json"].get("schema")
        {
            assert_valid(&document, schema, body, verb);
        }
        let replies = &operation["responses"];
        for (role, status) in [(Some(Role::Admin), "200"), (None, "default")] {
            let ask = match &ask {
                Ask::Get(path) => Ask::Get(path),
                Ask::Post(path, body) => Ask::Post(path, body.clone()),
            };
            let (_, body) = answer(&Arc::new(Fake::default()), role, ask).await;
            let content = &replies[status]["content"];
            assert!(
                content.is_object(),
                "{verb}: {method} {path} is not described"
            );
            if let Some(json) = content.get("application/json") {
                assert_valid(&document, &json["schema"], &body, verb);
                let mut other = body.clone();
                other["kind"] = json!("Other");
                let described = json["schema"].get("$ref").is_some();
                let validator = validator(&document, &json["schema"]);
                assert!(
                    !described || !validator.is_valid(&other),
                    "{verb}: the kind is not described"
                );
            }
        }
        answered.insert(path);
    }
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(answered.len(), paths.len(), "every route is asked");
}

#[test]
fn an_answer_that_is_not_as_it_is_described_would_be_noticed() {
    let document = description::openapi();
    let schema = json!({"$ref": "#/components/schemas/Change"});
    let valid = serde_json::to_value(crate::api::fake::change("web")).unwrap();
    assert_valid(&document, &schema, &valid, "change");
    for field in ["service", "generation", "kind"] {
        let mut broken = valid.clone();
        broken[field] = json!(["no"]);
        assert!(!validator(&document, &schema).is_valid(&broken), "{field}");
    }
}

#[test]
fn a_schema_stands_by_itself() {
    let all = description::schemas();
    for name in [
        "ServiceList",
        "Service",
        "Change",
        "Status",
        "ChangeRequest",
        "Error",
    ] {
        assert!(all.contains_key(name), "{name}: {:?}", all.keys());
    }
    for (name, schema) in &all {
        jsonschema::validator_for(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let status = serde_json::to_value(crate::api::fake::status(Phase::Steady)).unwrap();
    let validator = jsonschema::validator_for(&all["Status"]).unwrap();
    assert!(validator.is_valid(&status));
    assert!(!validator.is_valid(&json!({"kind": "Status"})));
}

fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    jsonschema::validator_for(&root).unwrap()
}

fn assert_valid(document: &Value, schema: &Value, body: &Value, verb: &str) {
    let problems: Vec<String> = validator(document, schema)
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{verb}: {problems:#?}\n{body}");
}
