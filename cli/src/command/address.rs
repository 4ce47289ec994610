//! `mq address` and `mq apply`.

use mq_model::{
    manifest::{Address, AddressSpec},
    validate_address_name,
};

use super::{admin, files};
use crate::{
    args::{
        Format,
        address::{AddressCommand, AddressCreate, AddressDelete, AddressList, AddressShow, Apply},
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
    }
}

async fn create(args: &AddressCreate, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    checked_name(&args.name)?;
    let wanted = Address::new(&args.name, spec(args));
    wanted.spec.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let created = match admin.create_address(&wanted).await {
        Ok(created) => created,
        Err(failure) if failure.exit == Exit::Conflict => {
            return existing(args, &wanted, &admin.address(&args.name).await?, output);
        }
        Err(failure) => return Err(failure),
    };
    if args.view.output == Format::Table || args.view.output == Format::Wide {
        output.line(&format!("changed: created address {0}; undo: mq address delete {0}", args.name))?;
    } else {
        output.object(&listing(vec![created]), args.view)?;
    }
    Ok(Exit::Ok)
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
    spec.limits.max_producers = args.max_producers;
    spec.limits.max_consumers = args.max_consumers;
    spec.limits.max_message_size = args.max_message_size;
    spec.limits.link_credit = args.credit;
    spec.limits.max_undelivered = args.max_undelivered;
    spec.ttl.default_ms = args.ttl_default;
    spec.ttl.min_ms = args.ttl_min;
    spec.ttl.max_ms = args.ttl_max;
    spec.priority = args.priority;
    spec
}

async fn list(args: &AddressList, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let mut addresses = admin.addresses().await?;
    addresses.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
    if addresses.is_empty() && args.view.output == Format::Table {
        output.talk("there are no addresses; create one with `mq address create NAME --type anycast`");
    }
    output.listing(&listing(addresses), args.view)?;
    Ok(Exit::Ok)
}

async fn show(args: &AddressShow, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    checked_name(&args.name)?;
    let address = admin.address(&args.name).await.map_err(|failure| not_found(failure, &args.name))?;
    let mut view = args.view;
    // One address has room for every column.
    if view.output == Format::Table {
        view.output = Format::Wide;
    }
    output.object(&listing(vec![address]), view)?;
    Ok(Exit::Ok)
}

async fn delete(args: &AddressDelete, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let mut missing = Vec::new();
    let mut deleted = 0;
    for name in &args.names {
        checked_name(name)?;
        let before = admin.address(name).await.ok();
        match admin.delete_address(name).await {
            Ok(()) => {
                deleted += 1;
                let undo =
                    before.map_or_else(String::new, |address| format!("; undo: {}", undo_delete(&address)));
                output.line(&format!("changed: deleted address {name}{undo}"))?;
            }
            Err(failure) if failure.exit == Exit::NotFound && args.ignore_not_found => {
                output.line(&format!("unchanged: there is no address {name}"))?;
            }
            Err(failure) if failure.exit == Exit::NotFound => missing.push(name.as_str()),
            Err(failure) => return Err(failure),
        }
    }
    if missing.is_empty() {
        return Ok(Exit::Ok);
    }
    let exit = if deleted > 0 { Exit::Partial } else { Exit::NotFound };
    Err(Failure::new(exit, format!("there is no address `{}`", missing.join("` and no address `")))
        .help("see `mq address list`; --ignore-not-found makes this a success"))
}

/// The command that creates an address again, when flags can say all of it.
fn undo_delete(address: &Address) -> String {
    let spec = &address.spec;
    let kind = value(&spec.kind);
    let plain = AddressSpec::new(spec.kind);
    if *spec == plain && address.metadata.labels.is_empty() {
        return format!(
            "mq address create {} --type {}",
            address.metadata.name,
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
            "the files hold the Fleet `{}`, and apply is for addresses",
            fleet.metadata.name
        ))
        .help("use `mq deploy -f`"));
    }
    if documents.addresses.is_empty() {
        return Err(Failure::usage("there is no Address in the files").help("see `mq explain Address`"));
    }
    let admin = admin(settings)?;
    let there = admin.addresses().await?;
    let mut applied = Applied::default();
    for wanted in &documents.addresses {
        let step = plan::address_step(wanted, &there);
        applied.one(&step, wanted, (!args.dry_run).then_some(&admin), output).await?;
    }
    if args.dry_run {
        output.line("dry run: nothing was changed")?;
    }
    match (applied.failed, applied.done) {
        (0, _) => Ok(Exit::Ok),
        (_, 0) => Ok(Exit::Failed),
        _ => Ok(Exit::Partial),
    }
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
        admin: Option<&Admin>,
        output: &mut Output,
    ) -> Outcome {
        let name = &wanted.metadata.name;
        let mut word = match step.action {
            Action::Create => "created",
            Action::Update => "updated",
            _ => "unchanged",
        };
        if let (Some(admin), true) = (admin, step.action.is_change()) {
            match admin.put_address(wanted).await {
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
        let undo = match (admin.is_some(), step.action) {
            (true, Action::Create) => format!("; undo: mq address delete {name}"),
            _ => String::new(),
        };
        output.line(&format!("{word}: address {name}{undo}"))?;
        for change in &step.changes {
            output.line(&format!("      {}: {} -> {}", change.field, change.from, change.to))?;
        }
        Ok(())
    }
}

fn checked_name(name: &str) -> Outcome {
    validate_address_name(name).map_err(Failure::usage)
}

fn not_found(failure: Failure, name: &str) -> Failure {
    if failure.exit != Exit::NotFound {
        return failure;
    }
    Failure::new(Exit::NotFound, format!("there is no address `{name}`"))
        .help(format!("see `mq address list`, or create it: mq address create {name} --type anycast"))
}

fn listing(addresses: Vec<Address>) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("TYPE"),
        Column::left("READY"),
        Column::right("PRODUCERS"),
        Column::right("CONSUMERS"),
        Column::right("IN"),
        Column::right("OUT"),
        Column::right("UNDELIVERED").wide(),
        Column::right("UNSETTLED").wide(),
        Column::right("DROPPED").wide(),
        Column::right("EXPIRED").wide(),
    ];
    let mut listing = Listing::new("AddressList", columns);
    listing.documents = true;
    listing.rows = addresses.into_iter().map(row).collect();
    listing
}

fn row(address: Address) -> Row {
    let status = address.status.clone().unwrap_or_default();
    let kind = value(&address.spec.kind);
    let mut cells = vec![
        address.metadata.name.clone(),
        kind.as_str().unwrap_or_default().to_owned(),
        if status.ready { "yes" } else { "no" }.to_owned(),
    ];
    let counts = [
        status.producers,
        status.consumers,
        status.deliveries_in,
        status.deliveries_out,
        status.undelivered,
        status.unsettled,
        status.dropped,
        status.expired,
    ];
    cells.extend(counts.map(shape::number));
    Row { name: address.metadata.name.clone(), cells, value: value(&address) }
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
