//! `mq address` and `mq apply`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use mq_model::{
    Documents,
    manifest::{Address, AddressSpec, AddressStatus, Deduplication, QueueStatus, ShardStatus},
    split_subscription, validate_address_name,
};
use serde_json::json;

use super::{admin, connector, files, space, stored, user, watch};
use crate::{
    args::{
        Format,
        address::{AddressCommand, AddressCreate, AddressDelete, AddressList, AddressShow, Apply, Stored},
    },
    client::admin::{Admin, Put},
    deploy::plan::{self, Action, Step},
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(args: AddressCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        AddressCommand::Create(args) => create(&args, &admin, output).await,
        AddressCommand::List(args) => list(&args, &admin, output).await,
        AddressCommand::Show(args) => show(&args, &admin, output).await,
        AddressCommand::Delete(args) => delete(&args, &admin, output).await,
        AddressCommand::Purge(args) => stored::purge(&args, &admin, output).await,
        AddressCommand::Move(args) => stored::relocate(&args, &admin, output).await,
        AddressCommand::MoveHome(args) => stored::move_home(&args, &admin, output).await,
    }
}

async fn create(args: &AddressCreate, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    checked_name(&args.name)?;
    let wanted = Address::new(&args.name, spec(args));
    wanted.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let created = match admin.create_address(&wanted).await {
        Ok(created) => created,
        Err(failure) if failure.exit == Exit::Conflict => {
            return match admin.address(&args.name).await {
                Ok(found) => existing(args, &wanted, &found, output),
                // It is not the address that was in the way.
                Err(missing) if missing.exit == Exit::NotFound => Err(no_topic(failure, &args.name)),
                Err(failure) => Err(failure),
            };
        }
        Err(failure) => return Err(failure),
    };
    if args.view.output == Format::Table || args.view.output == Format::Wide {
        let undo = format!("{} address delete {}", admin.command(), shape::quoted(&args.name));
        output.line(&format!("changed: created address {}; undo: {undo}", args.name))?;
    } else {
        output.object(&listing(vec![created]), args.view)?;
    }
    Ok(Exit::Ok)
}

/// A subscription cannot be created before its topic.
fn no_topic(failure: Failure, name: &str) -> Failure {
    let Some((topic, _)) = split_subscription(name) else { return failure };
    Failure::new(Exit::NotFound, format!("there is no topic `{topic}` to subscribe to"))
        .help(format!("create it first: mq address create {} --type topic", shape::quoted(topic)))
}

/// The address is there already: that is fine when it was asked for and is as asked for.
fn existing(args: &AddressCreate, wanted: &Address, found: &Address, output: &mut Output) -> Outcome<Exit> {
    let changes = plan::changes(&value(&found.spec), &value(&wanted.spec));
    if changes.is_empty() && args.if_absent {
        if args.view.output == Format::Table || args.view.output == Format::Wide {
            output.line(&format!("unchanged: address {} exists as asked for", args.name))?;
        } else {
            output.object(&listing(vec![found.clone()]), args.view)?;
        }
        return Ok(Exit::Ok);
    }
    let mut message = format!("the address `{}` exists", args.name);
    if changes.is_empty() {
        message.push_str(" and is as asked for");
        return Err(Failure::new(Exit::Conflict, message).help("--if-absent makes that a success"));
    }
    message.push_str(" and differs from what was asked for:");
    for change in &changes {
        message.push_str(&format!("\n      {}: {} -> {}", change.field, change.from, change.to));
    }
    Err(Failure::new(Exit::Conflict, message).help(format!(
        "change it with `mq address show {} -o yaml > FILE`, an editor and `mq apply -f FILE`",
        args.name
    )))
}

fn spec(args: &AddressCreate) -> AddressSpec {
    let mut spec = AddressSpec::new(args.kind.into());
    spec.slow_consumer = args.slow_consumer.map(Into::into);
    spec.distribution = args.distribution.map(Into::into);
    spec.limits.max_producers = args.max_producers;
    spec.limits.max_consumers = args.max_consumers;
    spec.limits.max_message_size = args.max_message_size;
    spec.limits.link_credit = args.credit;
    spec.limits.max_undelivered = args.max_undelivered;
    spec.ttl.default_ms = args.ttl_default;
    spec.ttl.min_ms = args.ttl_min;
    spec.ttl.max_ms = args.ttl_max;
    spec.priority = args.priority;
    store(&args.stored, &mut spec);
    spec
}

