//! The two binaries as they are: what they say without an agent, and the example files they ship with.
#![expect(clippy::unwrap_used, reason = "tests: what cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(binary: &str, arguments: &[&str]) -> Output {
    Command::new(binary).args(arguments).output().unwrap()
}

fn splitterctl(arguments: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_splitterctl"), arguments)
}

fn splitterd(arguments: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_splitterd"), arguments)
}

fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(file)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn both_explain_themselves() {
    for output in [splitterctl(&["--help"]), splitterd(&["--help"])] {
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Usage:"));
    }
}

#[test]
fn wrong_usage_ends_with_one() {
    for output in [splitterctl(&["--nonsense"]), splitterd(&["--nonsense"])] {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("--nonsense"));
    }
}

#[test]
fn without_an_agent_the_command_line_names_the_socket_and_ends_with_two() {
    let output = splitterctl(&["--socket", "/nonexistent/splitterd.sock", "get", "services"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nonexistent/splitterd.sock"));
}

#[test]
fn the_example_configuration_is_valid() {
    let file = packaged("splitterd.toml");
    let output = splitterd(&["--check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn a_misspelt_key_is_answered_with_its_line_and_the_known_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("splitterd.toml");
    std::fs::write(&file, "interfaces = [\"eth0\"]\nxdp_moed = \"native\"\n").unwrap();
    let output = splitterd(&["--check-config", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains(":2:") && said.contains("xdp_moed") && said.contains("xdp_mode"),
        "{said}"
    );
}

#[test]
fn the_example_resource_is_valid() {
    let file = packaged("web.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    let services = splitter_user::resource::parse(&yaml, "web.yaml").unwrap();
    assert!(!services.is_empty());
}
