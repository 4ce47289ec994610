//! Address spaces: create, change, show, remove.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_core::split_shard;
use mq_model::admin::Page;
use mq_model::space::{AddressSpace, AddressSpaceSpec, AddressSpaceStatus, DEFAULT_SPACE};
use serde::Deserialize;
use serde_json::Value;

use super::Api;
use super::addresses::{check_holders, served};
use super::authorize::Within;
use super::body::{self, Parameters, SpaceName};
use super::caller::Caller;
use super::merge::merge;
use super::problem::Refusal;
use super::users::{ListQuery, check_path, status, time_of};
use crate::objects::{ChangeError, PrincipalKind, SpaceValue};
use crate::spaces::Space;
use crate::users::{SpaceEntry, UserTable};

pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<AddressSpace>> {
    let table = api.node.catalogue.user_table();
    let spaces = table.spaces().filter(|(space, _)| caller.sees_fleet() || **space.name() == *caller.space());
    let page = query.page(spaces.map(|(space, entry)| (space.name().clone(), (space, entry))));
    let items = page.items.into_iter().map(|(space, entry)| document(&api, &table, space, entry));
    Json(Page { items: items.collect(), next: page.next, unanswered: page.unanswered })
}

pub(super) async fn show(
    State(api): State<Api>,
    Within { space, .. }: Within,
) -> Result<Json<AddressSpace>, Refusal> {
    shown(&api, space.name()).map(Json)
}

pub(super) async fn create(
    State(api): State<Api>,
    body::Json(space): body::Json<AddressSpace>,
) -> Result<(StatusCode, Json<AddressSpace>), Refusal> {
    space.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    let name: Arc<str> = space.metadata.name.into();
    let (spec, labels) = (space.spec, space.metadata.labels);
    let exists = ChangeError::PrincipalExists(PrincipalKind::Space, name.clone());
    let is_default = *name == *DEFAULT_SPACE;
    let edit = move |current: Option<SpaceValue>| match current {
        None if !is_default => Ok(SpaceValue { spec, labels, ..SpaceValue::default() }),
        _ => Err(exists),
    };
    api.node.catalogue.edit_space(name.clone(), edit).await?;
    tracing::info!(space = %name, "created an address space");
    Ok((StatusCode::CREATED, Json(shown(&api, &name)?)))
}

pub(super) async fn put(
    State(api): State<Api>,
    SpaceName(path): SpaceName,
    body::Json(space): body::Json<AddressSpace>,
) -> Result<(StatusCode, Json<AddressSpace>), Refusal> {
    space.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    let name: Arc<str> = space.metadata.name.into();
    check_path(&name, &path)?;
    let (spec, labels) = (space.spec, space.metadata.labels);
    let edit = move |current: Option<SpaceValue>| {
        let begun = current.unwrap_or_default();
        Ok(SpaceValue { spec, labels, ..begun })
    };
    let put = api.node.catalogue.edit_space(name.clone(), edit).await?;
    Ok((status(put), Json(shown(&api, &name)?)))
}

/// Changes some of a space; what others change at the same time stays.
pub(super) async fn change(
    State(api): State<Api>,
    SpaceName(path): SpaceName,
    body::Json(patch): body::Json<Value>,
) -> Result<Json<AddressSpace>, Refusal> {
    let name: Arc<str> = path.into();
    if api.node.catalogue.user_table().space(&name).is_none() {
        return Err(unknown(&name).into());
    }
    let key = name.clone();
    let edit = move |current: Option<SpaceValue>| {
        let current = match current {
            Some(current) => current,
            None if *key == *DEFAULT_SPACE => SpaceValue::default(),
            None => return Err(unknown(&key)),
        };
        patched(&key, current, &patch)
    };
    api.node.catalogue.edit_space(name.clone(), edit).await?;
    shown(&api, &name).map(Json)
}

/// What a merge patch of its document makes of a space (RFC 7396).
fn patched(name: &Arc<str>, current: SpaceValue, patch: &Value) -> Result<SpaceValue, ChangeError> {
    let unfit =
        |error: serde_json::Error| ChangeError::Unfit(PrincipalKind::Space, name.clone(), error.to_string());
    let mut document = AddressSpace::new(&**name, current.spec.clone());
    document.metadata.labels.clone_from(&current.labels);
    let mut merged = serde_json::to_value(&document).map_err(unfit)?;
    merge(&mut merged, patch);
    let document: AddressSpace = serde_json::from_value(merged).map_err(unfit)?;
    let invalid = |error| ChangeError::InvalidPrincipal(PrincipalKind::Space, name.clone(), error);
    document.validate().map_err(invalid)?;
    if document.metadata.name != **name {
        let detail = "a space keeps its name; create another one".to_owned();
        return Err(ChangeError::Unfit(PrincipalKind::Space, name.clone(), detail));
    }
    Ok(SpaceValue { spec: document.spec, labels: document.metadata.labels, ..current })
}

