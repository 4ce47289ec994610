//! Threads that check passwords: what takes tens of milliseconds and as many megabytes does not happen where
//! connections are served.
//!
//! There are few threads, so that checking leaves room for live traffic whatever comes. What waits is bounded
//! for the node and for each source; beyond that an attempt is refused at once. A password that was right a
//! moment ago is known by a keyed hash, so that a thousand clients of one user do not cost a thousand checks.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mq_auth::token::Claims;
use mq_auth::{Refusal, Secret, Verifiers};
use ring::hmac;

use crate::mailbox::Mailbox;

/// Attempts of the node that may wait.
const MAX_WAITING: usize = 1_024;

/// Attempts of one source that may wait.
const MAX_WAITING_OF_SOURCE: usize = 32;

/// How long a password that was right needs no further check.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Passwords that are known at once.
const MAX_KNOWN: usize = 8_192;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The shard of the connection.
    pub(crate) shard: u16,
    /// Its key there.
    pub(crate) key: usize,
    /// Its number, which no other connection of the shard has.
    pub(crate) number: u64,
}

/// Whether a password is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) asker: Asker,
    pub(crate) is_right: bool,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) asker: Asker,
    pub(crate) claims: Result<Claims, Refusal>,
}

/// A password to be checked.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) asker: Asker,
    pub(crate) source: IpAddr,
    pub(crate) password: Secret,
    /// What it has to be; `None`: there is no such user, which must not be told by the time it takes.
    pub(crate) verifiers: Option<Arc<Verifiers>>,
}

/// What becomes of an attempt at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It is right: it was a moment ago.
    Right,
    /// The mailbox of the asker's shard gets the answer.
    Later,
    /// Too many wait.
    Full,
}

/// The threads, as the shards share them. They end with the last of its clones.
#[derive(Clone, Debug)]
pub(crate) struct Checks(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    most_threads: usize,
    key: hmac::Key,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    mailboxes: Arc<[Mailbox]>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Attempt, Tag)>,
    /// How many of each source wait.
    sources: HashMap<IpAddr, usize>,
    /// Passwords that were right, until then.
    known: HashMap<Tag, Instant>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

/// A keyed hash of a password and of what it has to be.
type Tag = [u8; 32];

