//! TLS of clients: what a node shows to them, what it knows of them afterwards, and the bytes in between.
//!
//! [`Certificates`] are the files of a node as they are now; each connection begins with the [`Terms`] of its
//! listener and keeps them, whatever becomes of the files. A [`TlsStream`] stands in the place of a socket,
//! below AMQP, MQTT and HTTP alike. [`Pace`] keeps those who begin from those who have begun.

mod certificate;
mod files;
mod pace;
mod revoked;
mod secured;
mod stream;

pub use self::certificate::{ClientCertificate, Encryption};
pub(crate) use self::certificate::{expiry, fingerprint};
pub use self::files::{CertificateError, Terms};
pub(crate) use self::files::{Certificates, Mark, Speaks, mark, marks};
pub(crate) use self::pace::Pace;
pub use self::revoked::Revocations;
pub(crate) use self::secured::Secured;
pub use self::stream::Session;
pub(crate) use self::stream::TlsStream;

/// Where a connection stands with TLS that is handed over.
#[derive(Debug)]
pub enum Stage {
    /// It has none.
    Plain,
    /// It begins with it, or may.
    Ahead(Terms),
    /// It has agreed on it.
    Agreed(Box<Session>),
}
