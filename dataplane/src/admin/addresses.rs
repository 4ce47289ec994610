//! Addresses: create, change, show, remove.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mq_model::admin::List;
use mq_model::manifest::{Address, AddressStatus};
use mq_model::validate_address_name;

use super::Api;
use super::body::{self, Name};
use super::problem::Refusal;
use crate::hub::AddressStatistics;
use crate::objects::{ChangeError, Object, Put};

pub(super) async fn list(State(api): State<Api>) -> Json<List<Address>> {
    let mut statuses: HashMap<Arc<str>, AddressStatus> = HashMap::new();
    for shard in api.node.hub.addresses(None).await {
        add(statuses.entry(shard.name.clone()).or_default(), &shard);
    }
    let is_whole = api.node.is_whole();
    let addresses = api.node.catalogue.addresses().into_iter();
    let items = addresses.map(|(name, object)| {
        let status = statuses.remove(&name).unwrap_or_default();
        document(&name, &object, AddressStatus { ready: is_whole, ..status })
    });
    Json(List { items: items.collect() })
}

pub(super) async fn show(State(api): State<Api>, Name(name): Name) -> Result<Json<Address>, Refusal> {
    let name: Arc<str> = name.into();
    match api.node.catalogue.address(&name) {
        Some(object) => Ok(Json(describe(&api, &name, &object).await)),
        None => Err(unknown(&name).into()),
    }
}

pub(super) async fn create(
    State(api): State<Api>,
    body::Json(address): body::Json<Address>,
) -> Result<(StatusCode, Json<Address>), Refusal> {
    let name = valid_name(&address)?;
    let object = api.node.catalogue.create(name.clone(), address.metadata.labels, address.spec).await?;
    tracing::info!(address = %name, "created an address");
    Ok((StatusCode::CREATED, Json(describe(&api, &name, &object).await)))
}

pub(super) async fn put(
    State(api): State<Api>,
    Name(path): Name,
    body::Json(address): body::Json<Address>,
) -> Result<(StatusCode, Json<Address>), Refusal> {
    let name = valid_name(&address)?;
    if *name != *path {
        let detail = format!("metadata.name is `{name}`, which is not the name in the path; make them equal");
        return Err(Refusal::invalid(detail));
    }
    let (put, object) = api.node.catalogue.put(name.clone(), address.metadata.labels, address.spec).await?;
    let status = match put {
        Put::Created => {
            tracing::info!(address = %name, "created an address");
            StatusCode::CREATED
        }
        Put::Updated => {
            tracing::info!(address = %name, "changed an address");
            StatusCode::OK
        }
        Put::Unchanged => StatusCode::OK,
    };
    Ok((status, Json(describe(&api, &name, &object).await)))
}

pub(super) async fn remove(State(api): State<Api>, Name(name): Name) -> Result<StatusCode, Refusal> {
    let name: Arc<str> = name.into();
    // Spares the journal's queue names that cannot exist, however long.
    if validate_address_name(&name).is_err() {
        return Err(unknown(&name).into());
    }
    api.node.catalogue.remove(name.clone()).await?;
    tracing::info!(address = %name, "removed an address");
    Ok(StatusCode::NO_CONTENT)
}

/// The name of an address document that is valid as a whole.
fn valid_name(address: &Address) -> Result<Arc<str>, Refusal> {
    address.validate().map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok(address.metadata.name.as_str().into())
}

fn unknown(name: &str) -> ChangeError {
    ChangeError::NotFound(name.chars().take(mq_model::MAX_ADDRESS_NAME).collect::<String>().into())
}

/// The address with its status, gathered from the shards.
async fn describe(api: &Api, name: &Arc<str>, object: &Object) -> Address {
    let mut status = AddressStatus::default();
    for shard in api.node.hub.addresses(Some(name)).await {
        add(&mut status, &shard);
    }
    status.ready = api.node.is_whole();
    document(name, object, status)
}

fn document(name: &Arc<str>, object: &Object, status: AddressStatus) -> Address {
    let mut address = Address::new(&**name, object.spec.clone());
    address.metadata.labels.clone_from(&object.labels);
    address.status = Some(status);
    address
}

fn add(status: &mut AddressStatus, shard: &AddressStatistics) {
    status.producers += shard.producers;
    status.consumers += shard.consumers;
    status.deliveries_in += shard.deliveries_in;
    status.deliveries_out += shard.deliveries_out;
    status.undelivered += shard.undelivered;
    status.unsettled += shard.unsettled;
    status.dropped += shard.dropped;
    status.expired += shard.expired;
}
