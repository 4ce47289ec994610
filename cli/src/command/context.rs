//! `mq context`.

use std::path::PathBuf;

use mq_model::{Secret, validate_name};

use crate::{
    args::{
        Global,
        context::{
            AccessField, ContextAdd, ContextCommand, ContextList, ContextSet, ContextShow, PasswordFrom,
        },
    },
    context::{Access, Context, PasswordSource, Place, Store},
    exit::Exit,
    failure::{Failure, Outcome},
    keyring::{Kept, Keyring, Place as KeptIn},
    output::{Column, Listing, Output, Row, value},
    settings::{Scheme, Settings, amqp_url, http_url, peer_url},
};

pub(super) fn run(
    args: &ContextCommand,
    global: &Global,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let store = Store::of_user()?;
    match args {
        ContextCommand::List(args) => list(args, &store, settings, output)?,
        ContextCommand::Use(args) => choose(&args.name, &store, output)?,
        ContextCommand::Show(args) => show(args, &store, settings, output)?,
        ContextCommand::Add(args) => add(args, global, settings, &store, output)?,
        ContextCommand::Set(args) => set(args, global, settings, &store, output)?,
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

fn add(
    args: &ContextAdd,
    global: &Global,
    settings: &Settings,
    store: &Store,
    output: &mut Output,
) -> Outcome {
    validate_name(&args.name).map_err(Failure::usage)?;
    let args = &of_one_url(args, global)?;
    let count = args.amqp.len().max(if args.amqp.is_empty() { args.mqtt.len() } else { 0 });
    if count == 0 {
        return Err(Failure::usage("it is not said where the fleet is")
            .help("say it with --amqp URL for each node, or with --url URL for one broker"));
    }
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
            return Err(Failure::usage("the URLs of a context hold neither a user nor a password")
                .help("say --user and --password-file, --password-command or --password-stdin"));
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
        pod: None,
    };
    let mut context = Context::default();
    context.stand_in(&place(0));
    if count > 1 {
        context.nodes = (0..count).map(place).collect();
    }
    context.access = said(&Access::default(), &args.source, global, settings, &args.name, output)?;
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

/// The arguments with what `--url` says in its place.
fn of_one_url(args: &ContextAdd, global: &Global) -> Outcome<ContextAdd> {
    let mut args = args.clone();
    if let Some(url) = global.url.as_ref().filter(|_| args.amqp.is_empty() && args.mqtt.is_empty()) {
        let is_mqtt = peer_url(url, &Scheme::ALL)?.scheme().starts_with("mqtt");
        let place = if is_mqtt { &mut args.mqtt } else { &mut args.amqp };
        place.push(url.clone());
    }
    Ok(args)
}

fn set(
    args: &ContextSet,
    global: &Global,
    settings: &Settings,
    store: &Store,
    output: &mut Output,
) -> Outcome {
    let name = &args.name;
    let mut before = store.load()?.named(name)?.access.clone();
    for field in &args.unset {
        match field {
            AccessField::User => (before.user, before.password) = (None, None),
            AccessField::Oidc => before.oidc = None,
            AccessField::Space => before.space = None,
            AccessField::Ca => before.ca = None,
            AccessField::Cert => (before.certificate, before.key) = (None, None),
        }
    }
    let access = said(&before, &args.source, global, settings, name, output)?;
    let is_changed = store.change(|contexts| {
        contexts.named(name)?;
        let context = contexts.contexts.get_mut(name);
        Ok(context.is_some_and(|context| std::mem::replace(&mut context.access, access.clone()) != access))
    })?;
    match is_changed {
        true => output.line(&format!("changed: context `{name}`")),
        false => output.line(&format!("unchanged: context `{name}`")),
    }
}

/// Who commands are from now on, and whom they trust. A password on stdin goes into the keyring.
fn said(
    before: &Access,
    source: &PasswordFrom,
    global: &Global,
    settings: &Settings,
    context: &str,
    output: &Output,
) -> Outcome<Access> {
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map_err(|error| Failure::file("find", path, &error));
    let mut access = before.clone();
    let password = match (source, &global.password_file) {
        (PasswordFrom { password_env: Some(name), .. }, _) => Some(PasswordSource::Environment(name.clone())),
        (PasswordFrom { password_command: Some(command), .. }, _) => {
            Some(PasswordSource::Command(command.clone()))
        }
        (_, Some(path)) if path.as_os_str() != "-" => Some(PasswordSource::File(absolute(path)?)),
        _ if global.password_stdin || global.password_file.is_some() => Some(PasswordSource::Keyring),
        _ => None,
    };
    if let Some(user) = &global.user {
        if access.user.as_ref() != Some(user) {
            access.password = None;
        }
        access.user = Some(user.clone());
        access.oidc = None;
    }
    if password.is_some() {
        access.password = password;
    }
    match (&access.user, &access.password) {
        (None, Some(_)) => {
            return Err(Failure::usage("there is a password, and no user").help("say --user NAME"));
        }
        (Some(user), Some(PasswordSource::Keyring))
            if global.password_stdin || global.password_file.is_some() =>
        {
            let password = Secret::new(settings.password_of_flags(user)?);
            let kept = Kept::Password { user: user.clone(), password };
            if let KeptIn::File(path) = Keyring::of_user()?.keep(context, &kept)? {
                output.talk(&format!(
                    "no keyring of this system is used: the password is in {}",
                    path.display()
                ));
            }
        }
        _ => {}
    }
    if let Some(space) = &global.space {
        validate_name(space).map_err(|error| Failure::usage(format!("the address space: {error}")))?;
        access.space = Some(space.clone());
    }
    if let Some(ca) = &global.ca {
        access.ca = Some(absolute(ca)?);
    }
    if let (Some(certificate), Some(key)) = (&global.cert, &global.key) {
        (access.certificate, access.key) = (Some(absolute(certificate)?), Some(absolute(key)?));
    }
    Ok(access)
}

fn delete(name: &str, store: &Store, output: &mut Output) -> Outcome {
    let current = store.change(|contexts| {
        contexts.named(name)?;
        contexts.remove(name);
        Ok(contexts.current.clone())
    })?;
    Keyring::of_user()?.forget(name)?;
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
        Column::left("USER"),
        Column::left("PASSWORD").wide(),
        Column::left("STATE").wide(),
    ];
    let mut listing = Listing::new("ContextList", columns);
    listing.rows = rows;
    listing
}

fn user_of(access: &Access) -> String {
    match (&access.user, &access.oidc) {
        (Some(user), _) => user.clone(),
        (None, Some(oidc)) => format!("token of {}", oidc.issuer),
        (None, None) => "-".into(),
    }
}

fn row(name: &str, context: &Context, current: Option<&str>) -> Row {
    let is_current = current == Some(name);
    let cells = vec![
        if is_current { "*" } else { "" }.to_owned(),
        name.to_owned(),
        if context.amqp.is_empty() { "-".into() } else { context.amqp.clone() },
        context.mqtt.clone().unwrap_or_else(|| "-".into()),
        context.admin.clone().unwrap_or_else(|| "-".into()),
        user_of(&context.access),
        context.access.password.as_ref().map_or_else(|| "-".into(), PasswordSource::describe),
        context.state.as_ref().map_or_else(|| "-".into(), |state| state.display().to_string()),
    ];
    let mut object = value(context);
    object["name"] = name.into();
    object["current"] = is_current.into();
    Row { name: name.to_owned(), cells, value: object }
}
