//! Who asks the admin API, and what he may do there.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mq_auth::token::Claims;
use mq_auth::{
    MAX_NAME, MAX_PASSWORD, Salts, Secret, Throttle, ThrottleOptions, Unprepared, Verifiers, prepare_name,
};
use mq_model::delegation::Asks;
use mq_model::grant::{Grant, Permits, Right, Who};
use mq_model::user::{ANONYMOUS, DEFAULT_SPACE};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::problem::Refusal;
use crate::driver::means_another;
use crate::identity::{Delegate, Providers, Question};
use crate::users::{Given, User, UserTable};

/// Passwords that are checked or made checkable at once: each takes some 20 ms of a core and 19 MiB.
const MAX_CHECKS: usize = 2;

/// Passwords that may wait for that; more are refused.
const MAX_WAITING: usize = 64;

/// How long a password that was right is known to be.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Passwords that are known to be right at once.
const MAX_KNOWN: usize = 1_024;

/// The kind of problem that a token is refused with (RFC 6750, 3.1).
pub(super) const INVALID_TOKEN: &str = "invalid-token";

/// Bytes of grants that travel with a request.
const MAX_GRANTS: usize = 256 << 10;

/// Who asks. It travels with a request that another node answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Caller {
    pub(crate) name: Arc<str>,
    /// Where his name and his grants mean what they mean.
    #[serde(default = "default_space")]
    space: Arc<str>,
    /// He may do everything in his space, users and roles included; of the default space, in the fleet.
    is_admin: bool,
    /// He may see everything there.
    #[serde(default)]
    is_viewer: bool,
    grants: Arc<[Grant]>,
    /// The table of users that all this comes from has him.
    is_user: bool,
    /// Others have said who he is: what is his own is not his to change.
    #[serde(default)]
    is_vouched_for: bool,
}

impl Caller {
    /// Somebody who has not said who he is, where that is enough.
    pub(super) fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.into(),
            space: default_space(),
            is_admin: true,
            is_viewer: true,
            grants: [].into(),
            is_user: false,
            is_vouched_for: false,
        }
    }

    /// A node of the fleet, for itself.
    pub(super) fn node() -> Self {
        Self { name: "node".into(), ..Self::anonymous() }
    }

    /// Who shows the certificate of the fleet's administrator.
    pub(super) fn fleet_admin() -> Self {
        Self { name: mq_model::user::FLEET_ADMIN.into(), ..Self::anonymous() }
    }

    /// Who owns the node that he asks.
    pub(super) fn owner() -> Self {
        Self { name: "local administrator".into(), ..Self::anonymous() }
    }

    /// A user of a space.
    pub(super) fn user(space: Arc<str>, user: &User) -> Self {
        let (name, grants) = (user.name().clone(), user.grants().clone());
        let (is_admin, is_viewer) = (user.is_admin(), user.is_admin() || user.is_viewer());
        Self { name, space, is_admin, is_viewer, grants, is_user: true, is_vouched_for: false }
    }

    /// Somebody of whom others say who he is, with the roles that they give him.
    fn vouched(space: Arc<str>, user: &User, is_user: bool) -> Self {
        Self { is_user, is_vouched_for: true, ..Self::user(space, user) }
    }

    /// His name, when he is a user of the space that the request is about.
    pub(super) fn user_here(&self) -> Option<Arc<str>> {
        (self.is_user || self.is_vouched_for).then(|| self.name.clone())
    }

    /// Where his name means him.
    pub(super) fn space(&self) -> &str {
        &self.space
    }

    /// Whether what he may see is that of every space.
    pub(super) fn sees_fleet(&self) -> bool {
        *self.space == *DEFAULT_SPACE && self.is_viewer
    }

    /// Who he is to a space: to another one than his own only who may look after the fleet is somebody. `None`:
    /// he cannot know whether it exists.
    pub(super) fn within(&self, space: &str) -> Option<Self> {
        if *self.space == *space {
            return Some(self.clone());
        }
        // Nobody is a user of two spaces, and grants speak of the names in one's own.
        let grants = [Grant::everywhere(Right::View)].into();
        let (is_user, is_vouched_for) = (false, false);
        self.sees_fleet().then(|| Self {
            space: space.into(),
            grants,
            is_user,
            is_vouched_for,
            ..self.clone()
        })
    }

    /// # Errors
    /// When he has so many grants that they do not travel with a request.
    pub(super) fn check_size(&self) -> Result<(), Refusal> {
        let bytes: usize = self.grants.iter().map(|grant| grant.pattern.as_str().len() + 16).sum();
        if bytes <= MAX_GRANTS {
            return Ok(());
        }
        let detail = format!("`{}` has too many grants to ask one node for another; ask that one", self.name);
        Err(Refusal::invalid(detail))
    }

    /// Whether he is the user of this name.
    pub(super) fn is(&self, user: &str) -> bool {
        self.is_user && *self.name == *user
    }

    /// Whether he is that user and may change what is his own. Whoever has come with a token may not: it ends
    /// soon, and a password that was set with it would not.
    pub(super) fn owns(&self, user: &str) -> bool {
        self.is(user) && !self.is_vouched_for
    }

    pub(super) fn permits(&self) -> Permits {
        if self.is_admin {
            return Permits::everything();
        }
        Permits::of(&*self.grants, Who { user: &self.name, client: "" })
    }

    pub(super) fn may(&self, right: Right, asked: &str) -> bool {
        self.is_admin || self.permits().permits(right, asked)
    }

    /// # Errors
    /// When he has no right to what a request is about.
    pub(super) fn check(&self, right: Right, asked: &str) -> Result<(), Refusal> {
        if self.may(right, asked) {
            return Ok(());
        }
        let asked: String = asked.chars().take(mq_model::MAX_ADDRESS_NAME).collect();
        Err(Refusal::forbidden(format!("`{}` may not {right} `{asked}`; grant `{right}:{asked}`", self.name)))
    }

    /// # Errors
    /// When he has not the right everywhere, which is what concerns a node and not an address.
    pub(super) fn check_everywhere(&self, right: Right) -> Result<(), Refusal> {
        if self.is_admin || self.permits().is_everything(right) {
            return Ok(());
        }
        let name = &self.name;
        Err(Refusal::forbidden(format!("`{name}` may not {right} what belongs to all; grant `{right}:#`")))
    }

    /// # Errors
    /// When he is no administrator of the fleet.
    pub(super) fn check_fleet_admin(&self) -> Result<(), Refusal> {
        if self.is_admin && *self.space == *DEFAULT_SPACE {
            return Ok(());
        }
        let detail =
            format!("`{}` may not change spaces; that takes the role `admin` of the fleet", self.name);
        Err(Refusal::forbidden(detail))
    }

    /// # Errors
    /// When he is no administrator.
    pub(super) fn check_admin(&self) -> Result<(), Refusal> {
        if self.is_admin {
            return Ok(());
        }
        let detail = format!("`{}` may not change users and roles; that takes the role `admin`", self.name);
        Err(Refusal::forbidden(detail))
    }
}

