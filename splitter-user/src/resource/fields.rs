//! Reading the fields of a map: what is known, what is not there yet, what is misspelt.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::tree::{Key, Node, Value};
use crate::diagnostic::{Position, Report, closest, list};

/// The fields that a map may have.
pub(super) struct Known {
    /// Fields that are read.
    pub(super) now: &'static [&'static str],
    /// Fields of the format that this version does not have yet.
    pub(super) later: &'static [&'static str],
}

/// The fields of one map.
pub(super) struct Fields<'n> {
    at: Position,
    path: String,
    entries: &'n [(Key, Node)],
}

/// A field's value with its path.
#[derive(Clone)]
pub(super) struct Field<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
}

impl<'n> Fields<'n> {
    /// Opens a map and reports every field in it that is not known.
    pub(super) fn open(field: Field<'n>, known: &Known, report: &mut Report<'_>) -> Option<Self> {
        let Value::Map(entries) = &field.node.value else {
            let allowed = list(known.now.iter().copied());
            field.error(
                report,
                format!("{} where a map is expected", field.node.kind()),
                format!("write fields, out of: {allowed}"),
            );
            return None;
        };
        let fields = Self {
            at: field.node.at,
            path: field.path,
            entries,
        };
        for (key, _) in entries {
            fields.check(key, known, report);
        }
        Some(fields)
    }

    fn check(&self, key: &Key, known: &Known, report: &mut Report<'_>) {
        let name = key.text.as_str();
        let path = self.path_of(name);
        if known.now.contains(&name) {
            return;
        }
        if known.later.contains(&name) {
            report.error(
                key.at,
                path,
                format!("`{name}` is not there yet: this version of splitter does not have it"),
                "take the field out, or use a later version",
            );
            return;
        }
        let all = known.now.iter().chain(known.later).copied();
        report.error(
            key.at,
            path,
            format!(
                "`{name}` is not a known field; known: {}",
                list(known.now.iter().copied())
            ),
            match closest(name, all) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "take the field out".to_owned(),
            },
        );
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Where the map stands.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// A field, if it is given and not null.
    pub(super) fn get(&self, name: &str) -> Option<Field<'n>> {
        self.entries
            .iter()
            .find(|(key, node)| key.text == name && !matches!(node.value, Value::Null))
            .map(|(_, node)| Field {
                node,
                path: self.path_of(name),
            })
    }

    /// A field that must be there.
    pub(super) fn require(
        &self,
        name: &str,
        example: &str,
        report: &mut Report<'_>,
    ) -> Option<Field<'n>> {
        let found = self.get(name);
        if found.is_none() {
            let written = self.entries.iter().find(|(key, _)| key.text == name);
            report.error(
                written.map_or(self.at, |(key, _)| key.at),
                self.path_of(name),
                format!("`{name}` is missing"),
                format!("add it, such as `{name}: {example}`"),
            );
        }
        found
    }
}

impl<'n> Field<'n> {
    /// Reports that this value is wrong.
    pub(super) fn error(
        &self,
        report: &mut Report<'_>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        report.error(self.node.at, self.path.clone(), message, fix);
    }

    /// The elements of a list.
    pub(super) fn elements(&self, report: &mut Report<'_>) -> Option<Vec<Field<'n>>> {
        let Value::List(nodes) = &self.node.value else {
            let message = format!("{} where a list is expected", self.node.kind());
            self.error(report, message, "write `- ` before each element");
            return None;
        };
        let element = |(index, node)| Field {
            node,
            path: format!("{}[{index}]", self.path),
        };
        Some(nodes.iter().enumerate().map(element).collect())
    }

    /// The entries of a map whose keys are free.
    pub(super) fn entries(&self, report: &mut Report<'_>) -> Option<Vec<(&'n str, Field<'n>)>> {
        let Value::Map(entries) = &self.node.value else {
            let message = format!("{} where a map is expected", self.node.kind());
            self.error(report, message, "write `key: value`");
            return None;
        };
        let entry = |(key, node): &'n (Key, Node)| {
            let path = format!("{}.{}", self.path, key.text);
            (key.text.as_str(), Field { node, path })
        };
        Some(entries.iter().map(entry).collect())
    }

    /// The text of a scalar.
    pub(super) fn text(&self, report: &mut Report<'_>) -> Option<&'n str> {
        if let Value::Scalar(text) = &self.node.value {
            return Some(text);
        }
        let message = format!("{} where a single value is expected", self.node.kind());
        self.error(report, message, "write one value");
        None
    }

    /// A whole number within bounds.
    pub(super) fn number<N>(&self, range: RangeInclusive<N>, report: &mut Report<'_>) -> Option<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        let text = self.text(report)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && range.contains(n));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.error(
                report,
                format!("`{text}` is not a whole number from {least} to {most}"),
                format!("write a number from {least} to {most}"),
            );
        }
        number
    }

    /// An address.
    pub(super) fn address(&self, report: &mut Report<'_>) -> Option<IpAddr> {
        let text = self.text(report)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.error(
                report,
                format!("`{text}` is not an IPv4 or IPv6 address"),
                "write an address such as 198.18.1.100 or \"2001:db8:1::100\", without port or \
                 prefix",
            );
        }
        address
    }

    /// A duration.
    pub(super) fn duration(&self, report: &mut Report<'_>) -> Option<Duration> {
        let text = self.text(report)?;
        match humantime::parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.error(
                    report,
                    format!("`{text}` is not a time: {error}"),
                    "write a number and a unit, such as 500ms, 30s, 5m, 1h or 1h 30m",
                );
                None
            }
        }
    }

    /// One of a few words. Words of the format that this version does not have are told apart from
    /// misspelt ones.
    pub(super) fn word<T: Copy>(
        &self,
        now: &[(&'static str, T)],
        later: &[&'static str],
        report: &mut Report<'_>,
    ) -> Option<T> {
        let text = self.text(report)?;
        if let Some((_, value)) = now.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words = || now.iter().map(|(word, _)| *word);
        let allowed = list(words());
        if later.contains(&text) {
            self.error(
                report,
                format!("`{text}` is not there yet: this version of splitter does not have it"),
                format!("write one of: {allowed}"),
            );
        } else {
            self.error(
                report,
                format!("`{text}` is not known; allowed: {allowed}"),
                match closest(text, words().chain(later.iter().copied())) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write one of: {allowed}"),
                },
            );
        }
        None
    }
}