fn store(args: &Stored, spec: &mut AddressSpec) {
    spec.limits.max_messages = args.max_messages;
    spec.limits.max_bytes = args.max_bytes;
    spec.on_full = args.on_full.map(Into::into);
    spec.max_deliveries = args.max_deliveries;
    spec.redelivery.delay_ms = args.redelivery_delay;
    spec.redelivery.multiplier = args.redelivery_multiplier;
    spec.redelivery.max_delay_ms = args.redelivery_max_delay;
    spec.dead_letter.clone_from(&args.dead_letter);
    spec.expiry_address.clone_from(&args.expiry_address);
    spec.exclusive = args.exclusive;
    spec.message_groups = args.message_groups;
    spec.last_value = args.last_value;
    spec.deduplication = args
        .deduplicate
        .map(|window| Deduplication { window_ms: Some(window), max_ids: args.deduplicate_ids });
    spec.shards = args.shards;
    spec.subscription.filter.clone_from(&args.filter);
    spec.subscription.selector.clone_from(&args.selector);
}

async fn list(args: &AddressList, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let mut addresses = admin.addresses().await?;
    let away: BTreeSet<&String> = addresses
        .iter()
        .filter_map(|address| address.status.as_ref())
        .flat_map(|status| &status.unreachable)
        .collect();
    for node in away {
        output.warn(&format!("{node} cannot be reached: what it holds is not known, and not counted"));
    }
    addresses.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
    if addresses.iter().all(plan::is_built_in) && args.view.output == Format::Table {
        output.talk("no address has been created; create one with `mq address create NAME --type queue`");
    }
    if args.view.output == Format::Name {
        // Names are for other commands, such as `delete`, and nothing can be done to what is built in.
        addresses.retain(|address| !plan::is_built_in(address));
    }
    output.listing(&listing(addresses), args.view)?;
    Ok(Exit::Ok)
}

async fn show(args: &AddressShow, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    checked_name(&args.name)?;
    let read = async || admin.address(&args.name).await.map_err(|failure| not_found(failure, &args.name));
    if args.watch {
        let mut sampler = Sampler::default();
        return watch::every(args.interval, async || sampler.print(&read().await?, args, output)).await;
    }
    let address = read().await?;
    if args.view.output != Format::Table && args.view.output != Format::Wide {
        output.object(&listing(vec![address]), args.view)?;
        return Ok(Exit::Ok);
    }
    for (name, text) in facts(&address) {
        output.line(&format!("{name:<14}{text}"))?;
    }
    Ok(Exit::Ok)
}

/// An address in words, one fact a line.
fn facts(address: &Address) -> Vec<(&'static str, String)> {
    let status = address.status.clone().unwrap_or_default();
    let mut facts = vec![
        ("name", address.metadata.name.clone()),
        ("type", kind(address)),
        ("ready", yes_or_no(status.ready)),
        ("home", home(&status)),
        (
            "links",
            format!(
                "{}, {}",
                shape::plural(status.producers, "producer"),
                shape::plural(status.consumers, "consumer")
            ),
        ),
        ("in", shape::number(status.deliveries_in)),
        ("out", shape::number(status.deliveries_out)),
        (
            "in flight",
            format!(
                "{} undelivered, {} unsettled",
                shape::number(status.undelivered),
                shape::number(status.unsettled)
            ),
        ),
    ];
    if let Some(node) = plan::uncounted(address) {
        facts.push(("holds", format!("what is on {node} is not known: it cannot be reached")));
    }
    match &status.queue {
        Some(queue) => facts.extend(queue_facts(queue)),
        None if address.spec.kind.is_stored() => {}
        None => facts.push((
            "lost",
            format!("{} dropped, {} expired", shape::number(status.dropped), shape::number(status.expired)),
        )),
    }
    facts.extend(status.shards.iter().map(|shard| ("shard", shard_fact(shard))));
    if let Some(subscriptions) = status.subscriptions {
        facts.push(("subscriptions", shape::number(subscriptions)));
    }
    let spec = value(&address.spec);
    let fields = spec.as_object().into_iter().flatten().filter(|(name, _)| *name != "type");
    let wanted: Vec<_> = fields.map(|(name, field)| format!("{name}: {field}")).collect();
    if !wanted.is_empty() {
        facts.push(("settings", wanted.join(", ")));
    }
    for (key, label) in &address.metadata.labels {
        facts.push(("label", format!("{key}: {label}")));
    }
    facts
}

