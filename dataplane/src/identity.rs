//! Those outside of the fleet who say who a client is: identity providers, whose tokens are taken, with the keys
//! that those are signed with, and the service that is asked about names ([`Delegate`]).
//!
//! A task for each provider fetches its keys, again every ten minutes, and at once when a token names one
//! that is not known, but not more often than every five seconds: strangers decide on what tokens name. A
//! provider that cannot be reached keeps the keys that it had: it neither shuts the node nor opens it. The
//! threads of the shards look at keys that are there and never wait.

mod delegate;
mod fetch;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mq_auth::token::{Claim, Claims, Keys, MAX_KEYS_DOCUMENT, Rules, Token, TokenError};
use mq_auth::{Refusal, Secret};
use mq_model::config::Authentication;
use mq_model::delegation::Asks;
use mq_model::oidc::OidcProvider;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use fetch::{Client, FetchError, Files, Source};

pub(crate) use delegate::name_of;
pub use delegate::{Delegate, Question, Shown, Told};
pub use fetch::ClientError;

/// How far the clocks of a provider and of this node may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// Tokens that may wait to be looked at.
const MAX_ASKED: usize = 1_024;

/// Why identity providers cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    #[error("authentication.oidc, {issuer}: {source}")]
    Oidc { issuer: String, source: ClientError },
    #[error("authentication.http: {0}")]
    Http(ClientError),
}

/// Why the keys of a provider could not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error("{url}: {source}")]
    Fetch { url: String, source: FetchError },
    #[error("{url} is no discovery document of OpenID Connect")]
    Discovery { url: String },
    #[error("{url} is about the issuer `{found}`; set the issuer to exactly what the provider says")]
    OtherIssuer { url: String, found: String },
    #[error("the keys are said to be at `{url}`, which is neither https nor at the issuer's own host")]
    Unsafe { url: String },
    #[error("{url}: {source}")]
    Keys { url: String, source: mq_auth::token::InvalidKeys },
}

/// How often a provider is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two looks when all is well.
    pub refresh: Duration,
    /// Between two looks in any case.
    pub least: Duration,
    /// For one answer.
    pub answer: Duration,
    /// That a token waits for the key it names.
    pub wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            least: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            wait: Duration::from_secs(5),
        }
    }
}

/// The identity providers of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Providers(Arc<Shared>);

struct Shared {
    providers: Vec<Arc<Provider>>,
    delegate: Option<Delegate>,
    asking: mpsc::Sender<Asked>,
    /// Taken by the task that answers.
    asked: Mutex<Option<mpsc::Receiver<Asked>>>,
    tokens: Family<TokenLabels, Counter>,
    refreshes: Family<RefreshLabels, Counter>,
}

/// A token that somebody wants to know of when its key is there.
struct Asked {
    token: Secret,
    reply: Reply,
}

/// Where an answer goes.
pub type Reply = Box<dyn FnOnce(Result<Claims, Refusal>) + Send>;

/// What came of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    /// As the configuration has it; empty for issuers that it does not name.
    issuer: String,
    outcome: &'static str,
}

/// What came of a look at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    issuer: String,
    outcome: &'static str,
}

/// What is known of a token at once.
#[derive(Debug)]
pub enum Verdict {
    Known(Result<Claims, Refusal>),
    /// A key is missing that the provider may have: [`Providers::ask`] it.
    Later,
}

struct Provider {
    rules: Rules,
    /// Where the keys are, if the configuration says it.
    keys_url: Option<String>,
    source: Box<dyn Source>,
    pace: Pace,
    held: watch::Sender<Held>,
    wanted: Notify,
}

/// What a node has of a provider.
#[derive(Clone, Debug, Default)]
struct Held {
    keys: Option<Arc<Keys>>,
    /// Looks at the provider that are over.
    looks: u64,
    /// When the latest was over, and whether it went well.
    latest: Option<Instant>,
    is_well: bool,
    is_looking: bool,
}

impl Default for Providers {
    /// None: no token is taken.
    fn default() -> Self {
        Self::with(Vec::new(), None)
    }
}

