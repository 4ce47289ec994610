//! A client asks to be let in (3.1, 3.2).
//!
//! The session is found or made at once, whatever had it before is ended, and when the disk knows what
//! has to be known (of a session that lasts, and of a will) the CONNACK leaves.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use mq_auth::Mechanism;
use mq_core::{StoreError, Ticket};
use mq_model::grant::Right;
use mq_mqtt::packet::{Auth, Connect};
use mq_mqtt::property::{PropertyIn, PropertyWriter};
use mq_mqtt::topic::{TopicLimits, check_name};
use mq_mqtt::{Accept, ReasonCode, Version};
use tracing::{debug, info, warn};

use super::names::outside;
use super::record::Begun;
use super::session::{
    LONGEST_CLIENT_ID, Presence, Resumption, Session, SessionKey, home_of, owner_of, resumption,
};
use super::will::{End, Will};
use crate::driver::Shard;
use crate::driver::access::Access;
use crate::driver::login::Progress;
use crate::driver::protocol::Protocol;
use crate::mesh::directory::UNKNOWN;
use crate::spaces::Space;
use crate::usage::Limit;

/// A client that has sent its CONNECT and has no answer yet.
#[derive(Debug)]
pub(super) struct Connecting {
    /// Whether the session went on.
    is_resumed: bool,
    /// The client identifier was chosen here.
    is_assigned: bool,
    /// Seconds, in place of the keep alive that the client wants.
    keep_alive: Option<u16>,
    /// Seconds, in place of the session expiry interval that the client wants.
    expiry: Option<u32>,
    /// What goes to the client with the news that it is who it says.
    proof: Option<Vec<u8>>,
    /// Answers of the store that the CONNACK waits for.
    waits_for: u32,
    /// The first that said no.
    error: Option<StoreError>,
}

/// The session that a client gets.
struct Taken {
    session: SessionKey,
    /// It was there.
    is_resumed: bool,
    /// The removal of the one that was there and does not go on.
    ended: Option<Ticket>,
}

/// Why a client is not let in.
struct Refusal(ReasonCode, String);

impl Shard {
    /// Serves a CONNECT: refuses it, or finds out whose it is. What it wants is looked at after that.
    pub(super) fn handle_connect(&mut self, now: Instant, key: usize, mut connect: Box<Connect>) {
        match self.check_form(&connect).and_then(|()| self.credentials_of(key, &connect)) {
            Ok(Credentials { mechanism, initial }) => {
                // It is in what is said first, and nobody else needs it.
                connect.password = None;
                let progress = self.begin_login(now, key, mechanism, initial.as_deref(), Some(connect));
                self.mqtt_progress(now, key, progress);
            }
            Err(Refusal(reason, words)) => self.refuse_client(key, reason, &words),
        }
    }

    fn credentials_of(&self, key: usize, connect: &Connect) -> Result<Credentials, Refusal> {
        // Who shows a certificate and says nothing else is whom that names.
        let is_certified = self.named_by_certificate(key, None).is_some();
        let is_token = connect.password.as_ref().is_some_and(|text| self.shared.login.is_token(text));
        credentials(connect, is_certified, is_token)
    }

    /// How a client says who it is, and what it says first; `None` when it says it in a way that is not known.
    pub(in crate::driver) fn says_who_it_is(
        &self,
        key: usize,
        connect: &Connect,
    ) -> Option<(Mechanism, Option<Vec<u8>>)> {
        let Credentials { mechanism, initial } = self.credentials_of(key, connect).ok()?;
        Some((mechanism, initial))
    }

