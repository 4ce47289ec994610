//! `mq login` and `mq logout`.

use std::path::PathBuf;

/// Log in to the fleet of a context, so that further commands are somebody there.
///
/// With --user a password is kept in the keyring of this system (a file that you alone can read where there is
/// none, which is said). With --oidc you log in at an identity provider: with a code that you enter on any
/// device, or with --browser in the browser of this machine. With --client-credentials a program logs in with a
/// secret of its own. Tokens are renewed before they end, for as long as the provider gives others.
///
/// The context holds no secret; `mq context show` says who commands are, and where his password is.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  pass show mq/ann | mq login --user ann --password-stdin
  mq login --oidc --issuer https://id.example.org/realms/prod --client-id mq
  mq login --client-credentials --client-id ci --client-secret-file /run/secrets/mq")]
pub struct Login {
    /// Log in at an identity provider (OpenID Connect), with a code (RFC 8628).
    #[arg(long)]
    pub oidc: bool,
    /// Log in there in the browser of this machine (RFC 8252).
    #[arg(long, requires = "oidc")]
    pub browser: bool,
    /// Log in there as a program, with the secret of the client.
    #[arg(long, conflicts_with = "oidc")]
    pub client_credentials: bool,
    /// A file with the secret of the client; `-` is stdin. Without it the environment variable MQ_CLIENT_SECRET.
    #[arg(long, value_name = "FILE", requires = "client_credentials")]
    pub client_secret_file: Option<PathBuf>,
    /// The provider's URL, as it calls itself. Default: that of the context, then that of the fleet.
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// What the provider calls mq. Default: that of the context, then `mq`.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// What the token is to be good for, separated by blanks. Default: that of the context, then
    /// `openid offline_access`, and nothing with --client-credentials.
    #[arg(long, value_name = "SCOPES")]
    pub scope: Option<String>,
    /// Whom the token is for, where the provider wants to know (RFC 8707).
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
}

/// Forget the password or the tokens of a context.
///
/// The provider is told, where it takes that (RFC 7009): nobody gets other tokens with those any more.
#[derive(Clone, Debug, clap::Args)]
pub struct Logout {}
