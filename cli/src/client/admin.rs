//! The admin API of a node, as methods (see [`mq_model::admin`] for the routes).

use std::time::Duration;

use mq_model::{
    Secret,
    admin::{
        ChangeRights, ClientSession, Connection, Link, List, Mesh, MoveHome, MoveMessages, Moved, NOT_KNOWN,
        NewPassword, NewUser, Node, NodeDrain, Page, Permission, Problem, Purged, Retained, Session,
        Statistics, Subscription,
    },
    connector::{Connector, ConnectorCredentials, NewConnector},
    grant::Right,
    manifest::Address,
    space::{AddressSpace, DEFAULT_SPACE, Profile},
    user::{Role, User},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::tls::Trust;
use crate::{
    deploy::Order,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request about many messages may take.
const BULK_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Objects of one part of a long list.
const PAGE: u64 = 1_000;
/// The largest answer that is read: a million addresses take a few hundred megabytes.
const MAX_ANSWER: usize = 1 << 30;

/// Drops what is on a node that cannot be reached, too.
const FORCE: [(&str, &str); 1] = [("force", "true")];

/// A client of one node's admin API.
#[derive(Clone, Debug)]
pub struct Admin {
    http: Client,
    base: Url,
    /// Who asks.
    who: Who,
    /// The node of the fleet that is to answer, when it is not the one that is asked.
    node: Option<String>,
    /// The address space that requests are about; `None`: the default one.
    space: Option<String>,
}

/// What there is of every address space.
const OF_SPACES: [&str; 9] = [
    "addresses",
    "subscriptions",
    "connections",
    "links",
    "sessions",
    "retained",
    "users",
    "roles",
    "connectors",
];
/// Who asks an admin API.
#[derive(Clone, Debug)]
enum Who {
    /// Nobody in particular.
    Anybody,
    User(String, Secret),
    /// Whoever has this token.
    Bearer(Secret),
}

/// What a request to put an address did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Created,
    /// It was there: updated, or as wanted.
    Present,
}

impl Admin {
    pub fn new(base: Url) -> Outcome<Self> {
        Self::trusting(base, &Trust::default())
    }

    /// The same over TLS, when the URL says so, with whom to trust and what to show.
    pub fn trusting(base: Url, trust: &Trust) -> Outcome<Self> {
        let tls = trust.config(base.scheme() == "https")?;
        // The admin API is on loopback or in the same network: a proxy meant for the web is not asked.
        let http = Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::failed(format!("cannot start an HTTP client: {}", causes(&error))))?;
        Ok(Self { http, base, who: Who::Anybody, node: None, space: None })
    }

    /// The same API, asked by this user.
    #[must_use]
    pub fn by(self, user: String, password: Secret) -> Self {
        Self { who: Who::User(user, password), ..self }
    }

    /// The same API, asked by whoever has this token.
    #[must_use]
    pub fn bearing(self, token: Secret) -> Self {
        Self { who: Who::Bearer(token), ..self }
    }

    /// What a command begins with that is about the same address space, to tell people.
    pub fn command(&self) -> String {
        self.space.as_ref().map_or_else(|| "mq".to_owned(), |space| format!("mq --space {space}"))
    }

    /// The same API, asked about an address space.
    #[must_use]
    pub fn in_space(&self, space: &str) -> Self {
        Self { space: Some(space.to_owned()).filter(|space| space != DEFAULT_SPACE), ..self.clone() }
    }

    /// The same API, with the answers of the node called `node`, through the one that is asked.
    #[must_use]
    pub fn of_node(&self, node: &str) -> Self {
        Self { node: Some(node.to_owned()), ..self.clone() }
    }

    /// The fleet as the node sees it; not found when the node is in none.
    pub async fn mesh(&self) -> Outcome<Mesh> {
        self.get(&["mesh"], &[]).await
    }

    /// Whether the node takes the credentials, whatever they allow.
    pub async fn knows_who_asks(&self) -> Outcome<bool> {
        let request = self.request(Method::GET, &["node"])?;
        let answer = request.send().await.map_err(|error| self.unanswered(&error))?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => Ok(false),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::new(Exit::Denied, "too many log-ins have failed").help("wait some seconds"))
            }
            _ => Ok(true),
        }
    }

    /// What the node holds, and how far it is on its way to being empty.
    pub async fn holds(&self) -> Outcome<NodeDrain> {
        self.get(&["node", "drain"], &[]).await
    }

    /// Tells the node what is to become of it.
    pub async fn order(&self, order: Order) -> Outcome<NodeDrain> {
        let request = self.request(Method::POST, &["node", order.word()])?;
        Ok(self.read(request).await?.1)
    }

    /// Moves the home of a stored address, with all it holds.
    pub async fn move_home(&self, name: &str, to: &MoveHome) -> Outcome<Address> {
        let request = self.request(Method::POST, &["addresses", name, "move-home"])?.json(to);
        Ok(self.read(request.timeout(BULK_TIMEOUT)).await?.1)
    }

    /// `host:port` of the API, for messages.
    pub fn place(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    pub async fn node(&self) -> Outcome<Node> {
        self.get(&["node"], &[]).await
    }

    pub async fn statistics(&self) -> Outcome<Statistics> {
        self.get(&["statistics"], &[]).await
    }

    pub async fn addresses(&self) -> Outcome<Vec<Address>> {
        Ok(self.get::<List<Address>>(&["addresses"], &[]).await?.items)
    }

    pub async fn address(&self, name: &str) -> Outcome<Address> {
        self.get(&["addresses", name], &[]).await
    }

    /// Creates an address; a conflict when it exists.
    pub async fn create_address(&self, address: &Address) -> Outcome<Address> {
        let request = self.request(Method::POST, &["addresses"])?.json(address);
        Ok(self.read(request).await?.1)
    }

    /// Creates or updates an address; with `force` also where that drops what nobody can count.
    pub async fn put_address(&self, address: &Address, force: bool) -> Outcome<(Put, Address)> {
        let request = self.request(Method::PUT, &["addresses", &address.metadata.name])?.json(address);
        let request = if force { request.query(&FORCE) } else { request };
        let (status, address) = self.read(request).await?;
        Ok((if status == StatusCode::CREATED { Put::Created } else { Put::Present }, address))
    }

    /// Deletes an address with what it holds; with `force` also what nobody can count.
    pub async fn delete_address(&self, name: &str, force: bool) -> Outcome {
        let request = self.request(Method::DELETE, &["addresses", name])?;
        let request = if force { request.query(&FORCE) } else { request };
        self.accepted(request).await.map(drop)
    }

    /// Drops the messages of a queue or subscription.
    pub async fn purge(&self, name: &str) -> Outcome<Purged> {
        let request = self.request(Method::POST, &["addresses", name, "purge"])?;
        Ok(self.read(request.timeout(BULK_TIMEOUT)).await?.1)
    }

    /// Moves messages, the oldest first.
    pub async fn move_messages(&self, from: &str, to: &MoveMessages) -> Outcome<Moved> {
        let request = self.request(Method::POST, &["addresses", from, "move"])?.json(to);
        Ok(self.read(request.timeout(BULK_TIMEOUT)).await?.1)
    }

    pub async fn subscriptions(&self, topic: Option<&str>) -> Outcome<List<Subscription>> {
        let filter = topic.map(|topic| ("topic", topic));
        self.get(&["subscriptions"], filter.as_slice()).await
    }

    pub async fn delete_subscription(&self, topic: &str, name: &str) -> Outcome {
        let path = ["addresses", topic, "subscriptions", name];
        self.accepted(self.request(Method::DELETE, &path)?).await.map(drop)
    }

    pub async fn spaces(&self) -> Outcome<Vec<AddressSpace>> {
        Ok(self.pages(&["spaces"], &[], u64::MAX).await?.items)
    }

    pub async fn space(&self, name: &str) -> Outcome<AddressSpace> {
        self.get(&["spaces", name], &[]).await
    }

    /// Creates a space; a conflict when it exists.
    pub async fn create_space(&self, space: &AddressSpace) -> Outcome<AddressSpace> {
        Ok(self.read(self.request(Method::POST, &["spaces"])?.json(space)).await?.1)
    }

    pub async fn put_space(&self, space: &AddressSpace) -> Outcome<Put> {
        let request = self.request(Method::PUT, &["spaces", &space.metadata.name])?.json(space);
        self.accepted(request).await.map(|answer| put(&answer))
    }

    /// Changes some of a space, as a merge patch of its document says (RFC 7396).
    pub async fn change_space(&self, name: &str, patch: &serde_json::Value) -> Outcome<AddressSpace> {
        Ok(self.read(self.request(Method::PATCH, &["spaces", name])?.json(patch)).await?.1)
    }

    /// Removes a space; with `cascade` what is in it, with `force` also what nobody can count of that.
    pub async fn delete_space(&self, name: &str, cascade: bool, force: bool) -> Outcome {
        let request = self.request(Method::DELETE, &["spaces", name])?;
        let request = if cascade { request.query(&[("cascade", "true")]) } else { request };
        let request = if force { request.query(&FORCE) } else { request };
        self.accepted(request.timeout(BULK_TIMEOUT)).await.map(drop)
    }

    pub async fn profiles(&self) -> Outcome<Vec<Profile>> {
        Ok(self.pages(&["profiles"], &[], u64::MAX).await?.items)
    }

    pub async fn profile(&self, name: &str) -> Outcome<Profile> {
        self.get(&["profiles", name], &[]).await
    }

    pub async fn put_profile(&self, profile: &Profile) -> Outcome<Put> {
        let request = self.request(Method::PUT, &["profiles", &profile.metadata.name])?.json(profile);
        self.accepted(request).await.map(|answer| put(&answer))
    }

    pub async fn delete_profile(&self, name: &str) -> Outcome {
        self.accepted(self.request(Method::DELETE, &["profiles", name])?).await.map(drop)
    }

    pub async fn users(&self) -> Outcome<Vec<User>> {
        Ok(self.pages(&["users"], &[], u64::MAX).await?.items)
    }

    pub async fn user(&self, name: &str) -> Outcome<User> {
        self.get(&["users", name], &[]).await
    }

    /// Creates a user; a conflict when he exists.
    pub async fn create_user(&self, user: &NewUser) -> Outcome<User> {
        Ok(self.read(self.request(Method::POST, &["users"])?.json(user)).await?.1)
    }

    /// Creates or updates a user; his password stays.
    pub async fn put_user(&self, user: &User) -> Outcome<Put> {
        let request = self.request(Method::PUT, &["users", &user.metadata.name])?.json(user);
        self.accepted(request).await.map(|answer| put(&answer))
    }

    pub async fn change_user(&self, name: &str, change: &ChangeRights) -> Outcome<User> {
        Ok(self.read(self.request(Method::POST, &["users", name, "rights"])?.json(change)).await?.1)
    }

    pub async fn set_password(&self, name: &str, password: &NewPassword) -> Outcome {
        self.accepted(self.request(Method::PUT, &["users", name, "password"])?.json(password)).await.map(drop)
    }

    pub async fn delete_user(&self, name: &str) -> Outcome {
        self.accepted(self.request(Method::DELETE, &["users", name])?).await.map(drop)
    }

    /// Whether a user may do something, and why.
    pub async fn permission(
        &self,
        name: &str,
        right: Right,
        address: &str,
        client: &str,
    ) -> Outcome<Permission> {
        let query = [("right", right.name()), ("address", address), ("client", client)];
        self.get(&["users", name, "permission"], &query).await
    }

    pub async fn roles(&self) -> Outcome<Vec<Role>> {
        Ok(self.pages(&["roles"], &[], u64::MAX).await?.items)
    }

    pub async fn role(&self, name: &str) -> Outcome<Role> {
        self.get(&["roles", name], &[]).await
    }

    /// Creates a role; a conflict when it exists.
    pub async fn create_role(&self, role: &Role) -> Outcome<Role> {
        Ok(self.read(self.request(Method::POST, &["roles"])?.json(role)).await?.1)
    }

    pub async fn put_role(&self, role: &Role) -> Outcome<Put> {
        let request = self.request(Method::PUT, &["roles", &role.metadata.name])?.json(role);
        self.accepted(request).await.map(|answer| put(&answer))
    }

    pub async fn change_role(&self, name: &str, change: &ChangeRights) -> Outcome<Role> {
        Ok(self.read(self.request(Method::POST, &["roles", name, "rights"])?.json(change)).await?.1)
    }

    pub async fn delete_role(&self, name: &str) -> Outcome {
        self.accepted(self.request(Method::DELETE, &["roles", name])?).await.map(drop)
    }

    pub async fn connectors(&self) -> Outcome<Vec<Connector>> {
        Ok(self.pages(&["connectors"], &[], u64::MAX).await?.items)
    }

    pub async fn connector(&self, name: &str) -> Outcome<Connector> {
        self.get(&["connectors", name], &[]).await
    }

    /// Creates a connector; a conflict when it exists.
    pub async fn create_connector(&self, connector: &NewConnector) -> Outcome<Connector> {
        Ok(self.read(self.request(Method::POST, &["connectors"])?.json(connector)).await?.1)
    }

    /// Creates or updates a connector; what it logs in with stays.
    pub async fn put_connector(&self, connector: &Connector) -> Outcome<(Put, Connector)> {
        let path = ["connectors", &connector.metadata.name];
        let (status, connector) = self.read(self.request(Method::PUT, &path)?.json(connector)).await?;
        Ok((if status == StatusCode::CREATED { Put::Created } else { Put::Present }, connector))
    }

    /// Changes some of a connector, as a merge patch of its document says (RFC 7396).
    pub async fn change_connector(&self, name: &str, patch: &serde_json::Value) -> Outcome<Connector> {
        Ok(self.read(self.request(Method::PATCH, &["connectors", name])?.json(patch)).await?.1)
    }

    /// Sets what a connector logs in with: what is absent stays, what is empty is removed.
    pub async fn set_credentials(&self, name: &str, credentials: &ConnectorCredentials) -> Outcome {
        let request = self.request(Method::PUT, &["connectors", name, "credentials"])?.json(credentials);
        self.accepted(request).await.map(drop)
    }

    pub async fn delete_connector(&self, name: &str) -> Outcome {
        self.accepted(self.request(Method::DELETE, &["connectors", name])?).await.map(drop)
    }

    pub async fn connections(&self) -> Outcome<Vec<Connection>> {
        Ok(self.get::<List<Connection>>(&["connections"], &[]).await?.items)
    }

    pub async fn connection(&self, id: &str) -> Outcome<Connection> {
        self.get(&["connections", id], &[]).await
    }

    pub async fn sessions(&self, id: &str) -> Outcome<Vec<Session>> {
        Ok(self.get::<List<Session>>(&["connections", id, "sessions"], &[]).await?.items)
    }

    pub async fn close_connection(&self, id: &str, reason: &str) -> Outcome {
        let request = self.request(Method::DELETE, &["connections", id])?;
        self.accepted(request.query(&[("reason", reason)])).await.map(drop)
    }

    pub async fn links(&self, address: Option<&str>, connection: Option<&str>) -> Outcome<Vec<Link>> {
        let filters = [("address", address), ("connection", connection)];
        let filters: Vec<(&str, &str)> =
            filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(self.get::<List<Link>>(&["links"], &filters).await?.items)
    }

    /// Sessions of MQTT clients whose identifier begins with the prefix, at most `limit`.
    pub async fn client_sessions(
        &self,
        prefix: &str,
        connected: Option<bool>,
        limit: u64,
    ) -> Outcome<List<ClientSession>> {
        let connected = connected.map(|connected| connected.to_string());
        let mut filters = vec![("prefix", prefix)];
        filters.extend(connected.as_deref().map(|connected| ("connected", connected)));
        self.pages(&["sessions"], &filters, limit).await
    }

    pub async fn client_session(&self, client: &str) -> Outcome<ClientSession> {
        self.get(&["sessions", client], &[]).await
    }

    pub async fn delete_client_session(&self, client: &str) -> Outcome {
        self.accepted(self.request(Method::DELETE, &["sessions", client])?).await.map(drop)
    }

    /// Retained messages whose names match the filter, at most `limit`.
    pub async fn retained(&self, filter: &str, limit: u64) -> Outcome<List<Retained>> {
        self.pages(&["retained"], &[("filter", filter)], limit).await
    }

    pub async fn delete_retained(&self, filter: &str) -> Outcome<Purged> {
        let request = self.request(Method::DELETE, &["retained"])?.query(&[("filter", filter)]);
        Ok(self.read(request.timeout(BULK_TIMEOUT)).await?.1)
    }

    /// The parts of a long list, one after the other.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &[&str],
        filters: &[(&str, &str)],
        limit: u64,
    ) -> Outcome<List<T>> {
        let mut list = List::from(Vec::<T>::new());
        let mut after: Option<String> = None;
        loop {
            let left = limit.saturating_sub(list.items.len() as u64).min(PAGE);
            if left == 0 {
                return Ok(list);
            }
            let left = left.to_string();
            let mut query = filters.to_vec();
            query.push(("limit", &left));
            query.extend(after.as_deref().map(|after| ("continue", after)));
            let page: Page<T> = self.get(path, &query).await?;
            list.items.extend(page.items);
            list.unanswered = page.unanswered;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(list),
            }
        }
    }

    /// Whether the node says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let mut url = self.base.clone();
        url.set_path("/readyz");
        let answer = self.http.get(url).timeout(Duration::from_secs(2)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Outcome<T> {
        Ok(self.read(self.request(Method::GET, path)?.query(query)).await?.1)
    }

    fn request(&self, method: Method, path: &[&str]) -> Outcome<RequestBuilder> {
        let mut url = self.base.clone();
        let mut segments = url
            .path_segments_mut()
            .map_err(|()| Failure::usage(format!("{} cannot be the URL of an admin API", self.base)))?;
        // An address may hold `/`: each segment is percent-encoded as a whole.
        segments.pop_if_empty().extend(["api", "v1"]);
        let is_of_space = path.first().is_some_and(|first| OF_SPACES.contains(first));
        if let Some(space) = self.space.as_ref().filter(|_| is_of_space) {
            segments.extend(["spaces", space]);
        }
        segments.extend(path);
        drop(segments);
        let request = self.http.request(method, url);
        let request = match &self.who {
            Who::Anybody => request,
            Who::User(user, password) => request.basic_auth(user, Some(password.expose())),
            Who::Bearer(token) => request.bearer_auth(token.expose()),
        };
        Ok(match &self.node {
            Some(node) => request.query(&[("node", node)]),
            None => request,
        })
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Outcome<(StatusCode, T)> {
        let answer = self.accepted(request).await?;
        let status = answer.status();
        let body = self.body(answer).await?;
        let value = serde_json::from_slice(&body).map_err(|error| {
            Failure::failed(format!("cannot understand the answer of {}: {error}", self.place()))
                .help("compare `mq version` with the version of the node")
        })?;
        Ok((status, value))
    }

    /// Sends a request and turns every answer but success into an error.
    async fn accepted(&self, request: RequestBuilder) -> Outcome<Response> {
        let answer = request.send().await.map_err(|error| self.unanswered(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = self.body(answer).await?;
        let exit = match status.as_u16() {
            400 | 413 | 422 => Exit::Usage,
            401 | 403 | 429 => Exit::Denied,
            404 => Exit::NotFound,
            409 => Exit::Conflict,
            // The fleet knows the node, and no path leads to it now.
            503 if self.node.is_some() => Exit::Unreachable,
            _ => Exit::Failed,
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if problem.kind == NOT_KNOWN => Err(Failure::new(Exit::Guarded, problem.detail)),
            Ok(problem) => Err(Failure::new(exit, problem.detail)),
            Err(_) => Err(Failure::new(exit, format!("{} answers {status}", self.place()))
                .help("is this the admin API of mqd? see `mq context show`")),
        }
    }

    async fn body(&self, mut answer: Response) -> Outcome<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unanswered(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER {
                let message = format!("the answer of {} is larger than {MAX_ANSWER} bytes", self.place());
                return Err(Failure::failed(message));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unanswered(&self, error: &reqwest::Error) -> Failure {
        let place = self.place();
        if error.is_timeout() && !error.is_connect() {
            return Failure::new(Exit::TimedOut, format!("{place} did not answer in time"))
                .help("look at `mq logs`");
        }
        Failure::new(Exit::Unreachable, format!("cannot reach the admin API at {place}: {}", causes(error)))
            .help("start the fleet with `mq deploy`, or choose another one with `mq context use`")
    }
}

fn put(answer: &Response) -> Put {
    if answer.status() == StatusCode::CREATED { Put::Created } else { Put::Present }
}

/// The innermost reason, which is the one that tells: `connection refused`.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>() {
        Some(error) => crate::failure::reason(error),
        None => innermost.to_string(),
    }
}
