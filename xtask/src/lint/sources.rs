//! Habits of the Rust sources that clippy has no word for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Finding;

/// Words that stand nowhere in the sources, each with what to do instead. In two parts, so that this file has none of them.
const NOWHERE: [([&str; 2], &str); 3] = [
    (
        ["#[ign", "ore"],
        "no test is skipped: make it quick, or reduce its count outside --soak",
    ),
    (["to", "do!("], "finish it, or refuse it with a message"),
    (
        ["unimple", "mented!("],
        "finish it, or refuse it with a message",
    ),
];

/// A word that stands in no test: tests wait for a condition, not for time to pass.
const SLEEP: &str = "sleep(";

/// On a line of a test, why time itself is what it is about.
const REASON: &str = "// paced: ";

/// All findings in all files.
pub fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
    {
        let text = fs::read_to_string(root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let found = check_text(is_test_file(file), &text);
        findings.extend(found.into_iter().map(|(line, text)| Finding {
            file: file.clone(),
            line,
            text,
        }));
    }
    Ok(findings)
}

/// The lab in tests/src may sleep: its waits look at their condition in between.
fn is_test_file(file: &Path) -> bool {
    let stem = file.file_stem().is_some_and(|stem| stem == "tests");
    stem || file.iter().skip(1).any(|folder| folder == "tests")
}

fn check_text(test_file: bool, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_tests = test_file;
    let mut before = "";
    for (number, line) in (1..).zip(text.lines()) {
        // From here to the end of the file, where modules of tests stand; one in another file is looked at there.
        in_tests |=
            before.starts_with("#[cfg(test)]") && line.starts_with("mod ") && line.ends_with('{');
        before = line;
        for (word, fix) in NOWHERE {
            let word = word.concat();
            if line.contains(&word) {
                found.push((number, format!("`{word}`: {fix}")));
            }
        }
        if in_tests && line.contains(SLEEP) && !line.contains(REASON) {
            let fix = "wait for the condition itself; where time is the point, end the line with";
            found.push((
                number,
                format!("`{SLEEP}` in a test: {fix} `{REASON}<why>`"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{REASON, check_text, is_test_file};

    /// A sleep, spelled so that this file has none.
    const NAP: &str = concat!("thread::sle", "ep(SECOND);");

    fn lines(test_file: bool, text: &str) -> Vec<usize> {
        let found = check_text(test_file, text);
        found.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_skipped_test_is_found_with_its_line() {
        let text = concat!("#[test]\n#[ign", "ore]\nfn slow() {}\n");
        assert_eq!(lines(true, text), [2]);
    }

    #[test]
    fn a_sleep_is_found_in_tests_and_left_alone_elsewhere() {
        let text = format!("{NAP}\n#[cfg(test)]\nmod tests {{\n{NAP}\n}}\n");
        assert_eq!(lines(false, &text), [4]);
    }

    #[test]
    fn a_module_of_tests_in_another_file_makes_no_tests_of_what_follows() {
        let text = format!("#[cfg(test)]\nmod tests;\n{NAP}\n");
        assert_eq!(lines(false, &text), []);
    }

    #[test]
    fn a_sleep_with_a_reason_is_left_alone() {
        let text = format!("{NAP} {REASON}one packet a second\n");
        assert_eq!(lines(true, &text), []);
    }

    #[test]
    fn the_lab_is_no_test() {
        assert!(is_test_file(Path::new("tests/tests/main.rs")));
        assert!(is_test_file(Path::new("splitter-user/src/config/tests.rs")));
        assert!(is_test_file(Path::new(
            "splitter-user/src/store/tests/disk.rs"
        )));
        assert!(!is_test_file(Path::new("tests/src/wait.rs")));
    }
}
