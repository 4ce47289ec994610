//! How a client says who it is, whichever protocol carries it: SASL of AMQP, user name, password and AUTH of
//! MQTT.
//!
//! What a client may use depends on where it comes from: see [`Shard::offers`]. Whoever fails is slowed down
//! ([`mq_auth::Throttle`]), by where he comes from and by the name that he uses; what is refused is counted,
//! and told without saying what of it was wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mq_auth::token::Claims;
use mq_auth::{
    Answer, Authenticated, Exchange, Mechanism, Question, Refusal, ScramVerifier, Secret, ServerNonce, Step,
    Throttle, ThrottleOptions,
};
use mq_core::home;
use mq_model::delegation::Asks;
use mq_model::user::{ANONYMOUS, FLEET_ADMIN};
use mq_mqtt::packet::Connect;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::{info, warn};

use super::Shard;
use super::access::{Access, How};
use super::choice::Astray;
use super::connection::{Connection, Life};
use super::protocol::{Farewell, Protocol};
use crate::checks::{Asker, Attempt, Checked, Submitted, Verified};
use crate::identity::{self, Delegate, Providers, Shown, Told, Verdict};
use crate::owner::Owner;
use crate::spaces::Space;
use crate::tls::{ClientCertificate, Encryption};
use crate::users::{Given, User};

/// The file with the node's secret, in the state directory.
const SECRET_FILE: &str = "login.key";

/// Characters of a name that are logged.
const MAX_LOGGED: usize = 64;

/// What the shards of a node have in common of logging in.
#[derive(Clone)]
pub(crate) struct LoginShared {
    /// What salts are made of before the fleet has a secret for that: it has one with its first user.
    secret: [u8; 32],
    throttle: Arc<Mutex<Throttle>>,
    /// Those whose tokens are taken.
    providers: Providers,
    /// With what whoever owns the node gets in.
    owner: Owner,
}

impl fmt::Debug for LoginShared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody is to read the secret anywhere.
        formatter.debug_struct("LoginShared").finish_non_exhaustive()
    }
}

impl LoginShared {
    /// The node's secret is read, or made.
    pub(crate) fn new(state_dir: &Path, providers: Providers, owner: Owner, now: Instant) -> Self {
        let throttle = Throttle::new(ThrottleOptions::default(), u64::from_le_bytes(random()), now);
        Self { secret: secret_in(state_dir), throttle: Arc::new(Mutex::new(throttle)), providers, owner }
    }

    /// Who is asked about such as somebody has shown; `None`: nobody is.
    fn delegate_of(&self, asks: Asks) -> Option<&Delegate> {
        self.providers.delegate_of(asks)
    }

    /// Whether somebody else than a provider is asked about a token.
    pub(super) fn is_delegated(&self, token: &Secret) -> bool {
        self.providers.delegate_of_token(token).is_some()
    }

    /// Whether a password is the token of a provider.
    pub(super) fn is_token(&self, password: &[u8]) -> bool {
        self.providers.is_token(password)
    }

    /// The space that a token says to be for, which is not known to be true.
    pub(super) fn space_of_token(&self, token: &Secret) -> Option<String> {
        self.providers.space_said_by(token)
    }

    fn wait(&self, now: Instant, source: std::net::IpAddr, user: &str) -> bool {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).wait(now, source, user).is_some()
    }
}

/// When tokens end, in Unix seconds, each with the key and the number of its connection, which may be gone.
pub(crate) type TokenEnds = BinaryHeap<Reverse<(u64, usize, u64)>>;

/// Ends of tokens that are kept though their connections may be gone.
const MAX_SPENT_ENDS: usize = 1_024;

/// Log-ins since the start, by mechanism and by what came of them.
pub(crate) type LoginCounts = BTreeMap<(&'static str, &'static str), u64>;

/// A client that is saying who it is.
#[derive(Debug)]
pub(super) struct Login {
    exchange: Exchange,
    /// The name that it uses, once it has said it.
    user: Option<String>,
    /// The answer of somebody else is waited for.
    is_waiting: bool,
    /// What others say of it: its token, once it is verified, or whoever was asked.
    claims: Option<Claims>,
    /// MQTT: what it wants when it is let in. `None`: it is in already, and says it again (4.12.1).
    pub(super) connect: Option<Box<Connect>>,
}

