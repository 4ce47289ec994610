//! `mq address purge`, `mq address move` and `mq address move-home`.

use std::time::{Duration, Instant};

use mq_model::{
    admin::{MoveHome, MoveMessages},
    manifest::Address,
};

use super::address::{checked_name, not_found};
use crate::{
    args::address::{AddressMove, AddressMoveHome, AddressPurge},
    client::{admin::Admin, amqp::interrupted},
    deploy::plan,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    shape,
};

/// How often a queue that moves is asked whether it has.
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn purge(args: &AddressPurge, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let name = &args.name;
    checked_name(name)?;
    if !args.yes && output.is_interactive() {
        let address = admin.address(name).await.map_err(|failure| not_found(failure, name))?;
        if let Some(node) = plan::uncounted(&address) {
            let message = format!("nothing was dropped: {}", plan::not_known(name, &node));
            return Err(Failure::new(Exit::Unreachable, message).help("try again when it is back"));
        }
        let messages = plan::stored(&address);
        let what = shape::plural(messages, "message");
        if !output.confirm(&format!("Drop {what} of `{name}` for ever?"))? {
            return Err(Failure::new(Exit::Failed, "nothing was dropped"));
        }
    }
    let purged = admin.purge(name).await.map_err(|failure| not_found(failure, name))?;
    let word = changed(purged.messages);
    output.line(&format!("{word}: dropped {} of {name}", shape::plural(purged.messages, "message")))?;
    Ok(Exit::Ok)
}

pub(super) async fn relocate(args: &AddressMove, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let (from, to) = (&args.from, &args.to);
    checked_name(from)?;
    checked_name(to)?;
    if from == to {
        return Err(Failure::usage(format!("`{from}` is where the messages are already")));
    }
    let wanted = MoveMessages { to: to.clone(), limit: args.count };
    let moved = admin.move_messages(from, &wanted).await.map_err(|failure| not_found(failure, from))?;
    let undo = match moved.messages {
        0 => String::new(),
        messages => format!("; undo: mq address move {to} {from} -n {messages}"),
    };
    let (word, what) = (changed(moved.messages), shape::plural(moved.messages, "message"));
    output.line(&format!("{word}: moved {what} from {from} to {to}{undo}"))?;
    Ok(Exit::Ok)
}

pub(super) async fn move_home(args: &AddressMoveHome, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let AddressMoveHome { name, to } = args;
    checked_name(name)?;
    let home = |address: &Address| address.status.as_ref().and_then(|status| status.home.clone());
    let before = admin.address(name).await.map_err(|failure| not_found(failure, name))?;
    let Some(from) = home(&before) else {
        let message =
            format!("`{name}` has no home that could move: it stores nothing, or its node is alone");
        return Err(Failure::new(Exit::Conflict, message).help("see `mq address list` and `mq fleet graph`"));
    };
    if from == *to {
        output.line(&format!("unchanged: {to} is the home of {name} already"))?;
        return Ok(Exit::Ok);
    }
    let begin = Instant::now();
    let mut moved = admin.move_home(name, &MoveHome { to: to.clone() }).await?;
    let is_moving = |address: &Address| {
        let status = address.status.as_ref();
        status.is_none_or(|status| status.moving_from.is_some() || status.home.as_ref() != Some(to))
    };
    let mut interrupt = std::pin::pin!(interrupted());
    while is_moving(&moved) {
        tokio::select! {
            exit = &mut interrupt => {
                output.talk(&format!("{name} goes on moving; see `mq address show {}`", shape::quoted(name)));
                return Ok(exit);
            }
            () = tokio::time::sleep(POLL) => moved = admin.address(name).await?,
        }
    }
    let messages =
        moved.status.as_ref().and_then(|status| status.queue.as_ref()).map_or(0, |queue| queue.messages);
    let (what, took) = (shape::plural(messages, "message"), shape::elapsed(begin.elapsed()));
    let undo = format!("mq address move-home {} --to {from}", shape::quoted(name));
    output.line(&format!("changed: {to} is the home of {name} after {took}, with {what}; undo: {undo}"))?;
    Ok(Exit::Ok)
}

fn changed(messages: u64) -> &'static str {
    if messages == 0 { "unchanged" } else { "changed" }
}
