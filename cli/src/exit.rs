//! The exit codes of `mq`: stable, one meaning each, printed by `mq help exit-codes`.

use std::process::ExitCode;

/// Why `mq` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    Failed,
    Usage,
    Partial,
    TimedOut,
    Unreachable,
    Denied,
    NotFound,
    Conflict,
    NotDelivered,
    Guarded,
    Regressed,
    Missed,
    Interrupted,
    Terminated,
}

impl Exit {
    pub const ALL: [Self; 15] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Partial,
        Self::TimedOut,
        Self::Unreachable,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::NotDelivered,
        Self::Guarded,
        Self::Regressed,
        Self::Missed,
        Self::Interrupted,
        Self::Terminated,
    ];

    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::TimedOut => 4,
            Self::Unreachable => 5,
            Self::Denied => 6,
            Self::NotFound => 7,
            Self::Conflict => 8,
            Self::NotDelivered => 9,
            Self::Guarded => 10,
            Self::Regressed => 98,
            Self::Missed => 99,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// One line for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done, or nothing to do",
            Self::Failed => "failed, or the answer is no (a check did not pass)",
            Self::Usage => "wrong usage, or a file that is not valid",
            Self::Partial => "done for some items, failed for others",
            Self::TimedOut => {
                "timed out: nothing was received, or a condition was not met in time; a bench is inconclusive"
            }
            Self::Unreachable => "cannot connect",
            Self::Denied => "authentication failed, or not permitted",
            Self::NotFound => "not found",
            Self::Conflict => "exists already, or another command holds the lock",
            Self::NotDelivered => "a message was rejected, released or modified: it was not delivered",
            Self::Guarded => "refused by a guard: repeat the command with --yes",
            Self::Regressed => "a bench is worse than its baseline",
            Self::Missed => "a bench missed a threshold",
            Self::Interrupted => "stopped by Ctrl-C; the summary is still printed",
            Self::Terminated => "stopped by SIGTERM; the summary is still printed",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_reasons_share_a_code() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 98, 99, 130, 143]);
    }
}
