//! Profiles, the limits of a plan under a name: create, change, show, remove.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::Page;
use mq_model::space::{Profile, ProfileStatus};

use super::Api;
use super::body::{self, Name, Parameters};
use super::problem::Refusal;
use super::users::{ListQuery, check_path, status, time_of};
use crate::objects::{ChangeError, PrincipalKind, ProfileValue};
use crate::users::{self, UserTable};

pub(super) async fn list(
    State(api): State<Api>,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<Profile>> {
    let table = api.node.catalogue.user_table();
    let profiles = table.profiles().map(|profile| (profile.name.clone(), document(&table, profile)));
    Json(query.page(profiles))
}

pub(super) async fn show(State(api): State<Api>, Name(name): Name) -> Result<Json<Profile>, Refusal> {
    shown(&api, &name).map(Json)
}

pub(super) async fn put(
    State(api): State<Api>,
    Name(path): Name,
    body::Json(profile): body::Json<Profile>,
) -> Result<(StatusCode, Json<Profile>), Refusal> {
    profile.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    let name: Arc<str> = profile.metadata.name.into();
    check_path(&name, &path)?;
    let value = ProfileValue { spec: profile.spec, labels: profile.metadata.labels };
    let put = api.node.catalogue.edit_profile(name.clone(), move |_| Ok(Some(value))).await?;
    Ok((status(put), Json(shown(&api, &name)?)))
}

pub(super) async fn remove(State(api): State<Api>, Name(name): Name) -> Result<StatusCode, Refusal> {
    let unknown = unknown(&name);
    let edit = move |current: Option<ProfileValue>| if current.is_some() { Ok(None) } else { Err(unknown) };
    api.node.catalogue.edit_profile(name.into(), edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(name: &str) -> ChangeError {
    let shown: String = name.chars().take(mq_model::MAX_NAME).collect();
    ChangeError::NoPrincipal(PrincipalKind::Profile, shown.into())
}

/// A profile as it is in force.
fn shown(api: &Api, name: &str) -> Result<Profile, Refusal> {
    let table = api.node.catalogue.user_table();
    let profile = table.profile(name).ok_or_else(|| unknown(name))?;
    Ok(document(&table, profile))
}

fn document(table: &UserTable, profile: &users::Profile) -> Profile {
    let mut document = Profile::new(&*profile.name, profile.spec.clone());
    document.metadata.labels.clone_from(&profile.labels);
    let entries = table.spaces().filter_map(|(_, entry)| entry);
    let spaces = entries.filter(|entry| entry.spec.profile.as_deref() == Some(&*profile.name)).count() as u64;
    document.status = Some(ProfileStatus { spaces, changed_at: time_of(profile.version) });
    document
}
