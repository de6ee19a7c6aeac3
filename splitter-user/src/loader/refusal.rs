//! What the verifier said, without the thousands of lines before it.

use aya::programs::ProgramError;

use super::LoadError;

/// Lines at the end of the verifier's log that say why, and where.
const LAST: usize = 24;

impl From<ProgramError> for LoadError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError {
                io_error,
                verifier_log,
            } => Self::Refused {
                reason: io_error,
                words: last_words(&verifier_log.to_string()),
            },
            other => Self::Program(other),
        }
    }
}

/// The end of a log, and before it the function that was looked at.
fn last_words(log: &str) -> String {
    let lines: Vec<_> = log.lines().map(str::trim_end).collect();
    let start = lines.len().saturating_sub(LAST);
    let function = lines[..start]
        .iter()
        .rfind(|line| line.starts_with("Validating "));
    let words: Vec<_> = function
        .into_iter()
        .chain(&lines[start..])
        .copied()
        .collect();
    words.join("\n")
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn a_long_log_is_told_by_its_function_and_its_end() {
        let mut log =
            String::from("Validating first() func#1...\nValidating find_flow() func#2...\n");
        for line in 0..1000 {
            log += &format!("{line}: (b7) r1 = 0\n");
        }
        log += "The sequence of 8193 jumps is too complex.\n";
        let words = last_words(&log);
        assert!(
            words.starts_with("Validating find_flow() func#2...\n"),
            "{words}"
        );
        assert!(
            words.ends_with("The sequence of 8193 jumps is too complex."),
            "{words}"
        );
        assert_eq!(words.lines().count(), 25, "{words}");
    }

    #[test]
    fn a_short_log_is_told_whole() {
        assert_eq!(last_words("invalid stack\n"), "invalid stack");
        assert_eq!(last_words(""), "");
    }
}
