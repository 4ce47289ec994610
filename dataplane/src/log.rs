//! The log: text on a terminal, one JSON object per line otherwise, always on stderr. The filter can
//! be changed while the node runs.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use mq_model::config::{Log, LogFormat};
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Longest filter, in bytes.
pub const MAX_FILTER: usize = 4096;

/// Why a filter is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    #[error("the log filter is empty; use a level such as `info`, or directives such as `mqd=debug,info`")]
    Empty,
    #[error("the log filter has {0} bytes; use at most {MAX_FILTER}")]
    TooLong(usize),
    #[error("cannot read the log filter `{filter}`: {reason}; use directives such as `mqd=debug,info`")]
    Invalid { filter: String, reason: String },
    #[error("the log of this process is gone")]
    Gone,
}

/// Reads and changes the filter of a running log. Cheap to clone.
#[derive(Clone)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    filter: Arc<Mutex<String>>,
}

impl LogControl {
    /// The filter in force.
    pub fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another filter in force; the old one stays when the new one is not valid.
    ///
    /// # Errors
    ///
    /// See [`FilterError`].
    pub fn set_filter(&self, filter: &str) -> Result<(), FilterError> {
        let parsed = parse_filter(filter)?;
        let mut current = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(parsed).map_err(|_| FilterError::Gone)?;
        filter.clone_into(&mut current);
        Ok(())
    }
}

/// A log that writes to `writer`, and its control.
///
/// # Errors
///
/// When the filter is not valid.
pub fn build<W>(
    settings: &Log,
    is_terminal: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LogControl), FilterError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(parse_filter(&settings.filter)?);
    let is_text = match settings.format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let mut lines = tracing_subscriber::fmt::layer().with_writer(writer);
    if !is_terminal {
        // On a terminal the colours are there unless NO_COLOR is set.
        lines.set_ansi(false);
    }
    let lines =
        if is_text { lines.boxed() } else { lines.json().flatten_event(true).with_span_list(false).boxed() };
    let control = LogControl { handle, filter: Arc::new(Mutex::new(settings.filter.clone())) };
    Ok((Registry::default().with(filter).with(lines), control))
}

/// Makes stderr the log of the process, panics included.
///
/// # Errors
///
/// When the filter is not valid.
pub fn install(settings: &Log) -> Result<LogControl, FilterError> {
    let (subscriber, control) = build(settings, io::stderr().is_terminal(), io::stderr)?;
    // There is one already where a test runs several nodes in a process.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(thread = thread.name(), location, message = reason(panic.payload()),);
    }));
    Ok(control)
}

/// What a panic says, where it says something.
fn reason(payload: &dyn std::any::Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic")
}

fn parse_filter(filter: &str) -> Result<EnvFilter, FilterError> {
    if filter.trim().is_empty() {
        return Err(FilterError::Empty);
    }
    if filter.len() > MAX_FILTER {
        return Err(FilterError::TooLong(filter.len()));
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| FilterError::Invalid { filter: filter.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn log(format: LogFormat, is_terminal: bool) -> (impl Subscriber + Send + Sync, LogControl, Lines) {
        let lines = Lines::default();
        let writer = lines.clone();
        let settings = Log { filter: "info".into(), format };
        let (subscriber, control) = build(&settings, is_terminal, move || writer.clone()).unwrap();
        (subscriber, control, lines)
    }

    #[test]
    fn a_log_that_is_not_a_terminal_is_json_with_the_fields_of_the_event() {
        let (subscriber, _control, lines) = log(LogFormat::Auto, false);
        tracing::subscriber::with_default(subscriber, || tracing::info!(port = 5672, "listening"));
        let line: serde_json::Value = serde_json::from_str(&lines.take()).unwrap();
        assert_eq!(line["message"], "listening");
        assert_eq!(line["port"], 5672);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_log_on_a_terminal_is_text() {
        let (subscriber, _control, lines) = log(LogFormat::Auto, true);
        tracing::subscriber::with_default(subscriber, || tracing::info!("listening"));
        let line = lines.take();
        assert!(line.contains("listening") && !line.starts_with('{'), "{line}");
    }

    #[test]
    fn the_filter_changes_while_the_log_is_in_use() {
        let (subscriber, control, lines) = log(LogFormat::Json, false);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            control.set_filter("debug").unwrap();
            tracing::debug!("after");
        });
        let lines = lines.take();
        assert!(lines.contains("after") && !lines.contains("before"), "{lines}");
        assert_eq!(control.filter(), "debug");
    }

    #[test]
    fn a_filter_that_is_not_valid_leaves_the_old_one_in_force() {
        let (_subscriber, control, _lines) = log(LogFormat::Json, false);
        for filter in ["", "  ", "mqd=loudest", "=,=", &"a".repeat(MAX_FILTER + 1)] {
            assert!(control.set_filter(filter).is_err(), "`{filter}`");
        }
        assert_eq!(control.filter(), "info");
    }
}
