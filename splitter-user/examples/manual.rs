//! Writes man pages and completions into a directory: `cargo xtask man` runs it. It is no binary that is shipped, so that those need
//! not carry what makes the pages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_complete::Shell;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("name the directory to write into")?;
    write(&folder)
}

/// `man/` and `completions/` below `folder`.
fn write(folder: &Path) -> Result<()> {
    let programs = [
        ("1", splitter_user::manual::splitterctl()),
        ("8", splitter_user::manual::splitterd()),
    ];
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (section, program) in programs {
        for shell in SHELLS {
            let name = program.get_name().to_owned();
            clap_complete::generate_to(shell, &mut program.clone(), name, &completions)
                .with_context(|| format!("cannot write completions for {shell}"))?;
        }
        pages(program, section, &man)?;
    }
    Ok(())
}

/// A page for a program, and one for each of its verbs: `splitterctl-set-weight.1`.
fn pages(program: Command, section: &str, folder: &Path) -> Result<()> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let name = program.get_name().to_owned();
    for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let title = format!("{name}-{}", verb.get_name());
        page(verb.clone().name(title.clone()), &title, section, folder)?;
    }
    page(program, &name, section, folder)
}

fn page(command: Command, title: &str, section: &str, folder: &Path) -> Result<()> {
    let path = folder.join(format!("{title}.{section}"));
    let mut file =
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    clap_mangen::Man::new(command)
        .section(section)
        .manual("splitter")
        .render(&mut file)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn there_is_a_page_for_every_verb_and_every_page_and_completion_names_them_all() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        let program = splitter_user::manual::splitterctl();
        let verbs: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
        assert!(verbs.contains(&"set-weight") && verbs.contains(&"history"));
        let main = read("man/splitterctl.1").replace("\\-", "-");
        for verb in verbs {
            assert!(main.contains(verb), "{verb}");
            let page = read(&format!("man/splitterctl-{verb}.1"));
            assert!(page.contains("SYNOPSIS"), "{verb}:\n{page}");
            for script in ["splitterctl.bash", "splitterctl.fish", "_splitterctl"] {
                assert!(
                    read(&format!("completions/{script}")).contains(verb),
                    "{script}: {verb}"
                );
            }
        }
        assert!(read("man/splitterd.8").contains("check"));
        assert!(read("man/splitterd-decap.8").contains("decap"));
        assert!(!main.contains("promote"), "what comes later is left out");
    }
}