fn queue_facts(queue: &QueueStatus) -> [(&'static str, String); 5] {
    let number = shape::number;
    [
        ("holds", format!("{} ({})", shape::plural(queue.messages, "message"), shape::bytes(queue.bytes))),
        (
            "of these",
            format!(
                "{} available, {} acquired, {} delayed, {} being stored",
                number(queue.available),
                number(queue.acquired),
                number(queue.delayed),
                number(queue.storing)
            ),
        ),
        ("in memory", shape::bytes(queue.bytes_in_memory)),
        ("oldest", shape::age(queue.oldest)),
        (
            "since start",
            format!(
                "{} enqueued, {} acknowledged, {} redelivered, {} dead-lettered, {} expired, {} dropped, {} rejected",
                number(queue.enqueued),
                number(queue.acknowledged),
                number(queue.redelivered),
                number(queue.dead_lettered),
                number(queue.expired),
                number(queue.dropped),
                number(queue.rejected)
            ),
        ),
    ]
}

/// One line for each look at an address, with what has changed since the look before.
#[derive(Default)]
struct Sampler {
    last: Option<(Timestamp, AddressStatus)>,
}

impl Sampler {
    fn print(&mut self, address: &Address, args: &AddressShow, output: &mut Output) -> Outcome {
        let now = Timestamp::now();
        let status = address.status.clone().unwrap_or_default();
        let rates = self.last.as_ref().map(|(then, last)| {
            let seconds = now.duration_since(*then).as_secs_f64().max(f64::EPSILON);
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            (rate(status.deliveries_in, last.deliveries_in), rate(status.deliveries_out, last.deliveries_out))
        });
        let is_first = self.last.replace((now, status.clone())).is_none();
        if args.view.output.is_structured() {
            // A stream of documents has one a line, whatever is asked for.
            let (rate_in, rate_out) = rates.unzip();
            let sample = json!({ "at": now, "rateIn": rate_in, "rateOut": rate_out, "address": address });
            return output.line(&sample.to_string());
        }
        let queue = status.queue.clone().unwrap_or_default();
        let (rate_in, rate_out) = rates.map_or_else(
            || ("-".into(), "-".into()),
            |(rate_in, rate_out)| (format!("{rate_in:.0}"), format!("{rate_out:.0}")),
        );
        if is_first && !args.view.no_headers {
            output.line(
                "TIME         DEPTH       BYTES  AVAILABLE  ACQUIRED  PRODUCERS  CONSUMERS     IN/S    OUT/S   OLDEST",
            )?;
        }
        let time = now.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string();
        output.line(&format!(
            "{time}{:>10}{:>12}{:>11}{:>10}{:>11}{:>11}{rate_in:>9}{rate_out:>9}{:>9}",
            shape::number(queue.messages),
            shape::bytes(queue.bytes),
            shape::number(queue.available),
            shape::number(queue.acquired),
            shape::number(status.producers),
            shape::number(status.consumers),
            shape::age(queue.oldest),
        ))
    }
}

async fn delete(args: &AddressDelete, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let mut missing = Vec::new();
    let mut deleted = 0;
    for name in &args.names {
        checked_name(name)?;
        let before = admin.address(name).await.ok();
        let held = before.as_ref().map_or(0, plan::stored);
        let uncounted = before.as_ref().and_then(plan::uncounted);
        if let Some(node) = uncounted.as_ref().filter(|_| !args.force) {
            return Err(not_counted(Failure::new(Exit::Guarded, plan::not_known(name, node))));
        }
        if held > 0 && !args.yes && output.is_interactive() {
            let what = shape::plural(held, "message");
            if !output.confirm(&format!("Delete `{name}` and drop its {what} for ever?"))? {
                return Err(Failure::new(Exit::Failed, format!("`{name}` was not deleted")));
            }
        }
        match admin.delete_address(name, args.force).await {
            Ok(()) => {
                deleted += 1;
                let undo =
                    before.map_or_else(String::new, |address| format!("; undo: {}", undo_delete(&address)));
                let lost = match (held, &uncounted) {
                    (_, Some(node)) => format!(" and dropped what {node} holds of it, which nobody knows"),
                    (0, None) => String::new(),
                    (held, None) => format!(" and dropped {}", shape::plural(held, "message")),
                };
                output.line(&format!("changed: deleted address {name}{lost}{undo}"))?;
            }
            Err(failure) if failure.exit == Exit::NotFound && args.ignore_not_found => {
                output.line(&format!("unchanged: there is no address {name}"))?;
            }
            Err(failure) if failure.exit == Exit::NotFound => missing.push(name.as_str()),
            Err(failure) => return Err(not_counted(failure)),
        }
    }
    if missing.is_empty() {
        return Ok(Exit::Ok);
    }
    let exit = if deleted > 0 { Exit::Partial } else { Exit::NotFound };
    Err(Failure::new(exit, format!("there is no address `{}`", missing.join("` and no address `")))
        .help("see `mq address list`; --ignore-not-found makes this a success"))
}

/// What to do when it is not known what would be dropped.
fn not_counted(failure: Failure) -> Failure {
    match failure.exit {
        Exit::Guarded => failure.help(
            "bring the node back first (`mq deploy` starts nodes that have died), or drop whatever it holds with \
             --force",
        ),
        _ => failure,
    }
}

/// The command that creates an address again, when flags can say all of it.
fn undo_delete(address: &Address) -> String {
    let spec = &address.spec;
    let kind = value(&spec.kind);
    let plain = AddressSpec::new(spec.kind);
    if *spec == plain && address.metadata.labels.is_empty() {
        let of_space = address.metadata.space.as_ref().map(|space| format!("--space {space} "));
        return format!(
            "mq {}address create {} --type {}",
            of_space.unwrap_or_default(),
            shape::quoted(&address.metadata.name),
            kind.as_str().unwrap_or_default()
        );
    }
    let mut document = address.clone();
    document.status = None;
    format!("mq apply -f - <<< '{}'", value(&document).to_string().replace('\'', "'\\''"))
}

pub(super) async fn apply(args: &Apply, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let documents = files::documents(&args.files)?;
    if let Some(fleet) = documents.fleet {
        return Err(Failure::usage(format!(
            "the files hold the Fleet `{}`, and apply is for addresses, users, roles, connectors, spaces and profiles",
            fleet.metadata.name
        ))
        .help("use `mq deploy -f`"));
    }
    let is_empty = documents.addresses.is_empty()
        && documents.users.is_empty()
        && documents.roles.is_empty()
        && documents.connectors.is_empty()
        && documents.spaces.is_empty()
        && documents.profiles.is_empty();
    if is_empty {
        return Err(Failure::usage(
            "there is no Address, User, Role, Connector, AddressSpace or Profile in the files",
        )
        .help("see `mq explain Address`, `mq explain User`, `mq explain AddressSpace`"));
    }
    let admin = admin(settings)?;
    let documents = in_space(documents, settings)?;
    let mut planned = Vec::new();
    for (admin, addresses) in by_space(&documents.addresses, &admin) {
        let there = user::there_or_none(admin.addresses().await)?;
        let steps = plan::in_order(&addresses).into_iter();
        planned.extend(steps.map(|wanted| {
            let step = plan::address_step(wanted, &there);
            (admin.clone(), wanted.clone(), step)
        }));
    }
    if !args.dry_run {
        guard(planned.iter().map(|(_, _, step)| step), args, output)?;
    }
    // A space is there before what is of it.
    let mut principals = space::apply(&documents, args.dry_run, &admin, output).await?;
    let mut applied = Applied::default();
    for (admin, wanted, step) in &planned {
        applied.one(step, wanted, args, admin, output).await?;
    }
    principals.add(&user::apply(&documents, args.dry_run, &admin, output).await?);
    principals.add(&connector::apply(&documents, args.dry_run, &admin, output).await?);
    if args.dry_run {
        output.line("dry run: nothing was changed")?;
    }
    match (applied.failed + principals.failed, applied.done + principals.done) {
        (0, _) => Ok(Exit::Ok),
        (_, 0) => Ok(Exit::Failed),
        _ => Ok(Exit::Partial),
    }
}

/// The documents, with those that say no space in the one that the command is about.
fn in_space(mut documents: Documents, settings: &Settings) -> Outcome<Documents> {
    let Some(space) = settings.space()? else { return Ok(documents) };
    let addresses = documents.addresses.iter_mut().map(|address| &mut address.metadata);
    let users = documents.users.iter_mut().map(|user| &mut user.metadata);
    let roles = documents.roles.iter_mut().map(|role| &mut role.metadata);
    let connectors = documents.connectors.iter_mut().map(|connector| &mut connector.metadata);
    for metadata in addresses.chain(users).chain(roles).chain(connectors) {
        metadata.space.get_or_insert_with(|| space.clone());
    }
    Ok(documents)
}

/// The addresses of each space, and the admin API that is asked about it.
fn by_space(addresses: &[Address], admin: &Admin) -> Vec<(Admin, Vec<Address>)> {
    let mut spaces: BTreeMap<&str, Vec<Address>> = BTreeMap::new();
    for address in addresses {
        spaces.entry(address.metadata.space()).or_default().push(address.clone());
    }
    spaces.into_iter().map(|(space, addresses)| (admin.in_space(space), addresses)).collect()
}

/// Refuses, or asks, before messages are lost.
fn guard<'a>(steps: impl Iterator<Item = &'a Step> + Clone, args: &Apply, output: &Output) -> Outcome {
    let uncounted = steps.clone().filter_map(|step| Some((step, step.uncounted.as_ref()?))).next();
    if let Some((step, node)) = uncounted.filter(|_| !args.force) {
        let message = format!("nothing was changed: {}", plan::not_known(&step.name, node));
        return Err(not_counted(Failure::new(Exit::Guarded, message)));
    }
    if args.yes {
        return Ok(());
    }
    let losing: Vec<&Step> = steps.filter(|step| step.messages > 0).collect();
    if losing.is_empty() {
        return Ok(());
    }
    let messages = shape::plural(losing.iter().map(|step| step.messages).sum(), "message");
    let names: Vec<&str> = losing.iter().map(|step| step.name.as_str()).collect();
    let names = names.join("`, `");
    if output.is_interactive() && output.confirm(&format!("Drop {messages} of `{names}` for ever?"))? {
        return Ok(());
    }
    let message = format!("nothing was changed: another type would drop {messages} of `{names}`");
    Err(Failure::new(Exit::Guarded, message)
        .help("move them first with `mq address move`, or repeat the command with --yes"))
}

