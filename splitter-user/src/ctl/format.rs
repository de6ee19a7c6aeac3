//! The one renderer: data to table, wide table, JSON, YAML or JSON lines.

use std::io;

use clap::ValueEnum;
use comfy_table::{Cell, Color, Table, presets};
use serde::Serialize;

use super::Session;
use crate::api::types::{Existing, ListenerView};
use crate::model::OnTimeout;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    // Comments, not docs: docs would make clap spread the list over ten lines of every help.
    // For people.
    Table,
    // For people with wide terminals.
    Wide,
    // One document.
    Json,
    // One document.
    Yaml,
    // One line for each item.
    Jsonl,
}

/// How much a text for people says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What fits 100 columns or so.
    Short,
    /// Everything.
    Wide,
}

/// Data that can be printed.
pub trait View: Serialize {
    /// For people; ends with a newline unless empty.
    fn text(&self, detail: Detail, paint: Paint) -> String;

    /// Line by line, for `jsonl`: lists give their items.
    fn lines(&self) -> serde_json::Result<Vec<String>> {
        Ok(vec![serde_json::to_string(self)?])
    }
}

/// A list's items as JSON lines.
pub fn lines_of<T: Serialize>(items: &[T]) -> serde_json::Result<Vec<String>> {
    items.iter().map(serde_json::to_string).collect()
}

/// Makes text of data, in the format asked for.
pub fn render(view: &impl View, format: Format, paint: Paint) -> io::Result<String> {
    Ok(match format {
        Format::Table => view.text(Detail::Short, paint),
        Format::Wide => view.text(Detail::Wide, paint),
        Format::Json => serde_json::to_string_pretty(view)? + "\n",
        Format::Yaml => {
            let mut text = serde_saphyr::to_string(view).map_err(io::Error::other)?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text
        }
        Format::Jsonl => view.lines()?.into_iter().map(|line| line + "\n").collect(),
    })
}

impl Session<'_, '_> {
    /// Prints data in the format asked for.
    pub(super) fn show(&mut self, view: &impl View) -> io::Result<()> {
        let text = render(view, self.format, self.paint)?;
        self.around.print(&text).map(drop)
    }

    /// Whether a person reads stdout rather than a program.
    pub(super) fn for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours if they are wanted.
    pub fn new(wanted: bool) -> Self {
        Self { on: wanted }
    }

    /// A table without lines.
    pub fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(header.iter().copied());
        if self.on {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for index in 0..header.len() {
            if let Some(column) = table.column_mut(index) {
                column.set_padding((0, 2));
            }
        }
        table
    }

    /// Green text.
    pub fn good(self, text: &str) -> String {
        self.in_color("32", text)
    }

    /// Yellow text.
    pub fn notable(self, text: &str) -> String {
        self.in_color("33", text)
    }

    /// Red text.
    pub fn bad(self, text: &str) -> String {
        self.in_color("31", text)
    }

    fn in_color(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A state: what is not `ready` or `steady` stands out.
    pub fn state(self, state: &str) -> Cell {
        match state {
            "ready" | "steady" => Cell::new(state),
            _ => Cell::new(state).fg(Color::Yellow),
        }
    }
}

/// A table as text, without the blanks at the ends of its lines.
pub fn finish(table: &Table) -> String {
    table
        .trim_fmt()
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// `5` to `5%`.
pub fn percent(decimal: &str) -> String {
    format!("{decimal}%")
}

/// Slots of 65,536 as a percentage with at most 3 places: `5.002%`.
pub fn percent_of_slots(slots: u32) -> String {
    let millis = (u64::from(slots) * 100_000 + 32_768) / 65_536;
    let (whole, thousandths) = (millis / 1000, millis % 1000);
    if thousandths == 0 {
        return format!("{whole}%");
    }
    let places = format!("{thousandths:03}");
    format!("{whole}.{}%", places.trim_end_matches('0'))
}

/// Text, or a dash.
pub fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// `198.18.1.100:80/tcp`.
pub fn listener(view: &ListenerView) -> String {
    format!(
        "{}/{}",
        std::net::SocketAddr::new(view.vip, view.port),
        view.protocol
    )
}

/// `41`, or `39-41`.
pub fn generations(first: u64, last: u64) -> String {
    if first == last {
        return last.to_string();
    }
    format!("{first}-{last}")
}

/// `1h 2m 3s`.
pub fn seconds(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

/// Reads `--existing`.
pub fn existing(text: &str) -> Result<Existing, String> {
    word(text, &Existing::NAMES)
}

/// Reads `--on-timeout`.
pub fn on_timeout(text: &str) -> Result<OnTimeout, String> {
    word(text, &OnTimeout::NAMES)
}

fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("allowed: {}", names.join(", "))
    })
}

/// Reads a duration of the command line.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "write a number and a unit, like 30s, 5m or 1h".to_owned())
}

/// A text of somebody else's with its control characters spelled out: it must not steer a terminal.
pub fn printable(text: &str) -> String {
    let spelled = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(spelled).collect()
}
