//! The service of others that is asked about users whom the fleet does not know itself.
//!
//! Questions wait for a place, and all of it together has a deadline. The same question is asked once, however
//! many wait for its answer, and an answer counts for a while: for exactly the same question, known by a keyed
//! hash. A service that fails several times in a row is asked once a second until it answers again; meanwhile
//! everybody is refused at once, and may try again. Nobody is let in because it is silent.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use mq_auth::token::{Claims, MAX_ROLES};
use mq_auth::{MAX_NAME, Refusal, prepare_name};
use mq_model::delegation::{Asks, HttpAuthentication};
use mq_model::grant::Grant;
use mq_model::user::MAX_GRANTS;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};

use super::Reply;
use super::fetch::{Client, ClientError, FetchError, Fetching, Files};
use crate::checks::of_one_customer;
use crate::driver::random;
use crate::tls::ClientCertificate;

/// Clients of the node that may wait for an answer.
const MAX_WAITING: usize = 1_024;

/// Clients of one source that may.
const MAX_WAITING_OF_SOURCE: usize = 32;

/// Answers that are known at once.
const MAX_KNOWN: usize = 8_192;

/// Bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Failures in a row after which the service is asked seldom.
const FAILURES: u32 = 3;

/// How seldom.
const PAUSE: Duration = Duration::from_secs(1);

/// What the service is asked: whether this is the password of this user, whose token this is, or what the user whom a
/// certificate names may do. It prints nothing of that.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<'a> {
    pub space: &'a str,
    /// The name in the space; `None`: the token says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// What the client speaks: `amqp`, `mqtt` or `http`.
    pub protocol: &'static str,
    /// Where it comes from.
    pub address: IpAddr,
    /// What it calls itself, where that is known before it is let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    /// What it has shown, signed by an authority that the node trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Shown<'a>>,
}

/// The certificate of a client.
#[derive(Serialize)]
pub struct Shown<'a> {
    subject: &'a str,
    fingerprint: &'a str,
}

impl<'a> From<&'a ClientCertificate> for Shown<'a> {
    fn from(certificate: &'a ClientCertificate) -> Self {
        Self { subject: &certificate.subject, fingerprint: &certificate.fingerprint }
    }
}

/// What is known of a question at once.
#[derive(Debug)]
pub enum Told {
    Known(Result<Claims, Refusal>),
    /// The reply is called later.
    Later,
}

/// The service as a node asks it. Cheap to clone.
#[derive(Clone)]
pub struct Delegate(Arc<Shared>);

struct Shared {
    service: Box<dyn Service>,
    asks: Vec<Asks>,
    terms: Terms,
    state: Mutex<State>,
    places: Semaphore,
    key: hmac::Key,
    asking: mpsc::Sender<Asked>,
    /// Taken by the task that asks.
    asked: Mutex<Option<mpsc::Receiver<Asked>>>,
    outcomes: Family<Labels, Counter>,
}

/// What the configuration says of it.
#[derive(Clone, Copy)]
struct Terms {
    timeout: Duration,
    allowed: Duration,
    denied: Duration,
}

/// Whoever answers.
trait Service: Send + Sync {
    /// What is answered to a document. The caller bounds the time, and drops what is late.
    fn ask(&self, body: String) -> Fetching<'_>;
}

struct Http {
    client: Client,
    url: String,
}

impl Service for Http {
    fn ask(&self, body: String) -> Fetching<'_> {
        Box::pin(self.client.post(&self.url, body, MAX_ANSWER))
    }
}

/// A question on its way.
struct Asked {
    tag: Tag,
    space: Box<str>,
    user: Option<Box<str>>,
    body: String,
    until: Instant,
}

/// A keyed hash of a question.
type Tag = [u8; 32];

#[derive(Default)]
struct State {
    known: HashMap<Tag, Known>,
    /// Who waits for which answer.
    waiting: HashMap<Tag, Vec<(IpAddr, Reply)>>,
    /// How many wait, in all and of each source.
    count: usize,
    sources: HashMap<IpAddr, usize>,
    circuit: Circuit,
}

struct Known {
    verdict: Result<Claims, Refusal>,
    until: Instant,
}

/// Whether a service is worth a question.
#[derive(Debug, Default)]
struct Circuit {
    /// In a row.
    failures: u32,
    /// When it may be asked again; `None`: it is well, as far as is known.
    next: Option<Instant>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: &'static str,
    /// Who knew: `service`, `memory`, or `node`, which has not asked.
    by: &'static str,
}

/// What the service answers.
#[derive(Deserialize)]
struct Document {
    allow: bool,
    /// Whose token it is.
    user: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    grants: Vec<Grant>,
    space: Option<String>,
    seconds: Option<u32>,
}

/// Why it cannot say.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(
        "the answer is no JSON object with `allow`: true or false, or has fields that are not as they should be"
    )]
    Document,
    #[error("the answer does not say whose the token is, or the name is none that a user can have")]
    User,
    #[error("the answer has more than {MAX_GRANTS} grants; use roles")]
    Grants,
    #[error(
        "the answer names more than {MAX_ROLES} roles, or one that is empty or has more than {MAX_NAME} bytes"
    )]
    Roles,
}

