//! `mq operator`.

use std::path::PathBuf;

/// Keep addresses, users and what belongs to them as the objects of a fleet's Kubernetes cluster say.
///
/// Runs in the cluster, in the namespace of the fleet: `mq render kubernetes` makes its Deployment where the Fleet says
/// `operator: true`. It looks after the objects `Address`, `AddressSpace`, `Profile`, `User` and `Role` of the group
/// `mq.messaging`, whose status says what came of them. Several may run: the one that holds the lease works.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  mq operator --admin https://prod.messaging.svc:8443 --authority ca.crt --certificate tls.crt \\
    --certificate-key tls.key --lease prod-operator --identity prod-operator-0")]
pub struct Operator {
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
