//! Links of the Markdown documents to files of the checkout.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Finding;

/// Every relative link leads to a file that is there.
pub fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
    {
        let text = fs::read_to_string(root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let folder = root
            .join(file)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        for (line, target) in links(&text) {
            if !folder.join(target).exists() {
                let text =
                    format!("the link to {target} leads nowhere: correct it, or add the file");
                findings.push(Finding {
                    file: file.clone(),
                    line,
                    text,
                });
            }
        }
    }
    Ok(findings)
}

/// Line and file of each link within the checkout; code blocks and links to elsewhere are left out.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let targets = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', ' ']).next());
        let files =
            targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
        let files = files
            .filter_map(|target| target.split('#').next())
            .filter(|file| !file.is_empty());
        found.extend(files.map(|file| (number, file)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn links_to_files_are_found_with_their_line_and_without_their_anchor() {
        let text =
            "# A\nsee [the design](docs/design.md#flows) and [us](CONTRIBUTING.md \"title\")\n";
        assert_eq!(links(text), [(2, "docs/design.md"), (2, "CONTRIBUTING.md")]);
    }

    #[test]
    fn links_elsewhere_anchors_and_code_are_left_out() {
        let text = "[a](https://example.org) [b](#top) [c](mailto:a@example.org)\n```\n[d](nowhere.md)\n```\n";
        assert_eq!(links(text), []);
    }
}
