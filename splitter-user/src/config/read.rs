//! TOML tables with positions, and which keys they may have.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Position, Report, closest, list};

/// A table and its path.
pub(super) struct Table<'t> {
    text: &'t str,
    path: String,
    entries: DeTable<'t>,
}

/// The value of a key.
pub(super) struct Value<'v, 't> {
    text: &'t str,
    path: String,
    value: &'v Spanned<DeValue<'t>>,
}

/// Parses a text; what is no TOML is reported.
pub(super) fn parse<'t>(text: &'t str, report: &mut Report<'_>) -> Option<Table<'t>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        report.error(
            error.span().map(|span| position(text, &span)),
            "",
            format!("this is not TOML: {}", error.message()),
            "write `key = value`, with texts in double quotes",
        );
    }
    errors.is_empty().then(|| Table {
        text,
        path: String::new(),
        entries: root.into_inner(),
    })
}

impl<'t> Table<'t> {
    /// Reports every key that is not known, or not there yet.
    pub(super) fn only(&self, now: &[&str], later: &[&str], report: &mut Report<'_>) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            let (at, path) = (position(self.text, &key.span()), self.path_of(name));
            if now.contains(&name) {
                continue;
            }
            if later.contains(&name) {
                report.error(
                    at,
                    path,
                    format!("`{name}` is not there yet: this version of splitter does not have it"),
                    "take it out, or use a later version",
                );
                continue;
            }
            let all = now.iter().chain(later).copied();
            report.error(
                at,
                path,
                format!(
                    "`{name}` is not a known key; known: {}",
                    list(now.iter().copied())
                ),
                match closest(name, all) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "take it out".to_owned(),
                },
            );
        }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Value<'_, 't>> {
        self.entries.get(name).map(|value| Value {
            text: self.text,
            path: self.path_of(name),
            value,
        })
    }

    /// A table inside of this one.
    pub(super) fn table(&self, name: &str, report: &mut Report<'_>) -> Option<Table<'t>> {
        let value = self.get(name)?;
        let Some(entries) = value.value.get_ref().as_table() else {
            value.wrong(
                report,
                &format!("a table: write [{name}] and its keys below"),
            );
            return None;
        };
        Some(Table {
            text: self.text,
            path: self.path_of(name),
            entries: entries.clone(),
        })
    }
}

impl<'v, 't> Value<'v, 't> {
    /// Reports that the value is wrong.
    pub(super) fn error(
        &self,
        report: &mut Report<'_>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let at = position(self.text, &self.value.span());
        report.error(at, self.path.clone(), message, fix);
    }

    fn wrong(&self, report: &mut Report<'_>, wanted: &str) {
        let kind = self.value.get_ref().type_str();
        self.error(
            report,
            format!("a value of type {kind} cannot be used here"),
            format!("this is {wanted}"),
        );
    }

    /// A text.
    pub(super) fn string(&self, report: &mut Report<'_>) -> Option<&'v str> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong(report, "a text: write it in double quotes");
        }
        text
    }

    /// A whole number.
    pub(super) fn integer(&self, report: &mut Report<'_>) -> Option<i128> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.wrong(report, "a whole number: write it without quotes");
            return None;
        };
        let digits = integer.as_str().replace('_', "");
        let number = i128::from_str_radix(&digits, integer.radix()).ok();
        if number.is_none() {
            self.wrong(report, "a whole number, and a smaller one");
        }
        number
    }

    /// The elements of a list.
    pub(super) fn elements(&self, report: &mut Report<'_>) -> Option<Vec<Value<'v, 't>>> {
        let Some(array) = self.value.get_ref().as_array() else {
            self.wrong(report, "a list: write it in brackets, such as [\"eth0\"]");
            return None;
        };
        let element = |(index, value)| Value {
            text: self.text,
            path: format!("{}[{index}]", self.path),
            value,
        };
        Some(array.iter().enumerate().map(element).collect())
    }
}

/// Line and column of a range of bytes.
fn position(text: &str, span: &Range<usize>) -> Position {
    let before = text.get(..span.start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let inside = text.get(span.clone()).unwrap_or_default();
    let first_line = inside.lines().next().unwrap_or_default();
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        width: first_line.chars().count().max(1),
    }
}
