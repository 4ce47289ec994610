//! `mq context`.

use mq_model::validate_name;

use crate::{
    args::context::{ContextAdd, ContextCommand, ContextList, ContextShow},
    context::{Context, Place, Store},
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::{Scheme, Settings, amqp_url, http_url, peer_url},
};

pub(super) fn run(args: &ContextCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let store = Store::of_user()?;
    match args {
        ContextCommand::List(args) => list(args, &store, settings, output)?,
        ContextCommand::Use(args) => choose(&args.name, &store, output)?,
        ContextCommand::Show(args) => show(args, &store, settings, output)?,
        ContextCommand::Add(args) => add(args, &store, output)?,
        ContextCommand::Delete(args) => delete(&args.name, &store, output)?,
    }
    Ok(Exit::Ok)
}

fn list(args: &ContextList, store: &Store, settings: &Settings, output: &mut Output) -> Outcome {
    let contexts = store.load()?;
    if contexts.contexts.is_empty() {
        output.talk("there are no contexts; `mq deploy` writes one");
    }
    let rows = contexts.contexts.iter().map(|(name, context)| row(name, context, settings.context_name()));
    output.listing(&listing(rows.collect()), args.view)
}

fn show(args: &ContextShow, store: &Store, settings: &Settings, output: &mut Output) -> Outcome {
    let contexts = store.load()?;
    let name = args.name.as_deref().or_else(|| settings.context_name()).ok_or_else(|| {
        Failure::new(Exit::NotFound, "there is no current context").help("choose one with `mq context use`")
    })?;
    let row = row(name, contexts.named(name)?, settings.context_name());
    output.object(&listing(vec![row]), args.view)
}

fn choose(name: &str, store: &Store, output: &mut Output) -> Outcome {
    let before = store.change(|contexts| {
        contexts.named(name)?;
        Ok(contexts.current.replace(name.to_owned()))
    })?;
    match before {
        Some(before) if before == name => output.line(&format!("unchanged: the context is `{name}` already")),
        Some(before) => {
            output.line(&format!("changed: the context is now `{name}`; undo: mq context use {before}"))
        }
        None => output.line(&format!("changed: the context is now `{name}`")),
    }
}

fn add(args: &ContextAdd, store: &Store, output: &mut Output) -> Outcome {
    validate_name(&args.name).map_err(Failure::usage)?;
    let count = args.amqp.len();
    for (flag, urls) in [("--mqtt", &args.mqtt), ("--http", &args.http)] {
        if !urls.is_empty() && urls.len() != count {
            let message = format!("there are {count} of --amqp and {} of {flag}", urls.len());
            return Err(
                Failure::usage(message).help("say each of them once for every node, in the same order")
            );
        }
    }
    let mqtt = args.mqtt.iter().map(|url| peer_url(url, &[Scheme::Mqtt, Scheme::Mqtts]));
    for url in args.amqp.iter().map(|url| amqp_url(url)).chain(mqtt) {
        let url = url?;
        if url.password().is_some() || !url.username().is_empty() {
            return Err(Failure::usage("a context does not hold a user or a password")
                .help("give them with --user and --password-file when you use it"));
        }
    }
    for http in &args.http {
        http_url(http)?;
    }
    let place = |index: usize| Place {
        name: String::new(),
        amqp: args.amqp.get(index).cloned().unwrap_or_default(),
        mqtt: args.mqtt.get(index).cloned(),
        admin: args.http.get(index).cloned(),
        via: None,
    };
    let mut context = Context::default();
    context.stand_in(&place(0));
    if count > 1 {
        context.nodes = (0..count).map(place).collect();
    }
    let is_changed = store.change(|contexts| {
        // The context of a fleet that was deployed from here belongs to `mq deploy`.
        if contexts.contexts.get(&args.name).is_some_and(|found| found.deployed_from().is_some()) {
            let message =
                format!("the context `{}` belongs to a fleet that was deployed from this machine", args.name);
            return Err(Failure::new(Exit::Conflict, message).help("choose another name"));
        }
        Ok(contexts.contexts.insert(args.name.clone(), context.clone()) != Some(context))
    })?;
    match is_changed {
        true => output.line(&format!("changed: added context `{0}`; undo: mq context delete {0}", args.name)),
        false => output.line(&format!("unchanged: context `{}`", args.name)),
    }
}

fn delete(name: &str, store: &Store, output: &mut Output) -> Outcome {
    let current = store.change(|contexts| {
        contexts.named(name)?;
        contexts.remove(name);
        Ok(contexts.current.clone())
    })?;
    output.line(&format!("changed: deleted context `{name}`"))?;
    output.talk(&match current {
        Some(current) => format!("the context is now `{current}`"),
        None => "there is no current context now".to_owned(),
    });
    Ok(())
}

fn listing(rows: Vec<Row>) -> Listing {
    let columns = vec![
        Column::left("CURRENT"),
        Column::left("NAME"),
        Column::left("AMQP"),
        Column::left("MQTT"),
        Column::left("ADMIN"),
        Column::left("STATE").wide(),
    ];
    let mut listing = Listing::new("ContextList", columns);
    listing.rows = rows;
    listing
}

fn row(name: &str, context: &Context, current: Option<&str>) -> Row {
    let is_current = current == Some(name);
    let cells = vec![
        if is_current { "*" } else { "" }.to_owned(),
        name.to_owned(),
        context.amqp.clone(),
        context.mqtt.clone().unwrap_or_else(|| "-".into()),
        context.admin.clone().unwrap_or_else(|| "-".into()),
        context.state.as_ref().map_or_else(|| "-".into(), |state| state.display().to_string()),
    ];
    let mut object = value(context);
    object["name"] = name.into();
    object["current"] = is_current.into();
    Row { name: name.to_owned(), cells, value: object }
}
