//! Stands before every route: who asks, whether he may, and a line in the log of what came of it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mq_model::grant::Right;
use mq_model::space::SPACE_PREFIX;
use mq_model::user::{DEFAULT_SPACE, FLEET_ADMIN};

use super::body::SPACE_PARAMETER;
use super::caller::{Caller, nameless, readable};
use super::problem::Refusal;
use super::routes::{Route, SPACES, routes};
use super::shards::Shard;
use super::{Api, addresses, spaces};
use crate::mesh::OfNode;
use crate::objects::ChangeError;
use crate::spaces::Space;
use crate::tls::{ClientCertificate, Encryption};

/// How clients are asked to say who they are: by a password (RFC 7617, 2.1), by a token (RFC 6750, 3), and after
/// a token that was refused.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"mq\", charset=\"UTF-8\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"mq\"");
const BAD_BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"mq\", error=\"invalid_token\"");

/// What a browser says of a request that a script has made (Fetch Metadata, `Sec-Fetch-Dest`).
const FETCH_DESTINATION: &str = "sec-fetch-dest";

/// What a route asks of who uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it tells nobody anything, or asks by itself.
    Nothing,
    /// That he is known. What he is shown, or may name in the body, is looked at there.
    Name,
    /// The right at the address in the path.
    Address(Right),
    /// The right everywhere.
    Everywhere(Right),
    /// The right everywhere, or that he is the user in the path.
    EverywhereOrSelf(Right),
    /// The role `admin`, or that he is the user in the path.
    AdminOrSelf,
    /// The role `admin`.
    Admin,
    /// The role `admin` of the default space, whose administrators are those of the fleet.
    FleetAdmin,
}

impl Needs {
    /// For the OpenAPI document: a grant, or words.
    pub(super) fn describe(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::Name => "what the request names".to_owned(),
            Self::Address(right) => format!("{right}:{{name}}"),
            Self::Everywhere(right) => format!("{right}:#"),
            Self::EverywhereOrSelf(right) => format!("{right}:#, or to be the user"),
            Self::AdminOrSelf => "role admin, or to be the user and known by his password".to_owned(),
            Self::Admin => "role admin".to_owned(),
            Self::FleetAdmin => "role admin of the fleet".to_owned(),
        })
    }

    fn check(self, caller: &Caller, name: &str) -> Result<(), Refusal> {
        match self {
            Self::Nothing | Self::Name => Ok(()),
            // Whose queue it is, is whose shards they are.
            Self::Address(right) => caller.check(right, Shard::parse(name).queue),
            Self::EverywhereOrSelf(_) if caller.is(name) => Ok(()),
            Self::AdminOrSelf if caller.owns(name) => Ok(()),
            Self::Everywhere(right) | Self::EverywhereOrSelf(right) => caller.check_everywhere(right),
            Self::AdminOrSelf | Self::Admin => caller.check_admin(),
            Self::FleetAdmin => caller.check_fleet_admin(),
        }
    }
}

/// What there is to know of a route before it is used.
struct Known {
    needs: Needs,
    id: Cow<'static, str>,
    reach: Reach,
}

/// What a route is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The space in its path.
    OneSpace,
    /// The space of each who asks.
    OwnSpace,
    /// The fleet, or its default space.
    Fleet,
}

static KNOWN: LazyLock<HashMap<String, HashMap<&'static str, Known>>> = LazyLock::new(|| {
    let mut known: HashMap<String, HashMap<&'static str, Known>> = HashMap::new();
    for Route { path, method, needs, id, .. } in routes() {
        let reach = match path.strip_prefix(SPACES) {
            Some("") => Reach::OwnSpace,
            Some(_) => Reach::OneSpace,
            None => Reach::Fleet,
        };
        known.entry(path.into_owned()).or_default().insert(method.key(), Known { needs, id, reach });
    }
    known
});

/// The space whose names a request means.
#[derive(Clone, Debug)]
pub(super) struct Within {
    pub(super) space: Arc<Space>,
    /// It is about the whole fleet where it lists what is not kept by space.
    pub(super) is_fleet: bool,
}

impl Within {
    /// What a name in a request is called inside the fleet.
    ///
    /// # Errors
    /// When it pretends to be such a name itself.
    pub(super) fn inside(&self, name: &str) -> Result<Arc<str>, ChangeError> {
        if name.starts_with(SPACE_PREFIX) {
            return Err(addresses::unknown(name));
        }
        Ok(self.space.inside(name).into())
    }

