//! Who a client is, and what he may do.
//!
//! Whoever attaches a link, publishes or subscribes is looked at here and nowhere else. A link with a fixed
//! address is looked at once; where each message has an address of its own, the names that a client was
//! let send to last are remembered, so that a message costs a comparison. What a user may do changes with the
//! table of users: each connection goes by the table that its shard has, and is looked at again when
//! that changes ([`Shard::set_users`](super::Shard::set_users)).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use mq_core::Outcome;
use mq_model::TEMPORARY_PREFIX;
use mq_model::grant::{Permits, Right, Who};
use mq_model::user::{ANONYMOUS, FLEET_ADMIN};
use tracing::debug;

use super::Shard;
use super::login::Login;
use crate::spaces::Space;
use crate::tls::Encryption;
use crate::usage::Held;
use crate::users::{Given, User, UserTable};

/// Names that are remembered of a client that was let send to them; a power of two.
const REMEMBERED: usize = 8;

/// How a client has said who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Not at all.
    Anonymous,
    /// With a password that the node has seen.
    Password,
    /// By proving that he knows his password (RFC 5802).
    Scram,
    /// With the certificate of his connection.
    Certificate,
    /// With a token of somebody who knows him.
    Token,
}

/// Who a client is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Where his name means him.
    pub(crate) space: Arc<Space>,
    /// `None`: he has not said who he is.
    pub(crate) user: Option<Arc<str>>,
    /// The client identifier of MQTT, or the container-id of AMQP; empty until it is known.
    pub(crate) client: Arc<str>,
    pub(crate) how: How,
}

/// What a client has no right to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    user: Arc<str>,
    pub(crate) right: Right,
    address: Box<str>,
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, right, address } = self;
        write!(formatter, "user {user} has no right `{right}` at {address}; grant {right}:{address}")
    }
}

/// What a connection knows of its client, and seldom looks at.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// Who the client is, and what he may do, once that is known.
    pub(super) access: Option<Box<Access>>,
    /// The client is saying who he is.
    pub(super) login: Option<Box<Login>>,
    /// What TLS has agreed on, here or where the client's socket is; `None`: it is not spoken.
    pub(super) encryption: Option<Arc<Encryption>>,
    /// The client is on the machine of the node that has accepted it.
    pub(super) is_local: bool,
    /// The space that its listener is for.
    pub(super) listener_space: Option<Arc<str>>,
    /// The space of the host that a client of AMQP wants to speak with, while it says who it is.
    pub(super) host_space: Option<Arc<str>>,
    /// Since when it is connected.
    pub(super) opened_at: Timestamp,
    /// What the connection counts for, once it is known who the client is.
    pub(super) place: Option<Held>,
    /// It has sent too fast and is not read until then.
    pub(super) resume_at: Option<Instant>,
}

/// What a new table of users means to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// Its client may do something else than before.
    Rights,
    /// There is no such user or no such space any more, or one of them is disabled.
    Gone,
}

/// Who the client of a connection is, and what he may do.
#[derive(Debug)]
pub(super) struct Access {
    identity: Identity,
    /// As the table of users has him; `None`: he may do everything.
    user: Option<Arc<User>>,
    /// What others have given him; `None`: nobody else has said who he is.
    given: Option<Box<Given>>,
    /// What that gives to this connection.
    permits: Permits,
    /// Names that he may send to, once there are some.
    remembered: Option<Box<[Option<Box<str>>; REMEMBERED]>>,
}

impl Access {
    /// A client that has not said who he is, where that is enough: he may do everything in his space.
    pub(super) fn anonymous(space: Arc<Space>) -> Self {
        let identity = Identity { space, user: None, client: Arc::default(), how: How::Anonymous };
        Self { identity, user: None, given: None, permits: Permits::everything(), remembered: None }
    }