impl Login {
    fn new(exchange: Exchange, connect: Option<Box<Connect>>) -> Self {
        Self { exchange, user: None, is_waiting: false, claims: None, connect }
    }

    /// Whether the client has no way to answer: a CONNECT says all, but for SCRAM.
    fn is_without_answers(&self) -> bool {
        self.connect.is_some() && self.exchange.mechanism().scram_hash().is_none()
    }

    /// Goes by what others say of the client.
    fn vouched_for(&mut self, claims: Result<Claims, Refusal>) -> Answer {
        match claims {
            Ok(claims) => {
                // A token names its user; who was asked about a name has answered for that.
                let is_of_name = matches!(self.exchange.mechanism(), Mechanism::Plain | Mechanism::External);
                let said = self.user.clone().filter(|_| is_of_name);
                let user = said.unwrap_or_else(|| claims.user.clone());
                self.claims = Some(claims);
                Answer::Accepted(user)
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Whether it is this node that has to say something next.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }
}

/// Whom or what somebody else is asked about.
struct About<'a> {
    space: &'a str,
    user: Option<&'a str>,
    password: Option<&'a Secret>,
    token: Option<&'a Secret>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Progress {
    /// The client is to answer this.
    Challenge(Vec<u8>),
    /// It is not known yet; [`Shard::handle_checked`] says it.
    Later,
    /// The client is in; `last` goes along with the news, if the mechanism has it.
    In { access: Box<Access>, last: Option<Vec<u8>> },
    /// It is not let in.
    Refused(Refusal),
}

impl Shard {
    /// The mechanisms that a connection may use: nobody is asked for a password that others could read, where
    /// that is not wanted.
    pub(super) fn offers(
        &self,
        is_local: bool,
        encryption: Option<&Encryption>,
        mechanism: Mechanism,
    ) -> bool {
        let policy = &self.config.authentication;
        match mechanism {
            Mechanism::Anonymous => policy.anonymous.includes(is_local),
            Mechanism::Plain => encryption.is_some() || policy.plain_without_tls.includes(is_local),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => true,
            Mechanism::External => encryption.is_some_and(|encryption| encryption.certificate.is_some()),
            Mechanism::OAuthBearer | Mechanism::XOAuth2 => {
                let is_safe = encryption.is_some() || policy.plain_without_tls.includes(is_local);
                is_safe && self.shared.login.providers.takes_tokens()
            }
        }
    }

    /// A client begins to say who it is; `initial` is what it has sent along.
    pub(super) fn begin_login(
        &mut self,
        now: Instant,
        key: usize,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        connect: Option<Box<Connect>>,
    ) -> Progress {
        let (exchange, step) = Exchange::start(mechanism, initial, ServerNonce(random()));
        let Some(connection) = self.connections.get_mut(key) else { return Progress::Later };
        let (is_local, encryption) = (connection.caller.is_local, connection.caller.encryption.clone());
        connection.caller.login = Some(Box::new(Login::new(exchange, connect)));
        let is_offered = self.offers(is_local, encryption.as_deref(), mechanism);
        let step = if is_offered { step } else { Step::Refused(Refusal::NotAllowed) };
        self.advance_login(now, key, step)
    }

    /// A client goes on to say who it is.
    pub(super) fn continue_login(&mut self, now: Instant, key: usize, response: &[u8]) -> Progress {
        let step = match self.connections.get_mut(key).and_then(|connection| connection.caller.login.as_mut())
        {
            Some(login) => login.exchange.step(response),
            None => Step::Refused(Refusal::Malformed("nothing has been begun")),
        };
        self.advance_login(now, key, step)
    }

