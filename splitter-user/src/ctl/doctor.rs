use super::format::{self, Detail, Paint, View};
use super::{DONE, Outcome, REFUSED, Session};
use crate::api::types::{ErrorCode, Finding, FindingList};

/// Check this host, and the agent if it runs; print what mends what is wrong
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 0 when all is well, 1 when anything is not. Works without an agent too."
)]
pub struct Args {}

pub async fn run(_: Args, mut session: Session<'_, '_>) -> Outcome {
    let mut items = (session.around.local_findings)();
    match session.client.doctor().await {
        Ok(findings) => {
            // It knows what it was told to use; this process only what is usual.
            items.retain(|local| {
                !findings
                    .items
                    .iter()
                    .any(|finding| finding.check == local.check)
            });
            items.push(Finding::passed(
                "agent",
                format!("answers on {}", session.client.socket().display()),
            ));
            items.extend(findings.items);
        }
        Err(error) if error.code == ErrorCode::Unreachable => {
            items.push(Finding::failed(
                "agent",
                error.message,
                "systemctl start splitterd",
            ));
        }
        Err(error) => return Err(error.into()),
    }
    let healthy = items.iter().all(|finding| finding.ok);
    session.show(&FindingList { items })?;
    Ok(if healthy { DONE } else { REFUSED })
}

impl View for FindingList {
    fn text(&self, _: Detail, paint: Paint) -> String {
        self.items
            .iter()
            .map(|finding| describe(finding, paint))
            .collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        format::lines_of(&self.items)
    }
}

fn describe(finding: &Finding, paint: Paint) -> String {
    let Finding {
        check,
        ok,
        message,
        fix,
    } = finding;
    let mark = if *ok {
        paint.good("ok  ")
    } else {
        paint.bad("FAIL")
    };
    let mut text = format!("{mark}  {check}: {message}\n");
    if let Some(fix) = fix {
        text += &format!("      fix: {fix}\n");
    }
    text
}