    /// A client with the certificate that the fleet gives to who administers it, or with the token of whoever owns
    /// the node: he may do everything in the space that he has chosen.
    pub(super) fn fleet_admin(space: Arc<Space>, how: How) -> Self {
        let mut access = Self::anonymous(space);
        (access.identity.user, access.identity.how) = (Some(FLEET_ADMIN.into()), how);
        access
    }

    /// The other side of a connection that a connector has opened: it may do nothing by itself, and the connector's
    /// routes are for whoever has made it to choose.
    pub(super) fn connector(space: Arc<Space>, name: &str) -> Self {
        let mut access = Self::anonymous(space);
        access.identity.user = Some(format!("connector:{name}").into());
        access
    }

    /// A client that is this user.
    pub(super) fn of(space: Arc<Space>, user: Arc<User>, how: How) -> Self {
        Self::vouched(space, user, how, None)
    }

    /// A client that is this user because somebody else says so, who has given him this.
    pub(super) fn vouched(space: Arc<Space>, user: Arc<User>, how: How, given: Option<Box<Given>>) -> Self {
        let identity = Identity { space, user: Some(user.name().clone()), client: Arc::default(), how };
        let permits = Permits::nothing();
        let mut access = Self { identity, user: Some(user), given, permits, remembered: None };
        access.resolve();
        access
    }

    /// Finds out what the client may do.
    fn resolve(&mut self) {
        let Some(user) = &self.user else { return };
        let who = Who { user: user.name(), client: &self.identity.client };
        self.permits = Permits::of(&**user.grants(), who);
        self.remembered = None;
    }

    /// Says how the client calls itself.
    pub(super) fn set_client(&mut self, client: &str) {
        self.identity.client = client.into();
        self.resolve();
    }

    /// Where his names mean what they mean.
    pub(super) fn space(&self) -> &Arc<Space> {
        &self.identity.space
    }

    /// He as the table of users has him; `None`: it has not.
    pub(super) fn known(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// Whether the node knows him by his name: others may do everything where they are.
    pub(super) fn is_named(&self) -> bool {
        self.user.is_some()
    }

    /// Puts a client that no name ties to a space into another one.
    pub(super) fn move_to(&mut self, space: Arc<Space>) {
        self.identity.space = space;
    }

    /// Whether this is the same user of the same space.
    pub(super) fn is_same_client(&self, other: &Self) -> bool {
        self.user() == other.user() && self.space().name() == other.space().name()
    }

    /// His name; `None`: he has not said who he is.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.identity.user.as_ref()
    }

    /// How he has said who he is.
    pub(super) fn how(&self) -> How {
        self.identity.how
    }

    /// For people to read.
    pub(super) fn name(&self) -> &str {
        self.identity.user.as_deref().unwrap_or(ANONYMOUS)
    }

    /// Whether he has the right at an address, or at every name that a topic filter can match.
    ///
    /// # Errors
    /// What he has no right to.
    pub(super) fn may(&self, right: Right, asked: &str) -> Result<(), Denied> {
        // The name of a temporary address is known to whom its maker has told it.
        let is_told = right == Right::Send && asked.starts_with(TEMPORARY_PREFIX);
        if self.user.is_none() || is_told || self.permits.permits(right, asked) {
            return Ok(());
        }
        Err(Denied { user: self.name().into(), right, address: asked.into() })
    }

    /// Whether he may send a message to this name. Names that come again cost a comparison.
    ///
    /// # Errors
    /// That he may not.
    pub(super) fn may_send(&mut self, name: &str) -> Result<(), Denied> {
        if self.user.is_none() {
            return Ok(());
        }
        let place = place_of(name);
        let known = self.remembered.as_ref().and_then(|remembered| remembered.get(place));
        if known.is_some_and(|known| known.as_deref() == Some(name)) {
            return Ok(());
        }
        self.may(Right::Send, name)?;
        if let Some(known) = self.remembered.get_or_insert_default().get_mut(place) {
            *known = Some(name.into());
        }
        Ok(())
    }

    /// Whether a session of this user's is his.
    pub(super) fn owns(&self, owner: Option<&str>) -> bool {
        self.identity.user.as_deref() == owner
    }

