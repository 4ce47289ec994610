//! `mq` as a process: what it prints, what it exits with, and what it does to a real `mqd`.

mod command_line;
mod deploy;
mod fleet;
mod login;
mod messages;
mod mqtt;
mod oidc;
mod peer;
mod roll_faults;
mod rotate;
mod sandbox;
mod stored;
