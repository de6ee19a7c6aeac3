//! Verbs that work with files: apply, diff, lint.

use serde_json::json;

use super::{ctl, ctl_with, last_command};
use crate::api::fake::{Fake, Running};
use crate::api::types::Command;

#[tokio::test]
async fn diff_says_what_would_change_and_what_was_changed_since_the_last_apply() {
    let running = Running::start(Fake::default());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, "a: b\n").unwrap();
    let expected = "\
web (generation 42): would be changed
  + spec.tracks.green.backends.[198.18.2.22]:80.port: 80
  ~ spec.tracks.blue.weight: 75% -> 95%
  runtime: spec.tracks.blue.weight: 95% -> 75% since it was applied from /etc/web.yaml
  runtime: spec.tracks.green.weight: 5% -> 25% since it was applied from /etc/web.yaml
  runtime: track blue takes no new flows
";
    for verb in ["diff", "apply --diff"] {
        let ran = ctl(&running.socket, &format!("{verb} -f {}", file.display())).await;
        assert_eq!(
            (ran.code, ran.err.as_str(), ran.out.as_str()),
            (0, "", expected),
            "{verb}"
        );
    }
    assert!(
        running.fake.asked.lock().unwrap().is_empty(),
        "nothing was changed"
    );
    let ran = ctl(
        &running.socket,
        &format!("diff --prune -f {} -o json", file.display()),
    )
    .await;
    assert_eq!((ran.code, &ran.json()["changed"]), (0, &json!(true)));
    let asked = running.fake.records.lock().unwrap().clone().unwrap();
    assert!(asked.contains("prune: true") && asked.contains(directory.path().to_str().unwrap()));
}

#[tokio::test]
async fn apply_names_a_file_by_its_full_path_and_prunes_when_told() {
    let running = Running::start(Fake::default());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yaml");
    std::fs::write(&file, "a: b\n").unwrap();
    let indirect = directory.path().join(".").join("web.yaml");
    let origin = std::fs::canonicalize(&file).unwrap().display().to_string();
    let yaml = "a: b\n".to_owned();
    ctl(&running.socket, &format!("apply -f {}", indirect.display())).await;
    let plain = Command::Apply {
        yaml: yaml.clone(),
        origin: origin.clone(),
    };
    assert_eq!(last_command(&running), plain);
    ctl(
        &running.socket,
        &format!("apply --prune -f {}", indirect.display()),
    )
    .await;
    assert_eq!(
        last_command(&running),
        Command::ApplyAndPrune { yaml, origin }
    );
}

#[tokio::test]
async fn lint_needs_no_agent_and_tells_errors_from_warnings() {
    let nobody = std::path::Path::new("/nonexistent/agent.sock");
    let lint = async |text: &'static str, options: &str| {
        ctl_with(nobody, &format!("lint -f - {options}"), |around| {
            around.input = Box::new(text.as_bytes());
        })
        .await
    };
    let sound = "\
apiVersion: splitter/v1
kind: Service
metadata: {name: web}
spec:
  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]
  tracks:
    - {name: blue, weight: 100%, backends: [{address: 198.18.2.11}]}
";
    let ran = lint(sound, "").await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));

    const IDLE: &str = "\
apiVersion: splitter/v1
kind: Service
metadata: {name: web}
spec:
  listeners: [{vip: 198.18.1.100, port: 80, protocol: tcp}]
  tracks:
    - {name: blue, weight: 100%, backends: [{address: 198.18.2.11}]}
    - {name: green, weight: 0%}
";
    let ran = lint(IDLE, "").await;
    assert_eq!(ran.code, 0);
    assert!(ran.out.starts_with("warning: -:8:7: "), "{}", ran.out);

    let ran = lint("kind: Service\nspec: {lisseners: 5}\n", "-o json").await;
    assert_eq!(ran.code, 1);
    let found = ran.json();
    assert!(found["errors"].as_array().unwrap().len() > 1, "{found}");
    assert_eq!(found["warnings"], json!([]));
    let ran = lint("kind: Service\nspec: {lisseners: 5}\n", "").await;
    assert!(
        ran.out.contains("error: -:2:8: ") && ran.out.contains("^^^^^^^^^"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn completions_name_every_verb_that_works_and_none_that_comes_later() {
    use clap::CommandFactory as _;
    let nobody = std::path::Path::new("/nonexistent/agent.sock");
    for shell in ["bash", "zsh", "fish"] {
        let ran = ctl(nobody, &format!("completions {shell}")).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        for verb in crate::ctl::Cli::command().get_subcommands() {
            assert!(
                ran.out.contains(verb.get_name()),
                "{shell}: {}",
                verb.get_name()
            );
        }
        assert!(!ran.out.contains("promote"), "{shell}");
    }
    assert_eq!(ctl(nobody, "completions tcsh").await.code, 1);
}
