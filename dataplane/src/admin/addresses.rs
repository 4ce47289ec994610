//! Addresses: create, change, show, remove.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use mq_core::{QueueStatistics, shard_name, split_shard};
use mq_model::admin::{List, MoveMessages, Moved, NOT_KNOWN, Purged};
use mq_model::grant::Right;
use mq_model::manifest::{Address, AddressStatus, AddressType, QueueStatus};
use mq_model::space::split_qualified;
use mq_model::validate_address_name;
use serde::Deserialize;

use super::Api;
use super::authorize::Within;
use super::body::{self, Name, Parameters};
use super::caller::Caller;
use super::problem::Refusal;
use super::remote::{Wanted, from_home, gather, is_ready, is_up, out_of_reach, segment};
use super::shards::{self, Shard};
use super::users::{check_path, check_space};
use crate::hub::AddressStatistics;
use crate::mesh::Question;
use crate::objects::{ChangeError, Object, Put};
use crate::selector::Selector;
use crate::spaces::Space;

pub(super) async fn list(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    within: Within,
    caller: Caller,
) -> Json<List<Address>> {
    let space = &within.space;
    let permits = caller.permits();
    let mut statuses: HashMap<Arc<str>, AddressStatus> = HashMap::new();
    for shard in api.node.hub.addresses(None).await {
        add(statuses.entry(shard.name.clone()).or_default(), &shard);
    }
    let is_shown = |(name, _): &(Arc<str>, Arc<Object>)| {
        split_shard(name).is_none()
            && space.outside(name).is_some_and(|name| permits.permits(Right::View, name))
    };
    let below = api.node.catalogue.addresses_below(space.prefix()).into_iter();
    let addresses: Vec<_> = below.filter(is_shown).collect();
    for (name, _) in addresses.iter().filter(|(_, object)| object.spec.kind == AddressType::Queue) {
        let further = api.node.catalogue.shards(name).into_iter();
        let mut status = |number| statuses.remove(&shard_name(name, number)).unwrap_or_default();
        let further: Vec<_> = further.map(|(number, _)| (number, status(number))).collect();
        shards::gather_in(statuses.entry(name.clone()).or_default(), further);
    }
    let gathered = gather::<List<Address>>(&api, scope, &within.path("addresses")).await;
    let (silent, unanswered) = (gathered.silent.clone(), gathered.unanswered(&api));
    for (_, part) in gathered.parts {
        for Address { metadata, status, .. } in part.items {
            let there = status.unwrap_or_default();
            merge(statuses.entry(space.inside(&metadata.name).into()).or_default(), there);
        }
    }
    let is_whole = api.node.is_whole();
    let items = addresses.into_iter().map(|(name, object)| {
        let status = statuses.remove(&name).unwrap_or_default();
        document(&api, space, &name, &object, &silent, AddressStatus { ready: is_whole, ..status })
    });
    Json(List { items: items.collect(), unanswered })
}

pub(super) async fn show(
    State(api): State<Api>,
    Wanted(scope): Wanted,
    within: Within,
    Name(path): Name,
) -> Result<Json<Address>, Refusal> {
    let name = within.inside(&path)?;
    let Some(object) = api.node.catalogue.address(&name) else { return Err(unknown(&name).into()) };
    let mut status = status(&api, &name).await;
    let target = within.path(&format!("addresses/{}", segment(&path)));
    let gathered = gather::<Address>(&api, scope, &target).await;
    for (_, part) in gathered.parts {
        merge(&mut status, part.status.unwrap_or_default());
    }
    Ok(Json(document(&api, &within.space, &name, &object, &gathered.silent, status)))
}

pub(super) async fn create(
    State(api): State<Api>,
    within: Within,
    caller: Caller,
    body::Json(address): body::Json<Address>,
) -> Result<(StatusCode, Json<Address>), Refusal> {
    let name = valid_name(&api, &within, &address)?;
    caller.check(Right::Manage, &address.metadata.name)?;
    check_destinations(&caller, &address)?;
    let (labels, spec) = (address.metadata.labels, address.spec);
    let created = api.node.catalogue.create_for(caller.user_here(), name.clone(), labels, spec).await;
    let object = created.inspect_err(|error| count_refused(&api, &within.space, error))?;
    tracing::info!(address = %name, "created an address");
    Ok((StatusCode::CREATED, Json(describe(&api, &within.space, &name, &object).await)))
}

/// Counts that a limit has refused an address.
fn count_refused(api: &Api, space: &Space, error: &ChangeError) {
    let user = match error {
        ChangeError::AddressLimit(_) => None,
        ChangeError::AddressLimitOfUser { user, .. } => Some(&**user),
        _ => return,
    };
    api.node.hub.usage().count_refused_address(space.name(), user);
}

