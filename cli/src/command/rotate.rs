//! `mq fleet rotate-ca`: another authority for a fleet, without a restart and without a moment in which a node
//! refuses another.

use std::time::{Duration, Instant};

use mq_model::{
    admin::{Node, NodeCertificate, Runtime},
    config::DaemonConfig,
};

use super::deploy::{admin_of, fleet_name, name_flag};
use crate::{
    args::fleet::RotateCa,
    client::admin::Admin,
    command::site::{Site, with_site},
    deploy::{
        Backend,
        authority::rotation::{self, Phase},
        plan::NodeState,
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
    shape,
};

/// How often a node is asked whether it has taken its files.
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn rotate(args: &RotateCa, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let name = fleet_name(args.name.as_ref(), settings)?;
    let site = Site::of_name(&name, output).await?;
    with_site!(site, backend => rotate_on(&backend, &name, args, output).await)
}

async fn rotate_on<B: Backend>(
    backend: &B,
    name: &str,
    args: &RotateCa,
    output: &mut Output,
) -> Outcome<Exit> {
    let _lock = if args.dry_run { None } else { Some(backend.lock("mq fleet rotate-ca").await?) };
    let directory = backend.directory();
    if !directory.join("ca").exists() {
        let message = format!("the fleet `{name}` has no authority that was made here");
        return Err(Failure::new(Exit::NotFound, message).help(
            "one is made for a fleet of several nodes, or with TLS, and lies where it was deployed from",
        ));
    }
    // How far it is stands in the fleet's directory, which is this machine's own.
    let rotation = Rotation::of_fleet(backend, args.wait, async |_| Ok(())).await?;
    let phase = rotation::phase(directory)?;
    rotation.plan(phase, args).iter().try_for_each(|line| output.line(line))?;
    if args.dry_run {
        output.line("dry run: nothing was changed")?;
        return Ok(Exit::Ok);
    }
    if phase != Phase::Issuing {
        rotation.trust_both(name).await?;
        let told = shape::plural(rotation.running.len() as u64, "node");
        if args.hold {
            let place = directory.join("ca/ca.pem");
            output.line(&format!(
                "changed: {told} trust both authorities; give clients {}, and go on with `mq fleet rotate-ca{}`",
                place.display(),
                name_flag(name)
            ))?;
            return Ok(Exit::Ok);
        }
        output.talk(&format!("{told} trust both authorities"));
    }
    rotation.change_over(phase).await?;
    output.talk("every node shows a certificate of the new authority");
    rotation.finish().await?;
    output.line("changed: the new authority alone is trusted; what the one before has signed is refused")?;
    Ok(Exit::Ok)
}

/// Replaces the authority of a fleet with nobody to ask, from wherever that was interrupted. `remember` is called when the
/// fleet's directory says that the next step is to be taken, and before it is.
///
/// # Errors
///
/// A node that does not take its files, and what is said where there is no authority. The same call goes on.
pub(super) async fn replace<B: Backend>(
    backend: &B,
    fleet: &str,
    remember: impl AsyncFn(Phase) -> Outcome,
) -> Outcome {
    let phase = rotation::phase(backend.directory())?;
    let rotation = Rotation::of_fleet(backend, Duration::ZERO, remember).await?;
    if phase != Phase::Issuing {
        rotation.trust_both(fleet).await?;
    }
    rotation.change_over(phase).await?;
    rotation.finish().await
}

/// A rotation under way.
struct Rotation<'a, B, R> {
    backend: &'a B,
    /// What is called when the directory has come to another phase, before any node hears of that.
    remember: R,
    /// Every node that is there, as it was told to run.
    nodes: Vec<DaemonConfig>,
    running: Vec<Runtime>,
    /// How long a node may take to take its files.
    patience: Duration,
}

impl<'a, B: Backend, R: AsyncFn(Phase) -> Outcome> Rotation<'a, B, R> {
    async fn of_fleet(backend: &'a B, wait: Duration, remember: R) -> Outcome<Self> {
        let nodes: Vec<DaemonConfig> = backend.kept().await?.into_values().collect();
        let observed = backend.observe(&nodes).await?;
        let running = observed.into_iter().filter_map(|node| match node.state {
            NodeState::Running { runtime, .. } => Some(runtime),
            _ => None,
        });
        let running: Vec<Runtime> = running.collect();
        Ok(Self { backend, remember, nodes, running, patience: backend.patience(wait) })
    }

