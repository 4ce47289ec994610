//! `mq`: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    mq_cli::run(std::env::args_os())
}