    /// Says to a client what has come of what it said about itself.
    pub(in crate::driver) fn mqtt_progress(&mut self, now: Instant, key: usize, progress: Progress) {
        match progress {
            Progress::Later => {}
            Progress::Challenge(challenge) => {
                self.send_auth(key, ReasonCode::ContinueAuthentication, Some(&challenge));
            }
            Progress::In { access, last } => self.identified(now, key, access, last),
            Progress::Refused(refusal) => {
                let login =
                    self.connections.get_mut(key).and_then(|connection| connection.caller.login.take());
                let (reason, words) = (reason_of_login(refusal), refusal.to_string());
                if login.is_some_and(|login| login.connect.is_some()) {
                    self.refuse_client(key, reason, &words);
                } else {
                    // 4.12.1: who fails to say again who he is is disconnected.
                    self.disconnect_mqtt(key, ReasonCode::NotAuthorized, &words, End::Unclean);
                }
            }
        }
        self.mark_dirty(key);
    }

    /// A client is who it says. One that has said it again has to be the same.
    fn identified(&mut self, now: Instant, key: usize, access: Box<Access>, proof: Option<Vec<u8>>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let login = connection.caller.login.take();
        if let Some(connect) = login.and_then(|login| login.connect) {
            connection.caller.access = Some(access);
            return self.take_client_in(now, key, &connect, proof);
        }
        let is_same = connection.caller.access.as_ref().is_some_and(|before| before.is_same_client(&access));
        if is_same {
            self.send_auth(key, ReasonCode::Success, proof.as_deref());
        } else {
            let words = "the client has become another user; connect again as that one";
            self.disconnect_mqtt(key, ReasonCode::NotAuthorized, words, End::Unclean);
        }
    }

