//! Manifests, daemon configuration and admin API types of mq: the one definition that the CLI and
//! the daemon share.

// What this package may not touch stands in its clippy.toml; tests may.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod admin;
mod authentication;
pub mod bench;
mod check;
mod code;
pub mod config;
pub mod connector;
pub mod custom;
mod dataplane;
pub mod delegation;
mod diagnostic;
mod documents;
mod explain;
pub mod grant;
pub mod kubernetes;
pub mod manifest;
pub mod mesh;
mod mqtt;
mod names;
pub mod oidc;
pub mod schema;
mod secret;
mod shape;
pub mod space;
mod suggest;
mod target;
pub mod tls;
pub mod user;
mod validate;
mod yaml;

pub use code::Code;
pub use dataplane::Dataplane;
pub use diagnostic::{Diagnostic, Diagnostics, MAX_DIAGNOSTICS};
pub use documents::{Documents, Source};
pub use explain::{AllowedValue, ExplainError, Explanation, FieldSummary, explain, paths};
pub use names::{
    CATCH_ALL_TOPIC, MAX_ADDRESS_NAME, MAX_NAME, RESERVED_PREFIX, SUBSCRIPTION_SEPARATOR, TEMPORARY_PREFIX,
    split_subscription, validate_address_name, validate_name, validate_topic_filter, validate_user_name,
};
pub use secret::Secret;
pub use suggest::nearest;
pub use validate::{Invalid, Violation};
