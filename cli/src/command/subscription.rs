//! `mq subscription`.

use mq_model::admin::{List, Subscription};

use super::admin;
use crate::{
    args::{
        Format,
        subscription::{SubscriptionCommand, SubscriptionDelete, SubscriptionList},
    },
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(
    args: &SubscriptionCommand,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        SubscriptionCommand::List(args) => list(args, &admin, output).await,
        SubscriptionCommand::Delete(args) => delete(args, &admin, output).await,
    }
}

async fn list(args: &SubscriptionList, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let List { items: mut subscriptions, unanswered } = admin.subscriptions(args.topic.as_deref()).await?;
    subscriptions.sort_by(|left, right| (&left.topic, &left.name).cmp(&(&right.topic, &right.name)));
    let nothing = (args.view.output == Format::Table).then_some("there are no subscriptions");
    output.missing(&unanswered, subscriptions.is_empty(), nothing);
    output.listing(&listing(subscriptions), args.view)?;
    Ok(Exit::Ok)
}

async fn delete(args: &SubscriptionDelete, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let SubscriptionDelete { topic, name, .. } = args;
    if !args.yes && output.is_interactive() {
        let question = format!("End the subscription `{name}` of `{topic}` and drop its messages for ever?");
        if !output.confirm(&question)? {
            return Err(Failure::new(Exit::Failed, "nothing was changed"));
        }
    }
    match admin.delete_subscription(topic, name).await {
        Ok(()) => output.line(&format!("changed: ended the subscription {name} of {topic}"))?,
        Err(failure) if failure.exit == Exit::NotFound && args.ignore_not_found => {
            output.line(&format!("unchanged: {topic} has no subscription {name}"))?;
        }
        Err(failure) if failure.exit == Exit::NotFound => {
            let message = format!("`{topic}` has no subscription `{name}`");
            return Err(Failure::new(Exit::NotFound, message)
                .help("see `mq subscription list`; --ignore-not-found makes this a success"));
        }
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Ok)
}

fn listing(subscriptions: Vec<Subscription>) -> Listing {
    let columns = vec![
        Column::left("TOPIC"),
        Column::left("NAME"),
        Column::left("KIND"),
        Column::right("CONSUMERS"),
        Column::right("MESSAGES"),
        Column::right("BYTES"),
        Column::right("OLDEST"),
        Column::left("FILTER"),
        Column::left("CLIENT").wide(),
        Column::left("SELECTOR").wide(),
        Column::right("ENQUEUED").wide(),
        Column::right("ACKNOWLEDGED").wide(),
        Column::right("DROPPED").wide(),
        Column::right("EXPIRED").wide(),
    ];
    let mut listing = Listing::new("SubscriptionList", columns);
    listing.rows = subscriptions.iter().map(row).collect();
    listing
}

fn row(subscription: &Subscription) -> Row {
    let queue = &subscription.queue;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let cells = vec![
        subscription.topic.clone(),
        subscription.name.clone(),
        kind(subscription),
        shape::number(subscription.consumers),
        shape::number(queue.messages),
        shape::bytes(queue.bytes),
        shape::age(queue.oldest),
        subscription.filter.clone(),
        or_none(&subscription.container),
        or_none(&subscription.selector),
        shape::number(queue.enqueued),
        shape::number(queue.acknowledged),
        shape::number(queue.dropped),
        shape::number(queue.expired),
    ];
    let name = format!("{}::{}", subscription.topic, subscription.name);
    Row { name, cells, value: value(subscription) }
}

/// `durable`, `durable shared`, `volatile`, ...; `address` when an Address document made it.
fn kind(subscription: &Subscription) -> String {
    if subscription.administered {
        return "address".to_owned();
    }
    let life = if subscription.durable { "durable" } else { "volatile" };
    if subscription.shared { format!("{life} shared") } else { life.to_owned() }
}