fn default_space() -> Arc<str> {
    DEFAULT_SPACE.into()
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        // What comes from no listener comes from the node itself.
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::node))
    }
}

/// Name and password of a request (RFC 7617).
struct Basic {
    user: String,
    password: Secret,
}

/// What a request says of who makes it.
enum Credentials {
    None,
    Basic(Basic),
    /// A token of an identity provider (RFC 6750).
    Bearer(Secret),
}

/// Finds out who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gatekeeper(Arc<Inner>);

struct Inner {
    /// Those who say who somebody is whom the table of users does not know.
    providers: Providers,
    checks: Semaphore,
    waiting: Semaphore,
    throttle: Mutex<Throttle>,
    known: Mutex<HashMap<u128, Known>>,
    /// What passwords are hashed with in memory; nobody knows it, and it ends with the process.
    keys: [RandomState; 2],
}

/// A password that was right.
struct Known {
    verifiers: Arc<Verifiers>,
    until: Instant,
}

impl Gatekeeper {
    pub(crate) fn new(providers: Providers, now: Instant) -> Self {
        let key = RandomState::new().hash_one(());
        Self(Arc::new(Inner {
            providers,
            checks: Semaphore::new(MAX_CHECKS),
            waiting: Semaphore::new(MAX_WAITING),
            throttle: Mutex::new(Throttle::new(ThrottleOptions::default(), key, now)),
            known: Mutex::default(),
            keys: [RandomState::new(), RandomState::new()],
        }))
    }