    fn advance_login(&mut self, now: Instant, key: usize, mut step: Step) -> Progress {
        loop {
            let answer = match step {
                Step::Challenge(challenge) => {
                    let login =
                        self.connections.get_mut(key).and_then(|connection| connection.caller.login.as_mut());
                    match login.filter(|login| login.is_without_answers()) {
                        // RFC 7628, 3.2.3: what a client would answer to the news that its token is no good.
                        Some(login) => {
                            step = login.exchange.step(b"\x01");
                            continue;
                        }
                        None => return Progress::Challenge(challenge),
                    }
                }
                Step::Ask(question) => self.answer_question(now, key, question),
                Step::Done { who, last } => return self.logged_in(key, &who, last),
                Step::Refused(refusal) => return self.login_refused(now, key, refusal),
            };
            let login = self.connections.get_mut(key).and_then(|connection| connection.caller.login.as_mut());
            let Some(login) = login else { return Progress::Later };
            login.is_waiting = answer.is_none();
            let Some(answer) = answer else { return Progress::Later };
            step = login.exchange.answer(answer);
        }
    }

    /// Answers what an exchange has to know; `None`: the answer comes later.
    fn answer_question(&mut self, now: Instant, key: usize, question: Question) -> Option<Answer> {
        match question {
            Question::Anonymous => Some(match self.placed_anonymously(key) {
                Ok(_) => Answer::Accepted(ANONYMOUS.to_owned()),
                Err(Astray) => Answer::Refused(Refusal::Credentials),
            }),
            Question::Password { user, password } => {
                if self.shared.login.owner.is_it(&user, &password) {
                    return Some(Answer::Accepted(user));
                }
                if !self.may_try(now, key, &user) {
                    return Some(Answer::Refused(Refusal::Throttled));
                }
                if let Some(told) = self.ask_about_password(key, &user, &password) {
                    return self.told(key, told);
                }
                let verifiers = self.user_named(key, &user).and_then(|user| user.verifiers().cloned());
                let connection = self.connections.get(key)?;
                let asker = Asker { shard: self.id.shard(), key, number: connection.number };
                let attempt = Attempt { asker, source: connection.peer.ip(), password, verifiers };
                match self.shared.checks.submit(now, attempt) {
                    Submitted::Right => Some(Answer::Accepted(user)),
                    Submitted::Later => None,
                    Submitted::Full => Some(Answer::Refused(Refusal::Throttled)),
                }
            }
            Question::Scram { user, hash } => {
                if !self.may_try(now, key, &user) {
                    return Some(Answer::Refused(Refusal::Throttled));
                }
                if let Some(verifier) = self.shared.login.owner.verifier(&user, hash) {
                    return Some(Answer::Scram(verifier.clone()));
                }
                let verifier = match self.user_named(key, &user).and_then(|user| user.verifiers()) {
                    Some(verifiers) => verifiers.scram(hash).clone(),
                    // Another one in each space, as those have that exist.
                    None => {
                        let secret = self.users.salts().map_or(&self.shared.login.secret, |salts| &salts.0);
                        ScramVerifier::made_up(hash, &self.full_name(key, &user), secret)
                    }
                };
                Some(Answer::Scram(verifier))
            }
            Question::Certificate { wanted } => {
                if let Some(user) = self.user_of_certificate(key, wanted.as_deref()) {
                    return Some(Answer::Accepted(user));
                }
                let Some(user) = self.stranger_of_certificate(key, wanted.as_deref()) else {
                    return Some(Answer::Refused(Refusal::Credentials));
                };
                if !self.may_try(now, key, &user) {
                    return Some(Answer::Refused(Refusal::Throttled));
                }
                match self.ask_about_certificate(key, &user) {
                    Some(told) => self.told(key, told),
                    None => Some(Answer::Refused(Refusal::Credentials)),
                }
            }
            Question::Token { token } => self.check_token(now, key, token),
        }
    }