impl Providers {
    /// # Errors
    ///
    /// [`ProviderError`] when a file with certificates cannot be used.
    pub fn new(authentication: &Authentication, pace: Pace) -> Result<Self, ProviderError> {
        let providers = authentication.oidc.iter().map(|config| {
            let files = Files { ca: config.ca.clone(), ..Files::default() };
            let failed = |source| ProviderError::Oidc { issuer: config.issuer.clone(), source };
            let client = Client::new(files).map_err(failed)?;
            Ok(Arc::new(Provider::new(config, pace, Box::new(client))))
        });
        let providers = providers.collect::<Result<_, _>>()?;
        let delegate = authentication.http.as_ref().map(Delegate::new).transpose();
        Ok(Self::with(providers, delegate.map_err(ProviderError::Http)?))
    }

    #[cfg(test)]
    fn of(providers: Vec<Arc<Provider>>) -> Self {
        Self::with(providers, None)
    }

    fn with(providers: Vec<Arc<Provider>>, delegate: Option<Delegate>) -> Self {
        let (asking, asked) = mpsc::channel(MAX_ASKED);
        let asked = Mutex::new(Some(asked));
        let (tokens, refreshes) = (Family::default(), Family::default());
        Self(Arc::new(Shared { providers, delegate, asking, asked, tokens, refreshes }))
    }

    /// Has files read again that were replaced, and the keys of the providers fetched: now, and not with the next
    /// question.
    pub(crate) fn reload(&self) {
        if let Some(delegate) = &self.0.delegate {
            delegate.forget();
        }
        for provider in &self.0.providers {
            provider.wanted.notify_one();
        }
    }

    /// Who is asked about users whom the fleet does not know; `None`: nobody is.
    pub fn delegate(&self) -> Option<&Delegate> {
        self.0.delegate.as_ref()
    }

    /// The same for what they have shown.
    pub fn delegate_of(&self, asks: Asks) -> Option<&Delegate> {
        self.delegate().filter(|delegate| delegate.is_asked(asks))
    }

    /// Who is asked about a token; `None`: it is a provider's, or nobody is.
    pub(crate) fn delegate_of_token(&self, token: &Secret) -> Option<&Delegate> {
        self.delegate_of(Asks::Token).filter(|_| !self.is_token(token.expose().as_bytes()))
    }

    /// Whether there is no identity provider.
    pub fn is_empty(&self) -> bool {
        self.0.providers.is_empty()
    }

    /// Whether tokens are taken at all.
    pub(crate) fn takes_tokens(&self) -> bool {
        !self.is_empty() || self.delegate_of(Asks::Token).is_some()
    }

    /// Whether a text is a token that says to be of one of them: whoever sends it as his password means that.
    pub(crate) fn is_token(&self, text: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let Ok(text) = std::str::from_utf8(text) else { return false };
        let text = Secret::new(text);
        Token::parse(&text).is_ok_and(|token| {
            self.0.providers.iter().any(|provider| Some(provider.rules.issuer.as_str()) == token.issuer())
        })
    }

    /// The space that a token says to be for, which is not known to be true.
    pub(crate) fn space_said_by(&self, token: &Secret) -> Option<String> {
        let token = Token::parse(token).ok()?;
        let its = |provider: &&Arc<Provider>| Some(provider.rules.issuer.as_str()) == token.issuer();
        self.0.providers.iter().find(its).and_then(|provider| token.said_space(&provider.rules))
    }

    /// Adds the counters to the node's metrics.
    pub fn register(&self, registry: &mut Registry) {
        let Shared { tokens, refreshes, .. } = &*self.0;
        registry.register("mq_tokens", "Tokens of identity providers that were checked", tokens.clone());
        let help = "Attempts to bring the keys of an identity provider up to date";
        registry.register("mq_identity_provider_refreshes", help, refreshes.clone());
        if let Some(delegate) = &self.0.delegate {
            delegate.register(registry);
        }
    }

