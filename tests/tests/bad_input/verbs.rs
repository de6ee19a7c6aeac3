//! Verbs with a mistake in them.

use anyhow::Result;

use super::{nothing_changes, site};

#[test]
fn what_is_not_there_is_refused_by_name() -> Result<()> {
    let site = site()?;
    for (line, words) in [
        ("cutover nothing --to blue", ["nothing", "web"]),
        ("cutover web --to mauve", ["mauve", "green"]),
        ("set-weight web mauve=5%", ["mauve", "green"]),
        ("set-weight nothing blue=5%", ["nothing", "web"]),
        ("drain web mauve", ["mauve", "web"]),
        ("drain web 198.18.2.99:80", ["198.18.2.99", "web"]),
        ("ready web mauve", ["mauve", "web"]),
        ("undo nothing", ["nothing", "web"]),
        ("cutover release/nothing --to blue", ["nothing", "release"]),
        ("describe service nothing", ["nothing", "web"]),
        ("delete service nothing", ["nothing", "web"]),
    ] {
        nothing_changes(&site, || site.agent.ctl(line))?.assert_refused(1, &words);
    }
    Ok(())
}

#[test]
fn weights_that_cannot_be_are_refused() -> Result<()> {
    let site = site()?;
    for (line, word) in [
        ("set-weight web blue=60% green=60%", "120"),
        ("set-weight web blue=60% green=30%", "90"),
        ("set-weight web blue=101%", "101"),
        ("set-weight web blue=-1%", "-1"),
        ("set-weight web blue=much", "much"),
        ("set-weight web blue=5", "%"),
        ("set-weight web blue", "blue"),
        ("set-weight web blue=5% blue=6%", "blue"),
        ("set-weight web blue=0.0001%", "0.0001"),
    ] {
        nothing_changes(&site, || site.agent.ctl(line))?.assert_refused(1, &[word]);
    }
    Ok(())
}

#[test]
fn usage_errors_end_with_1_and_not_with_claps_2() -> Result<()> {
    let site = site()?;
    for line in [
        "",
        "frobnicate",
        "cutover web",
        "set-weight",
        "get",
        "cutover web --to green --expect-generation x",
    ] {
        let answer = nothing_changes(&site, || site.agent.ctl(line))?;
        assert_eq!(answer.code, 1, "{line:?}: {answer:?}");
        assert!(
            answer.stderr.contains("Usage") || answer.stderr.contains("error"),
            "{line:?}: {answer:?}"
        );
    }
    Ok(())
}

#[test]
fn a_stale_generation_is_a_conflict() -> Result<()> {
    let site = site()?;
    let answer = nothing_changes(&site, || {
        site.agent
            .ctl("cutover web --to green --expect-generation 999")
    })?;
    answer.assert_refused(6, &["999", "generation"]);
    Ok(())
}

#[test]
fn without_an_agent_every_verb_ends_with_2_and_names_the_socket() -> Result<()> {
    let mut site = site()?;
    site.agent.stop()?;
    let socket = site.agent.socket().display().to_string();
    for line in [
        "get services",
        "cutover web --to green",
        "status",
        "drain web blue --wait",
        "detach",
    ] {
        site.agent.ctl(line)?.assert_refused(2, &[&socket]);
    }
    Ok(())
}
