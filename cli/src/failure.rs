//! What a command that could not do its work says: what happened, to what, why, and what to type
//! next, with the exit code that goes with it.

use std::fmt;

use crate::exit::Exit;

/// An error for a person and for a script.
///
/// `message` is one lower-case sentence without a full stop; `help` is what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub help: Option<String>,
    /// The reader of stdout is gone: not an error, but there is nothing left to do.
    closed_pipe: bool,
    /// The message has been shown in full already (diagnostics of a file, a report).
    shown: bool,
    /// The message says itself that it is an error (diagnostics of a file).
    verbatim: bool,
}

/// What every fallible function of the CLI returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None, closed_pipe: false, shown: false, verbatim: false }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message is printed as it is, without `error:` in front.
    #[must_use]
    pub fn verbatim(mut self) -> Self {
        self.verbatim = true;
        self
    }

    pub fn is_verbatim(&self) -> bool {
        self.verbatim
    }

    /// Ends the process with `exit` and prints nothing more: the command has said it all.
    pub fn silent(exit: Exit) -> Self {
        Self { shown: true, ..Self::new(exit, "") }
    }

    pub fn closed_pipe() -> Self {
        Self { closed_pipe: true, ..Self::silent(Exit::Ok) }
    }

    pub fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }

    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// An operation on a file or directory that the system refused.
    pub fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failed(format!("cannot {action} {}: {}", path.display(), reason(error)))
    }
}

/// The system's reason without Rust's decoration: `permission denied`, not `Permission denied (os error 13)`.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => error.kind().to_string(),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_the_system_is_lower_case_and_has_no_number() {
        let error = std::io::Error::from_raw_os_error(13);
        assert_eq!(reason(&error), "permission denied");
    }
}
