//! Users: create, change, show, remove. No answer holds what a password is checked with.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mq_mesh::replica::Version;
use mq_model::admin::{ChangeRights, NewPassword, NewUser, Page, Permission};
use mq_model::grant::{Grant, Right, Who, permitting};
use mq_model::manifest::Metadata;
use mq_model::user::{User, UserSpec, UserStatus};
use serde::Deserialize;

use super::Api;
use super::authorize::Within;
use super::body::{self, Name, Parameters};
use super::paging::Limit;
use super::problem::Refusal;
use crate::objects::{ChangeError, PrincipalKind, Put, UserValue};
use crate::spaces::Space;
use crate::users::{self, UserTable};

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    pub(super) limit: Limit,
    /// The name behind which it begins.
    #[serde(rename = "continue")]
    pub(super) after: Option<String>,
}

impl ListQuery {
    /// The part of documents that come in the order of their names.
    pub(super) fn page<T>(self, items: impl Iterator<Item = (Arc<str>, T)>) -> Page<T> {
        let Self { limit, after } = self;
        let mut rest = items.skip_while(|(name, _)| after.as_deref().is_some_and(|after| **name <= *after));
        let part: Vec<_> = rest.by_ref().take(limit.0).collect();
        let last = part.last().map(|(name, _)| name.to_string());
        let next = last.filter(|_| rest.next().is_some());
        Page { items: part.into_iter().map(|(_, item)| item).collect(), next, unanswered: Vec::new() }
    }
}

pub(super) async fn list(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<User>> {
    let table = api.node.catalogue.user_table();
    let users =
        table.users(space.name()).map(|user| (user.name().clone(), document(&api, &table, &space, user)));
    Json(query.page(users))
}

pub(super) async fn show(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
) -> Result<Json<User>, Refusal> {
    shown(&api, &space, &name).map(Json)
}

pub(super) async fn create(
    State(api): State<Api>,
    Within { space, .. }: Within,
    body::Json(NewUser { user, password }): body::Json<NewUser>,
) -> Result<(StatusCode, Json<User>), Refusal> {
    user.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&user.metadata, &space)?;
    let name: Arc<str> = user.metadata.name.into();
    if api.node.catalogue.user_table().find(space.name(), &name).is_some() {
        return Err(ChangeError::PrincipalExists(PrincipalKind::User, name).into());
    }
    let verifiers = match password {
        Some(NewPassword { password }) => Some(api.gatekeeper.derive(password).await?),
        None => None,
    };
    let value = UserValue { spec: user.spec, labels: user.metadata.labels, verifiers };
    let (exists, key) = (ChangeError::PrincipalExists(PrincipalKind::User, name.clone()), name.clone());
    let edit = move |current: Option<UserValue>| match current {
        Some(_) => Err(exists),
        None => Ok(Some(value)),
    };
    api.node.catalogue.edit_user(space.name().clone(), key, edit).await?;
    Ok((StatusCode::CREATED, Json(shown(&api, &space, &name)?)))
}

