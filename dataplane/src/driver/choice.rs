//! Which space a connection is in.
//!
//! Its listener says it, the server name that it has told TLS, the host that a client of AMQP wants to speak
//! with, the name of its user (`ann@acme`); who says nothing is in the default space. A host that is no
//! space's says nothing, and a name whose end is no space is a name. What contradicts itself, and a space that
//! is not there or disabled, are as a wrong password: nobody learns which spaces there are.

use std::borrow::Cow;
use std::sync::Arc;

use mq_auth::{Exchange, Question, ServerNonce, Step};
use mq_model::user::DEFAULT_SPACE;
use mq_mqtt::packet::Connect;

use super::Shard;
use crate::spaces::Space;

/// What a client says of its space leads to none, or to two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Astray;

impl Shard {
    /// The space of a user's name on a connection, and what he is called there.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn placed<'n>(&self, key: usize, name: &'n str) -> Result<(&Arc<Space>, &'n str), Astray> {
        let (said, user) = self.split_user(name);
        let chosen = self.chosen(key)?;
        self.in_force(agreed([chosen, said])?).map(|space| (space, user))
    }

    /// The space of a connection whose client has no name of which one could be a part.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn placed_without_name(&self, key: usize) -> Result<&Arc<Space>, Astray> {
        self.in_force(self.chosen(key)?)
    }

    /// The space of a client that does not say who it is. One that is not on this machine has no choice: it is
    /// where its listener puts it.
    ///
    /// # Errors
    /// When there is none, and for one that chooses all the same.
    pub(super) fn placed_anonymously(&self, key: usize) -> Result<&Arc<Space>, Astray> {
        let space = self.placed_without_name(key)?;
        let connection = self.connections.get(key).ok_or(Astray)?;
        let given = connection.caller.listener_space.as_deref().unwrap_or(DEFAULT_SPACE);
        if connection.caller.is_local || **space.name() == *given { Ok(space) } else { Err(Astray) }
    }

    /// The space of somebody for whom a provider vouches. The provider alone says it: his name is one that he may
    /// have chosen himself.
    ///
    /// # Errors
    /// When there is none, or the connection is for another one.
    pub(super) fn placed_by_provider(&self, key: usize, said: Option<&str>) -> Result<&Arc<Space>, Astray> {
        let space = self.users.space(said.unwrap_or(DEFAULT_SPACE)).ok_or(Astray)?;
        self.in_force(agreed([self.chosen(key)?, Some(space)])?)
    }

    /// A user's name on a connection as the node knows him, whichever way his space was said: `ann@acme`. A name
    /// that leads nowhere is as it was said.
    pub(super) fn full_name<'n>(&self, key: usize, name: &'n str) -> Cow<'n, str> {
        match self.placed(key, name) {
            Ok((space, user)) if **space.name() == *DEFAULT_SPACE => Cow::Borrowed(user),
            Ok((space, user)) => Cow::Owned(format!("{user}@{}", space.name())),
            Err(Astray) => Cow::Borrowed(name),
        }
    }

    /// The space that a name says, and the name in it. One that names no space stays whole, an address of mail
    /// among them.
    pub(super) fn split_user<'n>(&self, name: &'n str) -> (Option<&Arc<Space>>, &'n str) {
        let split = name.rsplit_once('@').and_then(|(user, space)| Some((self.users.space(space)?, user)));
        split.map_or((None, name), |(space, user)| (Some(space), user))
    }

    /// The space that a host is for, if it is one's.
    pub(super) fn space_of_host(&self, host: &str) -> Option<&Arc<Space>> {
        self.users.space_at(host)
    }

    /// The space that a connection is for, whoever its client is; `None`: it says nothing.
    fn chosen(&self, key: usize) -> Result<Option<&Arc<Space>>, Astray> {
        let caller = &self.connections.get(key).ok_or(Astray)?.caller;
        let named = |name: &Arc<str>| self.users.space(name).ok_or(Astray);
        let listener = caller.listener_space.as_ref().map(named).transpose()?;
        let host = caller.host_space.as_ref().map(named).transpose()?;
        let server_name = caller.encryption.as_deref().and_then(|tls| tls.server_name.as_deref());
        agreed([listener, server_name.and_then(|name| self.space_of_host(name)), host])
    }

    fn in_force<'s>(&'s self, space: Option<&'s Arc<Space>>) -> Result<&'s Arc<Space>, Astray> {
        let space =
            space.or_else(|| self.users.space(DEFAULT_SPACE)).unwrap_or_else(|| Space::default_space());
        if space.is_enabled() { Ok(space) } else { Err(Astray) }
    }

    /// The space of a client of MQTT by what its CONNECT says, before any of that is known to be true: where its
    /// session is, depends on it. Who logs in with success is in this one, unless spaces change meanwhile.
    pub(super) fn space_of_connect(&self, key: usize, connect: &Connect) -> Option<&Arc<Space>> {
        // The default space is there always.
        if self.users.spaces().nth(1).is_none() {
            return Some(Space::default_space());
        }
        let (mechanism, initial) = self.says_who_it_is(key, connect)?;
        // The exchange ends here: the real one has a secret nonce.
        let nonce = ServerNonce([0; 18]);
        let (_, step) = Exchange::start(mechanism, initial.as_deref(), nonce);
        let Step::Ask(question) = step else { return None };
        let placed = match question {
            Question::Anonymous => self.placed_anonymously(key),
            Question::Password { user, .. } | Question::Scram { user, .. } => {
                self.placed(key, &user).map(|(space, _)| space)
            }
            Question::Certificate { wanted } => match self.named_by_certificate(key, wanted.as_deref()) {
                Some(user) => self.placed(key, &user).map(|(space, _)| space),
                None => Err(Astray),
            },
            Question::Token { token } if self.shared.login.is_delegated(&token) => {
                self.placed_without_name(key)
            }
            Question::Token { token } => {
                let said = self.shared.login.space_of_token(&token);
                self.placed_by_provider(key, said.as_deref())
            }
        };
        placed.ok()
    }
}

/// What all say that say something.
fn agreed<'s>(
    said: impl IntoIterator<Item = Option<&'s Arc<Space>>>,
) -> Result<Option<&'s Arc<Space>>, Astray> {
    let mut said = said.into_iter().flatten();
    let Some(first) = said.next() else { return Ok(None) };
    if said.all(|other| other.name() == first.name()) { Ok(Some(first)) } else { Err(Astray) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_say_something_have_to_agree() {
        let (acme, same, other) =
            (Arc::new(Space::new("acme")), Arc::new(Space::new("acme")), Arc::new(Space::new("other")));
        let name = |said: [Option<&Arc<Space>>; 3]| {
            agreed(said).map(|found| found.map(|found| found.name().clone()))
        };
        assert_eq!(name([None, None, None]), Ok(None));
        assert_eq!(name([None, Some(&acme), None]), Ok(Some("acme".into())));
        assert_eq!(name([Some(&acme), None, Some(&same)]), Ok(Some("acme".into())));
        assert_eq!(name([Some(&acme), None, Some(&other)]), Err(Astray));
        assert_eq!(name([Some(&other), Some(&acme), Some(&acme)]), Err(Astray));
    }
}