#[derive(Default)]
struct Applied {
    done: usize,
    failed: usize,
}

impl Applied {
    /// Says what happens to one address, and does it unless this is a dry run.
    async fn one(
        &mut self,
        step: &Step,
        wanted: &Address,
        args: &Apply,
        admin: &Admin,
        output: &mut Output,
    ) -> Outcome {
        let name = &wanted.metadata.name;
        let mut word = match step.action {
            Action::Create => "created",
            Action::Update => "updated",
            _ => "unchanged",
        };
        if !args.dry_run && step.action.is_change() {
            match admin.put_address(wanted, args.force).await {
                Ok((Put::Created, _)) => word = "created",
                Ok((Put::Present, _)) => word = "updated",
                Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                Err(failure) => {
                    self.failed += 1;
                    output.warn(&format!("cannot {} address {name}: {failure}", step.action.word()));
                    return Ok(());
                }
            }
        }
        self.done += 1;
        let undo = match (args.dry_run, step.action) {
            (false, Action::Create) => {
                format!("; undo: {} address delete {}", admin.command(), shape::quoted(name))
            }
            _ => String::new(),
        };
        output.line(&format!("{word}: address {name}{undo}"))?;
        for change in &step.changes {
            output.line(&format!("      {}: {} -> {}", change.field, change.from, change.to))?;
        }
        Ok(())
    }
}

