//! `mq user` and `mq role`, and their documents in `mq apply`.

use std::collections::BTreeSet;

use mq_model::{
    Documents, Secret,
    admin::{ChangeRights, NewPassword, NewUser},
    grant::Grant,
    manifest::Metadata,
    space::DEFAULT_SPACE,
    user::{Role, RoleSpec, User, UserSpec},
    validate_name,
};

use super::admin;
use crate::{
    args::{
        Format,
        user::{
            CanI, PrincipalDelete, PrincipalList, PrincipalShow, RoleCommand, UserCommand, UserCreate,
            UserName,
        },
    },
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Column, Listing, Output, Row, value},
    settings::Settings,
    shape,
};

pub(super) async fn run(args: UserCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    // What stdin holds is the password of the user that the command is about.
    let settings = &settings.leaving_stdin();
    let admin = admin(settings)?;
    match args {
        UserCommand::Create(args) => create(args, settings, &admin, output).await,
        UserCommand::List(args) => list(args, &admin, output).await,
        UserCommand::Show(args) => show(&args, &admin, output).await,
        UserCommand::Grant(args) => {
            let change =
                ChangeRights { grant: args.grants, add_roles: args.roles, ..ChangeRights::default() };
            change_user(&args.name, &change, &admin, output).await
        }
        UserCommand::Revoke(args) => {
            let change =
                ChangeRights { revoke: args.grants, remove_roles: args.roles, ..ChangeRights::default() };
            change_user(&args.name, &change, &admin, output).await
        }
        UserCommand::Passwd(args) => set_password(&args, settings, &admin, output).await,
        UserCommand::Enable(args) => switch(&args, false, &admin, output).await,
        UserCommand::Disable(args) => switch(&args, true, &admin, output).await,
        UserCommand::Delete(args) => {
            let (admin, name) = of_space(&admin, &args.name)?;
            delete(&args, "user", admin.delete_user(name), output).await
        }
        UserCommand::CanI(args) => can_i(&args, &admin, output).await,
    }
}

/// The space of a user or a role that is called `space/name`, and the name there.
pub(super) fn of_space<'a>(admin: &Admin, name: &'a str) -> Outcome<(Admin, &'a str)> {
    let Some((space, name)) = name.split_once('/') else { return Ok((admin.clone(), name)) };
    validate_name(space).map_err(Failure::usage)?;
    Ok((admin.in_space(space), name))
}

async fn create(args: UserCreate, settings: &Settings, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let UserCreate { name, grants, roles } = args;
    let mq = admin.command();
    let (admin, own_name) = of_space(admin, &name)?;
    let user = User::new(own_name, UserSpec { grants, roles, ..UserSpec::default() });
    user.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let password = settings.password_of_stdin()?.map(new_password);
    let has_password = password.is_some();
    admin.create_user(&NewUser { user, password }).await?;
    output.line(&format!("changed: created user {name}; undo: {mq} user delete {name}"))?;
    if !has_password {
        output.talk(&format!(
            "{name} has no password yet; set one with `{mq} user passwd {name} --password-stdin`"
        ));
    }
    Ok(Exit::Ok)
}

fn new_password(password: Secret) -> NewPassword {
    NewPassword { password }
}

async fn list(args: PrincipalList, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let users = admin.users().await?;
    if users.is_empty() && args.view.output == Format::Table {
        output.talk("there are no users");
    }
    output.listing(&users_listing(&users), args.view)?;
    Ok(Exit::Ok)
}

async fn show(args: &PrincipalShow, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let (admin, name) = of_space(admin, &args.name)?;
    let user = admin.user(name).await?;
    output.object(&users_listing(&[user]), args.view)?;
    Ok(Exit::Ok)
}

async fn change_user(name: &str, change: &ChangeRights, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let (admin, own_name) = of_space(admin, name)?;
    let before = admin.user(own_name).await?.spec;
    let after = admin.change_user(own_name, change).await?.spec;
    said(output, "user", name, before != after, &after.grants)
}

/// Says what a user or a role may do now.
fn said(output: &mut Output, kind: &str, name: &str, is_changed: bool, grants: &[Grant]) -> Outcome<Exit> {
    let word = if is_changed { "changed" } else { "unchanged" };
    output.line(&format!("{word}: {kind} {name} has {}", words(grants)))?;
    Ok(Exit::Ok)
}

async fn set_password(
    args: &UserName,
    settings: &Settings,
    admin: &Admin,
    output: &mut Output,
) -> Outcome<Exit> {
    let name = &args.name;
    let password = settings.password_of_stdin()?.ok_or_else(|| {
        Failure::usage("there is no password").help("write it to stdin and say --password-stdin")
    })?;
    let (admin, own_name) = of_space(admin, name)?;
    admin.set_password(own_name, &new_password(password)).await?;
    output.line(&format!("changed: user {name} has another password"))?;
    Ok(Exit::Ok)
}