    fn send_auth(&mut self, key: usize, reason: ReasonCode, data: Option<&[u8]>) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let mut writer = PropertyWriter::new(PropertyIn::Auth);
        if let Some(data) = data {
            let _ = writer.authentication_data(data);
        }
        if let Err(misuse) = client.engine.auth(reason, writer.finish().view()) {
            debug!(connection = %self.name_of(key), %misuse, "an authentication cannot go on");
            let words = "the client takes no packet as large as the next step of its authentication";
            self.disconnect_mqtt(key, ReasonCode::PacketTooLarge, words, End::Unclean);
        }
    }

    /// The client goes on to say who it is, or begins to say it again (4.12.1).
    pub(super) fn handle_auth(&mut self, now: Instant, key: usize, packet: &Auth) {
        let properties = packet.properties.view();
        let data = properties.authentication_data();
        let progress = if packet.reason == ReasonCode::ReAuthenticate {
            let mechanism = properties.authentication_method().and_then(mechanism_named);
            match mechanism {
                Some(mechanism) => self.begin_login(now, key, mechanism, data, None),
                None => Progress::Refused(mq_auth::Refusal::NotAllowed),
            }
        } else {
            self.continue_login(now, key, data.unwrap_or_default())
        };
        self.mqtt_progress(now, key, progress);
    }

    /// Makes everything ready for the CONNACK of a client that has said who it is, or refuses it.
    fn take_client_in(&mut self, now: Instant, key: usize, connect: &Connect, proof: Option<Vec<u8>>) {
        if let Some(access) =
            self.connections.get_mut(key).and_then(|connection| connection.caller.access.as_mut())
        {
            access.set_client(connect.client_id.as_str());
        }
        let space = self.space_of(key);
        let wanted = space.inside(connect.client_id.as_str());
        if let Err(Refusal(reason, words)) = self.check_connect(now, key, &space, &wanted, connect) {
            self.refuse_client(key, reason, &words);
            return;
        }
        let is_assigned = connect.client_id.is_empty();
        let client_id: Arc<str> = if is_assigned { self.assigned_client_id(&space) } else { wanted.into() };
        let user = self.user_of(key);
        let (expiry, told_expiry) = self.session_expiry(connect);
        let Taken { session, is_resumed, ended } =
            self.take_session(now, key, &client_id, expiry, connect.clean_start);
        let will = connect.will.as_ref().map(|will| {
            let number = self.mqtt.numbers.next(self.core.unix(now));
            Box::new(Will::of(will, connect.version, number, user))
        });
        let is_told = self.claim_session(now, session, Some(key).filter(|_| !is_resumed));
        let waits_for = self.keep_connected(key, session, will, ended) + u32::from(is_told);
        let connecting = Connecting {
            is_resumed,
            is_assigned,
            keep_alive: keep_alive(connect, self.config.mqtt.keep_alive_max),
            expiry: told_expiry,
            proof,
            waits_for,
            error: None,
        };
        if let Some(connection) = self.connections.get_mut(key) {
            let shown = outside(&client_id);
            if let Some(access) = &mut connection.caller.access {
                access.set_client(shown);
            }
            if let Protocol::Mqtt(client) = &mut connection.protocol {
                client.session = Some(session);
                client.client_id = if shown.len() == client_id.len() { client_id } else { shown.into() };
                client.connecting = Some(Box::new(connecting));
            }
        }
        self.let_in(now, key);
    }

    /// The name of a connection's user; `None`: the client has not said who it is.
    fn user_of(&self, key: usize) -> Option<Arc<str>> {
        self.connections.get(key)?.caller.access.as_ref()?.user().cloned()
    }

    /// What is wrong with a CONNECT, whoever sent it, beyond what the engine knows.
    fn check_form(&self, connect: &Connect) -> Result<(), Refusal> {
        if self.is_draining() {
            let words = "the node is stopping; connect to another one";
            return Err(Refusal(ReasonCode::ServerUnavailable, words.to_owned()));
        }
        let length = connect.client_id.as_str().len();
        if length > LONGEST_CLIENT_ID {
            let words = format!("the client identifier has {length} bytes, {LONGEST_CLIENT_ID} is the most");
            return Err(Refusal(ReasonCode::ClientIdentifierNotValid, words));
        }
        Ok(())
    }

    /// What is wrong with a CONNECT of who sent it. `id` is the client identifier as it is called inside the fleet.
    fn check_connect(
        &mut self,
        now: Instant,
        key: usize,
        space: &Space,
        id: &str,
        connect: &Connect,
    ) -> Result<(), Refusal> {
        let refusal = |reason, words: &str| Err(Refusal(reason, words.to_owned()));
        if id.len() > LONGEST_CLIENT_ID {
            let length = connect.client_id.as_str().len();
            let most = LONGEST_CLIENT_ID - (id.len() - length).min(LONGEST_CLIENT_ID);
            let words = format!("the client identifier has {length} bytes, {most} is the most");
            return Err(Refusal(ReasonCode::ClientIdentifierNotValid, words));
        }
        if !self.may_have_session(now, key, id) {
            let words = "the client identifier is another user's; choose one of your own";
            return refusal(ReasonCode::ClientIdentifierNotValid, words);
        }
        if let Some(words) = self.session_elsewhere(now, id, connect.clean_start) {
            return Err(Refusal(ReasonCode::ServerUnavailable, words));
        }
        let is_new = connect.client_id.is_empty() || self.mqtt.sessions.find(id).is_none();
        if is_new && !self.mqtt.sessions.has_room() {
            return refusal(ReasonCode::QuotaExceeded, "the node has no room for another session");
        }
        if let Some(will) = &connect.will
            && let Err(denied) = self.check_right(key, Right::Send, will.topic.as_str())
        {
            return Err(Refusal(ReasonCode::NotAuthorized, denied.to_string()));
        }
        if let Some(will) = &connect.will
            && will.topic.as_str().starts_with('$')
            && self.core.route(&space.inside(will.topic.as_str())).kind.is_none()
        {
            let words = format!("the will goes to {}, which no address serves", will.topic);
            return Err(Refusal(ReasonCode::TopicNameInvalid, words));
        }
        self.check_limits(key, id)
    }

    /// Counts the client in, in the place of the one that it takes over from if there is one. The last thing that
    /// can go wrong.
    fn check_limits(&mut self, key: usize, client_id: &str) -> Result<(), Refusal> {
        let found = self.mqtt.sessions.find(client_id).filter(|_| !client_id.is_empty());
        let before = found.and_then(|found| self.mqtt.sessions.get(found)).and_then(Session::connection);
        let taken = self.take_place(key, before).and_then(|()| match (found, self.account_of(key)) {
            (None, Some(account)) => account.check(Limit::MqttSessions),
            _ => Ok(()),
        });
        taken.map_err(|exceeded| {
            self.note_refused(key, &exceeded);
            Refusal(ReasonCode::QuotaExceeded, exceeded.to_string())
        })
    }

    /// Whether the session of a client identifier, if there is one, belongs to the user of this connection.
    fn may_have_session(&self, now: Instant, key: usize, client_id: &str) -> bool {
        let Some(access) = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref())
        else {
            return false;
        };
        let session = self.mqtt.sessions.find(client_id).and_then(|found| self.mqtt.sessions.get(found));
        let unix = self.core.unix(now);
        let session = session.filter(|session| session.expires().is_none_or(|expires| expires > unix));
        if session.is_some_and(|session| !access.owns(session.user().map(|user| &**user))) {
            return false;
        }
        let fabric = self.shared.mesh.as_deref();
        let elsewhere = fabric.and_then(|fabric| fabric.session_owner(now, client_id));
        let own = owner_of(access.user().map(|user| &**user));
        elsewhere.is_none_or(|owner| owner == own || owner == UNKNOWN)
    }

    /// Refuses a client; its connection is over.
    pub(super) fn refuse_client(&mut self, key: usize, reason: ReasonCode, words: &str) {
        info!(connection = %self.name_of(key), %reason, words, "refused");
        self.mqtt.counters.refused += 1;
        let mut writer = PropertyWriter::new(PropertyIn::ConnAck);
        let _ = writer.reason_string(words);
        if let Some(client) = self.connections.mqtt_mut(key) {
            let _ = client.engine.refuse(reason, writer.finish().view());
        }
        self.mark_dirty(key);
    }

    /// A client identifier that nobody in the space has, whose home is here.
    fn assigned_client_id(&mut self, space: &Space) -> Arc<str> {
        let shards = u16::try_from(self.shared.mailboxes.len()).unwrap_or(u16::MAX);
        loop {
            self.next_name = self.next_name.wrapping_add(1);
            // A secret key that differs in every run: identifiers do not repeat and are not guessed.
            let [high, low] = [0, 1].map(|half| self.name_secret.hash_one((self.next_name, half)));
            let id = space.inside(&format!("auto-{high:016x}{low:016x}")).into_owned();
            if home_of(&id, shards) == self.id && self.mqtt.sessions.find(&id).is_none() {
                return id.into();
            }
        }
    }

    /// Seconds that the session outlives its connection, and the same when the client is to be told
    /// (3.1.2.11.2, 3.2.2.3.2). In 3.1.1 a session that is to be kept is kept as long as is allowed.
    fn session_expiry(&self, connect: &Connect) -> (u32, Option<u32>) {
        let longest = self.config.mqtt.session_expiry_max;
        let wanted = match connect.version {
            Version::V5_0 => connect.properties.view().session_expiry_interval().unwrap_or(0),
            Version::V3_1_1 if connect.clean_start => 0,
            Version::V3_1_1 => u32::MAX,
        };
        (wanted.min(longest), (wanted > longest).then_some(longest))
    }

    /// Ends whatever has the client's session and is not to go on, and gives the session to this
    /// connection.
    fn take_session(
        &mut self,
        now: Instant,
        key: usize,
        client_id: &Arc<str>,
        expiry: u32,
        clean_start: bool,
    ) -> Taken {
        let unix = self.core.unix(now);
        let mut ended = None;
        if let Some(found) = self.mqtt.sessions.find(client_id) {
            let before = self.mqtt.sessions.get(found);
            let is_over =
                before.is_none_or(|session| resumption(session, clean_start, unix) == Resumption::New);
            if let Some(old) = before.and_then(Session::connection) {
                self.take_over(now, old, is_over);
            } else {
                self.end_absence(now, found, is_over);
            }
            if is_over {
                ended = self.end_session(now, found);
            } else if let Some(session) = self.mqtt.sessions.get_mut(found) {
                session.expiry = expiry;
                self.mqtt.sessions.set_presence(found, Presence::Connected(key));
                return Taken { session: found, is_resumed: true, ended };
            }
        }
        let number = self.session_number(now, client_id, clean_start);
        let begun = if self.shared.mesh.is_some() { Begun::Here } else { Begun::Alone };
        let mut session = Session::new(client_id.clone(), expiry, key);
        session.number = number;
        session.set_user(self.user_of(key));
        session.set_begun(begun);
        self.forget_departure(client_id, None);
        let session = self.mqtt.sessions.insert(session);
        self.count_session(session);
        Taken { session, is_resumed: false, ended }
    }

    /// 3.1.4-3: the connection that has the session is told and closed. Its session stays as it is.
    pub(super) fn take_over(&mut self, now: Instant, old: usize, is_clean: bool) {
        info!(connection = %self.name_of(old), "taken over by another connection of the client");
        self.mqtt.counters.taken_over += 1;
        let words = "another connection of the client has taken the session over";
        self.disconnect_mqtt(old, ReasonCode::SessionTakenOver, words, End::TakenOver { is_clean });
        self.leave_session(now, old);
        self.start_closing(now, old);
    }

    /// The store has answered; with everything there the CONNACK leaves.
    pub(super) fn connect_stored(&mut self, now: Instant, key: usize, result: Result<(), StoreError>) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(connecting) = &mut client.connecting else { return };
        connecting.waits_for = connecting.waits_for.saturating_sub(1);
        connecting.error = connecting.error.take().or_else(|| result.err());
        self.let_in(now, key);
        self.run_effects(now);
    }

    /// Sends the CONNACK, when nothing has to be waited for any more.
    fn let_in(&mut self, now: Instant, key: usize) {
        let Some(client) = self.connections.mqtt_mut(key) else { return };
        let Some(connecting) = client.connecting.take_if(|connecting| connecting.waits_for == 0) else {
            return;
        };
        let accepted = match &connecting.error {
            None => self.accept_client(now, key, &connecting).map_err(|words| {
                // It takes so small packets that not even this one fits.
                Refusal(ReasonCode::PacketTooLarge, words)
            }),
            Some(error) => {
                warn!(connection = %self.name_of(key), %error, "a session could not be kept");
                let words = "the session could not be kept; see the status of the node";
                Err(Refusal(ReasonCode::ServerUnavailable, words.into()))
            }
        };
        if let Err(Refusal(reason, words)) = accepted {
            // Nothing of it has begun: that is what its end has to know.
            if let Some(client) = self.connections.mqtt_mut(key) {
                client.connecting = Some(connecting);
            }
            self.refuse_client(key, reason, &words);
            return self.start_closing(now, key);
        }
        self.mqtt.counters.connected += 1;
        self.mqtt.counters.resumed += u64::from(connecting.is_resumed);
        self.start_messages(now, key);
        self.mark_dirty(key);
        self.resume_reading(key);
    }

    fn accept_client(&mut self, now: Instant, key: usize, connecting: &Connecting) -> Result<(), String> {
        let gone = || "the session is gone".to_owned();
        let Some(client) = self.connections.mqtt_mut(key) else { return Err(gone()) };
        let session = client.session.and_then(|session| self.mqtt.sessions.get(session)).ok_or_else(gone)?;
        let mut properties = PropertyWriter::new(PropertyIn::ConnAck);
        // Told to who asks; the engine leaves it out otherwise.
        let _ = properties.response_information(&response_information(session));
        if let Some(proof) = &connecting.proof {
            let _ = properties.authentication_data(proof);
        }
        let properties = properties.finish();
        let accept = Accept {
            session: connecting.is_resumed.then(|| session.flights.engine_state()),
            keep_alive: connecting.keep_alive,
            session_expiry_interval: connecting.expiry,
            assigned_client_id: connecting.is_assigned.then_some(session.shown_id()),
            properties: properties.view(),
        };
        debug!(
            client_id = session.shown_id(),
            space = session.space(),
            is_resumed = connecting.is_resumed,
            "let in"
        );
        client.engine.accept(now, accept).map_err(|misuse| misuse.to_string())
    }
}

