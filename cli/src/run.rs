//! From a command line to an exit code.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

use crate::{
    args::{Cli, Command, Format, message::RecordFormat},
    command,
    exit::Exit,
    failure::{Failure, Outcome, reason},
    output::Output,
};

/// Runs one command line, the program's name first, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data and go to stdout; a closed pipe is no error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let format = error_format(&cli.command);
    let mut output = Output::new(&cli.global);
    let result = runtime().and_then(|runtime| {
        let result = runtime.block_on(command::run(cli, &mut output));
        // A task of a client library that still waits for its peer must not keep the process alive.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_closed_pipe() => Exit::Ok.into(),
        Err(failure) => {
            output.failure(&failure, format);
            failure.exit.into()
        }
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {}", reason(&error))))
}

/// An error is written in the format of the output it stands in for.
fn error_format(command: &Command) -> Format {
    use crate::args::{
        address::AddressCommand, connection::ConnectionCommand, connection::LinkCommand,
        context::ContextCommand, deploy::DeployCommand, fleet::FleetCommand, fleet::GraphFormat,
        node::NodeCommand, session::RetainedCommand, session::SessionCommand, space::ProfileCommand,
        space::SpaceCommand, subscription::SubscriptionCommand,
    };
    let record = |format: RecordFormat| match format {
        RecordFormat::Json => Format::Jsonl,
        RecordFormat::Text | RecordFormat::Raw => Format::Table,
    };
    match command {
        Command::Deploy(args) => match &args.command {
            Some(DeployCommand::History(args)) => args.view.output,
            Some(DeployCommand::Rollback(args)) => args.roll.output,
            None => args.roll.output,
        },
        Command::Scale(args) => args.roll.output,
        Command::Restart(args) => args.roll.output,
        Command::Upgrade(args) => args.roll.output,
        Command::Fleet(FleetCommand::Drift(args)) => args.output,
        Command::Fleet(FleetCommand::Graph(args)) => match args.output {
            GraphFormat::Json => Format::Json,
            GraphFormat::Yaml => Format::Yaml,
            GraphFormat::Table | GraphFormat::Dot => Format::Table,
        },
        Command::Status(args) => args.view.output,
        Command::Check(args) => args.view.output,
        Command::Recv(args) => record(args.output),
        Command::Browse(args) => record(args.output),
        Command::Subscription(SubscriptionCommand::List(args)) => args.view.output,
        Command::Session(SessionCommand::List(args)) => args.view.output,
        Command::Session(SessionCommand::Show(args)) => args.view.output,
        Command::Retained(RetainedCommand::List(args)) => args.view.output,
        Command::Request(args) => record(args.output),
        Command::Address(AddressCommand::Create(args)) => args.view.output,
        Command::Address(AddressCommand::List(args)) => args.view.output,
        Command::Address(AddressCommand::Show(args)) => args.view.output,
        Command::Space(SpaceCommand::List(args)) | Command::Profile(ProfileCommand::List(args)) => {
            args.view.output
        }
        Command::Space(SpaceCommand::Show(args)) | Command::Profile(ProfileCommand::Show(args)) => {
            args.view.output
        }
        Command::Node(NodeCommand::List(args)) => args.view.output,
        Command::Node(NodeCommand::Show(args)) => args.view.output,
        Command::Connection(ConnectionCommand::List(args)) => args.view.output,
        Command::Connection(ConnectionCommand::Show(args)) => args.view.output,
        Command::Link(LinkCommand::List(args)) => args.view.output,
        Command::Context(ContextCommand::List(args)) => args.view.output,
        Command::Context(ContextCommand::Show(args)) => args.view.output,
        _ => Format::Table,
    }
}
