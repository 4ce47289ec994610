//! Where a fleet is: which backend answers for it.

use std::path::PathBuf;

use mq_model::manifest::{Fleet, SshHost, Target};

use crate::{
    context::Store,
    deploy::{
        Backend,
        history::{Ending, History},
        kubernetes::backend::Kubernetes,
        local::Local,
        ssh::{Ssh, Wanted, hosts_of},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    settings::Settings,
};

/// The backend of a fleet.
pub(super) enum Site {
    Local(Local),
    Ssh(Box<Ssh>),
    Kubernetes(Box<Kubernetes>),
}

/// Does the same with whichever backend it is.
macro_rules! with_site {
    ($site:expr, $backend:ident => $do:expr) => {
        match $site {
            $crate::command::site::Site::Local($backend) => $do,
            $crate::command::site::Site::Ssh($backend) => {
                let $backend = *$backend;
                $do
            }
            $crate::command::site::Site::Kubernetes($backend) => {
                let $backend = *$backend;
                $do
            }
        }
    };
}
pub(super) use with_site;

impl Site {
    /// Where the fleet is to be. `daemons` are what to start nodes from, the first that fits.
    /// Nodes that are `abandoned` need not be in reach.
    pub(super) async fn of_fleet(
        fleet: &Fleet,
        daemons: &[PathBuf],
        abandoned: &[String],
        output: &Output,
    ) -> Outcome<Self> {
        let name = &fleet.metadata.name;
        let contexts = Store::of_user()?.load()?;
        let local = Local::new(name, daemons.first().cloned(), contexts)?;
        if fleet.spec.target.kubernetes().is_some() {
            if !daemons.is_empty() {
                return Err(Failure::usage(format!("the nodes of the fleet `{name}` run from an image"))
                    .help("leave --mqd out, and set target.kubernetes.image or use `mq upgrade --image`"));
            }
            let cluster = Kubernetes::connect(fleet, former_fleets(name)?, local.directory().to_owned());
            return Ok(Self::Kubernetes(Box::new(cluster.await?)));
        }
        if fleet.spec.target == Target::Local {
            return Ok(Self::Local(local));
        }
        let daemons = if daemons.is_empty() { vec![local.daemon()?] } else { daemons.to_vec() };
        let former = former_hosts(name)?;
        let wanted = Wanted { fleet, former: &former, abandoned, daemons: &daemons };
        Ok(Self::Ssh(Box::new(Ssh::connect(wanted, output).await?)))
    }

    /// The same, taking from others what they have changed of it in its cluster.
    pub(super) fn forced(self, is_forced: bool) -> Self {
        match self {
            Self::Kubernetes(cluster) => Self::Kubernetes(Box::new(cluster.forced(is_forced))),
            other => other,
        }
    }

    /// Where the fleet called `name` was deployed last.
    pub(super) async fn of_name(name: &str, output: &Output) -> Outcome<Self> {
        let local = Local::new(name, None, Store::of_user()?.load()?)?;
        match history_of(name)?.newest()? {
            Some(revision) if revision.fleet.spec.target != Target::Local => {
                Self::of_fleet(&revision.fleet, &[], &[], output).await
            }
            _ => Ok(Self::Local(local)),
        }
    }

    /// Where the fleet of the context in use is.
    pub(super) async fn of_context(settings: &Settings, output: &Output) -> Outcome<Self> {
        let context = settings.named_context()?;
        let name = settings.context_name().unwrap_or_default();
        if context.deployed_from().is_none() {
            let message = format!("the fleet of the context `{name}` was not deployed from this machine");
            return Err(Failure::new(Exit::Usage, message).help("do it where it was deployed"));
        }
        Self::of_name(name, output).await
    }
}

/// What was deployed as `fleet`.
pub(super) fn history_of(fleet: &str) -> Outcome<History> {
    let local = Local::new(fleet, None, Store::of_user()?.load()?)?;
    Ok(History::of_fleet(local.directory()))
}

/// The hosts that have had nodes since the last deployment that was applied: a roll that failed may have left
/// some on any of them.
fn former_hosts(fleet: &str) -> Outcome<Vec<(SshHost, Vec<String>)>> {
    let mut former: Vec<(SshHost, Vec<String>)> = Vec::new();
    for fleet in former_fleets(fleet)? {
        for (host, nodes) in hosts_of(&fleet) {
            match former.iter_mut().find(|(known, _)| known.address == host.address) {
                Some((_, known)) => known.extend(nodes),
                None => former.push((host, nodes)),
            }
        }
    }
    Ok(former)
}

/// What was deployed since the last deployment that was applied, that one included, the newest first: a roll that
/// failed may have left something of any of them.
fn former_fleets(fleet: &str) -> Outcome<Vec<Fleet>> {
    let mut former = Vec::new();
    for revision in history_of(fleet)?.all()?.into_iter().rev() {
        let is_applied = revision.result == Ending::Applied;
        former.push(revision.fleet);
        if is_applied {
            break;
        }
    }
    Ok(former)
}