    /// Keeps the keys of all providers up to date and answers what is asked, for as long as it is polled.
    pub async fn run(self) {
        let asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut asked) = asked else { return };
        let mut tasks = JoinSet::new();
        if let Some(delegate) = self.0.delegate.clone() {
            tasks.spawn(delegate.run());
        }
        for provider in &self.0.providers {
            tasks.spawn(provider.clone().keep(self.0.refreshes.clone()));
        }
        // Its own clones keep the channel open: it ends when it is dropped.
        while let Some(Asked { token, reply }) = asked.recv().await {
            while tasks.try_join_next().is_some() {}
            let providers = self.clone();
            tasks.spawn(async move { reply(providers.check(&token).await) });
        }
    }

    /// Has a token checked whose key is not here, from any thread. `reply` is called by the task of
    /// [`Providers::run`], soon or after five seconds; when too many ask, at once.
    pub fn ask(&self, token: Secret, reply: Reply) {
        if let Err(error) = self.0.asking.try_send(Asked { token, reply }) {
            (error.into_inner().reply)(Err(Refusal::Throttled));
        }
    }

    /// Whose token this is, as far as the keys tell that are there. It takes some 100 us and never waits.
    pub fn check_now(&self, token: &Secret) -> Verdict {
        self.find(token, |provider, token| match provider.verify(token) {
            Err(Missing::Key) if provider.may_look() => Verdict::Later,
            verdict => Verdict::Known(self.count(provider, verdict)),
        })
        .unwrap_or_else(|refusal| Verdict::Known(Err(refusal)))
    }

    /// Whose token this is. When it is signed with a key that is not known, the provider is asked, which takes
    /// five seconds at most.
    ///
    /// # Errors
    ///
    /// [`Refusal::Credentials`] when it is nobody's, [`Refusal::Unavailable`] when its provider would have to
    /// be asked and cannot be.
    pub async fn check(&self, token: &Secret) -> Result<Claims, Refusal> {
        let provider = self.find(token, |provider, _| provider.clone())?;
        let seen = provider.held.borrow().looks;
        if let Verdict::Known(result) = self.check_now(token) {
            return result;
        }
        provider.look(seen).await;
        let parsed = Token::parse(token)?;
        self.count(&provider, provider.verify(&parsed))
    }

    fn find<T>(
        &self,
        token: &Secret,
        then: impl FnOnce(&Arc<Provider>, &Token<'_>) -> T,
    ) -> Result<T, Refusal> {
        let parsed = Token::parse(token).inspect_err(|error| self.count_of("", error.label()))?;
        let is_its = |provider: &&Arc<Provider>| Some(provider.rules.issuer.as_str()) == parsed.issuer();
        match self.0.providers.iter().find(is_its) {
            Some(provider) => Ok(then(provider, &parsed)),
            None => {
                self.count_of("", TokenError::Issuer.label());
                Err(Refusal::Credentials)
            }
        }
    }

    fn count(&self, provider: &Provider, verdict: Result<Claims, Missing>) -> Result<Claims, Refusal> {
        let issuer = &provider.rules.issuer;
        match verdict {
            Ok(claims) => {
                self.count_of(issuer, "accepted");
                // As long as the token would be taken: the provider's clock may be another.
                Ok(Claims { expires: claims.expires.saturating_add(LEEWAY.as_secs()), ..claims })
            }
            Err(Missing::Other(error)) => {
                self.count_of(issuer, error.label());
                debug!(issuer, %error, "a token was refused");
                Err(error.into())
            }
            Err(Missing::Key) => {
                let is_well = provider.held.borrow().is_well;
                self.count_of(issuer, if is_well { TokenError::UnknownKey.label() } else { "unavailable" });
                Err(if is_well { Refusal::Credentials } else { Refusal::Unavailable })
            }
        }
    }

    fn count_of(&self, issuer: &str, outcome: &'static str) {
        self.0.tokens.get_or_create(&TokenLabels { issuer: issuer.to_owned(), outcome }).inc();
    }
}

/// Why a token is not verified.
enum Missing {
    /// For want of a key.
    Key,
    Other(TokenError),
}

impl Provider {
    fn new(config: &OidcProvider, pace: Pace, source: Box<dyn Source>) -> Self {
        let roles = config.roles.as_ref();
        let rules = Rules {
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            leeway: LEEWAY,
            user: Claim(config.user.clone()),
            roles: roles.map(|roles| Claim(roles.claim.clone())),
            role_prefix: roles.map(|roles| roles.prefix.clone()).unwrap_or_default(),
            space: config.space.clone().map(Claim),
        };
        let held = watch::Sender::new(Held::default());
        Self { rules, keys_url: config.keys.clone(), source, pace, held, wanted: Notify::new() }
    }

