//! The operator's tools against a real agent: roles, freeze, history, anchors, and one host's state on another.

use anyhow::{Context as _, Result};
use lab::{Agent, Configuration, Hosts, Service, Site};
use serde_json::{Value, json};

const SPLIT: [(&str, &str); 2] = [("blue", "90%"), ("green", "10%")];
const YAML: &str = "
apiVersion: splitter/v1
kind: Service
metadata: {name: web}
spec:
  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]
  affinity: {key: clientIP}
  tracks:
    - {name: blue, weight: 90%, backends: [{address: 198.18.2.11, port: 80}]}
    - {name: green, weight: 10%, backends: [{address: 198.18.2.21, port: 80}]}
";

#[test]
fn roles_go_by_the_user_and_the_supplementary_groups_that_the_kernel_tells() -> Result<()> {
    let hosts = Hosts::new()?;
    let roles =
        "[roles]\nviewer = [\"uid:50001\"]\noperator = [\"gid:50100\"]\nadmin = [\"uid:50003\"]";
    let agent = Agent::start_with(&hosts, &Configuration::new().with(roles))?;
    let socket = agent.socket();
    lab::open_to_all(socket.parent().context("a socket in a directory")?)?;
    agent.apply_yaml(YAML)?.succeeded()?;
    let (viewer, operator, nobody) = ((50_001, 50_999), (50_002, 50_100), (50_009, 50_999));
    let run = |(uid, group): (u32, u32), line: &str| agent.ctl_as(uid, group, line);
    run(viewer, "get services")?.succeeded()?;
    let refused = run(viewer, "cutover web --to green")?;
    assert_eq!(refused.code, 7, "{refused:?}");
    for part in ["uid 50001", "is viewer", "the role operator"] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    run(operator, "cutover web --to green")?.succeeded()?;
    run(operator, "undo web")?.succeeded()?;
    assert_eq!(run(operator, "delete service web")?.code, 7);
    assert_eq!(run(operator, "export --with-secret")?.code, 7);
    run((50_003, 50_999), "export --with-secret")?.succeeded()?;
    let stranger = run(nobody, "get services")?;
    assert_eq!(stranger.code, 7, "{stranger:?}");
    assert!(stranger.stderr.contains("has no role"), "{stranger:?}");
    // Both, what was done and what was refused, are in the audit, with who it was.
    let audit = agent.json("audit")?;
    let seen = |verb: &str, outcome: &str, uid: u32| {
        let items = audit["items"].as_array();
        items.is_some_and(|items| {
            items.iter().any(|item| {
                item["verb"] == verb && item["outcome"] == outcome && item["by"]["uid"] == uid
            })
        })
    };
    assert!(seen("cutover", "refused", 50_001), "{audit:#}");
    assert!(seen("cutover", "done", 50_002), "{audit:#}");
    assert!(seen("delete", "refused", 50_002), "{audit:#}");
    Ok(())
}

#[test]
fn an_operators_day_anchors_freeze_diff_and_prune() -> Result<()> {
    let mut site = Site::web(&SPLIT)?;
    let digest = |site: &Site| Ok::<_, anyhow::Error>(site.agent.service("web")?["digest"].clone());
    let first = digest(&site)?;
    for weight in [20, 30, 40] {
        site.agent
            .json(&format!("set-weight web green={weight}%"))?;
    }
    let history = site.agent.json("history web")?;
    assert_eq!(history["items"][0]["split"], "current");
    assert_eq!(history["items"][3]["split"], "anchor");
    site.agent.restart()?;
    let back = site.agent.json("undo web --to-generation 1")?;
    assert_eq!((&back["generation"], &digest(&site)?), (&json!(5), &first));
    let unknown = site.agent.ctl("undo web --to-generation 77")?;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("it can go back to"), "{unknown:?}");

    site.agent
        .ctl_words(&["freeze", "--reason", "Black Friday"])?
        .succeeded()?;
    site.agent.restart()?;
    let refused = site.agent.ctl("cutover web --to green")?;
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.stderr.contains("Black Friday"), "{refused:?}");
    site.agent.ctl("undo web")?.succeeded()?;
    site.agent.ctl("unfreeze")?.succeeded()?;

    let directory = tempfile::tempdir()?;
    let file = directory.path().join("cart.yaml");
    let path = file.display().to_string();
    let cart = Service::web(&SPLIT)
        .to_yaml()
        .replace("name: web", "name: cart");
    let cart = cart
        .replace("198.18.1.100", "198.18.1.107")
        .replace("2001:db8:1::100", "2001:db8:1::107");
    let cart = cart
        .replace("198.18.2.", "198.18.3.")
        .replace("2001:db8:2::", "2001:db8:3::");
    let mail = cart
        .replace("name: cart", "name: mail")
        .replace("198.18.1.107", "198.18.1.108")
        .replace("2001:db8:1::107", "2001:db8:1::108");
    let mail = mail
        .replace("198.18.3.", "198.18.4.")
        .replace("2001:db8:3::", "2001:db8:4::");
    std::fs::write(&file, format!("{cart}\n---\n{mail}"))?;
    site.agent.ctl_words(&["apply", "-f", &path])?.succeeded()?;
    site.agent.json("set-weight cart green=50%")?;
    std::fs::write(&file, &cart)?;
    let diff = site
        .agent
        .ctl_words(&["diff", "--prune", "-f", &path, "-o", "json"])?;
    let diff: Value = diff.succeeded()?.json()?;
    assert_eq!(diff["changed"], true);
    assert_eq!(diff["services"][1]["action"], "prune", "{diff:#}");
    site.agent
        .ctl_words(&["apply", "--prune", "-f", &path])?
        .succeeded()?;
    let names = site.agent.json("get services")?;
    let names: Vec<_> = names["items"]
        .as_array()
        .context("a list")?
        .iter()
        .filter(|service| service["state"] == "ready")
        .map(|service| service["name"].clone())
        .collect();
    assert_eq!(names, [json!("cart"), json!("web")]);
    Ok(())
}

#[test]
fn a_hosts_state_on_another_host_is_the_same_split_slot_for_slot() -> Result<()> {
    let hosts = Hosts::new()?;
    let from = Agent::start(&hosts)?;
    from.apply_yaml(YAML)?.succeeded()?;
    from.json("set-weight web green=37%")?;
    let state = from.ctl("export --with-secret")?.succeeded()?.stdout;
    let exported = from.service("web")?;
    drop(from);
    // Another host: its own namespaces, state directory and secret.
    drop(hosts);
    let hosts = Hosts::new()?;
    let to = Agent::start(&hosts)?;
    to.ctl_with_input(&["import", "-f", "-"], &state)?
        .succeeded()?;
    let imported = to.service("web")?;
    for field in ["generation", "digest", "anchors", "affinity"] {
        assert_eq!(imported[field], exported[field], "{field}");
    }
    let again = to.ctl("export --with-secret")?.succeeded()?.stdout;
    assert_eq!(again, state);
    Ok(())
}
