//! The terminal: text that stays, and one block below it that is drawn anew while something goes on.
//!
//! Without a terminal only what stays is printed, without colours.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

/// Where the demo prints.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    colour: bool,
    /// Lines of the live block on the terminal now.
    live: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            terminal,
            colour,
            live: 0,
        }
    }

    /// Whether somebody watches.
    pub(crate) fn is_live(&self) -> bool {
        self.terminal
    }

    /// A heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.print(&[String::new(), self.bold(text)]);
    }

    /// A sentence.
    pub(crate) fn say(&mut self, text: impl Display) {
        self.print(&[format!("   {text}")]);
    }

    /// A command line, as an operator types it.
    pub(crate) fn command(&mut self, line: &str) {
        let line = self.bold(&format!("$ {line}"));
        self.print(&[format!("   {line}")]);
    }

    /// Draws the live block anew.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        if self.terminal {
            self.erase();
            self.put(lines);
            self.live = lines.len();
        }
    }

    /// Draws the block for the last time: it stays.
    pub(crate) fn settle(&mut self, lines: &[String]) {
        self.print(lines);
    }

    fn print(&mut self, lines: &[String]) {
        self.erase();
        self.put(lines);
    }

    /// Goes back up over the live block.
    fn erase(&mut self) {
        if self.live > 0 {
            print!("\x1b[{}A\x1b[J", self.live);
            self.live = 0;
        }
    }

    #[expect(clippy::unused_self, reason = "printing goes through the screen")]
    fn put(&self, lines: &[String]) {
        let mut out = std::io::stdout().lock();
        for line in lines {
            // Whoever closed the pipe has seen enough; the demo still ends properly.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        if self.colour {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A number with its thousands parted: 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A bar of at most 24 characters for a share of 0 to 1.
pub(crate) fn bar(share: f64) -> String {
    const WIDTH: usize = 24;
    let filled = (0..WIDTH)
        .filter(|&cell| share * WIDTH as f64 >= cell as f64 + 0.5)
        .count();
    // However small, something is something.
    let filled = if share > 0.0 { filled.max(1) } else { 0 };
    format!("{}{}", "█".repeat(filled), "·".repeat(WIDTH - filled))
}