/// What goes with a space.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveQuery {
    #[serde(default)]
    cascade: bool,
    #[serde(default)]
    force: bool,
}

pub(super) async fn remove(
    State(api): State<Api>,
    SpaceName(name): SpaceName,
    Parameters(RemoveQuery { cascade, force }): Parameters<RemoveQuery>,
) -> Result<StatusCode, Refusal> {
    let table = api.node.catalogue.user_table();
    let Some(space) = table.space(&name).cloned() else { return Err(unknown(&name).into()) };
    served(&api)?;
    if cascade && !force && !space.is_default() {
        for (address, _) in api.node.catalogue.addresses_below(space.prefix()) {
            check_holders(&api, &space, &address).await?;
        }
    }
    api.node.catalogue.remove_space(space.name().clone(), cascade).await?;
    tracing::info!(space = %name, cascade, "removed an address space");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn unknown(name: &str) -> ChangeError {
    ChangeError::NoSpace(name.chars().take(mq_model::space::MAX_SPACE_NAME).collect::<String>().into())
}

/// A space as it is in force.
fn shown(api: &Api, name: &str) -> Result<AddressSpace, Refusal> {
    let table = api.node.catalogue.user_table();
    let space = table.space(name).ok_or_else(|| unknown(name))?;
    Ok(document(api, &table, space, table.space_entry(name)))
}

fn document(api: &Api, table: &UserTable, space: &Space, entry: Option<&Arc<SpaceEntry>>) -> AddressSpace {
    let spec = entry.map_or_else(AddressSpaceSpec::default, |entry| entry.spec.clone());
    let mut document = AddressSpace::new(&**space.name(), spec);
    if let Some(entry) = entry {
        document.metadata.labels.clone_from(&entry.labels);
    }
    let profile = document.spec.profile.as_deref();
    document.status = Some(AddressSpaceStatus {
        built_in: space.is_default(),
        changed_at: entry.and_then(|entry| time_of(entry.version)),
        unknown_profile: profile.is_some_and(|profile| table.profile(profile).is_none()),
        addresses: addresses(api, space),
        users: table.users(space.name()).count() as u64,
        limits: space.limits().clone(),
        user_limits: space.user_limits().clone(),
        usage: api.node.hub.usage_of(space.name()),
    });
    document
}

/// How many addresses have been created in a space.
fn addresses(api: &Api, space: &Space) -> u64 {
    let below = api.node.catalogue.addresses_below(space.prefix()).into_iter();
    let counted = below.filter(|(name, object)| {
        split_shard(name).is_none() && !object.is_built_in && space.outside(name).is_some()
    });
    counted.count() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_takes_away_what_it_says_is_null() {
        let name: Arc<str> = "acme".into();
        let spec = json!({"profile": "free", "limits": {"maxLinks": 1, "maxSessions": 2}, "hosts": ["a.b"]});
        let spec: AddressSpaceSpec = serde_json::from_value(spec).unwrap();
        let before = SpaceValue { spec, ..SpaceValue::default() };
        let patch = json!({"spec": {"profile": null, "limits": {"maxLinks": null, "maxConnections": 3}}});
        let after = patched(&name, before.clone(), &patch).unwrap();
        let expected = json!({"limits": {"maxConnections": 3, "maxSessions": 2}, "hosts": ["a.b"]});
        assert_eq!(serde_json::to_value(&after.spec).unwrap(), expected);
        assert_eq!(patched(&name, before.clone(), &json!({})).unwrap(), before);
        for refused in [
            json!(1),
            json!({"spec": {"limits": {"maxLinks": 0}}}),
            json!({"spec": {"limits": {"maxThings": 1}}}),
            json!({"metadata": {"name": "other"}}),
            json!({"kind": "Profile"}),
        ] {
            patched(&name, before.clone(), &refused).unwrap_err();
        }
    }
}