    /// The user whose certificate a connection has shown: the wanted one when it names him, in a space or in all
    /// of them, else the first whom it names, by its common name before the others. The fleet's own administrator
    /// is no user of the table.
    pub(super) fn user_of_certificate(&self, key: usize, wanted: Option<&str>) -> Option<String> {
        let encryption = self.connections.get(key)?.caller.encryption.as_ref()?;
        let certificate = encryption.certificate.as_ref()?;
        let is_known = |name: &str| {
            (certificate.is_of_fleet && name == FLEET_ADMIN) || self.user_named(key, name).is_some()
        };
        let mut names = names_of(certificate);
        let found = match wanted {
            Some(wanted) => {
                let (_, user) = self.split_user(wanted);
                names
                    .any(|name| name == wanted || name == user)
                    .then_some(wanted)
                    .filter(|name| is_known(name))
            }
            None => names.find(|name| is_known(name)),
        };
        found.map(ToOwned::to_owned)
    }

    /// The name in the certificate of a connection that somebody else is asked about: the wanted one, or the first. None
    /// when the table has one of them: that alone decides then.
    fn stranger_of_certificate(&self, key: usize, wanted: Option<&str>) -> Option<String> {
        self.shared.login.delegate_of(Asks::Certificate)?;
        let encryption = self.connections.get(key)?.caller.encryption.as_ref()?;
        let certificate = encryption.certificate.as_ref()?;
        let is_here = |name: &str| {
            let placed = self.placed(key, name);
            placed.is_ok_and(|(space, user)| self.users.find(space.name(), user).is_some())
        };
        let mut names = names_of(certificate);
        if names_of(certificate).chain(wanted).any(is_here) {
            return None;
        }
        let found = match wanted {
            Some(wanted) => {
                let (_, user) = self.split_user(wanted);
                names.any(|name| name == wanted || name == user).then_some(wanted)
            }
            None => names.next(),
        };
        // Who is compared is who is asked about.
        found.filter(|name| identity::name_of(name).as_deref() == Some(name)).map(ToOwned::to_owned)
    }

    /// The user that the certificate of a connection is for, whether the table has him or somebody else is asked.
    pub(super) fn named_by_certificate(&self, key: usize, wanted: Option<&str>) -> Option<String> {
        self.user_of_certificate(key, wanted).or_else(|| self.stranger_of_certificate(key, wanted))
    }

    /// Notes the name that a client uses. False: whoever has used it, or comes from there, has failed too often.
    fn may_try(&mut self, now: Instant, key: usize, user: &str) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        if let Some(login) = &mut connection.caller.login {
            login.user = Some(user.to_owned());
        }
        let source = connection.peer.ip();
        !self.shared.login.wait(now, source, &self.full_name(key, user))
    }

    /// A user that may log in on a connection.
    fn user_named(&self, key: usize, name: &str) -> Option<&Arc<User>> {
        let (space, name) = self.placed(key, name).ok()?;
        self.users.find(space.name(), name).filter(|user| user.is_enabled())
    }

    /// The client of a connection that has said who it is by this name.
    fn named(&self, key: usize, name: &str, how: How) -> Option<Access> {
        let (space, _) = self.placed(key, name).ok()?;
        self.user_named(key, name).map(|user| Access::of(space.clone(), user.clone(), how))
    }

    /// Whose a token is; `None`: its provider has to be asked first.
    fn check_token(&mut self, now: Instant, key: usize, token: Secret) -> Option<Answer> {
        let connection = self.connections.get_mut(key)?;
        if self.shared.login.wait(now, connection.peer.ip(), "") {
            return Some(Answer::Refused(Refusal::Throttled));
        }
        if let Some(delegate) = self.shared.login.providers.delegate_of_token(&token) {
            let Ok(space) = self.placed_without_name(key) else {
                return Some(Answer::Refused(Refusal::Credentials));
            };
            let about = About { space: space.name(), user: None, password: None, token: Some(&token) };
            let told = self.ask(key, delegate, about)?;
            return self.told(key, told);
        }
        let connection = self.connections.get_mut(key)?;
        match self.shared.login.providers.check_now(&token) {
            Verdict::Known(claims) => Some(connection.caller.login.as_mut()?.vouched_for(claims)),
            Verdict::Later => {
                let asker = Asker { shard: self.id.shard(), key, number: connection.number };
                self.shared.login.providers.ask(token, self.reply_to(asker));
                None
            }
        }
    }