    /// Who makes a request; `None`: it does not say.
    ///
    /// # Errors
    /// When it says something that is not so, or that cannot be looked at now.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        source: IpAddr,
        users: &UserTable,
    ) -> Result<Option<Caller>, Refusal> {
        let (shown, identified) = match credentials(headers)? {
            Credentials::None => return Ok(None),
            Credentials::Basic(basic) => {
                let identified = self.by_password(source, &basic, users).await?;
                (basic.user, identified.ok_or_else(wrong))
            }
            Credentials::Bearer(token) => {
                let identified = self.by_token(source, &token, users).await?;
                (String::new(), identified.ok_or_else(bad_token))
            }
        };
        if identified.is_err() {
            let shown: String = shown.chars().filter(|c| !c.is_control()).take(64).collect();
            tracing::warn!(target: "audit", user = shown, %source, outcome = "refused", "log-in");
        }
        identified.map(Some)
    }

    /// The user whose name and password these are; `None`: nobody's.
    async fn by_password(
        &self,
        source: IpAddr,
        basic: &Basic,
        users: &UserTable,
    ) -> Result<Option<Caller>, Refusal> {
        let (space, name) = in_space(users, &basic.user);
        let space = users.space(space).filter(|space| space.is_enabled());
        let user = space.and_then(|space| users.find(space.name(), name));
        if let Some(delegate) = self.0.providers.delegate_of(Asks::Password)
            && space.is_some()
            && user.is_none()
            && !means_another(name)
        {
            return self.by_delegate(delegate, source, basic, users).await;
        }
        let verifiers = user.and_then(|user| user.verifiers()).cloned();
        let is_right = match &verifiers {
            Some(verifiers) if self.is_known(verifiers, basic) => true,
            _ => self.check(source, basic, verifiers).await?,
        };
        let user = space.zip(user).filter(|(_, user)| is_right && user.is_enabled());
        Ok(user.map(|(space, user)| Caller::user(space.name().clone(), user)))
    }

    /// The user whom the service of others knows by this name and password.
    async fn by_delegate(
        &self,
        delegate: &Delegate,
        source: IpAddr,
        basic: &Basic,
        users: &UserTable,
    ) -> Result<Option<Caller>, Refusal> {
        // In the form in which names are compared; what has none is nobody's.
        let Ok(prepared) = prepare_name(&basic.user) else { return Ok(None) };
        let (space, user) = in_space(users, &prepared);
        self.admit(source, &prepared)?;
        let question = Question {
            space,
            user: Some(user),
            password: Some(basic.password.expose()),
            token: None,
            protocol: "http",
            address: source,
            client: None,
            certificate: None,
        };
        let claims = self.come_of(delegate.check(&question).await, source, &prepared)?;
        Ok(claims.and_then(|claims| vouched(users, space, user, &claims)))
    }

    /// The user whose token this is; `None`: nobody's. Its provider alone says of which space he is.
    async fn by_token(
        &self,
        source: IpAddr,
        token: &Secret,
        users: &UserTable,
    ) -> Result<Option<Caller>, Refusal> {
        self.admit(source, "")?;
        let verdict = match self.0.providers.delegate_of_token(token) {
            Some(delegate) => delegate.check(&about_token(token, source)).await,
            None => self.0.providers.check(token).await,
        };
        let claims = self.come_of(verdict, source, "")?;
        Ok(claims.and_then(|claims| {
            vouched(users, claims.space.as_deref().unwrap_or(DEFAULT_SPACE), &claims.user, &claims)
        }))
    }

    /// What others say of somebody; `None`: that he is nobody, which counts as a guess.
    fn come_of(
        &self,
        verdict: Result<Claims, mq_auth::Refusal>,
        source: IpAddr,
        user: &str,
    ) -> Result<Option<Claims>, Refusal> {
        match verdict {
            Ok(claims) => {
                if !user.is_empty() {
                    self.throttle().succeeded(source, user);
                }
                Ok(Some(claims))
            }
            Err(refusal) if refusal.is_temporary() => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", refusal.to_string()))
            }
            Err(refusal) => {
                if refusal.counts_as_guess() {
                    self.throttle().failed(Instant::now(), source, user);
                }
                Ok(None)
            }
        }
    }

    /// Has whoever has failed too often wait before the next attempt.
    fn admit(&self, source: IpAddr, user: &str) -> Result<(), Refusal> {
        let Some(wait) = self.throttle().wait(Instant::now(), source, user) else { return Ok(()) };
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many log-ins have failed; try again in {seconds} s");
        Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", detail))
    }

    /// Checks a password, not before whoever has guessed wrong has waited.
    async fn check(
        &self,
        source: IpAddr,
        basic: &Basic,
        verifiers: Option<Arc<Verifiers>>,
    ) -> Result<bool, Refusal> {
        self.admit(source, &basic.user)?;
        let (password, checked) = (basic.password.clone(), verifiers.clone());
        let is_right = self.work(move || Verifiers::check(checked.as_deref(), &password)).await?;
        let mut throttle = self.throttle();
        match verifiers.filter(|_| is_right) {
            Some(verifiers) => {
                throttle.succeeded(source, &basic.user);
                drop(throttle);
                self.remember(verifiers, basic);
            }
            None => throttle.failed(Instant::now(), source, &basic.user),
        }
        Ok(is_right)
    }

    /// Makes of a password what it can be checked with.
    ///
    /// # Errors
    /// When the password cannot be one, or too many wait.
    pub(super) async fn derive(&self, password: Secret) -> Result<Arc<Verifiers>, Refusal> {
        if password.expose().len() > MAX_PASSWORD {
            return Err(Refusal::invalid(format!("the password has more than {MAX_PASSWORD} bytes")));
        }
        let salts = Salts { password: random()?, scram_sha256: random()?, scram_sha512: random()? };
        let derived = self.work(move || Verifiers::derive(&password, &salts)).await?;
        derived
            .map(Arc::new)
            .map_err(|error: Unprepared| Refusal::invalid(format!("the password cannot be used: {error}")))
    }

    /// Does what takes a while on a thread of its own, when it is its turn.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let busy = || {
            let detail = "too many passwords wait to be checked; try again";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        };
        let _place = self.0.waiting.try_acquire().map_err(|_| busy())?;
        let _turn = self.0.checks.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| busy())
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.0.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u128, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag(&self, basic: &Basic) -> u128 {
        let [one, other] =
            self.0.keys.each_ref().map(|key| key.hash_one((&basic.user, basic.password.expose())));
        (u128::from(one) << 64) | u128::from(other)
    }

    /// Whether it was right a moment ago, and the user's password has not been changed since.
    fn is_known(&self, verifiers: &Arc<Verifiers>, basic: &Basic) -> bool {
        let known = self.known();
        let found = known.get(&self.tag(basic));
        found.is_some_and(|found| Arc::ptr_eq(&found.verifiers, verifiers) && Instant::now() < found.until)
    }

    fn remember(&self, verifiers: Arc<Verifiers>, basic: &Basic) {
        let now = Instant::now();
        let tag = self.tag(basic);
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.retain(|_, known| now < known.until);
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(tag, Known { verifiers, until: now + KNOWN_FOR });
    }
}

