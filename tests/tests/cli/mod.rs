//! `splitterctl` as scripts know it: shapes, exit codes, and what is printed where.

mod document;
mod operators;

use std::process::Stdio;

use anyhow::Result;
use lab::{Agent, Configuration, Hosts, Service, Site};
use serde_json::{Value, json};

const SPLIT: [(&str, &str); 3] = [("blue", "90%"), ("green", "5%"), ("canary", "5%")];

#[test]
fn get_services_has_the_shape_that_scripts_rely_on() -> Result<()> {
    let service = Service::web(&SPLIT).with("release: shop");
    let site = Site::serving(&service)?;
    let list = site.agent.json("get services")?;
    assert_eq!(list["apiVersion"], "splitter/v1");
    assert_eq!(list["kind"], "ServiceList");
    let item = &list["items"][0];
    assert_eq!(item["name"], "web");
    assert_eq!(item["release"], "shop");
    assert_eq!(item["mode"], "dnat");
    assert_eq!(
        item["listeners"][0],
        json!({"vip": "198.18.1.100", "port": 80, "protocol": "tcp"})
    );
    assert_eq!(
        item["listeners"][1],
        json!({"vip": "2001:db8:1::100", "port": 80, "protocol": "tcp"})
    );
    assert!(
        item["generation"].is_u64() && item["digest"].is_string() && item["conditions"].is_array(),
        "{item}"
    );
    let canary = &item["tracks"][2];
    assert_eq!(canary["name"], "canary");
    assert_eq!(canary["state"], "ready");
    assert_eq!(canary["weight"], "5");
    // 5 % of 65,536 are 3,276.8.
    assert!(
        [Some(3_276), Some(3_277)].contains(&canary["slots"].as_u64()),
        "{canary}"
    );
    assert_eq!(canary["observed"], json!({"newFlows": 0, "share": null}));
    assert_eq!(canary["flows"], 0);
    assert_eq!(canary["backends"][0]["address"], "198.18.2.31");
    assert_eq!(canary["backends"][0]["state"], "ready");
    assert_eq!(canary["backends"][0]["health"], "unknown");

    let one = site.agent.service("web")?;
    assert_eq!(one["kind"], "Service");
    assert_eq!(one["digest"], item["digest"]);
    Ok(())
}

#[test]
fn changing_verbs_answer_with_a_change() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    let generation = site.agent.service("web")?["generation"].as_u64().unwrap();
    let shift = site.agent.json("set-weight web canary=25% --reason more")?;
    assert_eq!(shift["kind"], "Change");
    assert_eq!(shift["service"], "web");
    assert_eq!(shift["generation"], generation + 1);
    assert_eq!(shift["before"]["canary"], "5");
    assert_eq!(shift["after"]["canary"], "25");
    assert!(shift["flipNanoseconds"].is_u64(), "{shift}");
    let cutover = site.agent.json("cutover web --to green")?;
    assert_eq!(
        cutover["after"],
        json!({"blue": "0", "green": "100", "canary": "0"})
    );
    let undo = site.agent.json("undo web")?;
    assert_eq!(undo["generation"], generation + 3);
    assert_eq!(undo["after"], shift["after"]);
    // A second undo toggles back.
    assert_eq!(site.agent.json("undo web")?["after"], cutover["after"]);
    Ok(())
}

#[test]
fn a_shift_prints_before_and_after_for_people() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    let answer = site.agent.ctl("set-weight web canary=25%")?.succeeded()?;
    for word in ["canary", "5", "25", "->"] {
        assert!(
            answer.stdout.contains(word),
            "{word:?} is missing:\n{}",
            answer.stdout
        );
    }
    Ok(())
}

