//! The server's side of one SASL exchange.

use mq_model::Secret;

use crate::mechanism::Mechanism;
use crate::oauth::{self, Bearer};
use crate::plain;
use crate::refusal::Refusal;
use crate::scram::{First, Proving, ScramHash, ScramVerifier};

/// The server's side of one SASL exchange (RFC 4422), as AMQP 5.3 and MQTT 5.0, 4.12 carry it.
///
/// ```text
///            ┌────────────── Challenge ── step ──┐
///   start ──►│                                   ▼
///            ├── Ask ── answer ──────────► Done │ Refused │ Challenge
///            └── Done │ Refused
/// ```
///
/// After a [`Step::Challenge`] the client's next message goes into [`Exchange::step`], after a
/// [`Step::Ask`] what the caller has found out into [`Exchange::answer`]; after [`Step::Done`] and
/// [`Step::Refused`] it is over, and whatever comes is refused. Every exchange ends after at most three
/// messages of the client. It holds no copy of a password or a token once it has asked about it.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    state: State,
}

/// Random bytes of this side, new for each exchange; SCRAM alone sends them.
#[derive(Clone, Copy)]
pub struct ServerNonce(pub [u8; 18]);

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Send this to the client; its answer goes into [`Exchange::step`].
    Challenge(Vec<u8>),
    /// Find this out; it goes into [`Exchange::answer`], now or later.
    Ask(Question),
    /// The client is who it says; `last` goes along with the news, if the mechanism has it.
    Done { who: Authenticated, last: Option<Vec<u8>> },
    /// The client is not let in.
    Refused(Refusal),
}

/// What an exchange cannot know by itself. Names are prepared (RFC 4013), 1 to 255 bytes, and may still
/// hold any printable character: `user@space` is one name here.
#[derive(Debug)]
pub enum Question {
    /// May nobody in particular come in? [`Answer::Accepted`] with the name that it gets.
    Anonymous,
    /// Is this the user's password? See [`Verifiers::check`](crate::Verifiers::check), which takes its
    /// time, and the same for users who do not exist.
    Password { user: String, password: Secret },
    /// The user's verifier, or one that is [made up](ScramVerifier::made_up): [`Answer::Scram`].
    Scram { user: String, hash: ScramHash },
    /// Which user does this token belong to?
    Token { token: Secret },
    /// Which user does the client certificate of this connection belong to? `wanted` chooses among those
    /// that it names.
    Certificate { wanted: Option<String> },
}

/// What the caller has found out.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Anonymous`], [`Question::Password`], [`Question::Token`] and
    /// [`Question::Certificate`]: yes, the user of this name, prepared. One that the client has not asked
    /// to be is refused.
    Accepted(String),
    /// To [`Question::Scram`].
    Scram(ScramVerifier),
    Refused(Refusal),
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    pub mechanism: Mechanism,
    pub user: String,
}

#[derive(Debug)]
enum State {
    /// The client has chosen a mechanism and said nothing yet.
    Silent {
        nonce: [u8; 18],
    },
    /// The caller has been asked who the client is; a name is what the client wants to be.
    Asked {
        wanted: Option<String>,
    },
    /// The caller has been asked for a verifier.
    AskedForVerifier(Box<First>),
    /// The client has the salt and owes the proof.
    Proving(Box<Proving>),
    /// The client has been told what is wrong with its token (RFC 7628, 3.2.3) and owes an empty message.
    Failed(Refusal),
    Over,
}

