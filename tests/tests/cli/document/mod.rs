//! Whether a running agent answers as its OpenAPI document and its schemas say.

mod described;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use described::Described;
use lab::{Agent, Hosts, Load, Nginx, SOON, Service, VIP_V4, VIP_V6, await_until};
use serde_json::{Value, json};

/// `web` with everything that a service may have.
fn web() -> String {
    let service = Service::web(&[("blue", "60%"), ("green", "30%"), ("canary", "10%")])
        .with("release: shop")
        .with("affinity: {key: clientIP, backend: clientIP, salt: web-1}")
        .with("fallback: blue")
        .with("noBackend: reset")
        .with("preview: {vip: 198.18.1.101, port: 80, protocol: tcp, track: green}")
        .with("routes: [{match: {source: [198.18.9.0/30]}, track: green, reason: staff}]")
        .with("drain: {timeout: 30m, onTimeout: reset, closeSpread: 2m}");
    let green = "    - name: green\n      version: \"1.9.0\"\n      slowStart: {duration: 60s}\n";
    let text = service.to_yaml().replace("    - name: green\n", green);
    text.replace(
        "metadata: {name: web}",
        "metadata: {name: web, labels: {team: pay}}",
    )
}

/// Another service of the release, at backends that nobody has.
fn cart() -> String {
    let service = Service::named("cart", &[("blue", "90%"), ("green", "10%")])
        .listener(VIP_V4, 81, "tcp")
        .with("release: shop");
    service.to_yaml().replace("198.18.2.", "198.18.2.1")
}

/// Changes, and the verbs that were asked for.
struct Changes<'a, 'b> {
    api: &'b mut Described<'a>,
    verbs: BTreeSet<String>,
}

impl Changes<'_, '_> {
    /// Tries a change, and then makes it.
    fn make(&mut self, verb: &str, what: &Value) -> Result<Value> {
        self.verbs.insert(verb.to_owned());
        for dry_run in [true, false] {
            let body = json!({"command": {verb: what}, "dryRun": dry_run, "reason": "a test"});
            let change = self.api.ask("post", "/v1/changes", Some(&body), 200)?;
            if !dry_run {
                return Ok(change);
            }
            let first = change.get("items").map_or(&change, |items| &items[0]);
            assert_eq!(first["dryRun"], true, "{change}");
        }
        unreachable!("the second one is made")
    }

    /// Asks for a change that must be refused.
    fn fail(&mut self, body: &Value, status: u16) -> Result<Value> {
        self.api.ask("post", "/v1/changes", Some(body), status)
    }
}

/// Everything that can be read, while much is going on.
fn read_all(api: &mut Described<'_>, client: &str) -> Result<()> {
    let drained = api.ask("get", "/v1/services/web/drain?what=blue", None, 200)?;
    assert_eq!(drained["state"], "draining", "{drained}");
    let service = api.ask("get", "/v1/services/web", None, 200)?;
    for there in ["ramp", "preview", "fallback", "release", "undoGeneration"] {
        assert!(!service[there].is_null(), "{there} is missing: {service:#}");
    }
    let flows = api.ask("get", "/v1/flows?service=web&limit=5", None, 200)?;
    assert!(
        flows["items"]
            .as_array()
            .is_some_and(|flows| !flows.is_empty()),
        "{flows}"
    );
    let pinned = format!("/v1/explain?client={client}&to={VIP_V4}:80&protocol=tcp");
    let pinned = api.ask("get", &pinned, None, 200)?;
    assert_eq!(pinned["by"], "pin", "{pinned:#}");
    for path in [
        "/v1/services",
        "/v1/services/web/drain?what=green&waitSeconds=1",
        "/v1/services/web/drain?what=198.18.2.31:80",
        "/v1/services/web/which?client=198.18.9.1",
        "/v1/services/web/which?client=2001:db8:1::10",
        "/v1/explain?client=198.18.9.1:4711&to=198.18.1.100:80&protocol=tcp",
        "/v1/explain?client=198.18.7.1:4711&to=198.18.1.101:80&protocol=tcp",
        "/v1/explain?client=198.18.7.1:4711&to=198.18.1.100:9&protocol=udp",
        "/v1/flows?track=blue&source=198.18.0.0/16",
        "/v1/flows?backend=198.18.2.11:80",
        "/v1/status",
        "/v1/export",
        "/v1/history",
        "/v1/history?service=web&limit=2",
        "/v1/audit?sinceSeconds=3600",
        "/v1/doctor",
        "/openapi.json",
        "/schemas",
        "/schemas/Service.json",
    ] {
        api.ask("get", path, None, 200)?;
    }
    Ok(())
}

/// What can be asked in a wrong way, with the status that says so.
fn err_everywhere(api: &mut Described<'_>) -> Result<()> {
    for (path, status) in [
        ("/v1/services/nosuch", 404),
        ("/v1/services/nosuch/drain?what=blue", 404),
        ("/v1/services/web/drain", 400),
        ("/v1/services/cart/which?client=198.18.7.1", 400),
        ("/v1/services/nosuch/which?client=198.18.7.1", 404),
        (
            "/v1/explain?client=198.18.7.1:1&to=[2001:db8::1]:80&protocol=tcp",
            400,
        ),
        ("/v1/flows?limit=100001", 400),
        ("/v1/export?service=web", 400),
        ("/v1/export?withSecret=true&service=nosuch", 404),
        ("/v1/history?service=nosuch", 404),
        ("/v1/audit?since=yesterday", 400),
        ("/schemas/Nosuch.json", 404),
    ] {
        let answer = api.ask("get", path, None, status)?;
        assert_eq!(answer["kind"], "Error", "{path}: {answer}");
    }
    let text = |yaml: &str| json!({"yaml": yaml, "origin": "shop.yaml"});
    api.ask(
        "post",
        "/v1/diff",
        Some(&text("kind: Service\nspec: 1\n")),
        400,
    )?;
    api.ask("post", "/v1/freeze", Some(&json!({"frozen": "very"})), 400)?;
    Ok(())
}

