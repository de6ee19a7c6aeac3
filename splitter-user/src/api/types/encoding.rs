//! How durations and moments are written in JSON: `"30m"` and `"2026-01-31T12:00:00Z"`.

/// A duration as text, for `#[serde(with = "...")]` on `Option<Duration>`.
pub mod optional_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes `"1m 30s"`, or null.
    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads what `serialize` writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        humantime::parse_duration(&text).map(Some).map_err(|error| {
            D::Error::custom(format!(
                "duration {text:?}: {error}; write it like 30s, 5m or 1h"
            ))
        })
    }
}

/// A moment as RFC 3339 text in UTC with whole seconds, for `#[serde(with = "...")]` on `SystemTime`.
pub mod moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes `"2026-01-31T12:00:00Z"`.
    pub fn serialize<S: Serializer>(value: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_seconds(*value))
    }

    /// Reads RFC 3339 text in UTC.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map_err(|error| {
            D::Error::custom(format!(
                "time {text:?}: {error}; write it like 2026-01-31T12:00:00Z"
            ))
        })
    }
}

/// Like [`moment`], for `Option<SystemTime>`.
pub mod optional_moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes a moment, or null.
    pub fn serialize<S: Serializer>(
        value: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(time) => super::moment::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a moment, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        humantime::parse_rfc3339(&text).map(Some).map_err(|error| {
            D::Error::custom(format!(
                "time {text:?}: {error}; write it like 2026-01-31T12:00:00Z"
            ))
        })
    }
}
