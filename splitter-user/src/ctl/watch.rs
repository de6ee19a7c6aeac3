//! Showing data again and again until Ctrl-C.

use std::future::Future;
use std::time::Duration;

use super::format::{self, Format, View};
use super::surroundings::Reader;
use super::{DONE, Failure, Outcome, Session};

/// How often.
const PERIOD: Duration = Duration::from_secs(1);
/// Cursor home, and everything below it away.
const REDRAW: &str = "\x1b[H\x1b[2J";

/// Whether to show more, or to end with this exit code.
pub enum Next {
    /// Again, a second later, for as long as somebody reads.
    Again,
    /// Again, a second later, whether somebody reads or not.
    Wait,
    /// No more.
    End(u8),
}

/// Asks, shows, and asks `next` whether to go on, once a second. Refreshed in place only on a terminal; else one after the other.
pub async fn watch<V, F>(
    session: &mut Session<'_, '_>,
    ask: impl Fn(crate::api::client::Client) -> F,
    next: impl Fn(&V) -> Next,
) -> Outcome
where
    V: View,
    F: Future<Output = Result<V, Failure>>,
{
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let view = tokio::select! {
            _ = &mut interrupt => return Ok(DONE),
            view = async { ticks.tick().await; ask(session.client.clone()).await } => view?,
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
