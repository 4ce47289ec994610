//! Commands about `mq` itself.

use clap::CommandFactory;

use crate::{
    args::{
        Cli, Global,
        meta::{Completions, Explain, ExplainFormat, Generate, Help, Version},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    generate,
    output::{Output, value},
    settings::Settings,
    topics,
};

pub(super) fn explain(args: &Explain, output: &mut Output) -> Outcome<Exit> {
    let explanation =
        mq_model::explain(&args.path).map_err(|error| Failure::new(Exit::NotFound, error.to_string()))?;
    match args.output {
        ExplainFormat::Text => output.line(explanation.to_string().trim_end())?,
        ExplainFormat::Json => output.json(&value(&explanation))?,
    }
    Ok(Exit::Ok)
}

pub(super) fn completions(args: &Completions, output: &mut Output) -> Outcome<Exit> {
    output.bytes(&generate::completions(args.shell))?;
    Ok(Exit::Ok)
}

pub(super) fn generate(args: &Generate, output: &mut Output) -> Outcome<Exit> {
    let stale = if args.write { generate::write(&args.root)? } else { generate::stale(&args.root)? };
    for path in &stale {
        let word = if args.write { "wrote" } else { "stale" };
        output.line(&format!("{word}: {}", path.display()))?;
    }
    if stale.is_empty() {
        output.line("unchanged")?;
    } else if args.check {
        return Err(Failure::failed("generated files are stale").help(generate::REFRESH));
    }
    Ok(Exit::Ok)
}

pub(super) async fn version(args: &Version, global: Global, output: &mut Output) -> Outcome<Exit> {
    output.line(&format!("mq {}", env!("CARGO_PKG_VERSION")))?;
    if args.client {
        return Ok(Exit::Ok);
    }
    // A fleet that is not there is no error here: the version of mq is what was asked for.
    if let Ok(admin) = Settings::of_user(global).and_then(|settings| super::admin(&settings))
        && let Ok(node) = admin.node().await
    {
        output.line(&format!("mqd {} ({})", node.version, node.name))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn help(args: &Help, output: &mut Output) -> Outcome<Exit> {
    let mut command = Cli::command();
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if let [topic] = words.as_slice()
        && let Some((_, text)) = topics::all().into_iter().find(|(name, _)| name == topic)
    {
        output.line(text.trim_end())?;
        return Ok(Exit::Ok);
    }
    command.build();
    let mut found = &mut command;
    for word in &words {
        found = match found.find_subcommand_mut(word) {
            Some(subcommand) => subcommand,
            None => return Err(unknown(&words)),
        };
    }
    let text = found.render_long_help().to_string();
    output.line(text.trim_end())?;
    Ok(Exit::Ok)
}

fn unknown(words: &[&str]) -> Failure {
    let names: Vec<&str> = topics::all().into_iter().map(|(name, _)| name).collect();
    Failure::usage(format!("there is no command and no topic `{}`", words.join(" ")))
        .help(format!("topics: {}; commands: see `mq --help`", names.join(", ")))
}