    /// Asks somebody else about a name that the table of users has not; `None`: nobody is to be asked.
    fn ask_about_password(&self, key: usize, name: &str, password: &Secret) -> Option<Told> {
        let delegate = self.shared.login.delegate_of(Asks::Password)?;
        let (space, user) = self.placed(key, name).ok()?;
        // Whom the table has, it alone decides on, also when he is disabled.
        if self.users.find(space.name(), user).is_some() || means_another(user) {
            return None;
        }
        let about = About { space: space.name(), user: Some(user), password: Some(password), token: None };
        self.ask(key, delegate, about)
    }

    /// Asks somebody else about the user whom a certificate names; `None`: nobody is to be asked.
    fn ask_about_certificate(&self, key: usize, name: &str) -> Option<Told> {
        let delegate = self.shared.login.delegate_of(Asks::Certificate)?;
        let (space, user) = self.placed(key, name).ok()?;
        if means_another(user) {
            return None;
        }
        let about = About { space: space.name(), user: Some(user), password: None, token: None };
        self.ask(key, delegate, about)
    }

    /// `None`: the connection is gone.
    fn ask(&self, key: usize, delegate: &Delegate, about: About<'_>) -> Option<Told> {
        let connection = self.connections.get(key)?;
        let asker = Asker { shard: self.id.shard(), key, number: connection.number };
        let caller = &connection.caller;
        let connect = caller.login.as_ref().and_then(|login| login.connect.as_ref());
        let certificate = caller.encryption.as_ref().and_then(|encryption| encryption.certificate.as_ref());
        let question = identity::Question {
            space: about.space,
            user: about.user,
            password: about.password.map(Secret::expose),
            token: about.token.map(Secret::expose),
            protocol: if matches!(connection.protocol, Protocol::Mqtt(_)) { "mqtt" } else { "amqp" },
            address: connection.peer.ip(),
            client: connect.map(|connect| connect.client_id.as_str()).filter(|client| !client.is_empty()),
            certificate: certificate.map(Shown::from),
        };
        Some(delegate.ask(&question, self.reply_to(asker)))
    }

    fn told(&mut self, key: usize, told: Told) -> Option<Answer> {
        match told {
            Told::Known(claims) => {
                Some(self.connections.get_mut(key)?.caller.login.as_mut()?.vouched_for(claims))
            }
            Told::Later => None,
        }
    }

    /// Posts what others say of a client to the shard of its connection.
    fn reply_to(&self, asker: Asker) -> identity::Reply {
        let mailboxes = self.shared.mailboxes.clone();
        Box::new(move |claims| {
            if let Some(mailbox) = mailboxes.get(usize::from(asker.shard)) {
                mailbox.post_verified(Verified { asker, claims });
            }
        })
    }

    /// It is known whether a password is right.
    pub(super) fn handle_checked(&mut self, now: Instant, checked: Checked) {
        let Checked { asker, is_right } = checked;
        self.go_on_with(now, asker, |login| match &login.user {
            Some(user) if is_right => Answer::Accepted(user.clone()),
            _ => Answer::Refused(Refusal::Credentials),
        });
    }

    /// It is known whose a token is.
    pub(super) fn handle_verified(&mut self, now: Instant, verified: Verified) {
        let Verified { asker, claims } = verified;
        self.go_on_with(now, asker, |login| login.vouched_for(claims));
    }