/// Whether what nobody can count may be dropped.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForceQuery {
    #[serde(default)]
    force: bool,
}

pub(super) async fn put(
    State(api): State<Api>,
    within: Within,
    Name(path): Name,
    Parameters(query): Parameters<ForceQuery>,
    caller: Caller,
    body::Json(address): body::Json<Address>,
) -> Result<(StatusCode, Json<Address>), Refusal> {
    let name = valid_name(&api, &within, &address)?;
    check_path(&address.metadata.name, &path)?;
    check_destinations(&caller, &address)?;
    // An address of another type is another one: what the old one holds goes.
    if !query.force && kind(&api, &name).is_some_and(|kind| kind != address.spec.kind) {
        check_holders(&api, &within.space, &name).await?;
    }
    let (labels, spec) = (address.metadata.labels, address.spec);
    let done = api.node.catalogue.put_for(caller.user_here(), name.clone(), labels, spec).await;
    let (put, object) = done.inspect_err(|error| count_refused(&api, &within.space, error))?;
    let status = match put {
        Put::Created => {
            tracing::info!(address = %name, "created an address");
            StatusCode::CREATED
        }
        Put::Updated => {
            tracing::info!(address = %name, "changed an address");
            StatusCode::OK
        }
        Put::Unchanged => StatusCode::OK,
    };
    Ok((status, Json(describe(&api, &within.space, &name, &object).await)))
}

pub(super) async fn remove(
    State(api): State<Api>,
    within: Within,
    Name(path): Name,
    Parameters(query): Parameters<ForceQuery>,
) -> Result<StatusCode, Refusal> {
    // Spares the journal's queue names that cannot exist, however long.
    if validate_address_name(&path).is_err() {
        return Err(unknown(&path).into());
    }
    let name = within.inside(&path)?;
    served(&api)?;
    if !query.force {
        check_holders(&api, &within.space, &name).await?;
    }
    api.node.catalogue.remove(name.clone()).await?;
    tracing::info!(address = %name, "removed an address");
    Ok(StatusCode::NO_CONTENT)
}

/// Removes what waits in a queue, or in the subscriptions of a topic.
pub(super) async fn purge(
    State(api): State<Api>,
    within: Within,
    Name(path): Name,
) -> Result<Json<Purged>, Refusal> {
    let name = within.inside(&path)?;
    let one = Shard::parse(&name);
    let name = stored(&api, one.queue)?;
    let mut messages = 0;
    for shard in one.of(&api, &name) {
        messages += purge_one(&api, &within, &shard).await?;
    }
    tracing::info!(address = %name, messages, "purged an address");
    Ok(Json(Purged { messages }))
}

/// Removes what waits in one place.
async fn purge_one(api: &Api, within: &Within, shard: &Shard<'_>) -> Result<u64, Refusal> {
    let name = shard.name();
    if let Some(home) = other_home(api, &name) {
        let target = within.path(&format!("addresses/{}/purge", segment(own(&shard.path()))));
        let question = Question::post(target, Bytes::new());
        let Purged { messages } = from_home(api, own(&name), &home, question).await?;
        return Ok(messages);
    }
    let purged = api.node.hub.purge(&name).await.ok_or_else(no_worker)?;
    purged.map_err(|refused| Refusal::conflict(refused.to_string()))
}

/// Moves messages of a queue to another address.
pub(super) async fn move_messages(
    State(api): State<Api>,
    within: Within,
    Name(path): Name,
    caller: Caller,
    body::Json(order): body::Json<MoveMessages>,
) -> Result<Json<Moved>, Refusal> {
    let name = within.inside(&path)?;
    let one = Shard::parse(&name);
    let from = stored(&api, one.queue)?;
    check_destination(&caller, &order.to)?;
    let to = within.inside(&order.to)?;
    if kind(&api, &from) == Some(AddressType::Topic) {
        let detail =
            format!("address `{}` is a topic, which holds nothing itself; name a subscription", own(&from));
        return Err(Refusal::conflict(detail));
    }
    if api.node.catalogue.address(&to).is_none() {
        let detail =
            format!("there is no address `{}` to move messages to; create it first", shown(&order.to));
        return Err(Refusal::invalid(detail));
    }
    if from == to {
        let detail = format!("messages of `{}` are there already; name another address", own(&from));
        return Err(Refusal::invalid(detail));
    }
    let mut messages = 0;
    for shard in one.of(&api, &from) {
        let limit = order.limit.map(|limit| limit.saturating_sub(messages));
        if limit == Some(0) {
            break;
        }
        messages += move_from(&api, &within, &shard, MoveMessages { to: order.to.clone(), limit }).await?;
    }
    tracing::info!(from = %from, to = %to, messages, "moved messages");
    Ok(Json(Moved { messages }))
}