    fn verify(&self, token: &Token<'_>) -> Result<Claims, Missing> {
        let keys = self.held.borrow().keys.clone().ok_or(Missing::Key)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        token.verify(&keys, &self.rules, now.as_secs()).map_err(|error| match error {
            TokenError::UnknownKey => Missing::Key,
            error => Missing::Other(error),
        })
    }

    /// Whether another look at the provider is worth the wait: not when there has just been one.
    fn may_look(&self) -> bool {
        let held = self.held.borrow();
        held.is_looking || held.latest.is_none_or(|latest| latest.elapsed() >= self.pace.least)
    }

    /// Has the provider looked at, and waits until that is over, for a while.
    async fn look(&self, seen: u64) {
        let mut held = self.held.subscribe();
        self.wanted.notify_one();
        let is_over = held.wait_for(|held| held.looks > seen);
        // Who waits too long goes by what is there.
        let _ = timeout(self.pace.wait, is_over).await;
    }

    async fn keep(self: Arc<Self>, refreshes: Family<RefreshLabels, Counter>) {
        loop {
            self.held.send_modify(|held| held.is_looking = true);
            let found = self.fetch().await;
            let outcome = if found.is_ok() { "succeeded" } else { "failed" };
            refreshes.get_or_create(&RefreshLabels { issuer: self.rules.issuer.clone(), outcome }).inc();
            let is_well = found.is_ok();
            self.publish(found);
            sleep(self.pace.least).await;
            // Nodes that have started together do not ask together for ever.
            let rest =
                self.pace.refresh.mul_f64(0.75 + fastrand::f64() / 4.0).saturating_sub(self.pace.least);
            if is_well {
                let _ = timeout(rest, self.wanted.notified()).await;
            }
        }
    }

    fn publish(&self, found: Result<Keys, RefreshError>) {
        let issuer = &self.rules.issuer;
        let was_well = self.held.borrow().is_well;
        let is_first = self.held.borrow().looks == 0;
        match &found {
            Ok(keys) if !was_well => {
                info!(issuer, keys = keys.len(), "the identity provider's keys are here")
            }
            Ok(keys) => debug!(issuer, keys = keys.len(), "the identity provider's keys are up to date"),
            Err(error) if was_well || is_first => {
                warn!(issuer, %error, "cannot get the identity provider's keys; going on with those that are here");
            }
            Err(error) => debug!(issuer, %error, "still no keys of the identity provider"),
        }
        self.held.send_modify(|held| {
            held.is_looking = false;
            held.looks += 1;
            held.latest = Some(Instant::now());
            held.is_well = found.is_ok();
            if let Ok(keys) = found {
                held.keys = Some(Arc::new(keys));
            }
        });
    }

    async fn fetch(&self) -> Result<Keys, RefreshError> {
        let url = match &self.keys_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let document = self.get(&url).await?;
        Keys::parse(&document).map_err(|source| RefreshError::Keys { url, source })
    }

    /// OpenID Connect Discovery 1.0, 4: where the keys are.
    async fn discover(&self) -> Result<String, RefreshError> {
        let issuer = self.rules.issuer.as_str();
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = self.get(&url).await?;
        let found: Discovery =
            serde_json::from_slice(&document).map_err(|_| RefreshError::Discovery { url: url.clone() })?;
        // 4.3: else one provider could speak for another.
        if found.issuer != issuer {
            return Err(RefreshError::OtherIssuer {
                url,
                found: found.issuer.chars().take(MAX_SHOWN).collect(),
            });
        }
        let is_safe = found.jwks_uri.starts_with("https://")
            || fetch::origin(&found.jwks_uri).is_some_and(|origin| fetch::origin(issuer) == Some(origin));
        if !is_safe {
            return Err(RefreshError::Unsafe { url: found.jwks_uri.chars().take(MAX_SHOWN).collect() });
        }
        Ok(found.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, RefreshError> {
        let answer = self.source.get(url, MAX_KEYS_DOCUMENT);
        let answer = timeout(self.pace.answer, answer).await.unwrap_or(Err(FetchError::Late));
        answer.map_err(|source| RefreshError::Fetch { url: url.to_owned(), source })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Providers").field("providers", &self.providers).finish_non_exhaustive()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Provider").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// The most characters of another's text in an error.
const MAX_SHOWN: usize = 256;

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[cfg(test)]
mod tests;
