//! `mq session` and `mq retained`.

use mq_model::admin::{ClientSession, Retained, SessionFilter, Will};

use super::admin;
use crate::{
    args::{
        Format,
        session::{
            RetainedCommand, RetainedDelete, RetainedList, SessionCommand, SessionDelete, SessionList,
            SessionShow,
        },
    },
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

/// Columns of a payload in a table.
const MAX_TEXT: usize = 40;

pub(super) async fn run(args: &SessionCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        SessionCommand::List(args) => list(args, &admin, output).await?,
        SessionCommand::Show(args) => show(args, &admin, output).await?,
        SessionCommand::Delete(args) => delete(args, &admin, output).await?,
    }
    Ok(Exit::Ok)
}

async fn list(args: &SessionList, admin: &Admin, output: &mut Output) -> Outcome {
    let connected = match (args.connected, args.away) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let found = admin.client_sessions(prefix, connected, args.limit.unwrap_or(u64::MAX)).await?;
    let nothing = (args.view.output == Format::Table).then_some("no MQTT client has such a session");
    output.missing(&found.unanswered, found.items.is_empty(), nothing);
    output.listing(&listing(&found.items), args.view)
}

async fn show(args: &SessionShow, admin: &Admin, output: &mut Output) -> Outcome {
    let session = admin.client_session(&args.client).await;
    let session = session.map_err(|failure| not_found(failure, &args.client))?;
    if args.view.output != Format::Table && args.view.output != Format::Wide {
        return output.object(&listing(&[session]), args.view);
    }
    for (name, text) in facts(&session) {
        output.line(&format!("{name:<15}{text}"))?;
    }
    let filters = session.filters.unwrap_or_default();
    if filters.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let columns = vec![
        Column::left("FILTER"),
        Column::right("QOS"),
        Column::right("IDENTIFIER"),
        Column::left("NO LOCAL"),
        Column::left("KEEPS RETAIN"),
    ];
    let mut listing = Listing::new("SessionFilterList", columns);
    listing.rows = filters.iter().map(filter_row).collect();
    output.listing(&listing, args.view)
}

async fn delete(args: &SessionDelete, admin: &Admin, output: &mut Output) -> Outcome {
    let client = &args.client;
    if !args.yes && output.is_interactive() {
        let question = format!("End the session of `{client}` and drop what waits for it for ever?");
        if !output.confirm(&question)? {
            return Err(Failure::new(Exit::Failed, "nothing was changed"));
        }
    }
    match admin.delete_client_session(client).await {
        Ok(()) => output.line(&format!("changed: ended the session of {client}")),
        Err(failure) if failure.exit == Exit::NotFound && args.ignore_not_found => {
            output.line(&format!("unchanged: {client} has no session"))
        }
        Err(failure) => Err(not_found(failure, client)),
    }
}

fn not_found(failure: Failure, client: &str) -> Failure {
    if failure.exit != Exit::NotFound {
        return failure;
    }
    Failure::new(Exit::NotFound, format!("no client `{client}` has a session")).help("see `mq session list`")
}

fn facts(session: &ClientSession) -> Vec<(&'static str, String)> {
    let number = shape::number;
    let mut facts = vec![
        ("client", session.client.clone()),
        ("state", state(session)),
        ("connection", session.connection.clone().unwrap_or_else(|| "-".into())),
        ("expiry", expiry(session.expiry_seconds)),
        ("worker", session.worker.to_string()),
        ("subscriptions", number(session.subscriptions)),
        (
            "waiting",
            format!("{} ({})", shape::plural(session.messages, "message"), shape::bytes(session.bytes)),
        ),
        (
            "in flight",
            format!("{} sent, {} unreleased", number(session.in_flight), number(session.unreleased)),
        ),
        ("dropped", number(session.dropped)),
    ];
    if let Some(expires) = session.expires_at {
        facts.push(("ends", expires.to_string()));
    }
    if let Some(will) = &session.will {
        facts.push(("will", will_text(will)));
    }
    facts
}

/// `connected`, or since when it is away.
fn state(session: &ClientSession) -> String {
    match (&session.connection, session.disconnected_at) {
        (Some(_), _) => "connected".into(),
        (None, Some(since)) => format!("away for {}", shape::age(Some(since))),
        (None, None) => "away".into(),
    }
}

fn expiry(seconds: u32) -> String {
    match seconds {
        0 => "with its connection".into(),
        u32::MAX => "never".into(),
        seconds => shape::uptime(seconds.into()),
    }
}

fn will_text(will: &Will) -> String {
    let mut text = format!("{} (QoS {}, {})", will.topic, will.qos, shape::bytes(will.bytes));
    if will.retain {
        text.push_str(", retained");
    }
    if will.delay_seconds > 0 {
        text.push_str(&format!(", after {}", shape::uptime(will.delay_seconds.into())));
    }
    text
}