    /// What is going to be done, a line each.
    fn plan(&self, phase: Phase, args: &RotateCa) -> Vec<String> {
        let count = shape::plural(self.nodes.len() as u64, "node");
        let idle = self.nodes.len().saturating_sub(self.running.len());
        let mut lines = Vec::new();
        if phase == Phase::Settled {
            lines.push("  + authority  made, and trusted beside the one that there is".to_owned());
        }
        if phase != Phase::Issuing {
            lines.push(format!("  ~ {count}  trust both"));
        }
        if phase == Phase::Issuing || !args.hold {
            lines.push(format!("  ~ {count}  get certificates of the new authority"));
            lines.push(format!("  ~ {count}  trust the new authority alone"));
            lines.push("  - authority  the one before, with its key".to_owned());
        }
        if idle > 0 {
            lines.push(format!("  {} not running: told by files", shape::plural(idle as u64, "node")));
        }
        lines
    }

    async fn trust_both(&self, fleet: &str) -> Outcome {
        rotation::begin(self.backend.directory(), fleet, jiff::Timestamp::now())?;
        (self.remember)(Phase::Trusting).await?;
        self.issue().await
    }

    /// Has every node show a certificate of the new authority, which signs from now on, unless it does already.
    async fn change_over(&self, begun: Phase) -> Outcome {
        if begun != Phase::Issuing {
            rotation::promote(self.backend.directory())?;
            (self.remember)(Phase::Issuing).await?;
        }
        self.issue().await
    }

    /// Has every node trust the new authority alone.
    async fn finish(&self) -> Outcome {
        rotation::finish(self.backend.directory())?;
        (self.remember)(Phase::Settled).await?;
        self.issue().await
    }

    /// Gives every node what the authority has for it now, and waits until those that run have taken it.
    async fn issue(&self) -> Outcome {
        self.backend.renew(&self.nodes).await?;
        let mut trusted = rotation::fingerprints(self.backend.directory())?;
        trusted.sort();
        for runtime in &self.running {
            let Some(node) = self.nodes.iter().find(|node| node.node == runtime.node) else { continue };
            let shown = self.backend.certificates(node).await?;
            let shown: Vec<String> = shown.iter().filter_map(|text| rotation::fingerprint(text)).collect();
            // Its own certificate may be the one that is just being taken.
            let admin = || admin_of(self.backend, runtime);
            self.taken(admin, node, &Wanted { trusted: &trusted, shown: &shown }).await?;
        }
        for (node, admin) in self.backend.others().await? {
            let shown = self.backend.certificates(&node).await?;
            let shown: Vec<String> = shown.iter().filter_map(|text| rotation::fingerprint(text)).collect();
            self.taken(|| Ok(admin.clone()), &node, &Wanted { trusted: &trusted, shown: &shown }).await?;
        }
        Ok(())
    }

    async fn taken(
        &self,
        admin: impl Fn() -> Outcome<Admin>,
        node: &DaemonConfig,
        wanted: &Wanted<'_>,
    ) -> Outcome {
        let end = Instant::now() + self.patience;
        let name = &node.node;
        loop {
            let answer = match admin() {
                Ok(admin) => admin.node().await,
                Err(failure) => Err(failure),
            };
            let missing = match &answer {
                Ok(answer) if node.mesh.is_some() && answer.mesh_certificate.is_none() => {
                    let message = format!("the node `{name}` takes no new certificates while it runs");
                    return Err(Failure::new(Exit::Conflict, message)
                        .help("nothing is lost; `mq upgrade` it, and run the same command again"));
                }
                Ok(answer) if wanted.is_met_by(answer, node) => return Ok(()),
                Ok(_) => "it has not taken its new files; see `mq logs`".to_owned(),
                Err(failure) => failure.message.clone(),
            };
            if Instant::now() >= end {
                let message = format!(
                    "the node `{name}` is not as it should be after {}: {missing}",
                    shape::elapsed(self.patience)
                );
                return Err(Failure::new(Exit::TimedOut, message)
                    .help("what has been done so far stays, and harms nothing; the same command goes on"));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What a node has to have taken.
struct Wanted<'a> {
    /// The fingerprints of the authorities, sorted.
    trusted: &'a [String],
    /// Those of the certificates that lie at the node.
    shown: &'a [String],
}

impl Wanted<'_> {
    fn is_met_by(&self, answer: &Node, node: &DaemonConfig) -> bool {
        let believes = |certificate: &NodeCertificate| {
            let mut authorities = certificate.authorities.clone();
            authorities.sort();
            authorities == self.trusted
        };
        let is_shown = |fingerprint: &String| {
            let all = [&answer.mesh_certificate, &answer.certificate];
            all.into_iter().flatten().any(|certificate| certificate.fingerprint == *fingerprint)
        };
        let trusts_clients = answer.certificate.iter().all(|certificate| {
            node.tls.as_ref().is_none_or(|tls| tls.fleet_ca.is_none()) || believes(certificate)
        });
        answer.mesh_certificate.iter().all(believes) && trusts_clients && self.shown.iter().all(is_shown)
    }
}
