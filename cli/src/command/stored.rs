//! `mq address purge`, `mq address move` and `mq address move-home`.

use std::time::{Duration, Instant};

use mq_model::{
    admin::{MoveHome, MoveMessages},
    manifest::{Address, QueueStatus, ShardStatus},
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
        messages => format!("; undo: {} address move {to} {from} -n {messages}", admin.command()),
    };
    let (word, what) = (changed(moved.messages), shape::plural(moved.messages, "message"));
    output.line(&format!("{word}: moved {what} from {from} to {to}{undo}"))?;
    Ok(Exit::Ok)
}

pub(super) async fn move_home(args: &AddressMoveHome, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let AddressMoveHome { name, to, shard } = args;
    checked_name(name)?;
    let before = admin.address(name).await.map_err(|failure| not_found(failure, name))?;
    let homes = places(&before, *shard);
    if let (Some(shard), true) = (shard, homes.is_empty()) {
        let message = format!("`{name}` has no shard {shard}");
        let help = format!("see `mq address show {}`", shape::quoted(name));
        return Err(Failure::new(Exit::NotFound, message).help(help));
    }
    if homes.iter().any(|place| place.home.is_none()) {
        let message =
            format!("`{name}` has no home that could move: it stores nothing, or its node is alone");
        return Err(Failure::new(Exit::Conflict, message).help("see `mq address list` and `mq fleet graph`"));
    }
    if homes.iter().all(|place| place.is_at(to)) {
        output.line(&format!("unchanged: {to} is the home of {name} already"))?;
        return Ok(Exit::Ok);
    }
    let begin = Instant::now();
    let path = shard.map_or_else(|| name.clone(), |shard| format!("{name}::#{shard}"));
    let mut moved = admin.move_home(&path, &MoveHome { to: to.clone() }).await?;
    let is_moving = |address: &Address| !places(address, *shard).iter().all(|place| place.is_at(to));
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
    let messages = places(&moved, *shard).iter().map(|place| place.messages).sum();
    let (what, took) = (shape::plural(messages, "message"), shape::elapsed(begin.elapsed()));
    let has_moved = |place: &&Place| place.home.as_ref() != Some(to);
    let undo: Vec<String> = homes.iter().filter(has_moved).map(|place| place.undo(name)).collect();
    let undo = undo.join(" && ");
    output.line(&format!("changed: {to} is the home of {name} after {took}, with {what}; undo: {undo}"))?;
    Ok(Exit::Ok)
}

/// Where an address or one shard of it is stored.
struct Place {
    shard: Option<u16>,
    home: Option<String>,
    is_moving: bool,
    messages: u64,
}

impl Place {
    fn is_at(&self, node: &str) -> bool {
        !self.is_moving && self.home.as_deref() == Some(node)
    }

    /// The command that brings it back.
    fn undo(&self, name: &str) -> String {
        let shard = self.shard.map_or_else(String::new, |shard| format!(" --shard {shard}"));
        let home = self.home.as_deref().unwrap_or_default();
        format!("mq address move-home {}{shard} --to {home}", shape::quoted(name))
    }
}

/// The places of an address: its shards, or the wanted one of them, when it has several.
fn places(address: &Address, wanted: Option<u16>) -> Vec<Place> {
    let status = address.status.clone().unwrap_or_default();
    let messages = |queue: &Option<QueueStatus>| queue.as_ref().map_or(0, |queue| queue.messages);
    if status.shards.is_empty() {
        // What has no shards is one.
        let is_wanted = wanted.is_none_or(|wanted| wanted == 0);
        let messages = messages(&status.queue);
        let place =
            Place { shard: None, home: status.home, is_moving: status.moving_from.is_some(), messages };
        return is_wanted.then_some(place).into_iter().collect();
    }
    let is_wanted = |shard: &ShardStatus| wanted.is_none_or(|wanted| wanted == shard.shard);
    let shards = status.shards.into_iter().filter(is_wanted);
    let place = |shard: ShardStatus| Place {
        shard: Some(shard.shard),
        messages: messages(&shard.queue),
        is_moving: shard.moving_from.is_some(),
        home: shard.home,
    };
    shards.map(place).collect()
}

fn changed(messages: u64) -> &'static str {
    if messages == 0 { "unchanged" } else { "changed" }
}
