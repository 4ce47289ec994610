//! What is wrong with a file: every problem with its place, the line itself, and what to do.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use crate::code::Code;

/// Diagnostics that one file may have; the rest is counted. A file that has more is not the file
/// that its author meant.
pub const MAX_DIAGNOSTICS: usize = 100;

/// Findings that are kept until they are sorted. Enough that the first hundred places are among
/// them, and a bound to the memory that a bad file costs.
const MAX_FINDINGS: usize = 10 * MAX_DIAGNOSTICS;

/// The characters of a source line that are shown.
const SHOWN_COLUMNS: usize = 120;

/// The characters shown before the caret when a line is too long to be shown whole.
const SHOWN_BEFORE: usize = 40;

/// One problem at one place of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    pub code: Code,
    /// The file's path as it was given.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The column behind the last character of the place; always greater than `column`.
    pub end_column: usize,
    /// What is wrong, and where in the document.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where to read on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The line itself; empty at the end of the file.
    pub source: String,
    /// The line before it, when there is one with text.
    #[serde(skip)]
    context: Option<String>,
}

/// Every problem of the files that were read together; at least one.
///
/// Displays as a compiler would print it: a heading, the place, the line with a caret below the
/// culprit. Serialises as a list of [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    #[serde(skip)]
    omitted: usize,
}

/// A problem before its place is turned into line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) notes: Vec<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { code, span, message: message.into(), help: None, notes: Vec::new() }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn help_maybe(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// The findings of one file; beyond a bound they are only counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    items: Vec<Finding>,
    omitted: usize,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.items.len() < MAX_FINDINGS {
            self.items.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many there were, those not kept included.
    pub(crate) fn total(&self) -> usize {
        self.items.len() + self.omitted
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.items.iter()
    }
}

impl Diagnostics {
    /// The problems, by file in the order given, then by place.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.items.iter()
    }

    /// How many problems were found, those beyond [`MAX_DIAGNOSTICS`] of a file included.
    pub fn total(&self) -> usize {
        self.items.len() + self.omitted
    }
}

/// Collects findings of several files and turns them into diagnostics.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    items: Vec<Diagnostic>,
    omitted: usize,
}

impl Collector {
    /// Takes the findings of one file, in any order; the same finding twice (an alias, an anchor)
    /// counts once.
    pub(crate) fn add(&mut self, file: &str, lines: &Lines<'_>, findings: Findings) {
        let Findings { mut items, omitted } = findings;
        items.sort_by_key(|finding| (finding.span.start, finding.code));
        items.dedup();
        self.omitted += omitted + items.len().saturating_sub(MAX_DIAGNOSTICS);
        let shown = items.into_iter().take(MAX_DIAGNOSTICS);
        self.items.extend(shown.map(|finding| lines.diagnostic(file, finding)));
    }

    /// The value that was read when nothing was found.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Diagnostics> {
        match value {
            Some(value) if self.items.is_empty() => Ok(value),
            _ => Err(Diagnostics { items: self.items, omitted: self.omitted }),
        }
    }
}

/// A text and where its lines begin.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The number, from 0, of the line that holds the byte.
    pub(crate) fn number(&self, byte: usize) -> usize {
        self.starts.partition_point(|&start| start <= byte).saturating_sub(1)
    }

    /// Where a line begins, and its text without the line break.
    fn line(&self, number: usize) -> (usize, &'a str) {
        let start = self.starts.get(number).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("");
        (start, line.strip_suffix('\r').unwrap_or(line))
    }

    fn diagnostic(&self, file: &str, finding: Finding) -> Diagnostic {
        // A problem at the end of the text belongs to its last line that has text.
        let mut at = finding.span.start.min(self.text.len());
        if self.text.get(at..).is_some_and(|rest| rest.trim().is_empty()) {
            at = at.min(self.text.trim_end().len());
        }
        let number = self.number(at);
        let (start, line) = self.line(number);
        let column = characters(line, at - start);
        let end = characters(line, finding.span.end.saturating_sub(start)).max(column + 1);
        let before = number.checked_sub(1).map(|before| self.line(before).1);
        Diagnostic {
            code: finding.code,
            file: file.to_owned(),
            line: number + 1,
            column: column + 1,
            end_column: end + 1,
            message: finding.message,
            help: finding.help,
            notes: finding.notes,
            source: line.to_owned(),
            context: before.filter(|line| !line.trim().is_empty()).map(str::to_owned),
        }
    }
}