pub(super) fn checked_name(name: &str) -> Outcome {
    validate_address_name(name).map_err(Failure::usage)
}

pub(super) fn not_found(failure: Failure, name: &str) -> Failure {
    if failure.exit != Exit::NotFound {
        return failure;
    }
    Failure::new(Exit::NotFound, format!("there is no address `{name}`")).help(format!(
        "see `mq address list`, or create it: mq address create {} --type queue",
        shape::quoted(name)
    ))
}

fn listing(addresses: Vec<Address>) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("TYPE"),
        Column::left("READY"),
        Column::left("HOME"),
        Column::right("PRODUCERS"),
        Column::right("CONSUMERS"),
        Column::right("IN"),
        Column::right("OUT"),
        Column::right("DEPTH"),
        Column::right("BYTES"),
        Column::right("OLDEST"),
        Column::right("UNDELIVERED").wide(),
        Column::right("UNSETTLED").wide(),
        Column::right("DROPPED").wide(),
        Column::right("EXPIRED").wide(),
        Column::right("AVAILABLE").wide(),
        Column::right("ACQUIRED").wide(),
        Column::right("DELAYED").wide(),
        Column::right("DEAD-LETTERED").wide(),
        Column::right("SUBSCRIPTIONS").wide(),
    ];
    let mut listing = Listing::new("AddressList", columns);
    listing.documents = true;
    listing.rows = addresses.into_iter().map(row).collect();
    listing
}

