//! `mq address purge` and `mq address move`.

use mq_model::admin::MoveMessages;

use super::address::{checked_name, not_found};
use crate::{
    args::address::{AddressMove, AddressPurge},
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    shape,
};

pub(super) async fn purge(args: &AddressPurge, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let name = &args.name;
    checked_name(name)?;
    if !args.yes && output.is_interactive() {
        let address = admin.address(name).await.map_err(|failure| not_found(failure, name))?;
        let messages = address.status.and_then(|status| status.queue).map_or(0, |queue| queue.messages);
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

fn changed(messages: u64) -> &'static str {
    if messages == 0 { "unchanged" } else { "changed" }
}
