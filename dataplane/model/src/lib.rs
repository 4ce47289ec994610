//! Manifests, daemon configuration and admin API types of mq: the one definition that the CLI and
//! the daemon share.

pub mod admin;
pub mod config;
pub mod manifest;
