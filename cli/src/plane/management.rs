//! The HTTP API of RabbitMQ's management plugin, as far as a node needs it.

use std::{fmt::Display, time::Duration};

use mq_model::Secret;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{files::ADMINISTRATOR, state::Kept};
use crate::{
    client::tls::Trust,
    failure::{Failure, Outcome},
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes: a queue takes two thousand.
const MAX_ANSWER: usize = 256 << 20;
/// The only virtual host.
pub(super) const HOST: &str = "/";

/// A client of the API. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Management {
    http: Client,
    management: Url,
    metrics: Url,
    password: Secret,
}

/// What the broker says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overview {
    pub(super) rabbitmq_version: String,
    pub(super) object_totals: ObjectTotals,
    pub(super) queue_totals: QueueTotals,
    pub(super) message_stats: MessageStats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ObjectTotals {
    pub(super) connections: u64,
    pub(super) channels: u64,
    pub(super) consumers: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QueueTotals {
    pub(super) messages_ready: u64,
    pub(super) messages_unacknowledged: u64,
}

/// Counters since the start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageStats {
    pub(super) publish: u64,
    pub(super) publish_details: Rate,
    pub(super) deliver_get: u64,
    pub(super) deliver_get_details: Rate,
    pub(super) ack: u64,
    pub(super) redeliver: u64,
}

/// Messages per second.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rate {
    pub(super) rate: f64,
}

/// A queue: either what it holds, or what it counts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) messages: u64,
    pub(super) messages_ready: u64,
    pub(super) messages_unacknowledged: u64,
    pub(super) message_bytes: u64,
    pub(super) consumers: u64,
    pub(super) message_stats: MessageStats,
}

/// A binding of a queue.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Binding {
    pub(super) routing_key: String,
    pub(super) properties_key: String,
}

/// A connection of a client.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) protocol: Value,
    pub(super) peer_host: String,
    pub(super) peer_port: u16,
    pub(super) user: String,
    pub(super) channels: u32,
    /// Milliseconds since 1970.
    pub(super) connected_at: i64,
    pub(super) recv_oct: u64,
    pub(super) send_oct: u64,
    pub(super) client_properties: Value,
}

impl Management {
    pub(super) fn new(kept: &Kept) -> Outcome<Self> {
        let base = |port: u16, path: &str| {
            let url = format!("http://127.0.0.1:{port}/{path}");
            Url::parse(&url).map_err(|error| Failure::failed(format!("cannot use {url}: {error}")))
        };
        let http = Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(Trust::default().config(false)?)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::failed(format!("cannot start an HTTP client: {error}")))?;
        Ok(Self {
            http,
            management: base(kept.management_port, "api")?,
            metrics: base(kept.metrics_port, "metrics")?,
            password: kept.password.clone(),
        })
    }

    pub(super) async fn overview(&self) -> Outcome<Overview> {
        self.get(&["overview"], &[]).await
    }

    /// That the broker listens on a port.
    pub(super) async fn check_listener(&self, port: u16) -> Outcome {
        let port = port.to_string();
        let _: Value = self.get(&["health", "checks", "port-listener", &port], &[]).await?;
        Ok(())
    }

    /// Every queue, with what it held when it was last looked at: every five seconds. More often would meet the making
    /// of a queue, which RabbitMQ 3.10 does not survive.
    pub(super) async fn totals(&self) -> Outcome<Vec<Queue>> {
        let totals = [("disable_stats", "true"), ("enable_queue_totals", "true")];
        self.get(&["queues", HOST], &totals).await
    }

    /// Every queue, with what it counted about a second ago.
    pub(super) async fn queues(&self) -> Outcome<Vec<Queue>> {
        self.get(&["queues", HOST], &[("columns", "name,consumers,message_bytes,message_stats")]).await
    }

    pub(super) async fn connections(&self) -> Outcome<Vec<Connection>> {
        self.get(&["connections"], &[]).await
    }

    /// The routing keys by which a queue is bound to an exchange.
    pub(super) async fn bindings(&self, exchange: &str, queue: &str) -> Outcome<Vec<Binding>> {
        self.get(&["bindings", HOST, "e", exchange, "q", queue], &[]).await
    }

    /// What the broker measures, as text for Prometheus.
    pub(super) async fn metrics(&self) -> Outcome<String> {
        let answer = self.http.get(self.metrics.clone()).send().await.map_err(|error| unanswered(&error))?;
        let answer = answer.error_for_status().map_err(|error| unanswered(&error))?;
        let bytes = bounded(answer).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Creates an object, or sees that it is there; says whether it is new.
    pub(super) async fn put(&self, path: &[&str], body: &Value) -> Outcome<bool> {
        let status = self.said(self.request(Method::PUT, path)?.json(body), path).await?;
        Ok(status == StatusCode::CREATED)
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Outcome {
        self.said(self.request(Method::POST, path)?.json(body), path).await.map(drop)
    }

    /// Deletes an object; says whether it was there.
    pub(super) async fn delete(&self, path: &[&str]) -> Outcome<bool> {
        let request = self.request(Method::DELETE, path)?;
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(refused(answer, path).await),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Outcome<T> {
        let request = self.request(Method::GET, path)?.query(query);
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        if !answer.status().is_success() {
            return Err(refused(answer, path).await);
        }
        let bytes = bounded(answer).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::failed(format!("cannot read what RabbitMQ says of {}: {error}", path.join(" ")))
        })
    }

    async fn said(&self, request: RequestBuilder, path: &[&str]) -> Outcome<StatusCode> {
        let answer = request.send().await.map_err(|error| unanswered(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(status),
            _ => Err(refused(answer, path).await),
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> Outcome<RequestBuilder> {
        let mut url = self.management.clone();
        url.path_segments_mut().map_err(|()| Failure::failed("the URL has no path"))?.extend(path);
        Ok(self.http.request(method, url).basic_auth(ADMINISTRATOR, Some(self.password.expose())))
    }
}

/// The body of an answer.
async fn bounded(mut answer: reqwest::Response) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unanswered(&error))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::failed(format!("RabbitMQ answers with more than {MAX_ANSWER} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn unanswered(error: &dyn Display) -> Failure {
    Failure::new(crate::exit::Exit::Unreachable, format!("RabbitMQ does not answer: {error}"))
}

async fn refused(answer: reqwest::Response, path: &[&str]) -> Failure {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        reason: String,
    }
    let status = answer.status();
    let said = bounded(answer).await.unwrap_or_default();
    let Said { reason } = serde_json::from_slice(&said).unwrap_or_default();
    let why = if reason.is_empty() { status.to_string() } else { reason };
    Failure::failed(format!("RabbitMQ refuses {}: {why}", path.join(" ")))
}
