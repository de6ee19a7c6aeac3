//! Showing data again and again until Ctrl-C, across restarts of the agent.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::format::{self, Format, View};
use super::surroundings::Reader;
use super::{DONE, Failure, Outcome, Session, TIMED_OUT};
use crate::api::types::{ApiError, ErrorCode};

/// How often.
const PERIOD: Duration = Duration::from_secs(1);
/// Cursor home, and everything below it away.
const REDRAW: &str = "\x1b[H\x1b[2J";

/// Whether the agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// It has not answered yet.
    Never,
    /// It did, a moment ago.
    There,
    /// It did, and does no more.
    Lost,
}

/// Whether it may pass: the agent is being restarted, or is busy.
fn may_pass(error: &ApiError) -> bool {
    match error.code {
        ErrorCode::Unreachable | ErrorCode::Busy | ErrorCode::TimedOut | ErrorCode::Internal => {
            true
        }
        ErrorCode::Refused
        | ErrorCode::NotFound
        | ErrorCode::RolledBack
        | ErrorCode::Conflict
        | ErrorCode::Policy => false,
    }
}

/// Whether to show more, or to end with this exit code.
pub enum Next {
    /// Again, a second later, for as long as somebody reads.
    Again,
    /// Again, a second later, whether somebody reads or not.
    Wait,
    /// No more.
    End(u8),
}

/// An agent that answered once and does no more is waited for, until `deadline` if there is one. Asks, shows, and asks `next` whether to go on, once a second. Refreshed in place only on a terminal; else one after the other.
pub async fn watch<V, F>(
    session: &mut Session<'_, '_>,
    deadline: Option<Instant>,
    ask: impl Fn(crate::api::client::Client) -> F,
    next: impl Fn(&V) -> Next,
) -> Outcome
where
    V: View,
    F: Future<Output = Result<V, Failure>>,
{
    // An agent that was never there is an error; one that went away may come back.
    let mut connection = Connection::Never;
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let view = tokio::select! {
            _ = &mut interrupt => return Ok(DONE),
            view = async { ticks.tick().await; ask(session.client.clone()).await } => view,
        };
        let view = match (view, connection) {
            (Ok(view), before) => {
                if before == Connection::Lost {
                    session.around.talk("the agent answers again");
                }
                connection = Connection::There;
                view
            }
            (Err(Failure::Api(error)), Connection::There) if may_pass(&error) => {
                session
                    .around
                    .talk(&format!("{}; trying again every second", error.message));
                connection = Connection::Lost;
                continue;
            }
            (Err(Failure::Api(error)), Connection::Lost) if may_pass(&error) => {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(TIMED_OUT);
                }
                continue;
            }
            (Err(failure), _) => return Err(failure),
        };
        let text = format::render(&view, session.format, session.paint)?;
        let text = match session.format {
            Format::Table | Format::Wide if session.around.terminal => format!("{REDRAW}{text}"),
            Format::Yaml => format!("---\n{text}"),
            Format::Table | Format::Wide | Format::Json | Format::Jsonl => text,
        };
        let reader = session.around.print(&text)?;
        match next(&view) {
            Next::End(code) => return Ok(code),
            Next::Again if reader == Reader::Gone => return Ok(DONE),
            Next::Again | Next::Wait => {}
        }
    }
}
