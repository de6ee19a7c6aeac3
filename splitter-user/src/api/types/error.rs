use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why the agent, or the way to it, said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The kind of refusal; it decides HTTP status and exit code.
    pub code: ErrorCode,
    /// One sentence: the value, what is allowed, the fix.
    pub message: String,
    /// More of it: one entry for each error, several lines allowed (line and caret).
    pub details: Vec<String>,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// Input that is wrong, or not possible now.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Refused, message)
    }

    /// No such service, track or backend.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// Another generation than the expected one.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// A failure that is not the caller's.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// Wrong usage or refused input.
    Refused,
    /// The thing named does not exist.
    NotFound,
    /// The agent does not answer. Made by the client, never sent.
    Unreachable,
    /// The agent has more to do than it takes: nothing was done, try again.
    Busy,
    /// The change failed after it began and was taken back; traffic is as before.
    RolledBack,
    /// The time ran out.
    TimedOut,
    /// Another generation than the expected one.
    Conflict,
    /// Refused by policy.
    Policy,
    /// A failure inside the agent.
    Internal,
}

impl ErrorCode {
    /// Whether the same request may be answered in a moment: the agent is being restarted, or has too much to do.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::Busy)
    }

    /// The exit code of `splitterctl`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Refused | Self::NotFound | Self::Internal => 1,
            Self::Unreachable | Self::Busy => 2,
            Self::RolledBack => 3,
            Self::TimedOut => 4,
            Self::Conflict => 6,
            Self::Policy => 7,
        }
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Refused => 400,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Policy => 403,
            Self::TimedOut => 504,
            Self::Unreachable | Self::Busy => 503,
            Self::RolledBack | Self::Internal => 500,
        }
    }
}

/// An error in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename = "Error", rename_all = "camelCase")]
pub struct ErrorBody {
    /// The kind of refusal.
    pub code: ErrorCode,
    /// One sentence.
    pub message: String,
    /// One entry for each error.
    #[serde(default)]
    pub details: Vec<String>,
}

impl From<ApiError> for ErrorBody {
    fn from(error: ApiError) -> Self {
        let ApiError {
            code,
            message,
            details,
        } = error;
        Self {
            code,
            message,
            details,
        }
    }
}

impl From<ErrorBody> for ApiError {
    fn from(body: ErrorBody) -> Self {
        let ErrorBody {
            code,
            message,
            details,
        } = body;
        Self {
            code,
            message,
            details,
        }
    }
}
