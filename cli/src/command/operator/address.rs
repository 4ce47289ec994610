//! Addresses of the fleet, as their objects say.

use mq_model::{custom, manifest::Address};
use serde_json::Value;

use super::condition::Verdict;
use crate::{
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    shape,
};

/// Who sets this on an object gives up the messages of its address.
const GIVE_UP: &str = "mq.messaging/drop-messages";

/// Makes the address what the object says, and returns how it is.
pub(super) async fn ensure(admin: &Admin, object: &Value) -> Outcome<Verdict> {
    let wanted = custom::address(object).map_err(Failure::usage)?;
    let admin = &in_space(admin, wanted.metadata.space.as_deref());
    let there = found(admin.address(&wanted.metadata.name).await)?;
    let address = match there {
        Some(there) if there.spec == wanted.spec => there,
        Some(there) if holds(&there) > 0 && there.spec.kind != wanted.spec.kind => {
            return Ok(Verdict::not_ready(
                "HoldsMessages",
                format!(
                    "the address is of another type and holds {}; empty it first",
                    shape::plural(holds(&there), "message")
                ),
            ));
        }
        _ => admin.put_address(&wanted, false).await?.1,
    };
    Ok(verdict(&address))
}

fn verdict(address: &Address) -> Verdict {
    let Some(status) = &address.status else { return Verdict::ready("the fleet serves the address") };
    let verdict = if status.ready {
        Verdict::ready("the fleet serves the address")
    } else {
        Verdict::not_ready("NotServed", "not every worker of the fleet serves the address yet")
    };
    let queue = status.queue.as_ref();
    let verdict = verdict
        .with("messages", queue.map_or(0, |queue| queue.messages))
        .with("bytes", queue.map_or(0, |queue| queue.bytes))
        .with("consumers", status.consumers)
        .with("producers", status.producers);
    match &status.home {
        Some(home) => verdict.with("home", home.as_str()),
        None => verdict,
    }
}

/// Removes the address of the object; a verdict says why that cannot be done now.
pub(super) async fn forget(admin: &Admin, name: &str, object: &Value) -> Outcome<Option<Verdict>> {
    let Some(there) = found(admin.address(name).await)? else { return Ok(None) };
    let is_given_up = object["metadata"]["annotations"][GIVE_UP] == "true";
    let held = holds(&there);
    if held > 0 && !is_given_up {
        let message = format!(
            "the address holds {}; consume or purge them, or set the annotation {GIVE_UP}=\"true\"",
            shape::plural(held, "message")
        );
        return Ok(Some(Verdict::not_ready("HoldsMessages", message).with("messages", held)));
    }
    found(admin.delete_address(name, is_given_up).await)?;
    Ok(None)
}

/// Messages that go with the address.
fn holds(address: &Address) -> u64 {
    let status = address.status.as_ref();
    status.and_then(|status| status.queue.as_ref()).map_or(0, |queue| queue.messages)
}

/// The admin API about what is in a space.
pub(super) fn in_space(admin: &Admin, space: Option<&str>) -> Admin {
    space.map_or_else(|| admin.clone(), |space| admin.in_space(space))
}

/// What is there; `None`: nothing is.
pub(super) fn found<T>(asked: Outcome<T>) -> Outcome<Option<T>> {
    match asked {
        Ok(there) => Ok(Some(there)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}
