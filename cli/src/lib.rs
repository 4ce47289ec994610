//! The library behind `mq`: everything except the process.
//!
//! A command line becomes [`args`], `args` and the environment become [`settings`], a
//! [`command`] does the work and returns data, and [`output`] prints it. stdout carries data only;
//! what is said to a person goes to stderr.

pub mod args;
pub mod bench;
pub mod client;
pub mod cluster;
pub mod command;
pub mod context;
pub mod deploy;
pub mod env;
pub mod exit;
pub mod failure;
pub mod generate;
pub mod keyring;
pub mod oidc;
pub mod output;
pub mod plane;
pub mod record;
pub mod relay;
pub mod settings;
pub mod shape;
pub mod template;
pub mod topics;
pub mod value;

mod run;

pub use run::run;