impl Checks {
    /// At most so many threads, none of which begins before there is something to check. `key` is random.
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>, most_threads: usize, key: &[u8; 32]) -> Self {
        let shared = Shared { state: Mutex::default(), filled: Condvar::new(), mailboxes };
        Self(Arc::new(Owner {
            shared: Arc::new(shared),
            most_threads: most_threads.max(1),
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }))
    }

    /// Has a password checked.
    pub(crate) fn submit(&self, now: Instant, attempt: Attempt) -> Submitted {
        let tag = self.tag(&attempt);
        let source = of_one_customer(attempt.source);
        let mut state = self.0.shared.lock();
        if attempt.verifiers.is_some() && state.known.get(&tag).is_some_and(|until| now < *until) {
            return Submitted::Right;
        }
        let of_source = state.sources.get(&source).copied().unwrap_or(0);
        if state.waiting.len() >= MAX_WAITING || of_source >= MAX_WAITING_OF_SOURCE {
            return Submitted::Full;
        }
        if state.idle <= state.waiting.len()
            && state.threads < self.0.most_threads
            && !self.start_thread(&mut state)
        {
            return Submitted::Full;
        }
        *state.sources.entry(source).or_default() += 1;
        state.waiting.push_back((Attempt { source, ..attempt }, tag));
        drop(state);
        self.0.shared.filled.notify_one();
        Submitted::Later
    }

    /// Begins a thread; false when there is none to check anything.
    fn start_thread(&self, state: &mut State) -> bool {
        let shared = self.0.shared.clone();
        let name = format!("password-{}", state.threads);
        match std::thread::Builder::new().name(name).spawn(move || shared.work()) {
            Ok(_) => state.threads += 1,
            Err(error) => tracing::warn!(%error, "cannot start a thread that checks passwords"),
        }
        state.threads > 0
    }

    fn tag(&self, attempt: &Attempt) -> Tag {
        let mut context = hmac::Context::with_key(&self.0.key);
        if let Some(verifiers) = &attempt.verifiers {
            // Salted: two users with one password have different tags, and a new password has another one.
            context.update(verifiers.password.to_text().as_bytes());
        }
        context.update(&[0]);
        context.update(attempt.password.expose().as_bytes());
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.filled.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks what waits, one after the other, until it is over.
    fn work(&self) {
        while let Some((attempt, tag)) = self.next() {
            let Attempt { asker, password, verifiers, .. } = attempt;
            let is_right = Verifiers::check(verifiers.as_deref(), &password);
            if is_right {
                self.lock().know(tag, Instant::now());
            }
            if let Some(mailbox) = self.mailboxes.get(usize::from(asker.shard)) {
                mailbox.post_checked(Checked { asker, is_right });
            }
        }
    }

    fn next(&self) -> Option<(Attempt, Tag)> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(next) = state.take() {
                return Some(next);
            }
            state.idle += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

impl State {
    fn take(&mut self) -> Option<(Attempt, Tag)> {
        let next = self.waiting.pop_front()?;
        let source = next.0.source;
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
        Some(next)
    }

    fn know(&mut self, tag: Tag, now: Instant) {
        if self.known.len() >= MAX_KNOWN {
            self.known.retain(|_, until| now < *until);
        }
        if self.known.len() < MAX_KNOWN {
            self.known.insert(tag, now + KNOWN_FOR);
        }
    }
}

/// A source as it is counted: of an IPv6 address the first 64 bits, which one customer has for himself.
pub(crate) fn of_one_customer(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use mq_auth::Salts;

    use super::*;
    use crate::mailbox::Mail;

    fn asker(number: u64) -> Asker {
        Asker { shard: 0, key: 7, number }
    }

    fn verifiers(password: &str) -> Arc<Verifiers> {
        let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
        Arc::new(Verifiers::derive(&Secret::new(password), &salts).unwrap())
    }

    fn attempt(number: u64, source: &str, password: &str, verifiers: Option<Arc<Verifiers>>) -> Attempt {
        let (source, password) = (source.parse().unwrap(), Secret::new(password));
        Attempt { asker: asker(number), source, password, verifiers }
    }

    fn mailboxes() -> Arc<[Mailbox]> {
        [Mailbox::default()].into()
    }

    /// Waits for so many answers.
    fn answers(mailboxes: &[Mailbox], count: usize) -> Vec<Checked> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found = Vec::new();
        runtime.block_on(async {
            let mut mail = Mail::default();
            while found.len() < count {
                mailboxes[0].filled().await;
                mailboxes[0].take(&mut mail);
                found.append(&mut mail.checked);
            }
        });
        found
    }

    #[test]
    fn a_password_is_right_or_wrong_and_nobody_has_one() {
        let mailboxes = mailboxes();
        let checks = Checks::new(mailboxes.clone(), 2, &[9; 32]);
        let (now, known) = (Instant::now(), verifiers("pencil"));
        for (number, password, verifiers) in
            [(1, "pencil", Some(known.clone())), (2, "pen", Some(known)), (3, "pencil", None)]
        {
            assert_eq!(
                checks.submit(now, attempt(number, "10.0.0.1", password, verifiers)),
                Submitted::Later
            );
        }
        let mut found = answers(&mailboxes, 3);
        found.sort_by_key(|checked| checked.asker.number);
        assert_eq!(found.iter().map(|checked| checked.is_right).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn what_was_right_a_moment_ago_is_right_at_once_and_not_for_ever() {
        let mailboxes = mailboxes();
        let checks = Checks::new(mailboxes.clone(), 1, &[9; 32]);
        let (now, known) = (Instant::now(), verifiers("pencil"));
        let submit =
            |now, password| checks.submit(now, attempt(1, "10.0.0.1", password, Some(known.clone())));
        assert_eq!(submit(now, "pencil"), Submitted::Later);
        assert!(answers(&mailboxes, 1)[0].is_right);
        assert_eq!(submit(Instant::now(), "pencil"), Submitted::Right);
        assert_eq!(submit(Instant::now(), "wrong"), Submitted::Later);
        assert_eq!(submit(Instant::now() + 2 * KNOWN_FOR, "pencil"), Submitted::Later);
    }

    #[test]
    fn a_source_has_so_many_attempts_waiting_and_leaves_room_for_others() {
        let mailboxes = mailboxes();
        let checks = Checks::new(mailboxes, 1, &[9; 32]);
        // Nobody takes anything.
        checks.0.shared.lock().threads = 1;
        let submit = |source: &str| checks.submit(Instant::now(), attempt(1, source, "pencil", None));
        for _ in 0..MAX_WAITING_OF_SOURCE {
            assert_eq!(submit("2001:db8::1"), Submitted::Later);
        }
        assert_eq!(submit("2001:db8::2"), Submitted::Full, "the same customer");
        let mut count = MAX_WAITING_OF_SOURCE;
        'all: for third in 0..=u8::MAX {
            for _ in 0..MAX_WAITING_OF_SOURCE {
                if submit(&format!("10.0.{third}.1")) == Submitted::Full {
                    break 'all;
                }
                count += 1;
            }
        }
        assert_eq!(count, MAX_WAITING);
    }
}
