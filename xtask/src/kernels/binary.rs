//! The binary that holds the tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The test binary of the package splitter-tests.
#[derive(Debug)]
pub struct TestBinary {
    /// Where it is.
    pub path: PathBuf,
}

impl TestBinary {
    /// Builds it, as `cargo test` would.
    pub fn build() -> Result<Self> {
        let mut cargo = workspace::cargo([
            "test",
            "--quiet",
            "--package",
            "splitter-tests",
            "--test",
            "all",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ])?;
        let output = cargo.stderr(Stdio::inherit()).output();
        let output = output.context("cannot run cargo")?;
        if !output.status.success() {
            bail!("the tests do not compile");
        }
        let path = executable(&String::from_utf8_lossy(&output.stdout))
            .context("cargo does not say where it put the test binary")?;
        Ok(Self { path })
    }

    /// Its tests of these groups, which `filter` may thin out.
    pub fn tests(&self, groups: &[&str], filter: Option<&str>) -> Result<Vec<String>> {
        let output = Command::new(&self.path)
            .args(["--list", "--format", "terse"])
            .output()
            .context("cannot ask the test binary for its tests")?;
        if !output.status.success() {
            bail!("the test binary does not list its tests: {}", output.status);
        }
        Ok(select(
            &String::from_utf8_lossy(&output.stdout),
            groups,
            filter,
        ))
    }
}

/// The path that cargo names for the target of tests; the package has programs, too.
fn executable(messages: &str) -> Option<PathBuf> {
    let found = messages
        .lines()
        .filter(|line| line.contains("\"kind\":[\"test\"]"))
        .filter_map(|line| line.split_once("\"executable\":\""))
        .filter_map(|(_, rest)| rest.split_once('"'))
        .next_back()?;
    Some(PathBuf::from(found.0))
}

fn select(list: &str, groups: &[&str], filter: Option<&str>) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| groups.iter().any(|group| name.starts_with(group)))
        .filter(|name| filter.is_none_or(|filter| name.contains(filter)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_target_is_told_from_programs_of_the_package() {
        let messages = "{\"reason\":\"x\",\"executable\":null}\n\
            {\"target\":{\"kind\":[\"test\"],\"name\":\"all\"},\"executable\":\"/a/b-1\",\"fresh\":true}\n\
            {\"target\":{\"kind\":[\"bin\"],\"name\":\"other\"},\"executable\":\"/a/other\",\"fresh\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/a/b-1")));
        assert_eq!(executable("{\"executable\":null}"), None);
    }

    #[test]
    fn tests_are_chosen_by_the_beginning_of_their_name_and_by_the_filter() {
        let list = "packets::icmp::a: test\nhosts::packets::b: test\nkernels::c: test\n\n3 tests, 0 benchmarks\n";
        let groups = ["packets::", "kernels::"];
        assert_eq!(
            select(list, &groups, None),
            ["packets::icmp::a", "kernels::c"]
        );
        assert_eq!(select(list, &groups, Some("icmp")), ["packets::icmp::a"]);
    }
}