/// The space and the name of a user as he writes them: `user@space`. A name whose end is no space is a name.
fn in_space<'n>(users: &UserTable, name: &'n str) -> (&'n str, &'n str) {
    let split = name.rsplit_once('@').filter(|(_, space)| users.space(space).is_some());
    split.map_or((DEFAULT_SPACE, name), |(user, space)| (space, user))
}

/// Random bytes that nobody can guess.
fn random() -> Result<[u8; 16], Refusal> {
    let mut bytes = [0; 16];
    let filled = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| {
        let detail = "the system gives no random numbers; see the log of the system";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no-randomness", detail)
    })?;
    Ok(bytes)
}

/// The same whether there is no such user, he is disabled, or the password is wrong.
fn wrong() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "the user name or the password is wrong")
}

/// The same whatever is wrong with a token.
fn bad_token() -> Refusal {
    let detail = "the token is not valid here; get a new one from the identity provider";
    Refusal::new(StatusCode::UNAUTHORIZED, INVALID_TOKEN, detail)
}

/// What is asked about a token of no provider. Nobody with one has said of which space he is.
fn about_token(token: &Secret, address: IpAddr) -> Question<'_> {
    Question {
        space: DEFAULT_SPACE,
        user: None,
        password: None,
        token: Some(token.expose()),
        protocol: "http",
        address,
        client: None,
        certificate: None,
    }
}

/// Somebody of whom others say who he is; `None`: he is disabled, or called what means another one.
fn vouched(users: &UserTable, space: &str, name: &str, claims: &Claims) -> Option<Caller> {
    if means_another(name) {
        return None;
    }
    let space = users.space(space).filter(|space| space.is_enabled())?;
    let given = Given { roles: claims.roles.clone(), grants: claims.grants.clone() };
    let user = users.vouched(space.name(), name, &given)?;
    Some(Caller::vouched(space.name().clone(), &user, users.find(space.name(), name).is_some()))
}

/// That a password or a token is not taken where others can read it.
pub(super) fn readable() -> Refusal {
    let detail = "this listener takes no password and no token without TLS; use https, or set authentication.plain-without-tls";
    Refusal::forbidden(detail)
}

