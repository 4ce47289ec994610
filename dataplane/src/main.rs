//! `mqd`: one node of an mq fleet.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use mqd::app::App;
use mqd::{config, keep_memory, log};

/// Exit code of a node that could not be started or did not stop cleanly.
const FAILED: u8 = 1;

/// Exit code of a wrong command line or configuration.
const CONFIGURATION: u8 = 2;

/// The mq data-plane daemon: an AMQP 1.0 router with an admin API.
#[derive(Debug, Parser)]
#[command(
    name = "mqd",
    version,
    after_help = "Exit codes: 0 stopped cleanly, or the configuration is valid; 1 failed; 2 the command line or \
                  the configuration is not valid; 130 or 143 ended by a second signal."
)]
struct Arguments {
    #[command(flatten)]
    file: File,
    /// The name of the node, in place of the configuration's
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// What to log, in place of the configuration's log.filter, such as `mqd=debug,info`
    #[arg(long, value_name = "DIRECTIVES")]
    log_filter: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct File {
    /// Serve with this configuration (YAML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check this configuration, print every problem with its line and column, and exit
    #[arg(long, value_name = "FILE")]
    check_config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.file.config, arguments.file.check_config) {
        (_, Some(file)) => check(&file, arguments.node),
        (Some(file), None) => serve(&file, arguments.node, arguments.log_filter),
        (None, None) => ExitCode::from(CONFIGURATION),
    }
}

fn check(file: &Path, node: Option<String>) -> ExitCode {
    match config::load(file, node) {
        Ok(_) => {
            // Nobody reads it where the pipe is closed; the exit code says the same.
            let _ = writeln!(io::stdout(), "{}: valid", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, CONFIGURATION),
    }
}

fn serve(file: &Path, node: Option<String>, log_filter: Option<String>) -> ExitCode {
    let config = match config::load(file, node) {
        Ok(config) => config,
        Err(error) => return fail(&error, CONFIGURATION),
    };
    // The configuration stays what the file says: `mq` recognises the node by its hash.
    let mut settings = config.log.clone();
    if let Some(filter) = log_filter {
        settings.filter = filter;
    }
    let control = match log::install(&settings) {
        Ok(control) => control,
        Err(error) => return fail(&error, CONFIGURATION),
    };
    keep_memory();
    let ran = App::build(config, control)
        .context("cannot start")
        .and_then(|app| app.run_until_signalled().context("cannot go on"));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(code)
}
