//! Where the daemons of a fleet run: the field `target` of a fleet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kubernetes::KubernetesTarget;

/// Hosts of one fleet.
pub(crate) const MAX_HOSTS: usize = 1_000;

/// Where the daemons of a fleet run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// On this machine, as processes of this user.
    #[default]
    Local,
    /// On other machines, which are reached with `ssh`.
    Ssh(SshTarget),
    /// In a Kubernetes cluster, as pods.
    Kubernetes(Box<KubernetesTarget>),
}

/// Machines that are reached with `ssh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshTarget {
    /// The machines, 1 to 1,000. `node-1` runs on the first one, `node-2` on the second one, and so on;
    /// further nodes begin again with the first one. Add new machines at the end: no node changes its place.
    #[schemars(length(min = 1, max = 1_000))]
    pub hosts: Vec<SshHost>,
    /// Who keeps the daemons running. Default: `auto`.
    #[schemars(extend("default" = "auto"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervision: Option<Supervision>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SshHost {
    /// An IP address, a name, or a `Host` of your `ssh` configuration, of at most 253 bytes.
    #[schemars(length(min = 1, max = 253))]
    pub address: String,
    /// Who logs in there. `root`, or `sudo: true`, gets system units; everybody else needs no rights beyond their own.
    /// Default: what `ssh` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub user: Option<String>,
    /// The port of its SSH server. Default: what `ssh` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Where the other hosts reach this one: an IP address or a name. Default: `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub mesh_address: Option<String>,
    /// Whether what is done there is done as root, by way of `sudo`, which must not ask for a password. For machines
    /// on which nobody logs in as root. Default: `false`.
    #[schemars(extend("default" = false))]
    #[serde(default, skip_serializing_if = "is_false")]
    pub sudo: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Who starts a daemon, and starts it again when it ends unexpectedly or the machine boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Supervision {
    /// systemd where it runs the machine (`system` for root, `user` for others); elsewhere a process of `mq` beside
    /// each daemon, which `cron` starts at boot where it is there.
    #[default]
    Auto,
    /// The system's systemd, with a hardened unit and a user of its own for the daemon. Takes root, or `sudo`.
    System,
    /// The systemd of the user who logs in, with lingering, so that the daemon outlives the login.
    User,
    /// Nobody: the daemon runs until it ends, and `mq deploy` starts it again.
    None,
}

impl Target {
    /// The machines that are reached with `ssh`; none for nodes on this machine.
    pub fn hosts(&self) -> &[SshHost] {
        match self {
            Self::Local | Self::Kubernetes(_) => &[],
            Self::Ssh(target) => &target.hosts,
        }
    }

    /// The cluster that the nodes run in; none for nodes on machines.
    pub fn kubernetes(&self) -> Option<&KubernetesTarget> {
        match self {
            Self::Kubernetes(target) => Some(target),
            Self::Local | Self::Ssh(_) => None,
        }
    }

    /// The machine of the node with this number, which counts from 1; `None`: this machine.
    pub fn host_of(&self, number: u32) -> Option<&SshHost> {
        let hosts = self.hosts();
        hosts.get((number.saturating_sub(1) as usize).checked_rem(hosts.len())?)
    }

    /// The how-manieth node of its machine the node with this number is, from 1: what its ports count from.
    pub fn slot(&self, number: u32) -> u32 {
        if self.kubernetes().is_some() {
            // Each pod has an address, and so ports, of its own.
            return 1;
        }
        let hosts = u32::try_from(self.hosts().len()).unwrap_or(u32::MAX).max(1);
        number.saturating_sub(1) / hosts + 1
    }

    /// How many nodes the fullest machine has when the fleet has `nodes`.
    pub fn deepest(&self, nodes: u32) -> u32 {
        self.slot(nodes)
    }
}

impl SshTarget {
    /// Who keeps the daemons running.
    pub fn supervision(&self) -> Supervision {
        self.supervision.unwrap_or_default()
    }
}

impl SshHost {
    /// A machine of which only the address is said.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), user: None, port: None, mesh_address: None, sudo: false }
    }

    /// Where the other machines reach this one.
    pub fn mesh_address(&self) -> &str {
        self.mesh_address.as_deref().unwrap_or(&self.address)
    }
}

/// What people call the machine: `user@address:port`, without what is not said.
impl std::fmt::Display for SshHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.port, self.address.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.address),
            (Some(port), false) => write!(f, "{}:{port}", self.address),
            (None, _) => f.write_str(&self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(hosts: usize) -> Target {
        let hosts = (0..hosts).map(|number| SshHost::new(format!("h{number}"))).collect();
        Target::Ssh(SshTarget { hosts, supervision: None })
    }

    #[test]
    fn nodes_take_turns_through_the_hosts_and_count_their_ports_on_each() {
        let target = target(3);
        let places: Vec<(String, u32)> = (1..=5)
            .map(|number| (target.host_of(number).expect("a host").address.clone(), target.slot(number)))
            .collect();
        let expected = [("h0", 1), ("h1", 1), ("h2", 1), ("h0", 2), ("h1", 2)];
        assert_eq!(places, expected.map(|(host, slot)| (host.to_owned(), slot)));
        assert_eq!((target.deepest(3), target.deepest(4)), (1, 2));
    }

    #[test]
    fn a_host_at_the_end_moves_no_node_of_a_fleet_with_one_on_each() {
        for number in 1..=3 {
            assert_eq!(target(3).host_of(number), target(4).host_of(number));
        }
    }

    #[test]
    fn on_this_machine_every_node_counts() {
        assert_eq!(Target::Local.host_of(2), None);
        assert_eq!([1, 2, 3].map(|number| Target::Local.slot(number)), [1, 2, 3]);
    }

    #[test]
    fn a_target_is_a_word_or_an_object_with_one_key() {
        let text = |target: &Target| serde_json::to_string(target).expect("JSON");
        assert_eq!(text(&Target::Local), r#""local""#);
        assert_eq!(text(&target(1)), r#"{"ssh":{"hosts":[{"address":"h0"}]}}"#);
    }

    #[test]
    fn a_host_is_named_as_ssh_names_it() {
        let mut host = SshHost::new("10.0.0.1");
        assert_eq!(host.to_string(), "10.0.0.1");
        (host.user, host.port) = (Some("mq".into()), Some(2222));
        assert_eq!(host.to_string(), "mq@10.0.0.1:2222");
        host.address = "fd00::1".into();
        assert_eq!(host.to_string(), "mq@[fd00::1]:2222");
    }
}
