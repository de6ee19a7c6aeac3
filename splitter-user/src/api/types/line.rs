//! Changing requests as the command line spells them: what the audit says was done.

use std::time::Duration;

use super::{ChangeRequest, Command, Existing};

impl ChangeRequest {
    /// The request on one line: `drain web blue --timeout 10m --on-timeout reset`. Without dry run and reason, which the
    /// audit knows by themselves.
    pub fn line(&self) -> String {
        let mut line = self.command.line();
        if let Some(generation) = self.expect_generation {
            line += &format!(" --expect-generation {generation}");
        }
        line
    }
}

impl Command {
    fn line(&self) -> String {
        let mut words = vec![self.verb().to_owned()];
        match self {
            Self::Apply { origin, .. } => words.extend(["-f".to_owned(), origin.clone()]),
            Self::ApplyAndPrune { origin, .. } => {
                words.extend(["--prune".to_owned(), "-f".to_owned(), origin.clone()]);
            }
            Self::Import { .. } => {}
            Self::Delete { service, now } => {
                words.extend(["service".to_owned(), service.clone()]);
                words.extend(now.then(|| "--now".to_owned()));
            }
            Self::SetWeight {
                target,
                weights,
                ramp,
            } => {
                words.push(target.to_string());
                words.extend(
                    weights
                        .iter()
                        .map(|(track, weight)| format!("{track}={weight}")),
                );
                words.extend(time("--ramp", *ramp));
            }
            Self::Cutover {
                target,
                to,
                existing,
            } => {
                words.extend([target.to_string(), "--to".to_owned(), to.clone()]);
                words.extend(flows(*existing));
            }
            Self::Undo {
                target,
                to_generation,
                existing,
            } => {
                words.push(target.to_string());
                words.extend(to_generation.map(|number| format!("--to-generation {number}")));
                words.extend(flows(*existing));
            }
            Self::Drain {
                service,
                what,
                timeout,
                on_timeout,
                spread,
            } => {
                words.extend([service.clone(), what.to_string()]);
                words.extend(time("--timeout", *timeout));
                words.extend(on_timeout.map(|flows| format!("--on-timeout {}", flows.name())));
                words.extend(time("--spread", *spread));
            }
            Self::Quarantine {
                service,
                what,
                spread,
            } => {
                words.extend([service.clone(), what.to_string()]);
                words.extend(time("--spread", *spread));
            }
            Self::Maint { service, what } | Self::Ready { service, what } => {
                words.extend([service.clone(), what.to_string()]);
            }
        }
        words.join(" ")
    }
}

fn time(flag: &str, given: Option<Duration>) -> Option<String> {
    given.map(|time| {
        let time = humantime::format_duration(time).to_string();
        format!("{flag} {}", time.replace(' ', ""))
    })
}

fn flows(existing: Existing) -> Option<String> {
    match existing {
        Existing::Keep => None,
        Existing::Reset => Some("--existing reset".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{DrainTarget, Target};
    use crate::model::OnTimeout;

    #[test]
    fn a_request_reads_as_it_would_be_typed() {
        let web = || Target::Service("web".to_owned());
        let drain = Command::Drain {
            service: "web".to_owned(),
            what: DrainTarget::Track("blue".to_owned()),
            timeout: Some(Duration::from_secs(630)),
            on_timeout: Some(OnTimeout::Reset),
            spread: None,
        };
        let undo = Command::Undo {
            target: Target::Release("shop".to_owned()),
            to_generation: Some(7),
            existing: Existing::Reset,
        };
        let weights = Command::SetWeight {
            target: web(),
            weights: vec![("green".to_owned(), "5%".to_owned())],
            ramp: Some(Duration::from_secs(60)),
        };
        let delete = Command::Delete {
            service: "web".to_owned(),
            now: true,
        };
        let apply = Command::ApplyAndPrune {
            yaml: "a: b".to_owned(),
            origin: "/etc/web.yaml".to_owned(),
        };
        let cutover = Command::Cutover {
            target: web(),
            to: "green".to_owned(),
            existing: Existing::Keep,
        };
        for (command, line) in [
            (drain, "drain web blue --timeout 10m30s --on-timeout reset"),
            (undo, "undo release/shop --to-generation 7 --existing reset"),
            (weights, "set-weight web green=5% --ramp 1m"),
            (delete, "delete service web --now"),
            (apply, "apply --prune -f /etc/web.yaml"),
            (cutover.clone(), "cutover web --to green"),
        ] {
            assert_eq!(ChangeRequest::new(command).line(), line);
        }
        let mut expecting = ChangeRequest::new(cutover);
        expecting.expect_generation = Some(41);
        assert_eq!(
            expecting.line(),
            "cutover web --to green --expect-generation 41"
        );
    }
}
