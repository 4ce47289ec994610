//! `mq operator`.

use std::path::PathBuf;

/// Keep fleets, addresses, users and what belongs to them as the objects of a Kubernetes cluster say.
///
/// Runs in the cluster, in the namespace of the objects, all of the group `mq.messaging`, whose status says what came of
/// them. With --admin it looks after `Address`, `AddressSpace`, `Profile`, `User` and `Role` of one fleet: `mq render
/// kubernetes` makes its Deployment where the Fleet says `operator: true`. With --fleets it makes the fleets that `Fleet`
/// objects describe, and keeps them so: `mq render operator` prints its Deployment. Several may run: the one that holds
/// the lease works.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq operator --fleets --lease mq-fleets --identity mq-fleets-0
  mq operator --admin https://prod.messaging.svc:8443 --authority ca.crt --certificate tls.crt \\
    --certificate-key tls.key --lease prod-operator --identity prod-operator-0")]
pub struct Operator {
    /// Make the fleets of `Fleet` objects, one node at a time, and keep them as those say.
    #[arg(long)]
    pub fleets: bool,
    /// The certificates of the authority that has signed those of the nodes, as PEM.
    #[arg(long, value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// The certificate of the fleet's administrator, as PEM.
    #[arg(long, value_name = "FILE", requires = "certificate_key")]
    pub certificate: Option<PathBuf>,
    /// The private key of --certificate, as PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub certificate_key: Option<PathBuf>,
    /// The name of the lease.
    #[arg(long, value_name = "NAME")]
    pub lease: String,
    /// Who this process is among those that want the lease: the name of its pod.
    #[arg(long, value_name = "NAME")]
    pub identity: String,
}
