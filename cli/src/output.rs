//! Everything that `mq` prints goes through one [`Output`].
//!
//! stdout carries what a pipe wants: tables, documents, message bodies. stderr carries what is said to a
//! person: progress, summaries, warnings, errors. Data is flushed as it is written; a reader that
//! has gone away ends the command without an error.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::{Value, json};

use crate::{
    args::{ColorChoice, Format, Global, View},
    env,
    failure::{Failure, Outcome, reason},
};

/// The version of the JSON that `mq` prints. Fields are added under it, never changed.
pub const API_VERSION: &str = "mq.cli/v1";

/// Where the output goes and how it looks.
pub struct Output {
    data: Box<dyn Write + Send>,
    quiet: bool,
    color: bool,
    /// Somebody is watching stderr.
    is_watched: bool,
    /// A question can be asked and answered.
    is_interactive: bool,
}

/// A list of objects: rows for people, values for programs.
pub struct Listing {
    /// The `kind` of the JSON document, such as `NodeList`.
    pub kind: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// Whether the rows are documents of their own, which YAML prints one after the other so that
    /// `mq apply -f -` can read them.
    pub documents: bool,
}

/// A column of a table.
pub struct Column {
    pub title: &'static str,
    pub right: bool,
    /// Only with `-o wide`.
    pub wide: bool,
}

/// One object.
pub struct Row {
    pub name: String,
    pub cells: Vec<String>,
    pub value: Value,
}

impl Column {
    pub const fn left(title: &'static str) -> Self {
        Self { title, right: false, wide: false }
    }

    pub const fn right(title: &'static str) -> Self {
        Self { title, right: true, wide: false }
    }

    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.wide = true;
        self
    }
}

