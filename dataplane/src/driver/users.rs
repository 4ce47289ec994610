//! The table of users changes under connections that are open: what it does not allow any more ends.

use std::sync::Arc;
use std::time::Instant;

use mq_amqp::LinkKey;
use mq_amqp::performative::Role;
use mq_model::grant::Right;
use tracing::info;

use super::Shard;
use super::access::{Change, Denied};
use super::attach::unauthorized;
use super::mqtt::Session;
use super::protocol::{Farewell, Protocol};
use crate::tls::Revocations;
use crate::users::UserTable;

/// A link that its user has no right to any more.
struct Forbidden {
    link: LinkKey,
    role: Role,
    token: u64,
    denied: Denied,
}

impl Shard {
    /// Goes by another table of users: links and subscriptions end that their users have no right to any more,
    /// and connections whose user is gone.
    pub(crate) fn set_users(&mut self, now: Instant, table: Arc<UserTable>) {
        let mut changed = Vec::new();
        for (key, connection) in self.connections.iter_mut() {
            match connection.caller.access.as_mut().map_or(Change::None, |access| access.refresh(&table)) {
                Change::None => {}
                change => changed.push((key, change)),
            }
        }
        self.shared.usage.set_table(&table);
        let before = std::mem::replace(&mut self.users, table);
        self.refresh_limits(now);
        for (key, change) in changed {
            match change {
                Change::Gone => {
                    info!(connection = %self.name_of(key), "the user or his space is gone, or disabled");
                    let words = "the user or his address space has been deleted or disabled";
                    self.force_close(now, key, Farewell::Unauthorized, words);
                }
                Change::Rights => self.look_at_rights(now, key),
                Change::None => {}
            }
            self.run_effects(now);
        }
        if before.spaces().any(|(space, _)| self.users.space(space.name()).is_none()) {
            self.end_sessions_of_gone_spaces(now);
        }
    }

    /// Goes by other lists of revoked certificates: connections end that have shown one.
    pub(crate) fn set_revocations(&mut self, now: Instant, revocations: Arc<Revocations>) {
        self.revocations = revocations;
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys.into_iter().filter(|key| self.is_revoked(*key)).collect::<Vec<_>>() {
            info!(connection = %self.name_of(key), "its certificate is revoked");
            self.force_close(now, key, Farewell::Unauthorized, "the client's certificate has been revoked");
            self.run_effects(now);
        }
    }

    /// Whether the client of a connection has shown a certificate that is good no more.
    pub(super) fn is_revoked(&self, key: usize) -> bool {
        let encryption =
            self.connections.get(key).and_then(|connection| connection.caller.encryption.as_ref());
        let certificate = encryption.and_then(|encryption| encryption.certificate.as_ref());
        certificate.is_some_and(|certificate| self.revocations.hold(certificate))
    }

    /// What clients that are away have left in a space that is gone is not there for those of the next one of its
    /// name.
    fn end_sessions_of_gone_spaces(&mut self, now: Instant) {
        let is_left = |session: &Session| self.users.space(session.space()).is_none();
        let sessions = self.mqtt.sessions.iter().filter(|(_, session)| is_left(session));
        let left: Vec<Arc<str>> = sessions.map(|(_, session)| session.client_id.clone()).collect();
        for client in left {
            self.end_client_session(now, &client);
            self.run_effects(now);
        }
    }

    fn look_at_rights(&mut self, now: Instant, key: usize) {
        match self.connections.get(key).map(|connection| &connection.protocol) {
            Some(Protocol::Amqp(_)) => self.end_forbidden_links(now, key),
            Some(Protocol::Mqtt(client)) => {
                let Some(session) = client.session else { return };
                if self.drop_forbidden(now, key, session) {
                    let words = "the user has no right to a subscription any more";
                    self.force_close(now, key, Farewell::Unauthorized, words);
                }
            }
            Some(Protocol::Preface(_) | Protocol::Tunnelled(_)) | None => {}
        }
    }

    /// Detaches the links of a connection that its user has no right to any more.
    fn end_forbidden_links(&mut self, now: Instant, key: usize) {
        let forbidden = self.forbidden_links(key);
        for Forbidden { link, role, token, denied } in forbidden {
            self.count_denial(&denied);
            if let Some(client) = self.connections.amqp_mut(key) {
                // Gone already, when it fails.
                let _ = client.engine.detach(link, true, Some(unauthorized(&denied)));
            }
            self.remove_link(now, role, token);
        }
        self.mark_dirty(key);
    }

    fn forbidden_links(&self, key: usize) -> Vec<Forbidden> {
        let access = self.connections.get(key).and_then(|connection| connection.caller.access.as_ref());
        let (Some(access), Some(client)) = (access, self.connections.amqp(key)) else { return Vec::new() };
        let links = client.engine.links().filter_map(|info| {
            let (reference, right) = match info.role {
                Role::Receiver => (self.producers.get(info.token)?, Right::Send),
                Role::Sender => {
                    let reference = self.consumers.get(info.token)?;
                    (reference, if reference.is_browser { Right::Browse } else { Right::Recv })
                }
            };
            // A relay is looked at with each message, and what the connection has made is its own.
            let address = reference.address.as_deref()?;
            // Its space is that of the link: what would be another's, nobody has a right to.
            let name = access.space().outside(address).unwrap_or(address);
            if name.starts_with(mq_model::TEMPORARY_PREFIX) {
                return None;
            }
            let asked = if info.role == Role::Sender { self.heard_at(name, address) } else { name.into() };
            let denied = access.may(right, &asked).err()?;
            Some(Forbidden { link: reference.link, role: info.role, token: info.token, denied })
        });
        links.collect()
    }
}