async fn switch(args: &UserName, disabled: bool, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let name = &args.name;
    let mq = admin.command();
    let (admin, own_name) = of_space(admin, name)?;
    let before = admin.user(own_name).await?.spec;
    let change = ChangeRights { disabled: Some(disabled), ..ChangeRights::default() };
    admin.change_user(own_name, &change).await?;
    let (state, undo) = if disabled { ("disabled", "enable") } else { ("enabled", "disable") };
    output.line(&match before.disabled == disabled {
        true => format!("unchanged: user {name} is {state}"),
        false => format!("changed: user {name} is {state}; undo: {mq} user {undo} {name}"),
    })?;
    Ok(Exit::Ok)
}

async fn can_i(args: &CanI, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let (admin, name) = of_space(admin, &args.name)?;
    let permission = admin.permission(name, args.right, &args.address, &args.client).await?;
    let (word, exit) = if permission.allowed { ("yes", Exit::Ok) } else { ("no", Exit::Failed) };
    output.line(&format!("{word}: {}", permission.reason))?;
    Ok(exit)
}

/// Removes a user, a role or a profile.
pub(super) async fn delete(
    args: &PrincipalDelete,
    kind: &str,
    removal: impl Future<Output = Outcome>,
    output: &mut Output,
) -> Outcome<Exit> {
    let name = &args.name;
    if !args.yes && output.is_interactive() && !output.confirm(&format!("Remove the {kind} `{name}`?"))? {
        return Err(Failure::new(Exit::Failed, "nothing was changed"));
    }
    match removal.await {
        Ok(()) => output.line(&format!("changed: deleted {kind} {name}"))?,
        Err(failure) if failure.exit == Exit::NotFound && args.ignore_not_found => {
            output.line(&format!("unchanged: there is no {kind} {name}"))?;
        }
        Err(failure) => return Err(failure),
    }
    Ok(Exit::Ok)
}

pub(super) async fn roles(args: RoleCommand, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let admin = admin(settings)?;
    match args {
        RoleCommand::Create(args) => {
            let mq = admin.command();
            let (admin, name) = of_space(&admin, &args.name)?;
            let role = Role::new(name, RoleSpec { grants: args.grants });
            role.validate().map_err(|error| Failure::usage(error.to_string()))?;
            admin.create_role(&role).await?;
            output.line(&format!("changed: created role {0}; undo: {mq} role delete {0}", args.name))?;
            Ok(Exit::Ok)
        }
        RoleCommand::List(args) => {
            output.listing(&roles_listing(&admin.roles().await?), args.view)?;
            Ok(Exit::Ok)
        }
        RoleCommand::Show(args) => {
            let (admin, name) = of_space(&admin, &args.name)?;
            output.object(&roles_listing(&[admin.role(name).await?]), args.view)?;
            Ok(Exit::Ok)
        }
        RoleCommand::Grant(args) => {
            let change = ChangeRights { grant: args.grants, ..ChangeRights::default() };
            change_role(&args.name, &change, &admin, output).await
        }
        RoleCommand::Revoke(args) => {
            let change = ChangeRights { revoke: args.grants, ..ChangeRights::default() };
            change_role(&args.name, &change, &admin, output).await
        }
        RoleCommand::Delete(args) => {
            let (admin, name) = of_space(&admin, &args.name)?;
            delete(&args, "role", admin.delete_role(name), output).await
        }
    }
}

async fn change_role(name: &str, change: &ChangeRights, admin: &Admin, output: &mut Output) -> Outcome<Exit> {
    let (admin, own_name) = of_space(admin, name)?;
    let before = admin.role(own_name).await?.spec;
    let after = admin.change_role(own_name, change).await?.spec;
    said(output, "role", name, before != after, &after.grants)
}

/// What became of the users and roles of some files.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) done: usize,
    pub(super) failed: usize,
}

/// Brings roles, then users, to what their documents say. Passwords stay as they are.
pub(super) async fn apply(
    documents: &Documents,
    is_dry_run: bool,
    admin: &Admin,
    output: &mut Output,
) -> Outcome<Applied> {
    let mut applied = Applied::default();
    if documents.roles.is_empty() && documents.users.is_empty() {
        return Ok(applied);
    }
    for (space, admin) in spaces_of(documents, admin) {
        let of_space = |metadata: &Metadata| metadata.space() == space;
        let roles = documents.roles.iter().filter(|role| of_space(&role.metadata));
        let there = there_or_none(admin.roles().await)?;
        for wanted in roles {
            let name = &wanted.metadata.name;
            let found = there.iter().find(|there| there.metadata.name == *name);
            let same =
                found.map(|there| is_same(&there.metadata, &wanted.metadata) && there.spec == wanted.spec);
            let put = async { if is_dry_run { Ok(None) } else { admin.put_role(wanted).await.map(Some) } };
            applied.one("role", &shown(&wanted.metadata), same, put, output).await?;
        }
        let users = documents.users.iter().filter(|user| of_space(&user.metadata));
        let there = there_or_none(admin.users().await)?;
        for wanted in users {
            let name = &wanted.metadata.name;
            let found = there.iter().find(|there| there.metadata.name == *name);
            let same =
                found.map(|there| is_same(&there.metadata, &wanted.metadata) && there.spec == wanted.spec);
            let put = async { if is_dry_run { Ok(None) } else { admin.put_user(wanted).await.map(Some) } };
            applied.one("user", &shown(&wanted.metadata), same, put, output).await?;
        }
    }
    Ok(applied)
}