    fn go_on_with(&mut self, now: Instant, asker: Asker, answer: impl FnOnce(&mut Login) -> Answer) {
        let Asker { key, number, .. } = asker;
        let is_waiting = |connection: &&mut Box<Connection>| {
            connection.number == number && connection.life == Life::Serving
        };
        let connection = self.connections.get_mut(key).filter(is_waiting);
        let Some(login) = connection.and_then(|connection| connection.caller.login.as_mut()) else { return };
        if !std::mem::take(&mut login.is_waiting) {
            return;
        }
        let answer = answer(login);
        let step = login.exchange.answer(answer);
        let progress = self.advance_login(now, key, step);
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.sasl_progress(key, progress),
            Some(Protocol::Mqtt(_)) => self.mqtt_progress(now, key, progress),
            _ => {}
        }
        self.run_effects(now);
        self.mark_dirty(key);
        self.go_on(now, key);
    }

    fn logged_in(&mut self, key: usize, who: &Authenticated, last: Option<Vec<u8>>) -> Progress {
        let access = match how(who.mechanism) {
            _ if self.is_revoked(key) => None,
            How::Anonymous => self.placed_anonymously(key).ok().map(|space| Access::anonymous(space.clone())),
            // No user of the table: by a certificate of the fleet, or by the token of this node.
            how @ (How::Certificate | How::Password | How::Scram) if who.user == FLEET_ADMIN => {
                self.placed_without_name(key).ok().map(|space| Access::fleet_admin(space.clone(), how))
            }
            how @ (How::Token | How::Password | How::Certificate) if self.has_claims(key) => {
                self.vouched(key, &who.user, how)
            }
            How::Token => None,
            how => self.named(key, &who.user, how),
        };
        // Deleted or disabled since his password was looked at, or his certificate revoked since it was.
        let Some(access) = access else { return self.refuse_login(key, who.mechanism, Refusal::Credentials) };
        if !self.is_home_of(key, access.space()) {
            return self.refuse_login(key, who.mechanism, Refusal::Unavailable);
        }
        if let Some(connection) = self.connections.get(key)
            && access.user().is_some()
        {
            let source = connection.peer.ip();
            let (user, throttle) = (self.full_name(key, &who.user), &self.shared.login.throttle);
            throttle.lock().unwrap_or_else(PoisonError::into_inner).succeeded(source, &user);
        }
        *self.logins.entry((who.mechanism.name(), "accepted")).or_default() += 1;
        Progress::In { access: Box::new(access), last }
    }

    /// Whether the session of a client of MQTT that is of this space belongs to this shard: it has been looked for
    /// before the client was known, and spaces may have changed since.
    fn is_home_of(&self, key: usize, space: &Space) -> bool {
        let login = self.connections.get(key).and_then(|connection| connection.caller.login.as_deref());
        let Some(connect) = login.and_then(|login| login.connect.as_deref()) else { return true };
        let shards = u16::try_from(self.shared.mailboxes.len()).unwrap_or(u16::MAX);
        let id = connect.client_id.as_str();
        id.is_empty() || home(&space.inside(id), shards) == self.id
    }

    /// Whether somebody else has said who the client of a connection is.
    fn has_claims(&self, key: usize) -> bool {
        let login = self.connections.get(key).and_then(|connection| connection.caller.login.as_ref());
        login.is_some_and(|login| login.claims.is_some())
    }

    /// The client of a connection of whom somebody else has said who he is, until that ends.
    fn vouched(&mut self, key: usize, name: &str, how: How) -> Option<Access> {
        let connection = self.connections.get_mut(key)?;
        let number = connection.number;
        let Claims { roles, grants, space: said, expires, .. } =
            connection.caller.login.as_mut()?.claims.take()?;
        let given = Given { roles, grants };
        let (space, name) = match how {
            // Of a token's user the provider alone says of which space he is.
            How::Token => (self.placed_by_provider(key, said.as_deref()).ok()?.clone(), name),
            _ => self.placed(key, name).ok().map(|(space, name)| (space.clone(), name))?,
        };
        if means_another(name) {
            return None;
        }
        // Whom the table has got meanwhile, it alone decides on; and a space may be another one now.
        let is_another = said.is_some_and(|said| *said != **space.name());
        if how != How::Token && (is_another || self.users.find(space.name(), name).is_some()) {
            return None;
        }
        let user = self.users.vouched(space.name(), name, &given)?;
        if expires != u64::MAX {
            self.end_with(key, number, expires);
        }
        Some(Access::vouched(space, user, how, Some(Box::new(given))))
    }

    /// Has a connection end at a time of day, in Unix seconds.
    fn end_with(&mut self, key: usize, number: u64, expires: u64) {
        if self.token_ends.len() > MAX_SPENT_ENDS + 2 * self.connections.len() {
            let connections = &self.connections;
            self.token_ends.retain(|Reverse((_, key, number))| {
                connections.get(*key).is_some_and(|connection| connection.number == *number)
            });
        }
        self.token_ends.push(Reverse((expires, key, number)));
    }

    /// Ends the connections whose tokens have ended.
    pub(crate) fn end_tokens(&mut self, now: Instant, unix_seconds: u64) {
        while let Some(Reverse((expires, key, number))) = self.token_ends.peek().copied() {
            if expires > unix_seconds {
                return;
            }
            self.token_ends.pop();
            if self.connections.get(key).is_some_and(|connection| connection.number == number) {
                info!(connection = %self.name_of(key), "its log-in has expired");
                let words = "the log-in or its token has expired; connect again";
                self.force_close(now, key, Farewell::Unauthorized, words);
                self.run_effects(now);
            }
        }
    }

    fn login_refused(&mut self, now: Instant, key: usize, refusal: Refusal) -> Progress {
        let Some(connection) = self.connections.get(key) else { return Progress::Refused(refusal) };
        let Some(login) = &connection.caller.login else { return Progress::Refused(refusal) };
        let mechanism = login.exchange.mechanism();
        if refusal.counts_as_guess() {
            let (source, user) = (connection.peer.ip(), login.user.as_deref().unwrap_or_default());
            let (user, throttle) = (self.full_name(key, user), &self.shared.login.throttle);
            throttle.lock().unwrap_or_else(PoisonError::into_inner).failed(now, source, &user);
        }
        if self.warnings.is_due(now)
            && let Some(connection) = self.connections.get(key)
        {
            let user = connection.caller.login.as_ref().and_then(|login| login.user.as_deref());
            let user = user.map(|user| user.chars().take(MAX_LOGGED).collect::<String>());
            let (peer, listener) = (connection.peer, &connection.listener);
            warn!(connection = %self.name_of(key), %peer, %listener, ?user, %mechanism, reason = %refusal,
                "a client is not let in");
        }
        self.refuse_login(key, mechanism, refusal)
    }

    fn refuse_login(&mut self, key: usize, mechanism: Mechanism, refusal: Refusal) -> Progress {
        *self.logins.entry((mechanism.name(), refusal.label())).or_default() += 1;
        info!(connection = %self.name_of(key), %mechanism, reason = refusal.label(), "not let in");
        Progress::Refused(refusal)
    }
}