    /// Whether what is of a space belongs to the answer.
    pub(super) fn shows(&self, space: &str) -> bool {
        self.is_fleet || *space == **self.space.name()
    }

    /// A path below the space, to ask another node.
    pub(super) fn path(&self, rest: &str) -> String {
        match self.space.is_default() {
            true => format!("/api/v1/{rest}"),
            false => format!("{SPACES}/{}/{rest}", self.space.name()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Within {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let found = parts.extensions.get::<Self>().cloned();
        Ok(found.unwrap_or_else(|| Self { space: Space::default_space().clone(), is_fleet: false }))
    }
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) address: IpAddr,
    /// Nothing on the way from there leaves this machine.
    pub(super) is_here: bool,
    pub(super) listener: &'static str,
}

/// Lets those through who may do what they ask for.
pub(super) async fn authorize(State(api): State<Api>, request: Request, next: Next) -> Response {
    // What is no route says so to everybody.
    let Some(known) = known(&request) else { return next.run(request).await };
    if known.needs == Needs::Nothing {
        return next.run(request).await;
    }
    // What comes from no listener comes from another node.
    let elsewhere = Source { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), is_here: false, listener: "mesh" };
    let source = request.extensions().get::<Source>().copied().unwrap_or(elsewhere);
    let ways = Ways::of(&api, &request);
    let is_change = request.method() != Method::GET && request.method() != Method::HEAD;
    let path = request.uri().path().to_owned();
    let (mut parts, body) = request.into_parts();
    let (space, name) = parameters(&mut parts).await;
    let identified = identify(&api, &parts, source).await;
    let who = identified.as_ref().map(|caller| (caller.space().to_owned(), caller.name.clone())).ok();
    let admitted = identified.and_then(|caller| admit(&api, known, caller, &space, &name));
    let is_bad_token = admitted.as_ref().is_err_and(Refusal::is_of_token);
    let response = match admitted {
        Ok((caller, within)) => {
            parts.extensions.insert(caller);
            parts.extensions.insert(within);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => refusal.into_response(),
    };
    if is_change {
        let (space, user) = who.as_ref().map_or(("", "unknown"), |(space, user)| (space, user));
        let shown: String = path.chars().take(512).collect();
        let status = response.status().as_u16();
        let source = source.address;
        let action = &*known.id;
        tracing::info!(target: "audit", user, space, %source, action, object = shown, status, "change");
    }
    ways.challenge(is_bad_token, response)
}

/// Who somebody is to what he asks for, and where that is.
///
/// # Errors
/// When he may not, or the space is none that he can know of.
fn admit(
    api: &Api,
    known: &Known,
    caller: Caller,
    space: &str,
    name: &str,
) -> Result<(Caller, Within), Refusal> {
    let table = api.node.catalogue.user_table();
    let entered = |space: &str| {
        let found = table.space(space).cloned();
        found.zip(caller.within(space)).ok_or_else(|| Refusal::from(spaces::unknown(space)))
    };
    let (space, caller, is_fleet) = match known.reach {
        Reach::OneSpace if known.needs == Needs::FleetAdmin => {
            if let Err(refusal) = caller.check_fleet_admin() {
                // Whoever cannot know of the space does not learn of it.
                return Err(entered(space).err().unwrap_or(refusal));
            }
            // It may be about to be created.
            let space = match table.space(space) {
                Some(space) => space.clone(),
                None => Space::default_space().clone(),
            };
            (space, caller, false)
        }
        Reach::OneSpace => {
            let (space, caller) = entered(space)?;
            (space, caller, false)
        }
        Reach::OwnSpace => (Space::default_space().clone(), caller, false),
        Reach::Fleet => {
            let is_fleet = caller.sees_fleet();
            let (space, caller) = entered(DEFAULT_SPACE).map_err(|_| elsewhere(&caller))?;
            (space, caller, is_fleet)
        }
    };
    known.needs.check(&caller, name)?;
    Ok((caller, Within { space, is_fleet }))
}

/// That somebody asks for what is of the fleet, or of its default space.
fn elsewhere(caller: &Caller) -> Refusal {
    let (name, space) = (&caller.name, caller.space());
    Refusal::forbidden(format!("`{name}` is of the space `{space}`; ask for what is below {SPACES}/{space}"))
}

fn known(request: &Request) -> Option<&'static Known> {
    let path = request.extensions().get::<MatchedPath>()?;
    let method = match *request.method() {
        Method::GET | Method::HEAD => "get",
        Method::PUT => "put",
        Method::POST => "post",
        Method::DELETE => "delete",
        Method::PATCH => "patch",
        _ => return None,
    };
    KNOWN.get(path.as_str())?.get(method)
}

/// The space in the path, and the first name besides; empty where there is none.
async fn parameters(parts: &mut Parts) -> (String, String) {
    let Ok(parameters) = RawPathParams::from_request_parts(parts, &()).await else {
        return Default::default();
    };
    let is_space = |(key, _): &(&str, &str)| *key == SPACE_PARAMETER;
    let space = parameters.iter().find(is_space).map(|(_, value)| value.to_owned());
    let name = parameters.iter().find(|parameter| !is_space(parameter)).map(|(_, value)| value.to_owned());
    (space.unwrap_or_default(), name.unwrap_or_default())
}

async fn identify(api: &Api, parts: &Parts, source: Source) -> Result<Caller, Refusal> {
    // A node has looked already at who asks; what it asks for itself it may know.
    if let Some(OfNode { who }) = parts.extensions.get::<OfNode>() {
        return Ok(who.clone().unwrap_or_else(Caller::node));
    }
    let is_local = api.node.config.listeners.is_local(source.listener);
    let policy = &api.node.config.authentication;
    let encryption = parts.extensions.get::<Arc<Encryption>>();
    let users = api.node.catalogue.user_table();
    if api.node.owner.is_shown(&parts.headers) {
        let is_safe = encryption.is_some() || source.is_here || policy.plain_without_tls.includes(is_local);
        return if is_safe { Ok(Caller::owner()) } else { Err(readable()) };
    }
    if parts.headers.contains_key(header::AUTHORIZATION) {
        if encryption.is_none() && !policy.plain_without_tls.includes(is_local) {
            return Err(readable());
        }
        if let Some(caller) = api.gatekeeper.identify(&parts.headers, source.address, &users).await? {
            return Ok(caller);
        }
    }
    let certificate = encryption.and_then(|encryption| encryption.certificate.as_ref());
    let is_revoked = |certificate: &ClientCertificate| {
        api.node
            .certificates
            .as_ref()
            .is_some_and(|certificates| certificates.revocations().hold(certificate))
    };
    if certificate.is_some_and(|certificate| is_fleet_admin(certificate) && !is_revoked(certificate)) {
        return Ok(Caller::fleet_admin());
    }
    if policy.anonymous.includes(is_local) { Ok(Caller::anonymous()) } else { Err(nameless()) }
}

/// Whether it is the certificate that `mq deploy` makes for whoever runs the fleet.
fn is_fleet_admin(certificate: &ClientCertificate) -> bool {
    certificate.is_of_fleet && certificate.common_name.as_deref() == Some(FLEET_ADMIN)
}

/// How a client may say who it is.
#[derive(Clone, Copy)]
struct Ways {
    /// Tokens are taken.
    has_tokens: bool,
    /// The request comes from a page that asks by itself.
    is_scripted: bool,
}

impl Ways {
    fn of(api: &Api, request: &Request) -> Self {
        let destination = request.headers().get(FETCH_DESTINATION);
        Self {
            has_tokens: api.node.hub.providers().takes_tokens(),
            is_scripted: destination.is_some_and(|destination| destination == "empty"),
        }
    }

    /// Says how one says who one is, where that is missing (RFC 9110, 11.6.1).
    fn challenge(self, is_bad_token: bool, mut response: Response) -> Response {
        if response.status() != StatusCode::UNAUTHORIZED {
            return response;
        }
        let headers = response.headers_mut();
        // A browser would answer for the page, with a dialogue of its own.
        if !(self.is_scripted && self.has_tokens) {
            headers.append(header::WWW_AUTHENTICATE, BASIC);
        }
        if is_bad_token {
            headers.append(header::WWW_AUTHENTICATE, BAD_BEARER);
        } else if self.has_tokens {
            headers.append(header::WWW_AUTHENTICATE, BEARER);
        }
        response
    }
}
