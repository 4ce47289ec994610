//! `mq undeploy`.

use super::deploy::{fleet_name, name_flag};
use crate::{
    args::deploy::Undeploy,
    command::site::{Site, with_site},
    context::Store,
    deploy::{Backend, Stopped, local::Local, roll::say_stopped},
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

pub(super) async fn undeploy(args: Undeploy, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let store = Store::of_user()?;
    let name = fleet_name(args.name.as_ref(), settings)?;
    if !Local::new(&name, None, store.load()?)?.directory().exists() {
        // A context whose fleet is gone is repaired; one that points elsewhere is not ours to touch.
        let context = store.load()?.contexts.get(&name).cloned();
        let is_stale = context.is_some_and(|context| context.deployed_from().is_some());
        if is_stale {
            store.change(|contexts| Ok(contexts.remove(&name)))?;
            output.line("changed: the fleet was gone already, its context is removed")?;
            return Ok(Exit::Ok);
        }
        return Err(Failure::new(Exit::NotFound, format!("there is no fleet `{name}` on this machine"))
            .help("see `mq context list`"));
    }
    let site = Site::of_name(&name, output).await?;
    with_site!(site, backend => stop_all(&backend, &name, &args, output).await)
}

async fn stop_all<B: Backend>(
    backend: &B,
    name: &str,
    args: &Undeploy,
    output: &mut Output,
) -> Outcome<Exit> {
    let store = Store::of_user()?;
    let lock = backend.lock("mq undeploy").await?;
    if args.purge {
        guard_purge(name, args, output)?;
    }
    let mut is_changed = false;
    // All at once: nobody is left to take over from whoever goes last.
    let mut asked = Vec::new();
    for node in backend.nodes().await? {
        match backend.ask_to_stop(&node).await? {
            true => asked.push(node),
            false => say_stopped(&node, Stopped::Already, args.wait, output),
        }
    }
    for node in &asked {
        let stopped = backend.await_stop(node, args.wait, output).await?;
        say_stopped(node, stopped, args.wait, output);
        is_changed = true;
    }
    is_changed |= store.change(|contexts| {
        let is_ours = contexts.contexts.get(name).is_some_and(|context| context.deployed_from().is_some());
        Ok(is_ours && contexts.remove(name))
    })?;
    if args.purge {
        backend.purge().await?;
        drop(lock);
        output.line("changed: the fleet and its state are gone; this cannot be undone")?;
        return Ok(Exit::Ok);
    }
    let again = name_flag(name);
    match is_changed {
        true => output.line(&format!("changed; undo: mq deploy{again}"))?,
        false => output.line("unchanged: the fleet was stopped already")?,
    }
    Ok(Exit::Ok)
}

fn guard_purge(name: &str, args: &Undeploy, output: &Output) -> Outcome {
    if args.yes {
        return Ok(());
    }
    if output.is_interactive()
        && output.confirm(&format!("delete the state of the fleet {name} for good?"))?
    {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Guarded,
        format!("nothing was changed: --purge deletes the state of `{name}` for good"),
    )
    .help("repeat the command with --yes"))
}