#[test]
fn tracks_left_out_of_a_shift_share_the_rest_in_their_proportion() -> Result<()> {
    let site = Site::web(&[("blue", "60%"), ("green", "20%"), ("canary", "20%")])?;
    let change = site.agent.change("set-weight web canary=50%")?;
    assert_eq!(
        change.after,
        json!({"blue": "37.5", "green": "12.5", "canary": "50"})
    );
    Ok(())
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    let before = site.split()?;
    for line in [
        "set-weight web canary=25%",
        "cutover web --to green",
        "drain web blue",
    ] {
        site.agent.ctl(&format!("{line} --dry-run"))?.succeeded()?;
        assert_eq!(site.split()?, before, "after {line} --dry-run");
    }
    let change = site.agent.change("cutover web --to green --dry-run")?;
    assert_eq!(change.after["green"], "100");
    assert_eq!(site.agent.service("web")?["tracks"][0]["state"], "ready");
    Ok(())
}

#[test]
fn an_expected_generation_is_checked_before_anything_else() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    let (generation, _) = site.split()?;
    site.agent
        .ctl(&format!(
            "cutover web --to green --expect-generation {generation}"
        ))?
        .succeeded()?;
    let stale = site.agent.ctl(&format!(
        "cutover web --to blue --expect-generation {generation}"
    ))?;
    stale.assert_refused(6, &["generation"]);
    // Even a track that isn't there comes second.
    let stale = site.agent.ctl(&format!(
        "cutover web --to mauve --expect-generation {generation}"
    ))?;
    stale.assert_refused(6, &["generation"]);
    Ok(())
}

#[test]
fn what_export_says_apply_accepts_and_nothing_changes() -> Result<()> {
    let site = Site::serving(
        &Service::web(&SPLIT)
            .with("release: shop")
            .with("affinity: {key: clientIP}"),
    )?;
    let before = site.split()?;
    let exported = site.agent.ctl("export")?.succeeded()?.stdout;
    site.agent.apply_yaml(&exported)?.succeeded()?;
    assert_eq!(site.split()?.1, before.1);
    assert_eq!(site.agent.ctl("export")?.succeeded()?.stdout, exported);
    Ok(())
}

#[test]
fn a_resource_without_weights_keeps_those_in_force() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    site.agent.change("set-weight web canary=25%")?;
    let before = site.split()?.1;
    site.agent.apply(&Service::web(&SPLIT).without_weights())?;
    assert_eq!(site.split()?.1, before);
    Ok(())
}

