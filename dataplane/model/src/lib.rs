//! Manifests, daemon configuration and admin API types of mq: the one definition that the CLI and
//! the daemon share.

pub mod admin;
pub mod config;
pub mod manifest;
mod names;

pub use names::{
    MAX_ADDRESS_NAME, MAX_NAME, RESERVED_PREFIX, TEMPORARY_PREFIX, validate_address_name, validate_name,
};