impl Delegate {
    /// # Errors
    /// When a file that it needs cannot be used.
    pub(super) fn new(config: &HttpAuthentication) -> Result<Self, ClientError> {
        let files = Files {
            ca: config.ca.clone(),
            certificate: config.certificate.clone().zip(config.key.clone()),
            secret: config.secret.clone(),
        };
        let service = Http { client: Client::new(files)?, url: config.url.clone() };
        Ok(Self::of(config, Box::new(service)))
    }

    fn of(config: &HttpAuthentication, service: Box<dyn Service>) -> Self {
        let terms = Terms {
            timeout: Duration::from_millis(config.timeout.into()),
            allowed: Duration::from_secs(config.allowed.into()),
            denied: Duration::from_secs(config.denied.into()),
        };
        let (asking, asked) = mpsc::channel(MAX_WAITING);
        let key: [u8; 32] = random();
        Self(Arc::new(Shared {
            service,
            asks: config.asks.clone(),
            terms,
            state: Mutex::default(),
            places: Semaphore::new(config.parallel.max(1).into()),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            asking,
            asked: Mutex::new(Some(asked)),
            outcomes: Family::default(),
        }))
    }

    /// Whether it is asked about such.
    pub fn is_asked(&self, asks: Asks) -> bool {
        self.0.asks.contains(&asks)
    }

    /// Forgets what the service has said: everybody is asked about again.
    pub(super) fn forget(&self) {
        self.lock().known.clear();
    }

    /// Adds the counters to the node's metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Questions about users to the service of authentication.http";
        registry.register("mq_delegated_logins", help, self.0.outcomes.clone());
    }

    /// Asks what is asked of it, for as long as it is polled.
    pub(super) async fn run(self) {
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut asked) = asked else { return };
        let mut tasks = JoinSet::new();
        while let Some(asked) = asked.recv().await {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(self.clone().carry(asked));
        }
    }

    /// Asks about a user, from any thread. When it is not known at once, `reply` is called by the task of
    /// [`Delegate::run`], within the timeout.
    pub fn ask(&self, question: &Question<'_>, reply: Reply) -> Told {
        let now = Instant::now();
        // A struct of text has a form in JSON.
        let Ok(body) = serde_json::to_string(question) else { return Told::Known(Err(Refusal::Unavailable)) };
        let tag = self.tag(&body);
        let source = of_one_customer(question.address);
        let mut state = self.lock();
        if let Some(known) = state.known.get(&tag).filter(|known| now < known.until) {
            let verdict = known.verdict.clone();
            drop(state);
            self.count(&verdict, "memory");
            return Told::Known(verdict);
        }
        let of_source = state.sources.get(&source).copied().unwrap_or(0);
        let refused = if state.circuit.is_open(now) {
            Some(Refusal::Unavailable)
        } else if state.count >= MAX_WAITING || of_source >= MAX_WAITING_OF_SOURCE {
            Some(Refusal::Throttled)
        } else {
            None
        };
        if let Some(refusal) = refused {
            drop(state);
            self.count(&Err(refusal), "node");
            return Told::Known(Err(refusal));
        }
        state.count += 1;
        *state.sources.entry(source).or_default() += 1;
        match state.waiting.entry(tag) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push((source, reply)),
            Entry::Vacant(waiting) => {
                waiting.insert(vec![(source, reply)]);
                drop(state);
                let (space, user) = (question.space.into(), question.user.map(Into::into));
                let asked = Asked { tag, space, user, body, until: now + self.0.terms.timeout };
                // There is room for as many as may wait; only a node that stops takes none.
                if self.0.asking.try_send(asked).is_err() {
                    self.finish(tag, Err(Refusal::Unavailable), None);
                }
            }
        }
        Told::Later
    }

    /// Asks about a user, and waits for the answer.
    ///
    /// # Errors
    /// [`Refusal::Credentials`] when the service says no, [`Refusal::Unavailable`] when it cannot say,
    /// [`Refusal::Throttled`] when too many ask.
    pub async fn check(&self, question: &Question<'_>) -> Result<Claims, Refusal> {
        let (reply, answer) = oneshot::channel();
        // Who has gone away misses the answer.
        let told = self.ask(question, Box::new(move |verdict| drop(reply.send(verdict))));
        match told {
            Told::Known(verdict) => verdict,
            Told::Later => answer.await.unwrap_or(Err(Refusal::Unavailable)),
        }
    }

    async fn carry(self, asked: Asked) {
        let tag = asked.tag;
        let place = timeout_at(asked.until, self.0.places.acquire()).await;
        // What waits for a place says nothing of the service, and nothing is asked while it is known to fail.
        let now = Instant::now();
        if place.is_err() || now >= asked.until || !self.lock().circuit.enter(now) {
            self.count(&Err(Refusal::Unavailable), "node");
            self.finish(tag, Err(Refusal::Unavailable), None);
            return;
        }
        let answer = self.0.service.ask(asked.body);
        let answer = timeout_at(asked.until, answer).await.unwrap_or(Err(FetchError::Late));
        let verdict = answer
            .map_err(AskError::from)
            .and_then(|answer| read(&answer, &asked.space, asked.user.as_deref()));
        drop(place);
        self.note(verdict.as_ref().err());
        let verdict = verdict.unwrap_or(Err(Refusal::Unavailable));
        self.count(&verdict, "service");
        let remembered = match &verdict {
            Ok(claims) => Some(
                self.0.terms.allowed.min(Duration::from_secs(claims.expires.saturating_sub(unix_seconds()))),
            ),
            Err(Refusal::Credentials) => Some(self.0.terms.denied),
            Err(_) => None,
        };
        self.finish(tag, verdict, remembered);
    }

    /// Notes whether the service could say, and tells people when that changes.
    fn note(&self, error: Option<&AskError>) {
        let mut state = self.lock();
        let was_failing = state.circuit.next.is_some();
        match error {
            None => state.circuit.succeeded(),
            Some(_) => state.circuit.failed(Instant::now()),
        }
        let is_failing = state.circuit.next.is_some();
        drop(state);
        match error {
            None if was_failing => info!("the service of authentication.http answers again"),
            Some(error) if is_failing && !was_failing => {
                warn!(%error, "the service of authentication.http cannot say who users are; those that the fleet does not know are refused");
            }
            Some(error) => debug!(%error, "the service of authentication.http cannot say who a user is"),
            None => {}
        }
    }

    /// Tells those who wait, and remembers what they are told for a while.
    fn finish(&self, tag: Tag, verdict: Result<Claims, Refusal>, remembered: Option<Duration>) {
        let mut state = self.lock();
        if let Some(time) = remembered.filter(|time| !time.is_zero()) {
            state.know(tag, verdict.clone(), Instant::now(), time);
        }
        let waiting = state.waiting.remove(&tag).unwrap_or_default();
        for (source, _) in &waiting {
            state.leave(*source);
        }
        drop(state);
        for (_, reply) in waiting {
            reply(verdict.clone());
        }
    }

    fn tag(&self, body: &str) -> Tag {
        let mut tag = Tag::default();
        tag.copy_from_slice(hmac::sign(&self.0.key, body.as_bytes()).as_ref());
        tag
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, verdict: &Result<Claims, Refusal>, by: &'static str) {
        let outcome = match verdict {
            Ok(_) => "allowed",
            Err(Refusal::Credentials) => "denied",
            Err(refusal) => refusal.label(),
        };
        self.0.outcomes.get_or_create(&Labels { outcome, by }).inc();
    }
}

