use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::loader::Mode;

/// How the decapsulator is attached, as the command line has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "comments, not docs, which would make clap spread the list over many lines of the help"
)]
pub enum AttachMode {
    // In the driver, or not at all.
    Native,
    // In the stack.
    Generic,
    // In the driver if it can.
    Auto,
}

impl From<AttachMode> for Mode {
    fn from(mode: AttachMode) -> Self {
        match mode {
            AttachMode::Native => Self::Native,
            AttachMode::Generic => Self::Generic,
            AttachMode::Auto => Self::Auto,
        }
    }
}

impl fmt::Display for AttachMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Auto => "auto",
        })
    }
}
