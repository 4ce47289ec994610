//! `mq space` and `mq profile`, and their documents in `mq apply`.

use mq_model::{
    Documents,
    space::{AddressSpace, AddressSpaceSpec, Profile, SpaceLimits, SpaceUsage},
};
use serde_json::{Map, Value, json};

use super::{
    admin,
    user::{Applied, delete},
};
use crate::{
    args::{
        Format,
        space::{Limit, ProfileCommand, SpaceCommand, SpaceCreate, SpaceDelete, SpaceSet, UserLimit},
    },
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

/// What takes away what a flag sets.
const NONE: &str = "none";

pub(super) async fn run(args: SpaceCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        SpaceCommand::Create(args) => create(*args, &admin, output).await,
        SpaceCommand::List(args) => {
            output.listing(&spaces_listing(&admin.spaces().await?), args.view)?;
            Ok(Exit::Ok)
        }
        SpaceCommand::Show(args) => {
            let space = admin.space(&args.name).await?;
            if args.view.output != Format::Table {
                output.object(&spaces_listing(&[space]), args.view)?;
                return Ok(Exit::Ok);
            }
            for (name, text) in facts(&space) {
                output.line(&format!("{name:<26}{text}"))?;
            }
            Ok(Exit::Ok)
        }
        SpaceCommand::Set(args) => set(*args, &admin, output).await,
        SpaceCommand::Delete(args) => remove(&args, &admin, output).await,
    }
}

async fn create(args: SpaceCreate, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let SpaceCreate { name, profile, limits, hosts } = args;
    let (own, of_users) = (made(&limits.limits())?, made(&limits.user_limits)?);
    let spec = AddressSpaceSpec { profile, limits: own, user_limits: of_users, hosts, disabled: false };
    let space = AddressSpace::new(&name, spec);
    space.validate().map_err(|error| Failure::usage(error.to_string()))?;
    admin.create_space(&space).await?;
    output.line(&format!("changed: created space {name}; undo: mq space delete {name}"))?;
    output.talk(&format!("nobody is in it yet; create a user with `mq user create {name}/NAME`"));
    Ok(Exit::Ok)
}

/// The limits that flags name.
fn made(named: &[UserLimit]) -> Outcome<SpaceLimits> {
    let numbers = named.iter().filter_map(|(field, limit)| match limit {
        Limit::Most(most) => Some(((*field).to_owned(), Value::from(*most))),
        Limit::None => None,
    });
    serde_json::from_value(Value::Object(numbers.collect()))
        .map_err(|error| Failure::usage(format!("a limit is too large: {error}")))
}

async fn set(args: SpaceSet, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let name = args.name.clone();
    let patch = patch(args);
    if patch.is_empty() {
        return Err(Failure::usage("there is nothing to change").help("see `mq space set --help`"));
    }
    let before = admin.space(&name).await?;
    let after = admin.change_space(&name, &json!({ "spec": patch })).await?;
    let word = if before.spec == after.spec { "unchanged" } else { "changed" };
    output.line(&format!("{word}: space {name} has {}", words(&after)))?;
    Ok(Exit::Ok)
}

/// The merge patch that flags make (RFC 7396).
fn patch(args: SpaceSet) -> Map<String, Value> {
    let mut patch = Map::new();
    if let Some(profile) = args.profile {
        patch.insert("profile".into(), if profile == NONE { Value::Null } else { profile.into() });
    }
    for (field, named) in [("limits", args.limits.limits()), ("userLimits", args.limits.user_limits)] {
        let limits = named.into_iter().map(|(name, limit)| match limit {
            Limit::Most(most) => (name.to_owned(), Value::from(most)),
            Limit::None => (name.to_owned(), Value::Null),
        });
        let limits: Map<String, Value> = limits.collect();
        if !limits.is_empty() {
            patch.insert(field.into(), limits.into());
        }
    }
    if !args.hosts.is_empty() {
        let hosts: Vec<String> = args.hosts.into_iter().filter(|host| host != NONE).collect();
        patch.insert("hosts".into(), hosts.into());
    }
    if args.disable || args.enable {
        patch.insert("disabled".into(), args.disable.into());
    }
    patch
}