/// Moves messages of one place to another address.
async fn move_from(
    api: &Api,
    within: &Within,
    shard: &Shard<'_>,
    order: MoveMessages,
) -> Result<u64, Refusal> {
    let from = shard.name();
    if let Some(home) = other_home(api, &from) {
        let body = serde_json::to_vec(&order).unwrap_or_default().into();
        let target = within.path(&format!("addresses/{}/move", segment(own(&shard.path()))));
        let Moved { messages } = from_home(api, own(&from), &home, Question::post(target, body)).await?;
        return Ok(messages);
    }
    let (to, limit) = (within.inside(&order.to)?, order.limit.unwrap_or(0));
    let moved = api.node.hub.move_messages(&from, &to, limit).await.ok_or_else(no_worker)?;
    moved.map_err(|refused| Refusal::conflict(refused.to_string()))
}

/// The name of an address that keeps messages.
fn stored(api: &Api, name: &str) -> Result<Arc<str>, Refusal> {
    served(api)?;
    let kind = kind(api, name).ok_or_else(|| unknown(name))?;
    if !kind.is_stored() {
        return Err(Refusal::conflict(format!("address `{}` keeps no messages; use a queue", own(name))));
    }
    Ok(name.into())
}

fn kind(api: &Api, name: &str) -> Option<AddressType> {
    api.node.catalogue.address(name).map(|object| object.spec.kind)
}

/// Nothing is changed before everything that was stored is there.
pub(super) fn served(api: &Api) -> Result<(), Refusal> {
    api.node.recovery().map_err(|reason| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{reason}; try again later"))
    })
}

pub(super) fn no_worker() -> Refusal {
    let detail = "the worker that keeps the address has ended; see the log and restart the node";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

/// An address's name as its own space calls it.
pub(super) fn own(name: &str) -> &str {
    split_qualified(name).1
}

/// A name that came from outside, for a message.
fn shown(name: &str) -> String {
    own(name).chars().take(mq_model::MAX_ADDRESS_NAME).collect()
}

/// Where an address sends messages on its own, whoever declares it has to be let send to.
fn check_destinations(caller: &Caller, address: &Address) -> Result<(), Refusal> {
    let spec = &address.spec;
    [&spec.dead_letter, &spec.expiry_address]
        .into_iter()
        .flatten()
        .try_for_each(|to| check_destination(caller, to))
}

fn check_destination(caller: &Caller, to: &str) -> Result<(), Refusal> {
    let to = Shard::parse(to).queue;
    if caller.may(Right::Manage, to) { Ok(()) } else { caller.check(Right::Send, to) }
}

/// What the address of a document that is valid as a whole is called inside the fleet.
fn valid_name(api: &Api, within: &Within, address: &Address) -> Result<Arc<str>, Refusal> {
    served(api)?;
    address.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&address.metadata, &within.space)?;
    if let Some(selector) = &address.spec.subscription.selector {
        Selector::parse(selector)
            .map_err(|error| Refusal::invalid(format!("spec.subscription.selector: {error}")))?;
    }
    Ok(within.inside(&address.metadata.name)?)
}

pub(super) fn unknown(name: &str) -> ChangeError {
    ChangeError::NotFound(shown(name).into())
}

/// The address with its status, gathered from the shards.
pub(super) async fn describe(api: &Api, space: &Space, name: &Arc<str>, object: &Object) -> Address {
    let status = status(api, name).await;
    document(api, space, name, object, &[], status)
}

/// What the shards of this node know of an address.
async fn status(api: &Api, name: &Arc<str>) -> AddressStatus {
    let mut status = AddressStatus { ready: api.node.is_whole(), ..AddressStatus::default() };
    for shard in api.node.hub.addresses(Some(name)).await {
        add(&mut status, &shard);
    }
    let mut further = Vec::new();
    for (number, _) in api.node.catalogue.shards(name) {
        let mut status = AddressStatus::default();
        for shard in api.node.hub.addresses(Some(&shard_name(name, number))).await {
            add(&mut status, &shard);
        }
        further.push((number, status));
    }
    shards::gather_in(&mut status, further);
    status
}

/// The node that holds what an address keeps, in a fleet; `None`: it keeps nothing, or the node is alone.
pub(super) fn home(api: &Api, name: &str, object: &Object) -> Option<Arc<str>> {
    match object.spec.kind {
        AddressType::Subscription => {
            let (topic, _) = name.split_once("::")?;
            api.node.catalogue.address(topic)?.home.clone()
        }
        _ => object.home.clone(),
    }
}

/// The other node that holds what an address keeps; `None`: it is here. A topic that changes its home is at the
/// one of before until it is whole at the next one.
pub(super) fn other_home(api: &Api, name: &str) -> Option<Arc<str>> {
    let object = api.node.catalogue.address(name)?;
    let is_copied = matches!(object.spec.kind, AddressType::Topic | AddressType::Subscription);
    let of_before = object.moving_from.clone().filter(|_| is_copied);
    let holder = of_before.or_else(|| home(api, name, &object));
    holder.filter(|holder| **holder != *api.node.config.node)
}