/// Whether a name means something else here, whatever others call their users.
pub(crate) fn means_another(name: &str) -> bool {
    [ANONYMOUS, FLEET_ADMIN].contains(&name)
}

/// The names of a certificate that can be those of users.
fn names_of(certificate: &ClientCertificate) -> impl Iterator<Item = &str> {
    let others = certificate.emails.iter().chain(&certificate.dns).chain(&certificate.uris);
    certificate.common_name.iter().chain(others).map(String::as_str)
}

fn how(mechanism: Mechanism) -> How {
    match mechanism {
        Mechanism::Anonymous => How::Anonymous,
        Mechanism::External => How::Certificate,
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => How::Scram,
        Mechanism::Plain => How::Password,
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => How::Token,
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// The node's secret: the same after a restart, so that what is made of it tells nothing either.
fn secret_in(state_dir: &Path) -> [u8; 32] {
    let path = state_dir.join(SECRET_FILE);
    if let Some(secret) = std::fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok()) {
        return secret;
    }
    let secret = random();
    if let Err(error) = write_secret(&path, &secret) {
        warn!(path = %path.display(), %error, "the secret for logging in lasts until the node stops only");
    }
    secret
}

fn write_secret(path: &Path, secret: &[u8; 32]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_a_node_is_the_same_after_a_restart_and_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let secret = secret_in(folder.path());
        assert_eq!(secret_in(folder.path()), secret);
        let mode = std::fs::metadata(folder.path().join(SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(secret_in(tempfile::tempdir().unwrap().path()), secret);
    }
}