/// How a client says who it is, and what it says first.
struct Credentials {
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
}

/// What a CONNECT says about its client (3.1.3.5, 3.1.3.6, 4.12), in the words of SASL. A client that is certified
/// needs no password; one whose password is a token is whom that names, if it gives a name, too.
fn credentials(connect: &Connect, is_certified: bool, is_token: bool) -> Result<Credentials, Refusal> {
    let properties = connect.properties.view();
    if let Some(method) = properties.authentication_method() {
        let Some(mechanism) = mechanism_named(method) else {
            let words = format!("no authentication method {method} here; use SCRAM-SHA-256 or SCRAM-SHA-512");
            return Err(Refusal(ReasonCode::BadAuthenticationMethod, words));
        };
        let initial = properties.authentication_data().map(<[u8]>::to_vec);
        return Ok(Credentials { mechanism, initial });
    }
    let user = connect.user_name.as_ref().map(|user| user.as_str()).filter(|user| !user.is_empty());
    Ok(match (user, connect.password.as_deref()) {
        (user, None) if is_certified => {
            let initial = user.map(|user| user.as_bytes().to_vec());
            Credentials { mechanism: Mechanism::External, initial }
        }
        (None, None) => Credentials { mechanism: Mechanism::Anonymous, initial: None },
        // 5.0 lets a password stand alone: then it can be nothing else.
        (None, Some(token)) => bearer(None, token),
        (Some(user), Some(token)) if is_token => bearer(Some(user), token),
        (Some(user), password) => {
            let initial = [b"\0", user.as_bytes(), b"\0", password.unwrap_or_default()].concat();
            Credentials { mechanism: Mechanism::Plain, initial: Some(initial) }
        }
    })
}