#[test]
fn a_running_agent_answers_as_its_document_and_schemas_say() -> Result<()> {
    let hosts = Hosts::new()?;
    let _nginx = Nginx::start(&hosts)?;
    let agent = Agent::start(&hosts)?;
    let mut api = Described::of(&agent)?;
    let api = &mut api;
    let from = hosts.add_clients(20)?;

    let mut changes = Changes {
        api,
        verbs: BTreeSet::new(),
    };
    let both = format!("{}---\n{}", web(), cart());
    let made = changes.make("apply", &json!({"yaml": both, "origin": "shop.yaml"}))?;
    assert_eq!(made["kind"], "ChangeList", "{made}");
    let load = Load::at(VIP_V4).and_at(VIP_V6).from_clients(&from);
    let load = load
        .keep_alive(40)
        .pause(Duration::from_millis(50))
        .start(&hosts.client)?;
    await_until(SOON, "flows to all tracks", || {
        let totals = load.totals();
        ["blue", "green"]
            .iter()
            .all(|track| totals.flows_of(track) > 0)
    })?;
    changes.make("cutover", &json!({"target": "release/shop", "to": "green"}))?;
    changes.make("undo", &json!({"target": "release/shop"}))?;
    changes.make(
        "drain",
        &json!({"service": "web", "what": "blue", "onTimeout": "resteer", "timeout": "10m"}),
    )?;
    changes.make(
        "maint",
        &json!({"service": "web", "what": "198.18.2.31:80"}),
    )?;
    changes.make(
        "quarantine",
        &json!({"service": "web", "what": "[2001:db8:2::31]:80", "spread": "1s"}),
    )?;
    let ramp = json!({"target": "web", "weights": [["green", "90%"]], "ramp": "1h"});
    changes.make("setWeight", &ramp)?;

    let flows = changes.api.ask(
        "get",
        "/v1/flows?track=blue&limit=1&source=198.18.0.0/16",
        None,
        200,
    )?;
    let client = flows["items"][0]["client"]
        .as_str()
        .context("a flow of blue")?;
    read_all(changes.api, client)?;
    err_everywhere(changes.api)?;

    changes.make("ready", &json!({"service": "web", "what": "blue"}))?;
    changes.make(
        "undo",
        &json!({"target": "web", "toGeneration": 1, "existing": "reset"}),
    )?;
    let frozen =
        |frozen: bool, dry: bool| json!({"frozen": frozen, "reason": "a test", "dryRun": dry});
    for dry in [true, false] {
        changes
            .api
            .ask("post", "/v1/freeze", Some(&frozen(true, dry)), 200)?;
    }
    let cutover = json!({"cutover": {"target": "web", "to": "green"}});
    changes.fail(&json!({"command": cutover}), 403)?;
    changes.api.ask("post", "/v1/detach", None, 403)?;
    changes.api.ask("get", "/v1/status", None, 200)?;
    changes
        .api
        .ask("post", "/v1/freeze", Some(&frozen(false, false)), 200)?;
    changes.fail(&json!({"command": cutover, "expectGeneration": 1}), 409)?;
    changes.fail(
        &json!({"command": {"cutover": {"target": "nosuch", "to": "green"}}}),
        404,
    )?;
    changes.fail(&json!({"command": {"cutover": {"target": "web"}}}), 400)?;
    let refused =
        json!({"command": {"apply": {"yaml": "kind: Service\nspec: 1\n", "origin": "-"}}});
    let refused = changes.fail(&refused, 400)?;
    assert!(
        refused["details"]
            .as_array()
            .is_some_and(|details| !details.is_empty()),
        "{refused}"
    );

    let text = json!({"yaml": web(), "origin": "shop.yaml", "prune": true});
    let difference = changes.api.ask("post", "/v1/diff", Some(&text), 200)?;
    assert_eq!(difference["changed"], true, "{difference}");
    changes.make(
        "applyAndPrune",
        &json!({"yaml": web(), "origin": "shop.yaml"}),
    )?;
    let state = changes
        .api
        .ask("get", "/v1/export?withSecret=true&service=web", None, 200)?;
    changes.make("delete", &json!({"service": "web", "now": true}))?;
    changes.api.ask("get", "/v1/services", None, 200)?;
    changes.make("import", &json!({"text": state}))?;
    changes.api.ask("get", "/v1/services/web", None, 200)?;
    drop(load);

    let verbs = changes.verbs;
    assert_eq!(verbs, api.verbs(), "every verb was asked for");
    api.ask("post", "/v1/detach", None, 200)?;
    assert_eq!(api.answered, api.operations(), "everything was asked for");
    // What takes no parameter can be refused to those without a role alone.
    let never: Vec<&String> = api.answered.difference(&api.refused).collect();
    let bare = [
        "get /openapi.json",
        "get /schemas",
        "get /v1/doctor",
        "get /v1/services",
        "get /v1/status",
    ];
    assert_eq!(never, bare, "everything else was refused once");
    Ok(())
}