fn row(address: Address) -> Row {
    let status = address.status.clone().unwrap_or_default();
    let home = home(&status);
    let mut cells = vec![address.metadata.name.clone(), kind(&address), yes_or_no(status.ready), home];
    let links = [status.producers, status.consumers, status.deliveries_in, status.deliveries_out];
    cells.extend(links.map(shape::number));
    let queue = status.queue.as_ref();
    // A direct address stores nothing, which is neither the same as nothing stored nor as nobody knows.
    let without = if status.unreachable.is_empty() { "-" } else { "?" };
    let of_queue = |text: fn(&QueueStatus) -> String| queue.map_or_else(|| without.to_owned(), text);
    cells.extend([
        of_queue(|queue| shape::number(queue.messages)),
        of_queue(|queue| shape::bytes(queue.bytes)),
        of_queue(|queue| shape::age(queue.oldest)),
    ]);
    let rest = [status.undelivered, status.unsettled];
    cells.extend(rest.map(shape::number));
    cells.extend([
        shape::number(queue.map_or(status.dropped, |queue| queue.dropped)),
        shape::number(queue.map_or(status.expired, |queue| queue.expired)),
        of_queue(|queue| shape::number(queue.available)),
        of_queue(|queue| shape::number(queue.acquired)),
        of_queue(|queue| shape::number(queue.delayed)),
        of_queue(|queue| shape::number(queue.dead_lettered)),
        status.subscriptions.map_or_else(|| "-".to_owned(), shape::number),
    ]);
    Row { name: address.metadata.name.clone(), cells, value: value(&address) }
}

/// Where the messages are: `node-2`, `node-1>node-2` while they move, `3 nodes` when shards are on several.
fn home(status: &AddressStatus) -> String {
    let mut homes: Vec<String> = status
        .shards
        .iter()
        .map(|shard| place(shard.home.as_deref(), shard.moving_from.as_deref()))
        .collect();
    homes.sort();
    homes.dedup();
    match homes.as_slice() {
        [] => place(status.home.as_deref(), status.moving_from.as_deref()),
        [home] => home.clone(),
        homes => format!("{} nodes", homes.len()),
    }
}

fn place(home: Option<&str>, moving_from: Option<&str>) -> String {
    match (home, moving_from) {
        (None, _) => "-".to_owned(),
        (Some(home), None) => home.to_owned(),
        (Some(home), Some(from)) => format!("{from}>{home}"),
    }
}

/// One shard of a queue in words.
fn shard_fact(status: &ShardStatus) -> String {
    let home = place(status.home.as_deref(), status.moving_from.as_deref());
    let holds = match &status.queue {
        Some(queue) => {
            format!("{} ({})", shape::plural(queue.messages, "message"), shape::bytes(queue.bytes))
        }
        None => "not known".to_owned(),
    };
    let leaving = if status.is_leaving { "; one too many: what it holds goes to the others" } else { "" };
    let ready = if status.ready { "" } else { "; its node cannot be reached: what it holds waits there" };
    format!("{} on {home}: {holds}{leaving}{ready}", status.shard)
}

/// The word for the type.
fn kind(address: &Address) -> String {
    let kind = value(&address.spec.kind).as_str().unwrap_or_default().to_owned();
    if plan::is_built_in(address) { format!("{kind} (built in)") } else { kind }
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use mq_model::manifest::AddressType;

    use super::*;

    #[test]
    fn a_deleted_address_comes_back_with_the_command_that_is_printed() {
        let mut address = Address::new("a", AddressSpec::new(AddressType::Multicast));
        assert_eq!(undo_delete(&address), "mq address create a --type multicast");
        address.spec.priority = Some(3);
        assert!(undo_delete(&address).contains(r#""priority":3"#));
    }
}