pub(super) async fn put(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(path): Name,
    body::Json(user): body::Json<User>,
) -> Result<(StatusCode, Json<User>), Refusal> {
    user.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&user.metadata, &space)?;
    let name: Arc<str> = user.metadata.name.into();
    check_path(&name, &path)?;
    let (spec, labels) = (user.spec, user.metadata.labels);
    let edit = move |current: Option<UserValue>| {
        let verifiers = current.and_then(|current| current.verifiers);
        Ok(Some(UserValue { spec, labels, verifiers }))
    };
    let put = api.node.catalogue.edit_user(space.name().clone(), name.clone(), edit).await?;
    Ok((status(put), Json(shown(&api, &space, &name)?)))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
) -> Result<StatusCode, Refusal> {
    let name: Arc<str> = name.into();
    let unknown = unknown(&name);
    let edit = move |current: Option<UserValue>| if current.is_some() { Ok(None) } else { Err(unknown) };
    api.node.catalogue.edit_user(space.name().clone(), name, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes some of what a user may do; what others change at the same time stays.
pub(super) async fn change(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
    body::Json(change): body::Json<ChangeRights>,
) -> Result<Json<User>, Refusal> {
    let name: Arc<str> = name.into();
    let key = name.clone();
    let edit = move |current: Option<UserValue>| {
        let UserValue { spec, labels, verifiers } = current.ok_or_else(|| unknown(&key))?;
        let spec = changed(spec, change);
        let invalid = |error| ChangeError::InvalidPrincipal(PrincipalKind::User, key.clone(), error);
        User::new(&*key, spec.clone()).validate().map_err(invalid)?;
        Ok(Some(UserValue { spec, labels, verifiers }))
    };
    api.node.catalogue.edit_user(space.name().clone(), name.clone(), edit).await?;
    shown(&api, &space, &name).map(Json)
}

fn changed(mut spec: UserSpec, change: ChangeRights) -> UserSpec {
    let ChangeRights { grant, revoke, add_roles, remove_roles, disabled } = change;
    change_list(&mut spec.grants, grant, &revoke);
    change_list(&mut spec.roles, add_roles, &remove_roles);
    spec.disabled = disabled.unwrap_or(spec.disabled);
    spec
}

/// Takes away and adds, each once.
pub(super) fn change_list<T: PartialEq>(list: &mut Vec<T>, added: Vec<T>, removed: &[T]) {
    list.retain(|item| !removed.contains(item));
    for item in added {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

pub(super) async fn set_password(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
    body::Json(NewPassword { password }): body::Json<NewPassword>,
) -> Result<StatusCode, Refusal> {
    let name: Arc<str> = name.into();
    // Spares the work for one who does not exist.
    if api.node.catalogue.user_table().find(space.name(), &name).is_none() {
        return Err(unknown(&name).into());
    }
    let verifiers = api.gatekeeper.derive(password).await?;
    let key = name.clone();
    let edit = move |current: Option<UserValue>| {
        let current = current.ok_or_else(|| unknown(&key))?;
        Ok(Some(UserValue { verifiers: Some(verifiers), ..current }))
    };
    api.node.catalogue.edit_user(space.name().clone(), name, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a user may do or not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PermissionQuery {
    right: String,
    address: String,
    #[serde(default)]
    client: String,
}

pub(super) async fn permission(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
    Parameters(query): Parameters<PermissionQuery>,
) -> Result<Json<Permission>, Refusal> {
    let right: Right = query.right.parse().map_err(|error| Refusal::invalid(format!("right: {error}")))?;
    let table = api.node.catalogue.user_table();
    let user = table.find(space.name(), &name).ok_or_else(|| unknown(&name))?;
    let asked: String = query.address.chars().take(mq_model::MAX_ADDRESS_NAME).collect();
    let who = Who { user: &name, client: &query.client };
    Ok(Json(decide(&table, &space, user, right, &asked, who)))
}

fn decide(
    table: &UserTable,
    space: &Space,
    user: &users::User,
    right: Right,
    asked: &str,
    who: Who<'_>,
) -> Permission {
    let name = user.name();
    if !space.is_enabled() {
        return Permission { allowed: false, reason: "the address space is disabled".to_owned() };
    }
    if !user.is_enabled() {
        return Permission { allowed: false, reason: format!("user `{name}` is disabled") };
    }
    let permits = |grants: &[Grant]| permitting(grants, right, asked, who).cloned();
    if let Some(grant) = permits(&user.spec().grants) {
        return Permission { allowed: true, reason: format!("user `{name}` has the grant `{grant}`") };
    }
    for role in user.roles() {
        if let Some(grant) = table.role_grants(space.name(), role).and_then(|grants| permits(&grants)) {
            return Permission { allowed: true, reason: format!("role `{role}` gives the grant `{grant}`") };
        }
    }
    let reason = format!("no grant of user `{name}` or of his roles gives `{right}` at `{asked}`");
    Permission { allowed: false, reason }
}

/// The space of the path counts; another one in the document is a mistake.
pub(super) fn check_space(metadata: &Metadata, space: &Space) -> Result<(), Refusal> {
    match &metadata.space {
        Some(named) if **named != **space.name() => {
            let detail =
                format!("metadata.space is `{named}`, which is not that of the path; make them equal");
            Err(Refusal::invalid(detail))
        }
        _ => Ok(()),
    }
}

/// The name in the path counts; another one in the document is a mistake.
pub(super) fn check_path(name: &str, path: &str) -> Result<(), Refusal> {
    if name == path {
        return Ok(());
    }
    let detail = format!("metadata.name is `{name}`, which is not the name in the path; make them equal");
    Err(Refusal::invalid(detail))
}

pub(super) fn status(put: Put) -> StatusCode {
    match put {
        Put::Created => StatusCode::CREATED,
        Put::Updated | Put::Unchanged => StatusCode::OK,
    }
}

fn unknown(name: &str) -> ChangeError {
    let shown: String = name.chars().take(mq_model::user::MAX_USER_NAME).collect();
    ChangeError::NoPrincipal(PrincipalKind::User, shown.into())
}

/// A user as he is in force.
fn shown(api: &Api, space: &Space, name: &str) -> Result<User, Refusal> {
    let table = api.node.catalogue.user_table();
    let user = table.find(space.name(), name).ok_or_else(|| unknown(name))?;
    Ok(document(api, &table, space, user))
}

fn document(api: &Api, table: &UserTable, space: &Space, user: &users::User) -> User {
    let mut document = User::new(&**user.name(), user.spec().clone());
    document.metadata.labels.clone_from(user.labels());
    document.metadata.set_space(space.name());
    let is_unknown = |role: &&String| table.role_grants(space.name(), role).is_none();
    document.status = Some(UserStatus {
        has_password: user.verifiers().is_some(),
        changed_at: time_of(user.version()),
        unknown_roles: user.roles().iter().filter(is_unknown).cloned().collect(),
        usage: api.node.hub.usage_of_user(space.name(), user.name()),
    });
    document
}

/// When a change was made, as its node's clock had it.
pub(super) fn time_of(version: Version) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(version.unix_millis()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_takes_away_before_it_adds_and_adds_once() {
        let spec = UserSpec {
            grants: vec!["send:a".parse().unwrap()],
            roles: vec!["one".into()],
            ..UserSpec::default()
        };
        let change = ChangeRights {
            grant: vec!["send:b".parse().unwrap(), "send:b".parse().unwrap()],
            revoke: vec!["send:a".parse().unwrap(), "recv:none".parse().unwrap()],
            add_roles: vec!["one".into(), "two".into()],
            remove_roles: vec!["three".into()],
            disabled: Some(true),
        };
        let expected = UserSpec {
            grants: vec!["send:b".parse().unwrap()],
            roles: vec!["one".into(), "two".into()],
            disabled: true,
            ..UserSpec::default()
        };
        assert_eq!(changed(spec, change), expected);
        assert_eq!(changed(expected.clone(), ChangeRights::default()), expected);
    }

    #[test]
    fn a_list_goes_on_behind_the_last_name() {
        let items = || ["a", "b", "c"].map(|name| (Arc::<str>::from(name), name)).into_iter();
        let page = |limit, after: Option<&str>| {
            ListQuery { limit: Limit(limit), after: after.map(Into::into) }.page(items())
        };
        let first = page(2, None);
        assert_eq!((first.items, first.next.as_deref()), (vec!["a", "b"], Some("b")));
        let second = page(2, Some("b"));
        assert_eq!((second.items, second.next), (vec!["c"], None));
        assert_eq!(page(3, None).next, None);
        assert!(page(3, Some("x")).items.is_empty());
    }
}