/// What a token says of its client, in the words of RFC 7628; `user` is the name that it is to be of.
fn bearer(user: Option<&str>, token: &[u8]) -> Credentials {
    // RFC 5801, 4: a comma and an equals sign stand for something else there.
    let name = user.map(|user| format!("a={}", user.replace('=', "=3D").replace(',', "=2C")));
    let name = name.unwrap_or_default();
    let initial = [b"n,", name.as_bytes(), b",\x01auth=Bearer ", token, b"\x01\x01"].concat();
    Credentials { mechanism: Mechanism::OAuthBearer, initial: Some(initial) }
}

/// The mechanism of an authentication method: those for which there is no other way in MQTT.
fn mechanism_named(method: &str) -> Option<Mechanism> {
    Mechanism::from_name(method).filter(|mechanism| mechanism.scram_hash().is_some())
}

fn reason_of_login(refusal: mq_auth::Refusal) -> ReasonCode {
    match refusal {
        mq_auth::Refusal::NotAllowed => ReasonCode::NotAuthorized,
        mq_auth::Refusal::Throttled => ReasonCode::ServerBusy,
        mq_auth::Refusal::Unavailable => ReasonCode::ServerUnavailable,
        _ => ReasonCode::BadUserNameOrPassword,
    }
}

/// What response topics of a client begin with (3.2.2.3.15): `reply/` and its identifier, or a number
/// for it where that cannot stand in a topic name.
fn response_information(session: &Session) -> String {
    let topic = format!("reply/{}", session.shown_id());
    match check_name(&topic, TopicLimits::NONE) {
        Ok(()) => topic,
        Err(_) => format!("reply/{:016x}", session.origin),
    }
}

/// Seconds in place of a keep alive that is longer than the longest, or has no end (3.2.2.3.14); 0 means
/// that none is too long.
fn keep_alive(connect: &Connect, longest: u16) -> Option<u16> {
    let wanted = connect.keep_alive;
    (longest > 0 && (wanted == 0 || wanted > longest)).then_some(longest)
}