async fn remove(args: &SpaceDelete, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let name = &args.name;
    let with = if args.cascade { " with all that is in it" } else { "" };
    if !args.yes
        && output.is_interactive()
        && !output.confirm(&format!("Remove the space `{name}`{with}, and close its connections?"))?
    {
        return Err(Failure::new(Exit::Failed, "nothing was changed"));
    }
    match admin.delete_space(name, args.cascade, args.force).await {
        Ok(()) => output.line(&format!("changed: deleted space {name}{with}"))?,
        Err(failure) if failure.exit == Exit::NotFound && args.ignore_not_found => {
            output.line(&format!("unchanged: there is no space {name}"))?;
        }
        Err(failure) if failure.exit == Exit::Conflict && !args.cascade => {
            return Err(failure.help(format!("see what is in it with `mq --space {name} address list`")));
        }
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Ok)
}

pub(super) async fn profiles(
    args: ProfileCommand,
    settings: &Settings,
    output: &mut Output,
) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        ProfileCommand::List(args) => {
            output.listing(&profiles_listing(&admin.profiles().await?), args.view)?;
            Ok(Exit::Ok)
        }
        ProfileCommand::Show(args) => {
            output.object(&profiles_listing(&[admin.profile(&args.name).await?]), args.view)?;
            Ok(Exit::Ok)
        }
        ProfileCommand::Delete(args) => {
            delete(&args, "profile", admin.delete_profile(&args.name), output).await
        }
    }
}

/// Brings profiles, then spaces, to what their documents say.
pub(super) async fn apply(
    documents: &Documents,
    is_dry_run: bool,
    admin: &Admin,
    output: &mut Output,
) -> Outcome<Applied> {
    let mut applied = Applied::default();
    let there = if documents.profiles.is_empty() { Vec::new() } else { admin.profiles().await? };
    for wanted in &documents.profiles {
        let name = &wanted.metadata.name;
        let found = there.iter().find(|there| there.metadata.name == *name);
        let same = found.map(|there| (&there.spec, &there.metadata) == (&wanted.spec, &wanted.metadata));
        let put = async { if is_dry_run { Ok(None) } else { admin.put_profile(wanted).await.map(Some) } };
        applied.one("profile", name, same, put, output).await?;
    }
    let there = if documents.spaces.is_empty() { Vec::new() } else { admin.spaces().await? };
    for wanted in &documents.spaces {
        let name = &wanted.metadata.name;
        let found = there.iter().find(|there| there.metadata.name == *name);
        let same = found.map(|there| (&there.spec, &there.metadata) == (&wanted.spec, &wanted.metadata));
        let put = async { if is_dry_run { Ok(None) } else { admin.put_space(wanted).await.map(Some) } };
        applied.one("space", name, same, put, output).await?;
    }
    Ok(applied)
}

fn facts(space: &AddressSpace) -> Vec<(String, String)> {
    let status = space.status.clone().unwrap_or_default();
    let profile = space.spec.profile.clone().map(|profile| match status.unknown_profile {
        true => format!("{profile} (there is no such profile)"),
        false => profile,
    });
    let mut facts = vec![
        ("name".to_owned(), space.metadata.name.clone()),
        ("state".to_owned(), state(space).to_owned()),
        ("hosts".to_owned(), or_none(space.spec.hosts.join(", "))),
        ("profile".to_owned(), profile.unwrap_or_else(|| "-".to_owned())),
        ("addresses".to_owned(), shape::number(status.addresses)),
        ("users".to_owned(), shape::number(status.users)),
    ];
    let limits = listed(&status.limits).into_iter();
    facts.extend(limits);
    facts
        .extend(listed(&status.user_limits).into_iter().map(|(name, most)| (format!("{name} (user)"), most)));
    facts.extend(taken(&status.usage));
    facts
}

/// What a space takes, and what it was refused, by the names of the fields and limits.
fn taken(usage: &SpaceUsage) -> Vec<(String, String)> {
    let refused =
        usage.refused.iter().map(|(limit, count)| (format!("{limit} (refused)"), shape::number(*count)));
    let held = [
        ("connections", shape::number(usage.connections)),
        ("sessions", shape::number(usage.sessions)),
        ("links", shape::number(usage.links)),
        ("mqttSessions", shape::number(usage.mqtt_sessions)),
        ("subscriptions", shape::number(usage.subscriptions)),
        ("storedMessages", shape::number(usage.stored_messages)),
        ("storedBytes", shape::bytes(usage.stored_bytes)),
        ("retainedMessages", shape::number(usage.retained_messages)),
        ("delayed", shape::number(usage.delayed)),
    ];
    held.map(|(name, count)| (name.to_owned(), count)).into_iter().chain(refused).collect()
}

fn state(space: &AddressSpace) -> &'static str {
    if space.spec.disabled { "disabled" } else { "enabled" }
}