/// The other nodes that hold something of what an address keeps: its home, and the one that it comes from; of a
/// queue with several shards those of each.
fn other_holders(api: &Api, name: &str, object: &Object) -> Vec<Arc<str>> {
    let holders = home(api, name, object).into_iter().chain(object.moving_from.clone());
    let further = api.node.catalogue.shards(name).into_iter();
    let further =
        further.flat_map(|(_, shard)| shard.home.clone().into_iter().chain(shard.moving_from.clone()));
    let mut holders: Vec<Arc<str>> =
        holders.chain(further).filter(|holder| **holder != *api.node.config.node).collect();
    holders.sort();
    holders.dedup();
    holders
}

/// Refuses what would drop messages that nobody can count: unreachable is not empty.
pub(super) async fn check_holders(api: &Api, space: &Space, name: &str) -> Result<(), Refusal> {
    let Some(object) = api.node.catalogue.address(name) else { return Ok(()) };
    for holder in other_holders(api, name, &object) {
        if !is_ready(api, &holder).await {
            let detail = format!(
                "{}: what it holds is not known",
                out_of_reach(&holder, space.outside(name).unwrap_or(name))
            );
            return Err(Refusal::new(StatusCode::CONFLICT, NOT_KNOWN, detail));
        }
    }
    Ok(())
}

/// An address as the API shows it; `silent` are nodes that have not said what they know of it.
fn document(
    api: &Api,
    space: &Space,
    name: &Arc<str>,
    object: &Object,
    silent: &[Arc<str>],
    mut status: AddressStatus,
) -> Address {
    if object.spec.kind != AddressType::Topic {
        status.subscriptions = None;
    }
    status.home = home(api, name, object).map(|home| home.to_string());
    status.moving_from = object.moving_from.as_deref().map(str::to_owned);
    let holders = other_holders(api, name, object).into_iter();
    let unreachable = holders.filter(|holder| silent.contains(holder) || !is_up(api, holder));
    status.unreachable = unreachable.map(|holder| holder.to_string()).collect();
    // What is kept elsewhere is not to be had while that node is away.
    status.ready &= status.unreachable.is_empty();
    shards::name_homes(api, name, object, &mut status);
    status.built_in = object.is_built_in;
    status.created_by = object.created_by.as_deref().map(str::to_owned);
    let mut address = Address::new(own(name), object.spec.clone());
    address.metadata.labels.clone_from(&object.labels);
    address.metadata.set_space(space.name());
    address.status = Some(status);
    address
}

fn add(status: &mut AddressStatus, shard: &AddressStatistics) {
    status.producers += shard.producers;
    status.consumers += shard.consumers;
    status.deliveries_in += shard.deliveries_in;
    status.deliveries_out += shard.deliveries_out;
    status.undelivered += shard.undelivered;
    status.unsettled += shard.unsettled;
    status.dropped += shard.dropped;
    status.expired += shard.expired;
    if let Some(queue) = &shard.queue {
        status.queue = Some(queue_status(queue));
        status.subscriptions = Some(queue.subscriptions);
    }
}

/// Adds what another node knows of an address.
fn merge(status: &mut AddressStatus, there: AddressStatus) {
    status.producers += there.producers;
    status.consumers += there.consumers;
    status.deliveries_in += there.deliveries_in;
    status.deliveries_out += there.deliveries_out;
    status.undelivered += there.undelivered;
    status.unsettled += there.unsettled;
    status.dropped += there.dropped;
    status.expired += there.expired;
    if !status.shards.is_empty() {
        return shards::merge(status, there);
    }
    // The home alone knows what it holds.
    if there.queue.is_some() {
        status.queue = there.queue;
        status.subscriptions = there.subscriptions;
    }
}

/// What a queue holds, for the API.
pub(super) fn queue_status(queue: &QueueStatistics) -> QueueStatus {
    let oldest =
        queue.oldest.and_then(|oldest| Timestamp::from_millisecond(i64::try_from(oldest.0).ok()?).ok());
    QueueStatus {
        messages: queue.messages,
        bytes: queue.bytes,
        available: queue.available,
        acquired: queue.acquired,
        delayed: queue.delayed,
        storing: queue.storing,
        bytes_in_memory: queue.bytes_in_memory,
        oldest,
        enqueued: queue.enqueued,
        acknowledged: queue.acknowledged,
        redelivered: queue.redelivered,
        dead_lettered: queue.dead_lettered,
        expired: queue.expired,
        dropped: queue.dropped,
        rejected: queue.rejected,
    }
}
