//! Connectors: create, change, show, remove. No answer holds what one logs in with.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_auth::MAX_PASSWORD;
use mq_model::admin::Page;
use mq_model::connector::{
    Connector, ConnectorCredentials, ConnectorState, ConnectorStatus, MAX_CONNECTOR_PEM, NewConnector,
};
use serde_json::Value;

use super::Api;
use super::authorize::Within;
use super::body::{self, Name, Parameters};
use super::merge::merge;
use super::problem::Refusal;
use super::remote::{Wanted, gather, segment};
use super::users::{ListQuery, check_path, check_space, status, time_of};
use crate::objects::{ChangeError, ConnectorValue, PrincipalKind};
use crate::spaces::Space;
use crate::users;

pub(super) async fn list(
    State(api): State<Api>,
    within: Within,
    Wanted(scope): Wanted,
    Parameters(query): Parameters<ListQuery>,
) -> Json<Page<Connector>> {
    let table = api.node.catalogue.user_table();
    let all = table.connectors(within.space.name());
    let page =
        query.page(all.map(|connector| (connector.name.clone(), document(&api, &within.space, connector))));
    let Page { mut items, next, .. } = page;
    // All connectors of a fleet fit into one answer.
    let gathered = gather::<Page<Connector>>(&api, scope, &within.path("connectors?limit=1000")).await;
    let unanswered = gathered.unanswered(&api);
    let told = gathered.parts.into_iter().flat_map(|(_, part)| part.items);
    let told = told
        .filter_map(|item| Some((item.metadata.name, item.status.filter(|status| status.node.is_some())?)));
    let mut told: BTreeMap<String, ConnectorStatus> = told.collect();
    for item in &mut items {
        if let Some(told) = told.remove(&item.metadata.name) {
            item.status = Some(joined(item.status.take().unwrap_or_default(), told));
        }
    }
    Json(Page { items, next, unanswered })
}

pub(super) async fn show(
    State(api): State<Api>,
    within: Within,
    Wanted(scope): Wanted,
    Name(name): Name,
) -> Result<Json<Connector>, Refusal> {
    let mut shown = shown(&api, &within.space, &name)?;
    if shown.status.as_ref().is_none_or(|status| status.node.is_none()) {
        let target = within.path(&format!("connectors/{}", segment(&name)));
        let gathered = gather::<Connector>(&api, scope, &target).await;
        let told = gathered.parts.into_iter().filter_map(|(_, part)| part.status);
        if let Some(told) = told.into_iter().find(|status| status.node.is_some()) {
            shown.status = Some(joined(shown.status.take().unwrap_or_default(), told));
        }
    }
    Ok(Json(shown))
}

pub(super) async fn create(
    State(api): State<Api>,
    Within { space, .. }: Within,
    body::Json(NewConnector { connector, credentials }): body::Json<NewConnector>,
) -> Result<(StatusCode, Json<Connector>), Refusal> {
    connector.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&connector.metadata, &space)?;
    let name: Arc<str> = connector.metadata.name.into();
    let credentials = credentials.unwrap_or_default();
    check_credentials(&credentials)?;
    let value = ConnectorValue {
        spec: connector.spec,
        labels: connector.metadata.labels,
        ..ConnectorValue::default()
    };
    let value = with_credentials(value, credentials);
    let exists = ChangeError::PrincipalExists(PrincipalKind::Connector, name.clone());
    let edit = move |current: Option<ConnectorValue>| match current {
        Some(_) => Err(exists),
        None => Ok(Some(value)),
    };
    api.node.catalogue.edit_connector(space.name().clone(), name.clone(), edit).await?;
    Ok((StatusCode::CREATED, Json(shown(&api, &space, &name)?)))
}

pub(super) async fn put(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(path): Name,
    body::Json(connector): body::Json<Connector>,
) -> Result<(StatusCode, Json<Connector>), Refusal> {
    connector.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    check_space(&connector.metadata, &space)?;
    let name: Arc<str> = connector.metadata.name.into();
    check_path(&name, &path)?;
    let (spec, labels) = (connector.spec, connector.metadata.labels);
    let edit = move |current: Option<ConnectorValue>| {
        Ok(Some(ConnectorValue { spec, labels, ..current.unwrap_or_default() }))
    };
    let put = api.node.catalogue.edit_connector(space.name().clone(), name.clone(), edit).await?;
    Ok((status(put), Json(shown(&api, &space, &name)?)))
}

pub(super) async fn change(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
    body::Json(patch): body::Json<Value>,
) -> Result<Json<Connector>, Refusal> {
    let name: Arc<str> = name.into();
    let key = name.clone();
    let edit = move |current: Option<ConnectorValue>| {
        let current = current.ok_or_else(|| unknown(&key))?;
        patched(&key, current, &patch).map(Some)
    };
    api.node.catalogue.edit_connector(space.name().clone(), name.clone(), edit).await?;
    shown(&api, &space, &name).map(Json)
}

