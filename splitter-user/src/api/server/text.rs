//! Texts of a request that the agent keeps and repeats: in the journal, in the log, on terminals.

use crate::api::types::{ApiError, ChangeRequest};

/// Longest reason, and longest name.
pub const MAX_TEXT: usize = 253;
/// Longest request as the command line spells it: the longest names of eight tracks, or the path of a file.
pub const MAX_LINE: usize = 1_024;

/// Refuses a change whose texts are too long or would steer a terminal.
pub fn check_change(request: &ChangeRequest) -> Result<(), ApiError> {
    check_reason(request.reason.as_deref())?;
    check("the request", &request.line(), MAX_LINE)
}

/// The same for a reason.
pub fn check_reason(reason: Option<&str>) -> Result<(), ApiError> {
    reason.map_or(Ok(()), |reason| check("reason", reason, MAX_TEXT))
}

/// The same for any text, by what it is.
pub fn check(what: &str, text: &str, most: usize) -> Result<(), ApiError> {
    let length = text.chars().count();
    if length > most {
        return Err(ApiError::refused(format!(
            "{what} has {length} characters: at most {most} are kept; shorten it"
        )));
    }
    if let Some((before, control)) = text.chars().enumerate().find(|(_, c)| c.is_control()) {
        return Err(ApiError::refused(format!(
            "{what}: character {} is U+{:04X}, a control character: printable ones are allowed; take it out, or write a \
             space",
            before + 1,
            u32::from(control)
        )));
    }
    Ok(())
}
