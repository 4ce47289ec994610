//! The names of the files of a log.

/// What a file is called until it is complete.
const UNFINISHED: &str = ".new";
const SUFFIX: &str = ".log";

/// The name of the file of a segment.
pub(crate) fn name(segment: u32) -> String {
    format!("{segment:010}{SUFFIX}")
}

/// Its name until it is complete.
pub(crate) fn unfinished(segment: u32) -> String {
    name(segment) + UNFINISHED
}

/// The segment whose file has that name.
pub(crate) fn segment(name: &str) -> Option<u32> {
    let number = name.strip_suffix(SUFFIX)?;
    let is_ours = number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_ours)
}

/// Whether the file was not completed before the node went down.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|name| segment(name).is_some())
}
