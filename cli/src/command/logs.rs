//! `mq logs`: what the nodes of a fleet have said, wherever they run.

use std::time::Duration;

use crate::{
    args::node::Logs,
    client::amqp::interrupted,
    command::site::{Site, with_site},
    deploy::Backend,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

/// How often it is asked what is new.
const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(args: &Logs, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let site = Site::of_context(settings, output).await?;
    with_site!(site, backend => follow(args, &backend, output).await)
}

async fn follow<B: Backend>(args: &Logs, backend: &B, output: &mut Output) -> Outcome<Exit> {
    let mut names = backend.nodes().await?;
    if let Some(wanted) = &args.node {
        let known = names.join(", ");
        names.retain(|name| name == wanted);
        if names.is_empty() {
            let failure = Failure::new(Exit::NotFound, format!("there is no node `{wanted}`"));
            return Err(failure.help(format!("nodes: {known}")));
        }
    }
    let has_prefix = names.len() > 1;
    let mut lines = Some(args.lines);
    let mut interrupt = std::pin::pin!(interrupted());
    loop {
        for name in &names {
            let prefix = if has_prefix { format!("{name} | ") } else { String::new() };
            let mut first = lines;
            loop {
                let said = backend.log(name, first.take()).await?;
                if said.is_empty() {
                    break;
                }
                print(&prefix, &said, output)?;
            }
        }
        lines = None;
        if !args.follow {
            return Ok(Exit::Ok);
        }
        tokio::select! {
            exit = &mut interrupt => return Ok(exit),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

fn print(prefix: &str, lines: &[u8], output: &mut Output) -> Outcome {
    if prefix.is_empty() {
        return output.bytes(lines);
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        output.bytes(&[prefix.as_bytes(), line].concat())?;
    }
    Ok(())
}