impl Output {
    pub fn new(global: &Global) -> Self {
        let is_ci = env::text(env::CI).is_some();
        let is_watched = io::stderr().is_terminal() && !is_ci;
        let forced = env::text(env::CLICOLOR_FORCE).is_some_and(|value| value != "0");
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if env::text(env::NO_COLOR).is_some() => false,
            ColorChoice::Auto => forced || io::stderr().is_terminal(),
        };
        Self {
            data: Box::new(io::stdout()),
            quiet: global.quiet,
            color,
            is_watched,
            is_interactive: is_watched && io::stdin().is_terminal(),
        }
    }

    /// Whether a question can be asked.
    pub fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Whether somebody watches stderr, so that progress may move.
    pub fn is_watched(&self) -> bool {
        self.is_watched && !self.quiet
    }

    /// Writes one line of data.
    pub fn line(&mut self, line: &str) -> Outcome {
        let result = writeln!(self.data, "{line}").and_then(|()| self.data.flush());
        checked(result)
    }

    /// Writes data as it is.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        let result = self.data.write_all(bytes).and_then(|()| self.data.flush());
        checked(result)
    }

    /// Writes a JSON document for a program, indented.
    pub fn json(&mut self, value: &Value) -> Outcome {
        self.line(&format!("{value:#}"))
    }

    /// Writes a YAML document.
    pub fn yaml(&mut self, value: &Value) -> Outcome {
        let text = yaml(value)?;
        self.line(text.trim_end())
    }

    /// Writes a list in the format that was asked for.
    pub fn listing(&mut self, listing: &Listing, view: View) -> Outcome {
        match view.output {
            Format::Table | Format::Wide => self.table(listing, view),
            Format::Json => self.json(&listing.document()),
            Format::Jsonl => listing.rows.iter().try_for_each(|row| self.line(&row.value.to_string())),
            Format::Yaml if listing.documents => self.documents(listing),
            Format::Yaml => self.yaml(&listing.document()),
            Format::Name => listing.rows.iter().try_for_each(|row| self.line(&row.name)),
        }
    }

    /// Writes one object: as a document of its own, or as a list of one.
    pub fn object(&mut self, listing: &Listing, view: View) -> Outcome {
        let kind = listing.kind.strip_suffix("List").unwrap_or(listing.kind);
        match (view.output, listing.rows.first()) {
            (Format::Json, Some(row)) => self.json(&document(kind, row.value.clone())),
            (Format::Yaml, Some(row)) => self.yaml(&document(kind, row.value.clone())),
            _ => self.listing(listing, view),
        }
    }

    fn documents(&mut self, listing: &Listing) -> Outcome {
        for row in &listing.rows {
            self.line("---")?;
            self.yaml(&row.value)?;
        }
        Ok(())
    }

    fn table(&mut self, listing: &Listing, view: View) -> Outcome {
        if listing.rows.is_empty() {
            return Ok(());
        }
        let shown: Vec<usize> = (0..listing.columns.len())
            .filter(|index| view.output == Format::Wide || !listing.columns[*index].wide)
            .collect();
        let mut table = Table::new();
        // No borders: a table of `mq` is as easy to read for awk as for a person.
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if !view.no_headers {
            table.set_header(shown.iter().map(|index| listing.columns[*index].title));
        }
        for row in &listing.rows {
            table.add_row(shown.iter().map(|index| row.cells.get(*index).map_or("", String::as_str)));
        }
        for (position, index) in shown.iter().enumerate() {
            if let Some(column) = table.column_mut(position) {
                column.set_padding((0, 2));
                if listing.columns[*index].right {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        let text = table.to_string();
        for line in text.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Says something to a person.
    pub fn talk(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Says something that a person should look at.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            say(&format!("{} {text}", self.painted("warning:", "33")));
        }
    }

    /// Says whose part of a list is missing, and `nothing` when it is empty and nobody's is.
    pub fn missing(&self, unanswered: &[String], is_empty: bool, nothing: Option<&str>) {
        for node in unanswered {
            self.warn(&format!("{node} cannot be reached, or does not answer: what it has is not listed"));
        }
        if let Some(nothing) = nothing.filter(|_| is_empty && unanswered.is_empty()) {
            self.talk(nothing);
        }
    }

    /// Reports why the command failed; as JSON on stderr when the data would have been JSON.
    pub fn failure(&self, failure: &Failure, format: Format) {
        if failure.is_shown() {
            return;
        }
        if format.is_structured() {
            let error = json!({
                "exitCode": failure.exit.code(),
                "message": failure.message,
                "help": failure.help,
            });
            say(&json!({ "apiVersion": API_VERSION, "kind": "Error", "error": error }).to_string());
            return;
        }
        if failure.is_verbatim() {
            say(failure.to_string().trim_end());
            return;
        }
        say(&format!("{} {failure}", self.painted("error:", "1;31")));
    }

    /// Asks a yes-or-no question on stderr; the answer to anything but `y` or `yes` is no.
    pub fn confirm(&self, question: &str) -> Outcome<bool> {
        let mut stderr = io::stderr();
        let asked = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        asked.map_err(|error| Failure::failed(format!("cannot ask: {}", reason(&error))))?;
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        read.map_err(|error| Failure::failed(format!("cannot read the answer: {}", reason(&error))))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    fn painted(&self, text: &str, code: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Listing {
    pub fn new(kind: &'static str, columns: Vec<Column>) -> Self {
        Self { kind, columns, rows: Vec::new(), documents: false }
    }

    fn document(&self) -> Value {
        let items: Vec<&Value> = self.rows.iter().map(|row| &row.value).collect();
        json!({ "apiVersion": API_VERSION, "kind": self.kind, "items": items })
    }
}

/// An object with what it is, unless it says that itself.
pub fn document(kind: &str, value: Value) -> Value {
    match value {
        Value::Object(fields) if !fields.contains_key("apiVersion") => {
            let mut document = json!({ "apiVersion": API_VERSION, "kind": kind });
            for (name, field) in fields {
                document[name] = field;
            }
            document
        }
        other => other,
    }
}

/// A JSON value of the data model as it is serialised; types of ours always can be.
pub fn value(item: &impl serde::Serialize) -> Value {
    serde_json::to_value(item).expect("types of the data model have string keys and finite numbers")
}

/// YAML text of a value.
pub fn yaml(value: &Value) -> Outcome<String> {
    serde_saphyr::to_string(value).map_err(|error| Failure::failed(format!("cannot write YAML: {error}")))
}

fn checked(result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
        Err(error) => Err(Failure::failed(format!("cannot write to stdout: {}", reason(&error)))),
    }
}

/// A line on stderr. When stderr is gone there is nobody left to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