fn listing(sessions: &[ClientSession]) -> Listing {
    let columns = vec![
        Column::left("CLIENT"),
        Column::left("NODE"),
        Column::left("STATE"),
        Column::left("EXPIRY"),
        Column::right("SUBSCRIPTIONS"),
        Column::right("WAITING"),
        Column::right("BYTES"),
        Column::right("IN FLIGHT"),
        Column::right("DROPPED"),
        Column::left("CONNECTION").wide(),
        Column::right("WORKER").wide(),
        Column::right("UNRELEASED").wide(),
        Column::left("WILL").wide(),
    ];
    let mut listing = Listing::new("ClientSessionList", columns);
    listing.rows = sessions.iter().map(row).collect();
    listing
}

fn row(session: &ClientSession) -> Row {
    let cells = vec![
        session.client.clone(),
        session.node.clone(),
        state(session),
        expiry(session.expiry_seconds),
        shape::number(session.subscriptions),
        shape::number(session.messages),
        shape::bytes(session.bytes),
        shape::number(session.in_flight),
        shape::number(session.dropped),
        session.connection.clone().unwrap_or_else(|| "-".into()),
        session.worker.to_string(),
        shape::number(session.unreleased),
        session.will.as_ref().map_or_else(|| "-".into(), |will| will.topic.clone()),
    ];
    Row { name: session.client.clone(), cells, value: value(session) }
}

fn filter_row(filter: &SessionFilter) -> Row {
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let cells = vec![
        filter.filter.clone(),
        filter.qos.to_string(),
        filter.identifier.map_or_else(|| "-".into(), |identifier| identifier.to_string()),
        yes_or_no(filter.no_local),
        yes_or_no(filter.retain_as_published),
    ];
    Row { name: filter.filter.clone(), cells, value: value(filter) }
}

pub(super) async fn retained(
    args: &RetainedCommand,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        RetainedCommand::List(args) => list_retained(args, &admin, output).await?,
        RetainedCommand::Delete(args) => delete_retained(args, &admin, output).await?,
    }
    Ok(Exit::Ok)
}

async fn list_retained(args: &RetainedList, admin: &Admin, output: &mut Output) -> Outcome {
    let found = admin.retained(&args.filter, args.limit.unwrap_or(u64::MAX)).await?;
    let nothing = format!("nothing is retained for `{}`", args.filter);
    let nothing = (args.view.output == Format::Table).then_some(nothing.as_str());
    output.missing(&found.unanswered, found.items.is_empty(), nothing);
    let columns = vec![
        Column::left("NAME"),
        Column::right("QOS"),
        Column::right("BYTES"),
        Column::right("EXPIRES"),
        Column::left("PAYLOAD"),
        Column::left("CONTENT TYPE").wide(),
        Column::left("TOPIC").wide(),
    ];
    let mut listing = Listing::new("RetainedList", columns);
    listing.rows = found.items.iter().map(retained_row).collect();
    output.listing(&listing, args.view)
}

fn retained_row(retained: &Retained) -> Row {
    let cells = vec![
        retained.name.clone(),
        retained.qos.to_string(),
        shape::bytes(retained.bytes),
        retained.expires_in_ms.map_or_else(|| "-".into(), |left| shape::uptime(left.div_ceil(1_000))),
        retained.text.as_deref().map_or_else(|| "(binary)".into(), one_line),
        retained.content_type.clone().unwrap_or_else(|| "-".into()),
        retained.topic.clone(),
    ];
    Row { name: retained.name.clone(), cells, value: value(retained) }
}

/// A payload in a table: its beginning, and nothing that moves the cursor.
fn one_line(text: &str) -> String {
    let shown: String = text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_TEXT).is_some() { format!("{shown}...") } else { shown }
}

async fn delete_retained(args: &RetainedDelete, admin: &Admin, output: &mut Output) -> Outcome {
    let filter = &args.filter;
    if !args.yes && filter.contains(['+', '#']) {
        let what = format!("every message retained for `{filter}`");
        if !output.is_interactive() {
            let message = format!("nothing was changed: this would forget {what}");
            return Err(Failure::new(Exit::Guarded, message).help("repeat the command with --yes"));
        }
        if !output.confirm(&format!("Forget {what}?"))? {
            return Err(Failure::new(Exit::Failed, "nothing was changed"));
        }
    }
    match admin.delete_retained(filter).await?.messages {
        0 => output.line(&format!("unchanged: nothing is retained for {filter}")),
        count => output.line(&format!("changed: forgot {}", shape::plural(count, "retained message"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_in_a_table_is_one_short_line() {
        assert_eq!(one_line("21.5"), "21.5");
        assert_eq!(one_line("a\nb\x1b[2J"), "a b [2J");
        assert_eq!(one_line(&"ü".repeat(41)), format!("{}...", "ü".repeat(40)));
    }

    #[test]
    fn a_session_says_how_long_it_lasts() {
        assert_eq!(expiry(0), "with its connection");
        assert_eq!(expiry(u32::MAX), "never");
        let session = ClientSession { connection: Some("c1".into()), ..ClientSession::default() };
        assert_eq!(state(&session), "connected");
        assert_eq!(state(&ClientSession::default()), "away");
    }
}