/// What there is; in a space that is yet to be created there is nothing.
pub(super) fn there_or_none<T>(found: Outcome<Vec<T>>) -> Outcome<Vec<T>> {
    match found {
        Err(failure) if failure.exit == Exit::NotFound => Ok(Vec::new()),
        found => found,
    }
}

/// The spaces that users and roles of documents are of.
fn spaces_of<'a>(documents: &'a Documents, admin: &Admin) -> Vec<(&'a str, Admin)> {
    let of_users = documents.users.iter().map(|user| user.metadata.space());
    let of_roles = documents.roles.iter().map(|role| role.metadata.space());
    let spaces: BTreeSet<&str> = of_users.chain(of_roles).collect();
    spaces.into_iter().map(|space| (space, admin.in_space(space))).collect()
}

/// Whether two say the same; `default` need not be said.
pub(super) fn is_same(there: &Metadata, wanted: &Metadata) -> bool {
    there.space() == wanted.space() && (&there.name, &there.labels) == (&wanted.name, &wanted.labels)
}

/// `name`, or `space/name`.
pub(super) fn shown(metadata: &Metadata) -> String {
    match metadata.space() {
        DEFAULT_SPACE => metadata.name.clone(),
        space => format!("{space}/{}", metadata.name),
    }
}

impl Applied {
    /// Adds what became of others.
    pub(super) fn add(&mut self, others: &Self) {
        self.done += others.done;
        self.failed += others.failed;
    }

    /// Carries out one document; `same` says whether what is there is as it is wanted, `None`: nothing is there.
    pub(super) async fn one<T>(
        &mut self,
        kind: &str,
        name: &str,
        same: Option<bool>,
        put: impl Future<Output = Outcome<Option<T>>>,
        output: &mut Output,
    ) -> Outcome {
        let word = match same {
            Some(true) => "unchanged",
            Some(false) => "updated",
            None => "created",
        };
        if same != Some(true) {
            match put.await {
                Ok(_) => {}
                Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
                Err(failure) => {
                    self.failed += 1;
                    output.warn(&format!("cannot change {kind} {name}: {failure}"));
                    return Ok(());
                }
            }
        }
        self.done += 1;
        output.line(&format!("{word}: {kind} {name}"))
    }
}

fn users_listing(users: &[User]) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("PASSWORD"),
        Column::left("ROLES"),
        Column::left("GRANTS"),
        Column::left("CHANGED").wide(),
    ];
    let mut listing = Listing::new("UserList", columns);
    listing.rows = users.iter().map(user_row).collect();
    listing
}

fn user_row(user: &User) -> Row {
    let status = user.status.clone().unwrap_or_default();
    let cells = vec![
        shown(&user.metadata),
        if user.spec.disabled { "disabled" } else { "enabled" }.to_owned(),
        if status.has_password { "set" } else { "-" }.to_owned(),
        or_none(user.spec.roles.join(", ")),
        or_none(listed(&user.spec.grants)),
        shape::age(status.changed_at),
    ];
    Row { name: shown(&user.metadata), cells, value: value(user) }
}

fn roles_listing(roles: &[Role]) -> Listing {
    let columns = vec![
        Column::left("NAME"),
        Column::right("USERS"),
        Column::left("GRANTS"),
        Column::left("CHANGED").wide(),
    ];
    let mut listing = Listing::new("RoleList", columns);
    listing.rows = roles.iter().map(role_row).collect();
    listing
}

fn role_row(role: &Role) -> Row {
    let status = role.status.clone().unwrap_or_default();
    let cells = vec![
        shown(&role.metadata),
        shape::number(status.users),
        or_none(listed(&role.spec.grants)),
        if status.built_in { "built in".to_owned() } else { shape::age(status.changed_at) },
    ];
    Row { name: shown(&role.metadata), cells, value: value(role) }
}

fn words(grants: &[Grant]) -> String {
    if grants.is_empty() { "no grants of its own".to_owned() } else { format!("grants {}", listed(grants)) }
}

fn listed(grants: &[Grant]) -> String {
    grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}