impl Exchange {
    /// Begins with what the client has sent along with the name of the mechanism, which may be nothing.
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, nonce: ServerNonce) -> (Self, Step) {
        let mut exchange = Self { mechanism, state: State::Silent { nonce: nonce.0 } };
        let initial = match mechanism {
            // Clients of AMQP leave an empty message out; there is nothing to wait for.
            Mechanism::Anonymous | Mechanism::External => Some(initial.unwrap_or_default()),
            _ => initial,
        };
        // RFC 4422, 5.1: a client that speaks first and has not is sent an empty challenge.
        let step = initial.map_or(Step::Challenge(Vec::new()), |initial| exchange.step(initial));
        (exchange, step)
    }

    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The client's next message.
    pub fn step(&mut self, response: &[u8]) -> Step {
        let step = match std::mem::replace(&mut self.state, State::Over) {
            State::Silent { nonce } => self.first(response, nonce),
            State::Proving(proving) => {
                proving.finish(response).map(|(user, last)| self.done(user, Some(last)))
            }
            State::Failed(refusal) => Err(refusal),
            State::Asked { .. } | State::AskedForVerifier(_) | State::Over => {
                Err(Refusal::Malformed("nothing is expected from the client now"))
            }
        };
        step.unwrap_or_else(Step::Refused)
    }

    /// What the caller has found out after a [`Step::Ask`]. An answer to something else ends the exchange,
    /// as unavailable: the fault is this side's.
    pub fn answer(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::Asked { wanted }, Answer::Accepted(user)) => {
                if wanted.is_some_and(|wanted| wanted != user) {
                    return self.refuse(Refusal::AnotherUser);
                }
                self.done(user, None)
            }
            (State::AskedForVerifier(first), Answer::Scram(verifier)) => match first.challenge(verifier) {
                Some((proving, challenge)) => {
                    self.state = State::Proving(Box::new(proving));
                    Step::Challenge(challenge)
                }
                None => Step::Refused(Refusal::Unavailable),
            },
            (State::Asked { .. } | State::AskedForVerifier(_), Answer::Refused(refusal)) => {
                self.refuse(refusal)
            }
            _ => Step::Refused(Refusal::Unavailable),
        }
    }

    fn first(&mut self, message: &[u8], nonce: [u8; 18]) -> Result<Step, Refusal> {
        let (wanted, question) = match self.mechanism {
            // RFC 4505: the message is whatever the client wants to leave behind. It is not kept.
            Mechanism::Anonymous => (None, Question::Anonymous),
            Mechanism::External => {
                let wanted = plain::parse_external(message)?;
                (wanted.clone(), Question::Certificate { wanted })
            }
            Mechanism::Plain => {
                let (user, password) = plain::parse(message)?;
                (Some(user.clone()), Question::Password { user, password })
            }
            Mechanism::OAuthBearer => Self::token(oauth::parse_bearer(message)?),
            Mechanism::XOAuth2 => Self::token(oauth::parse_xoauth2(message)?),
            Mechanism::ScramSha256 => return self.scram(ScramHash::Sha256, message, nonce),
            Mechanism::ScramSha512 => return self.scram(ScramHash::Sha512, message, nonce),
        };
        self.state = State::Asked { wanted };
        Ok(Step::Ask(question))
    }

    fn token(Bearer { token, wanted }: Bearer) -> (Option<String>, Question) {
        (wanted, Question::Token { token })
    }

    fn scram(&mut self, hash: ScramHash, message: &[u8], nonce: [u8; 18]) -> Result<Step, Refusal> {
        let first = First::parse(hash, message, &nonce)?;
        let user = first.name.clone();
        self.state = State::AskedForVerifier(Box::new(first));
        Ok(Step::Ask(Question::Scram { user, hash }))
    }

    fn done(&self, user: String, last: Option<Vec<u8>>) -> Step {
        Step::Done { who: Authenticated { mechanism: self.mechanism, user }, last }
    }

    /// At once, or after the client has been told, where the mechanism wants that.
    fn refuse(&mut self, refusal: Refusal) -> Step {
        match self.mechanism {
            // XOAUTH2 is no standard: clients of AMQP that have it know of no second step.
            Mechanism::OAuthBearer => {
                self.state = State::Failed(refusal);
                Step::Challenge(oauth::failure())
            }
            _ => Step::Refused(refusal),
        }
    }
}

#[cfg(test)]
mod tests;