/// That a request has to say who makes it.
pub(super) fn nameless() -> Refusal {
    let detail = "this listener serves nobody who does not say who he is; give a user and a password";
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
}

fn credentials(headers: &HeaderMap) -> Result<Credentials, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Credentials::None) };
    if values.next().is_some() {
        return Err(Refusal::malformed("the header authorization comes more than once; send one"));
    }
    let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::Bearer(Secret::new(rest.trim())));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        let detail =
            "the credentials are of a kind that the node does not take; use HTTP Basic, or a Bearer token";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", detail));
    }
    let malformed = || Refusal::malformed("the credentials cannot be read; send base64 of `user:password`");
    let encoded = rest.trim();
    if encoded.len() > (MAX_NAME + 1 + MAX_PASSWORD).div_ceil(3) * 4 {
        return Err(malformed());
    }
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| malformed())?;
    let text = Secret::new(String::from_utf8(bytes).map_err(|_| malformed())?);
    let (user, password) = text.expose().split_once(':').ok_or_else(malformed)?;
    Ok(Credentials::Basic(Basic { user: user.to_owned(), password: Secret::new(password) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn verifiers(password: &str) -> Arc<Verifiers> {
        let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
        Arc::new(Verifiers::derive(&Secret::new(password), &salts).unwrap())
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    fn basic(user: &str, password: &str) -> HeaderMap {
        headers(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }

    async fn status(gatekeeper: &Gatekeeper, headers: &HeaderMap, users: &UserTable) -> Option<StatusCode> {
        let identified = gatekeeper.identify(headers, SOURCE, users).await;
        identified.err().map(|refusal| refusal.status())
    }

    #[tokio::test]
    async fn a_password_is_right_until_it_or_its_user_is_changed() {
        let gatekeeper = Gatekeeper::new(Providers::default(), Instant::now());
        let user = |is_enabled, password| {
            UserTable::of([User::new(
                "ann",
                is_enabled,
                vec!["view:a".parse().unwrap()],
                Some(verifiers(password)),
            )])
        };
        let users = user(true, "pencil");
        for _ in 0..2 {
            let caller =
                gatekeeper.identify(&basic("ann", "pencil"), SOURCE, &users).await.ok().flatten().unwrap();
            assert!(caller.is("ann") && caller.may(Right::View, "a") && !caller.may(Right::Manage, "a"));
            assert!(caller.check_everywhere(Right::View).is_err() && caller.check_admin().is_err());
        }
        let refused = Some(StatusCode::UNAUTHORIZED);
        assert_eq!(status(&gatekeeper, &basic("ann", "pencil"), &user(false, "pencil")).await, refused);
        assert_eq!(status(&gatekeeper, &basic("ann", "pencil"), &user(true, "other")).await, refused);
        assert_eq!(status(&gatekeeper, &basic("bob", "pencil"), &users).await, refused);
        assert_eq!(status(&gatekeeper, &basic("ann", "penci"), &users).await, refused);
    }

    #[tokio::test]
    async fn whoever_goes_on_guessing_is_told_to_wait_and_whoever_knows_is_not() {
        let gatekeeper = Gatekeeper::new(Providers::default(), Instant::now());
        let users = UserTable::of([User::new("ann", true, Vec::new(), Some(verifiers("pencil")))]);
        assert_eq!(status(&gatekeeper, &basic("ann", "pencil"), &users).await, None);
        let mut last = None;
        for _ in 0..20 {
            last = status(&gatekeeper, &basic("eve", "guess"), &users).await;
            if last == Some(StatusCode::TOO_MANY_REQUESTS) {
                break;
            }
        }
        assert_eq!(last, Some(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(status(&gatekeeper, &basic("ann", "pencil"), &users).await, None);
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_read_are_refused_before_anything_is_checked() {
        let gatekeeper = Gatekeeper::new(Providers::default(), Instant::now());
        let users = UserTable::default();
        assert_eq!(status(&gatekeeper, &HeaderMap::new(), &users).await, None);
        let long = format!("Basic {}", BASE64_STANDARD.encode("x".repeat(4_096)));
        for (value, expected) in [
            ("Basic !", StatusCode::BAD_REQUEST),
            ("Basic bm8gY29sb24=", StatusCode::BAD_REQUEST),
            (long.as_str(), StatusCode::BAD_REQUEST),
            ("Digest x", StatusCode::UNAUTHORIZED),
            ("Bearer x", StatusCode::UNAUTHORIZED),
            ("x", StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(status(&gatekeeper, &headers(value), &users).await, Some(expected), "{value}");
        }
    }
}
