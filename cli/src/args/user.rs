//! `mq user` and `mq role`.

use clap::Subcommand;
use mq_model::grant::{Grant, Right};

use crate::args::View;

/// Create users and say what they may do.
///
/// A user has a name, a password, and grants such as `send:telemetry/#`: a right (`send`, `recv`, `browse`,
/// `view`, `manage`) at the addresses of a pattern. In a pattern `*` or `+` is one level, `#` at the end all
/// further ones, `${user}` the name of the user and `${client}` the client identifier. Roles are grants under a
/// name: `admin` and `viewer` are built in, see `mq role`.
#[derive(Clone, Debug, Subcommand)]
pub enum UserCommand {
    Create(UserCreate),
    /// List the users.
    #[command(alias = "ls")]
    List(PrincipalList),
    /// Show one user; his password is not to be had.
    Show(PrincipalShow),
    Grant(UserGrant),
    Revoke(UserRevoke),
    Passwd(UserName),
    /// Let a user log in again.
    Enable(UserName),
    /// Keep a user from logging in, without forgetting what he may do.
    Disable(UserName),
    /// Remove a user.
    #[command(alias = "rm")]
    Delete(PrincipalDelete),
    CanI(CanI),
}

/// Create a user.
///
/// With --password-stdin the first line of stdin is his password. Without it nobody logs in with a password until
/// `mq user passwd` sets one.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  pass show sensor-gw | mq user create sensor-gw --password-stdin --grant 'send:telemetry/#'
  mq user create ann --role viewer --grant 'manage:heating/#'")]
pub struct UserCreate {
    /// The name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What he may do, `right:pattern`; repeatable.
    #[arg(long = "grant", value_name = "GRANT")]
    pub grants: Vec<Grant>,
    /// A role of his; repeatable.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// Give a user rights and roles, besides those that he has.
#[derive(Clone, Debug, clap::Args)]
pub struct UserGrant {
    /// The user.
    pub name: String,
    /// What he may do from now on, `right:pattern`.
    #[arg(value_name = "GRANT", required_unless_present = "roles")]
    pub grants: Vec<Grant>,
    /// A role that he gets; repeatable.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// Take rights and roles from a user.
#[derive(Clone, Debug, clap::Args)]
pub struct UserRevoke {
    /// The user.
    pub name: String,
    /// Grants that he loses, as `mq user show` writes them.
    #[arg(value_name = "GRANT", required_unless_present = "roles")]
    pub grants: Vec<Grant>,
    /// A role that he loses; repeatable.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// Set the password of a user: the first line of stdin, with --password-stdin.
#[derive(Clone, Debug, clap::Args)]
pub struct UserName {
    /// The user.
    pub name: String,
}

/// Whether a user may do something, and why: 0 when he may, 1 when not.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  mq user can-i sensor-gw send telemetry/1")]
pub struct CanI {
    /// The user.
    pub name: String,
    /// `send`, `recv`, `browse`, `view` or `manage`.
    pub right: Right,
    /// An address, or a topic filter.
    pub address: String,
    /// The client identifier that `${client}` stands for.
    #[arg(long, value_name = "ID", default_value = "")]
    pub client: String,
}

/// Make roles: grants under a name, for any number of users.
#[derive(Clone, Debug, Subcommand)]
pub enum RoleCommand {
    Create(RoleCreate),
    /// List the roles, built-in ones too.
    #[command(alias = "ls")]
    List(PrincipalList),
    /// Show one role.
    Show(PrincipalShow),
    /// Add grants to a role.
    Grant(RoleChange),
    /// Take grants from a role.
    Revoke(RoleChange),
    /// Remove a role; who has it loses what it gives.
    #[command(alias = "rm")]
    Delete(PrincipalDelete),
}

/// Create a role.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  mq role create sensors --grant 'send:telemetry/${user}/#'")]
pub struct RoleCreate {
    /// The name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What those who have it may do, `right:pattern`; repeatable.
    #[arg(long = "grant", value_name = "GRANT")]
    pub grants: Vec<Grant>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct RoleChange {
    /// The role.
    pub name: String,
    /// `right:pattern`.
    #[arg(value_name = "GRANT", required = true)]
    pub grants: Vec<Grant>,
}

#[derive(Clone, Debug, clap::Args)]
pub struct PrincipalList {
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct PrincipalShow {
    /// The name.
    pub name: String,
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct PrincipalDelete {
    /// The name.
    pub name: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Succeed when there is none of that name.
    #[arg(long)]
    pub ignore_not_found: bool,
}
