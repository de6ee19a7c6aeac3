//! Verbs and flags that this version does not have: refused with a message that says so, and not listed in the help.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// Verbs to come, with what brings them.
const VERBS: &[(&str, &[&str])] = &[
    ("signals and health checks", &["events", "top", "capture"]),
    (
        "rollouts",
        &[
            "start", "pause", "resume", "promote", "skip", "goto", "approve", "reject", "abort",
            "retry", "analysis", "plan",
        ],
    ),
];

/// Flags to come: verb, flag, and whether it takes a value.
const FLAGS: &[(&str, &str, ArgAction)] = &[
    ("flows", "top", ArgAction::SetTrue),
    ("status", "top", ArgAction::SetTrue),
];

/// The command line with all of them, hidden.
pub fn extend(command: Command) -> Command {
    let command =
        VERBS
            .iter()
            .flat_map(|(_, verbs)| verbs.iter())
            .fold(command, |command, verb| {
                let anything = Arg::new("anything")
                    .num_args(0..)
                    .trailing_var_arg(true)
                    .allow_hyphen_values(true);
                command.subcommand(
                    Command::new(*verb)
                        .hide(true)
                        .disable_help_flag(true)
                        .arg(anything),
                )
            });
    FLAGS.iter().fold(command, |command, (verb, flag, action)| {
        let argument = Arg::new(identity(flag))
            .long(*flag)
            .hide(true)
            .action(action.clone());
        command.mut_subcommand(verb, |command| command.arg(argument))
    })
}

/// Why a command line is refused, if it uses any of them.
pub fn refusal(matches: &ArgMatches) -> Option<String> {
    let (verb, arguments) = matches.subcommand()?;
    if let Some((bringer, _)) = VERBS.iter().find(|(_, verbs)| verbs.contains(&verb)) {
        return Some(format!(
            "{verb} comes with {bringer}, which this version does not have yet"
        ));
    }
    let used = |flag: &str| {
        arguments.value_source(&identity(flag)) == Some(clap::parser::ValueSource::CommandLine)
    };
    let (_, flag, _) = FLAGS
        .iter()
        .find(|(of, flag, _)| *of == verb && used(flag))?;
    Some(format!(
        "{verb} --{flag} comes with a later version; this one does not have it yet"
    ))
}

fn identity(flag: &str) -> String {
    format!("later-{flag}")
}