#[test]
fn several_documents_are_applied_together_or_not_at_all() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    let good = Service::named("api", &SPLIT)
        .listener(lab::VIP_V4, 8080, "tcp")
        .to_yaml();
    let bad = Service::named("bad", &[("blue", "50%")])
        .listener(lab::VIP_V4, 8081, "tcp")
        .to_yaml();
    site.agent
        .apply_yaml(&format!("{good}---\n{bad}"))?
        .assert_refused(1, &["100"]);
    assert_eq!(
        site.agent.json("get services")?["items"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let other = Service::named("other", &SPLIT)
        .listener(lab::VIP_V4, 8081, "tcp")
        .to_yaml();
    site.agent
        .apply_yaml(&format!("{good}---\n{other}"))?
        .succeeded()?;
    assert_eq!(
        site.agent.json("get services")?["items"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    Ok(())
}

#[test]
fn a_deleted_service_is_gone_and_its_vip_answers_no_more() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    site.load()
        .one_shot(1)
        .requests(10)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    site.agent.ctl("delete service web --now")?.succeeded()?;
    // Listed as deleting until a scan has found its numbers free.
    lab::await_until(lab::SOON, "the service to be gone", || {
        site.agent
            .json("get services")
            .is_ok_and(|services| services["items"] == Value::Array(Vec::new()))
    })?;
    site.agent
        .ctl("get services web")?
        .assert_refused(1, &["web"]);
    Ok(())
}

#[test]
fn resources_of_the_directory_are_applied_once_for_each_content() -> Result<()> {
    let hosts = Hosts::new()?;
    let mut agent = Agent::prepare(&hosts, &Configuration::new())?;
    std::fs::write(
        agent.resources_directory().join("web.yaml"),
        Service::web(&SPLIT).to_yaml(),
    )?;
    agent.restart()?;
    agent.change("cutover web --to green")?;
    let changed = agent.service("web")?["digest"].take();
    agent.restart()?;
    assert_eq!(
        agent.service("web")?["digest"],
        changed,
        "an unchanged file must not undo what operators did"
    );
    let other = Service::web(&[("blue", "50%"), ("green", "25%"), ("canary", "25%")]);
    std::fs::write(
        agent.resources_directory().join("web.yaml"),
        other.to_yaml(),
    )?;
    agent.restart()?;
    assert_eq!(agent.service("web")?["tracks"][0]["weight"], "50");
    Ok(())
}

#[test]
fn flows_are_listed_with_their_track_and_filtered() -> Result<()> {
    let site = Site::web(&[("blue", "50%"), ("green", "50%")])?;
    let load = site.load().keep_alive(16).start(&site.hosts.client)?;
    lab::await_until(lab::SOON, "16 flows", || load.totals().flows() == 16)?;
    let blue = load.totals().flows_of("blue");
    lab::await_until(lab::SOON, "the flows of blue to be listed", || {
        site.agent
            .json("flows --service web --track blue")
            .is_ok_and(|flows| {
                flows["items"]
                    .as_array()
                    .is_some_and(|items| items.len() as u64 == blue)
            })
    })?;
    let none = site.agent.json("flows --source 203.0.113.0/24")?;
    assert_eq!(none["items"].as_array().map(Vec::len), Some(0));
    load.stop()?.assert_nothing_lost();
    Ok(())
}

#[test]
fn every_read_speaks_table_wide_json_and_yaml() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    for verb in [
        "get services",
        "get tracks",
        "get backends",
        "describe service web",
        "status",
        "flows",
        "doctor",
        "version",
    ] {
        for output in ["table", "wide", "yaml"] {
            let said = site
                .agent
                .ctl(&format!("{verb} -o {output}"))?
                .succeeded()?;
            assert!(!said.stdout.contains('\u{1b}'), "{verb}: colours in a pipe");
        }
        site.agent.json(verb)?;
    }
    let table = site.agent.ctl("get tracks")?.succeeded()?.stdout;
    for track in ["blue", "green", "canary"] {
        assert!(table.contains(track), "{table}");
    }
    Ok(())
}

#[test]
fn a_closed_pipe_is_success() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    let mut command = site.agent.ctl_command(&["get", "services", "-o", "json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let output = child.wait_with_output()?;
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn verbs_of_later_versions_are_refused_with_a_message() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    for line in ["promote web", "capture"] {
        let answer = site.agent.ctl(line)?;
        assert_eq!(answer.code, 1, "{line}: {answer:?}");
        assert!(!answer.stderr.is_empty(), "{line}");
    }
    Ok(())
}

#[test]
fn metrics_tell_weights_flows_and_generation() -> Result<()> {
    let site = Site::web(&SPLIT)?;
    site.load()
        .one_shot(2)
        .requests(50)
        .run_to_end(&site.hosts.client)?
        .assert_nothing_lost();
    let sum = |text: &str, name: &str| -> f64 {
        text.lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    lab::await_until(lab::SOON, "50 new flows in the metrics", || {
        site.agent
            .metrics()
            .is_ok_and(|text| (sum(&text, "splitter_new_flows_total") - 50.0).abs() < 0.5)
    })?;
    let text = site.agent.metrics()?;
    assert!(
        (sum(&text, "splitter_weight_ratio") - 1.0).abs() < 1e-6,
        "{text}"
    );
    for name in [
        "splitter_flows",
        "splitter_generation",
        "splitter_verdicts_total",
        "splitter_flow_table_entries",
        "splitter_flow_table_capacity",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    Ok(())
}
