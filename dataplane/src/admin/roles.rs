//! Roles: create, change, show, remove.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::{ChangeRights, Page};
use mq_model::user::{ADMIN_ROLE, Role, RoleSpec, RoleStatus, VIEWER_ROLE, is_built_in_role};

use super::Api;
use super::authorize::Within;
use super::body::{self, Name, Parameters};
use super::problem::Refusal;
use super::users::{ListQuery, change_list, check_path, check_space, status, time_of};
use crate::objects::{ChangeError, PrincipalKind, RoleValue};
use crate::spaces::Space;
use crate::users::{self, UserTable};

pub(super) async fn list(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<Role>> {
    let table = api.node.catalogue.user_table();
    let built_in = [ADMIN_ROLE, VIEWER_ROLE].into_iter().filter_map(|name| built_in(&table, &space, name));
    let made = table
        .roles(space.name())
        .filter(|role| !is_built_in_role(&role.name))
        .map(|role| document(&table, &space, role));
    let mut roles: Vec<(Arc<str>, Role)> =
        built_in.chain(made).map(|role| (role.metadata.name.as_str().into(), role)).collect();
    roles.sort_by(|(one, _), (other, _)| one.cmp(other));
    Json(query.page(roles.into_iter()))
}

pub(super) async fn show(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
) -> Result<Json<Role>, Refusal> {
    shown(&api, &space, &name).map(Json)
}

pub(super) async fn create(
    State(api): State<Api>,
    Within { space, .. }: Within,
    body::Json(role): body::Json<Role>,
) -> Result<(StatusCode, Json<Role>), Refusal> {
    role.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&role.metadata, &space)?;
    let name: Arc<str> = role.metadata.name.into();
    let value = RoleValue { spec: role.spec, labels: role.metadata.labels };
    let exists = ChangeError::PrincipalExists(PrincipalKind::Role, name.clone());
    let edit = move |current: Option<RoleValue>| match current {
        Some(_) => Err(exists),
        None => Ok(Some(value)),
    };
    api.node.catalogue.edit_role(space.name().clone(), name.clone(), edit).await?;
    Ok((StatusCode::CREATED, Json(shown(&api, &space, &name)?)))
}

pub(super) async fn put(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(path): Name,
    body::Json(role): body::Json<Role>,
) -> Result<(StatusCode, Json<Role>), Refusal> {
    role.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&role.metadata, &space)?;
    let name: Arc<str> = role.metadata.name.into();
    check_path(&name, &path)?;
    let value = RoleValue { spec: role.spec, labels: role.metadata.labels };
    let put =
        api.node.catalogue.edit_role(space.name().clone(), name.clone(), move |_| Ok(Some(value))).await?;
    Ok((status(put), Json(shown(&api, &space, &name)?)))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
) -> Result<StatusCode, Refusal> {
    check_made(&name)?;
    let name: Arc<str> = name.into();
    let unknown = unknown(&name);
    let edit = move |current: Option<RoleValue>| if current.is_some() { Ok(None) } else { Err(unknown) };
    api.node.catalogue.edit_role(space.name().clone(), name, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes some of what a role gives; what others change at the same time stays.
pub(super) async fn change(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
    body::Json(change): body::Json<ChangeRights>,
) -> Result<Json<Role>, Refusal> {
    check_made(&name)?;
    let ChangeRights { grant, revoke, add_roles, remove_roles, disabled } = change;
    if !add_roles.is_empty() || !remove_roles.is_empty() || disabled.is_some() {
        return Err(Refusal::invalid("a role has grants alone; give roles to users, and disable those"));
    }
    let name: Arc<str> = name.into();
    let key = name.clone();
    let edit = move |current: Option<RoleValue>| {
        let mut value = current.ok_or_else(|| unknown(&key))?;
        change_list(&mut value.spec.grants, grant, &revoke);
        let invalid = |error| ChangeError::InvalidPrincipal(PrincipalKind::Role, key.clone(), error);
        Role::new(&*key, value.spec.clone()).validate().map_err(invalid)?;
        Ok(Some(value))
    };
    api.node.catalogue.edit_role(space.name().clone(), name.clone(), edit).await?;
    shown(&api, &space, &name).map(Json)
}

fn check_made(name: &str) -> Result<(), Refusal> {
    if is_built_in_role(name) {
        return Err(Refusal::conflict(format!("role `{name}` is built in and cannot be changed")));
    }
    Ok(())
}

fn unknown(name: &str) -> ChangeError {
    let shown: String = name.chars().take(mq_model::user::MAX_USER_NAME).collect();
    ChangeError::NoPrincipal(PrincipalKind::Role, shown.into())
}

/// A role as it is in force.
fn shown(api: &Api, space: &Space, name: &str) -> Result<Role, Refusal> {
    let table = api.node.catalogue.user_table();
    let role = built_in(&table, space, name)
        .or_else(|| table.role(space.name(), name).map(|role| document(&table, space, role)));
    role.ok_or_else(|| unknown(name).into())
}

fn built_in(table: &UserTable, space: &Space, name: &str) -> Option<Role> {
    let grants = table.role_grants(space.name(), name).filter(|_| is_built_in_role(name))?;
    let mut role = Role::new(name, RoleSpec { grants });
    role.metadata.set_space(space.name());
    role.status = Some(RoleStatus { built_in: true, users: having(table, space, name), changed_at: None });
    Some(role)
}

fn document(table: &UserTable, space: &Space, role: &users::Role) -> Role {
    let mut document = Role::new(&*role.name, role.spec.clone());
    document.metadata.labels.clone_from(&role.labels);
    document.metadata.set_space(space.name());
    let (users, changed_at) = (having(table, space, &role.name), time_of(role.version));
    document.status = Some(RoleStatus { built_in: false, users, changed_at });
    document
}

/// How many users have a role.
fn having(table: &UserTable, space: &Space, role: &str) -> u64 {
    table.users(space.name()).filter(|user| user.roles().iter().any(|name| name == role)).count() as u64
}