pub(super) async fn remove(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
) -> Result<StatusCode, Refusal> {
    let name: Arc<str> = name.into();
    let unknown = unknown(&name);
    let edit = move |current: Option<ConnectorValue>| if current.is_some() { Ok(None) } else { Err(unknown) };
    api.node.catalogue.edit_connector(space.name().clone(), name, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_credentials(
    State(api): State<Api>,
    Within { space, .. }: Within,
    Name(name): Name,
    body::Json(credentials): body::Json<ConnectorCredentials>,
) -> Result<StatusCode, Refusal> {
    let name: Arc<str> = name.into();
    check_credentials(&credentials)?;
    let key = name.clone();
    let edit = move |current: Option<ConnectorValue>| {
        let current = current.ok_or_else(|| unknown(&key))?;
        Ok(Some(with_credentials(current, credentials)))
    };
    api.node.catalogue.edit_connector(space.name().clone(), name, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses what cannot be a password or a private key. What it is said of is not repeated.
fn check_credentials(credentials: &ConnectorCredentials) -> Result<(), Refusal> {
    if credentials.password.as_ref().is_some_and(|password| password.expose().len() > MAX_PASSWORD) {
        let detail = format!("the password has more than {MAX_PASSWORD} bytes; use a shorter one");
        return Err(Refusal::invalid(detail));
    }
    let is_key = |text: &str| text.len() <= MAX_CONNECTOR_PEM && text.contains("PRIVATE KEY-----");
    if credentials.key.as_ref().is_some_and(|key| !key.is_empty() && !is_key(key.expose())) {
        let detail = format!("key holds no private key as PEM of at most {MAX_CONNECTOR_PEM} bytes");
        return Err(Refusal::invalid(detail));
    }
    Ok(())
}

/// What is absent stays; what is empty is removed.
fn with_credentials(value: ConnectorValue, credentials: ConnectorCredentials) -> ConnectorValue {
    let ConnectorCredentials { password, key } = credentials;
    ConnectorValue { password: password.unwrap_or(value.password), key: key.unwrap_or(value.key), ..value }
}

/// What a merge patch of its document makes of a connector (RFC 7396).
fn patched(name: &Arc<str>, current: ConnectorValue, patch: &Value) -> Result<ConnectorValue, ChangeError> {
    let unfit = |detail: String| ChangeError::Unfit(PrincipalKind::Connector, name.clone(), detail);
    let mut document = Connector::new(&**name, current.spec.clone());
    document.metadata.labels.clone_from(&current.labels);
    let mut merged = serde_json::to_value(&document).map_err(|error| unfit(error.to_string()))?;
    merge(&mut merged, patch);
    let document: Connector = serde_json::from_value(merged).map_err(|error| unfit(error.to_string()))?;
    let invalid = |error| ChangeError::InvalidPrincipal(PrincipalKind::Connector, name.clone(), error);
    document.validate().map_err(invalid)?;
    if document.metadata.name != **name || document.metadata.space.is_some() {
        return Err(unfit("a connector keeps its name and its space; create another one".to_owned()));
    }
    Ok(ConnectorValue { spec: document.spec, labels: document.metadata.labels, ..current })
}

fn unknown(name: &str) -> ChangeError {
    let shown: String = name.chars().take(mq_model::MAX_NAME).collect();
    ChangeError::NoPrincipal(PrincipalKind::Connector, shown.into())
}

/// A connector as this node knows it.
fn shown(api: &Api, space: &Space, name: &str) -> Result<Connector, Refusal> {
    let table = api.node.catalogue.user_table();
    let connector = table.connector(space.name(), name).ok_or_else(|| unknown(name))?;
    Ok(document(api, space, connector))
}

fn document(api: &Api, space: &Space, connector: &users::Connector) -> Connector {
    let mut document = Connector::new(&*connector.name, connector.spec.clone());
    document.metadata.labels.clone_from(&connector.labels);
    document.metadata.set_space(space.name());
    let told = api.node.connectors.status(space.name(), &connector.name, &api.node.config.node);
    let state = if connector.spec.paused { ConnectorState::Paused } else { ConnectorState::Connecting };
    let status = told.unwrap_or_else(|| ConnectorStatus { state, ..ConnectorStatus::default() });
    document.status = Some(ConnectorStatus {
        has_password: !connector.password.is_empty(),
        has_key: !connector.key.is_empty(),
        changed_at: time_of(connector.version),
        ..status
    });
    document
}

/// What this node knows, and what the one that has the connector says of it.
fn joined(known: ConnectorStatus, told: ConnectorStatus) -> ConnectorStatus {
    let ConnectorStatus { has_password, has_key, changed_at, .. } = known;
    ConnectorStatus { has_password, has_key, changed_at, ..told }
}