/// The characters of a line before a byte.
fn characters(line: &str, bytes: usize) -> usize {
    line.char_indices().take_while(|&(at, _)| at < bytes).count()
}

/// A part of a line that fits on a screen and cannot change the terminal: control characters are
/// replaced, a tab is one space, so that the caret stays below its character.
fn printable(line: &str, first: usize) -> String {
    line.chars()
        .skip(first)
        .take(SHOWN_COLUMNS)
        .map(|character| match character {
            '\t' => ' ',
            character if character.is_control() => '\u{FFFD}',
            character => character,
        })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let column = self.column.saturating_sub(1);
        // A long line is shown around the place.
        let first = if column + SHOWN_BEFORE > SHOWN_COLUMNS { column - SHOWN_BEFORE } else { 0 };
        writeln!(formatter, "error[{}]: {}", self.code, self.message)?;
        writeln!(formatter, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(formatter, "{gutter} |")?;
        if let Some(context) = &self.context {
            let before = self.line.saturating_sub(1);
            writeln!(formatter, "{before:>width$} | {}", printable(context, first), width = number.len())?;
        }
        writeln!(formatter, "{number} | {}", printable(&self.source, first))?;
        let width = (self.end_column - self.column).min(SHOWN_COLUMNS - (column - first));
        write!(formatter, "{gutter} | {}{}", " ".repeat(column - first), "^".repeat(width.max(1)))?;
        if let Some(help) = &self.help {
            write!(formatter, " help: {help}")?;
        }
        for note in &self.notes {
            write!(formatter, "\n{gutter} = note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.items.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n\n")?;
            }
            diagnostic.fmt(formatter)?;
        }
        if self.omitted > 0 {
            write!(formatter, "\n\nand {} more; mend these first", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostics(text: &str, spans: impl Iterator<Item = Range<usize>>) -> Diagnostics {
        let mut findings = Findings::default();
        spans.for_each(|span| findings.push(Finding::new(Code::Syntax, span, "wrong")));
        let mut collector = Collector::default();
        collector.add("f.yaml", &Lines::new(text), findings);
        collector.finish(Some(())).expect_err("findings")
    }

    fn one(text: &str, span: Range<usize>) -> Diagnostic {
        let diagnostics = diagnostics(text, std::iter::once(span));
        diagnostics.items.into_iter().next().expect("one diagnostic")
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let diagnostic = one("größe: 1\n", 9..10);
        assert_eq!((diagnostic.line, diagnostic.column, diagnostic.end_column), (1, 8, 9));
    }

    #[test]
    fn a_place_beyond_the_text_is_the_end_of_its_last_line() {
        let diagnostic = one("a: 1\n\n\n", 7..9);
        assert_eq!((diagnostic.line, diagnostic.source.as_str()), (1, "a: 1"));
        assert_eq!(one("", 0..0).line, 1);
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("{}culprit{}", "x".repeat(5_000), "y".repeat(5_000));
        let shown = one(&text, 5_000..5_007).to_string();
        assert!(shown.contains("xculprity"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() < 140), "{shown}");
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let shown = one("a\u{1b}[31m: 1", 0..1).to_string();
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn more_than_a_hundred_problems_of_a_file_are_counted() {
        let diagnostics = diagnostics(&"x".repeat(5_000), (0..5_000).map(|at| at..at + 1));
        assert_eq!((diagnostics.iter().len(), diagnostics.total()), (100, 5_000));
        assert!(diagnostics.to_string().ends_with("and 4900 more; mend these first"));
    }
}