impl fmt::Debug for Delegate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delegate").finish_non_exhaustive()
    }
}

impl State {
    fn know(&mut self, tag: Tag, verdict: Result<Claims, Refusal>, now: Instant, time: Duration) {
        if self.known.len() >= MAX_KNOWN {
            self.known.retain(|_, known| now < known.until);
        }
        if self.known.len() < MAX_KNOWN {
            self.known.insert(tag, Known { verdict, until: now + time });
        }
    }

    fn leave(&mut self, source: IpAddr) {
        self.count = self.count.saturating_sub(1);
        if let Entry::Occupied(mut count) = self.sources.entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Circuit {
    /// Whether it is not to be asked now.
    fn is_open(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| now < next)
    }

    /// Whether a question may be put now; of a service that fails, one in a while.
    fn enter(&mut self, now: Instant) -> bool {
        if self.is_open(now) {
            return false;
        }
        if let Some(next) = &mut self.next {
            *next = now + PAUSE;
        }
        true
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.next = Some(now + PAUSE);
        }
    }
}

/// What an answer says of the user of a space, or of the one whom it names.
fn read(answer: &[u8], space: &str, user: Option<&str>) -> Result<Result<Claims, Refusal>, AskError> {
    let document: Document = serde_json::from_slice(answer).map_err(|_| AskError::Document)?;
    let is_role = |role: &String| (1..=MAX_NAME).contains(&role.len());
    if document.roles.len() > MAX_ROLES || !document.roles.iter().all(is_role) {
        return Err(AskError::Roles);
    }
    if document.grants.len() > MAX_GRANTS {
        return Err(AskError::Grants);
    }
    let is_another = document.space.is_some_and(|answered| answered != space)
        || user.zip(document.user.as_deref()).is_some_and(|(asked, answered)| asked != answered);
    if !document.allow || is_another {
        return Ok(Err(Refusal::Credentials));
    }
    let user = match user {
        Some(user) => user.to_owned(),
        None => document.user.as_deref().and_then(name_of).ok_or(AskError::User)?,
    };
    let expires = document.seconds.map_or(u64::MAX, |seconds| unix_seconds().saturating_add(seconds.into()));
    let Document { roles, grants, .. } = document;
    Ok(Ok(Claims { user, roles, grants, space: Some(space.to_owned()), expires }))
}

/// A name in the form in which names are compared; `None`: it is none.
pub(crate) fn name_of(said: &str) -> Option<String> {
    prepare_name(said).ok().filter(|name| (1..=MAX_NAME).contains(&name.len()))
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