/// The limits that there are, by the names of their fields.
fn listed(limits: &SpaceLimits) -> Vec<(String, String)> {
    let Value::Object(limits) = value(limits) else { return Vec::new() };
    let text = |name: &str, most: u64| match name {
        "maxStoredBytes" | "maxMessageSize" => shape::bytes(most),
        "maxBytesPerSecond" => format!("{}/s", shape::bytes(most)),
        "maxMessagesPerSecond" => format!("{}/s", shape::number(most)),
        _ => shape::number(most),
    };
    let named = limits.into_iter().filter_map(|(name, most)| Some((text(&name, most.as_u64()?), name)));
    named.map(|(text, name)| (name, text)).collect()
}

/// What a space may take, in one line.
fn words(space: &AddressSpace) -> String {
    let status = space.status.clone().unwrap_or_default();
    let limits = listed(&status.limits).into_iter();
    let of_users =
        listed(&status.user_limits).into_iter().map(|(name, most)| (format!("{name} (user)"), most));
    let limits: Vec<String> = limits.chain(of_users).map(|(name, most)| format!("{name} {most}")).collect();
    let limits = if limits.is_empty() { "no limits".to_owned() } else { limits.join(", ") };
    if space.spec.disabled { format!("{limits}, and is disabled") } else { limits }
}

fn spaces_listing(spaces: &[AddressSpace]) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("PROFILE"),
        Column::right("ADDRESSES"),
        Column::right("USERS"),
        Column::right("CONNECTIONS"),
        Column::right("STORED"),
        Column::right("RATE"),
        Column::left("HOSTS").wide(),
        Column::left("CHANGED").wide(),
    ];
    let mut listing = Listing::new("AddressSpaceList", columns);
    listing.documents = true;
    listing.rows = spaces.iter().map(space_row).collect();
    listing
}

fn space_row(space: &AddressSpace) -> Row {
    let status = space.status.clone().unwrap_or_default();
    let limits = &status.limits;
    let most = |most: Option<u64>, text: fn(u64) -> String| most.map_or_else(|| "-".to_owned(), text);
    let cells = vec![
        space.metadata.name.clone(),
        state(space).to_owned(),
        space.spec.profile.clone().unwrap_or_else(|| "-".to_owned()),
        shape::number(status.addresses),
        shape::number(status.users),
        most(limits.max_connections.map(u64::from), shape::number),
        most(limits.max_stored_bytes, shape::bytes),
        most(limits.max_messages_per_second, |rate| format!("{}/s", shape::number(rate))),
        or_none(space.spec.hosts.join(", ")),
        shape::age(status.changed_at),
    ];
    Row { name: space.metadata.name.clone(), cells, value: value(space) }
}

fn profiles_listing(profiles: &[Profile]) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::right("SPACES"),
        Column::left("LIMITS"),
        Column::left("OF EACH USER"),
        Column::left("CHANGED").wide(),
    ];
    let mut listing = Listing::new("ProfileList", columns);
    listing.documents = true;
    listing.rows = profiles.iter().map(profile_row).collect();
    listing
}

fn profile_row(profile: &Profile) -> Row {
    let status = profile.status.clone().unwrap_or_default();
    let line = |limits: &SpaceLimits| {
        let limits: Vec<_> =
            listed(limits).into_iter().map(|(name, most)| format!("{name} {most}")).collect();
        or_none(limits.join(", "))
    };
    let cells = vec![
        profile.metadata.name.clone(),
        shape::number(status.spaces),
        line(&profile.spec.limits),
        line(&profile.spec.user_limits),
        shape::age(status.changed_at),
    ];
    Row { name: profile.metadata.name.clone(), cells, value: value(profile) }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn set_of(arguments: &[&str]) -> Value {
        let arguments = ["mq", "space", "set", "acme"].into_iter().chain(arguments.iter().copied());
        match Cli::try_parse_from(arguments).unwrap().command {
            Command::Space(SpaceCommand::Set(args)) => patch(*args).into(),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn what_flags_name_is_changed_and_nothing_else() {
        assert_eq!(set_of(&[]), json!({}));
        assert_eq!(
            set_of(&["--max-connections", "2k", "--rate", "none", "--user-limit", "max-links=5"]),
            json!({
                "limits": {"maxConnections": 2_000, "maxMessagesPerSecond": null},
                "userLimits": {"maxLinks": 5},
            })
        );
        assert_eq!(set_of(&["--profile", "none", "--host", "none"]), json!({"profile": null, "hosts": []}));
        assert_eq!(set_of(&["--disable"]), json!({"disabled": true}));
        assert_eq!(set_of(&["--enable", "--host", "a.b"]), json!({"disabled": false, "hosts": ["a.b"]}));
    }
}