    /// Goes by another table of users.
    pub(super) fn refresh(&mut self, table: &UserTable) -> Change {
        match table.space(self.identity.space.name()).filter(|space| space.is_enabled()) {
            Some(space) if Arc::ptr_eq(space, &self.identity.space) => {}
            Some(space) => self.identity.space = space.clone(),
            None => return Change::Gone,
        }
        let (Some(user), Some(name)) = (&self.user, &self.identity.user) else { return Change::None };
        let found = match &self.given {
            // Whoever was asked about a name that the table has got is asked about it no more.
            Some(_)
                if matches!(self.identity.how, How::Password | How::Certificate)
                    && table.find(self.identity.space.name(), name).is_some() =>
            {
                None
            }
            Some(given) => table.vouched(self.identity.space.name(), name, given),
            None => table.find(self.identity.space.name(), name).filter(|found| found.is_enabled()).cloned(),
        };
        let Some(found) = found else { return Change::Gone };
        if Arc::ptr_eq(user, &found) {
            return Change::None;
        }
        let is_same = user.grants() == found.grants();
        self.user = Some(found);
        if is_same {
            return Change::None;
        }
        self.resolve();
        Change::Rights
    }
}

impl Shard {
    /// Whether the client of a connection has a right; what it has not is counted.
    ///
    /// # Errors
    /// What it has no right to.
    pub(super) fn check_right(&mut self, key: usize, right: Right, asked: &str) -> Result<(), Denied> {
        let access = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref());
        // Nobody gets this far who has not been let in.
        let allowed = match access {
            Some(access) => access.may(right, asked),
            None => Err(Denied { user: Arc::default(), right, address: asked.into() }),
        };
        allowed.inspect_err(|denied| self.count_denial(denied))
    }

    /// The space of a connection's client.
    pub(super) fn space_of(&self, key: usize) -> Arc<Space> {
        let access = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref());
        match access {
            Some(access) => access.space().clone(),
            None => Space::default_space().clone(),
        }
    }

    /// What the client of a connection calls so is called inside the fleet.
    pub(super) fn inside<'n>(&self, key: usize, name: &'n str) -> Cow<'n, str> {
        let access = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref());
        match access {
            Some(access) => access.space().inside(name),
            None => Space::default_space().inside(name),
        }
    }

    /// The outcome of a message in the words of the client who sent it.
    pub(super) fn told_outcome(&self, connection: Option<usize>, outcome: Outcome) -> Outcome {
        let Outcome::Rejected(Some(mut error)) = outcome else { return outcome };
        if let Some(told) = connection.zip(error.description.as_deref()).and_then(|(key, text)| {
            match self.space_of(key).told(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(told) => Some(told),
            }
        }) {
            error.description = Some(told.into());
        }
        Outcome::Rejected(Some(error))
    }

    /// Whether a user of a space has a right whose client is not connected.
    ///
    /// # Errors
    /// That he has not, or that there is no such user any more.
    pub(super) fn may_absent(
        &self,
        space: &str,
        user: &Arc<str>,
        client: &str,
        right: Right,
        asked: &str,
    ) -> Result<(), Denied> {
        let found = self.users.find(space, user).filter(|found| found.is_enabled());
        let who = Who { user, client };
        let is_permitted =
            found.is_some_and(|found| Permits::of(&**found.grants(), who).permits(right, asked));
        if is_permitted {
            return Ok(());
        }
        Err(Denied { user: user.clone(), right, address: asked.into() })
    }

    pub(super) fn count_denial(&mut self, denied: &Denied) {
        *self.denials.entry(denied.right).or_default() += 1;
        debug!(%denied, "denied");
    }
}

/// Where a name is remembered: names of the same length that end alike share a place.
fn place_of(name: &str) -> usize {
    let end =
        name.bytes().rev().take(4).fold(name.len(), |sum, byte| sum.wrapping_mul(31) ^ usize::from(byte));
    end % REMEMBERED
}
