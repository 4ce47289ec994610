//! What must hold of a fleet whose nodes are pods: names that a cluster takes, and ports that it can reach.

use std::collections::BTreeMap;

use super::{Violation, is_host};
use crate::code::Code;
use crate::config::{ListenerConfig, Listeners, Where};
use crate::kubernetes::{
    Amounts, Autoscale, Ingress, KubernetesTarget, KubernetesTls, MAX_FLEET_NAME, MAX_ITEMS, MAX_PODS,
    Toleration, TolerationOperator,
};
use crate::manifest::{FleetSpec, Metadata};
use crate::names::shown;
use crate::tls::ClientCertificates;

/// The first port that programs without privileges may listen on.
const FIRST_FREE_PORT: u16 = 1_024;

/// Bytes of the value of an annotation.
const MAX_ANNOTATION: usize = 4_096;

/// What is wrong with a fleet's name, where it becomes part of the names of objects.
pub(crate) fn fleet_name(metadata: &Metadata, spec: &FleetSpec) -> Option<Violation> {
    let name = &metadata.name;
    let path = ["metadata", "name"];
    spec.target.kubernetes()?;
    if name.len() > MAX_FLEET_NAME {
        let message = format!(
            "the fleet's name has {} bytes; in a cluster, where it is a part of other names, it has at most \
             {MAX_FLEET_NAME}",
            name.len()
        );
        return Some(Violation::new(Code::OutOfRange, &path, message));
    }
    // RFC 1035, 2.3.1: names of Services begin with a letter.
    if !name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) || name.ends_with('-') {
        let message = format!("the fleet's name `{}` is none that a cluster takes", shown(name));
        let violation = Violation::new(Code::InvalidValue, &path, message);
        return Some(violation.help("begin with a letter, and end with a letter or a digit"));
    }
    None
}

/// The rules of `target.kubernetes`, and of what does not go together with it.
pub(super) fn target(target: &KubernetesTarget, spec: &FleetSpec, parent: &[&str]) -> Vec<Violation> {
    let mut rules = Rules { parent, violations: Vec::new() };
    rules.names(target);
    rules.tables(target);
    rules.amounts("requests", &target.resources.requests);
    rules.amounts("limits", &target.resources.limits);
    rules.size(target);
    for (index, toleration) in target.tolerations.iter().enumerate() {
        rules.toleration(index, toleration);
    }
    if let Some(autoscale) = &target.autoscale {
        rules.autoscale(target.routers(), autoscale);
    }
    rules.secrets(target);
    rules.fleet(spec);
    rules.violations
}

struct Rules<'a> {
    parent: &'a [&'a str],
    violations: Vec<Violation>,
}

impl Rules<'_> {
    /// Reports a field of the target.
    fn of_target(&mut self, code: Code, path: &[&str], message: String, help: &str) {
        let path = [&["target", "kubernetes"], path].concat();
        self.of_fleet(code, &path, message, help);
    }

    /// Reports a field of the fleet.
    fn of_fleet(&mut self, code: Code, path: &[&str], message: String, help: &str) {
        let path = [self.parent, path].concat();
        self.violations.push(Violation::new(code, &path, message).help(help));
    }

    fn names(&mut self, target: &KubernetesTarget) {
        let subdomains = [
            (vec!["storage", "class"], target.storage.class.as_deref()),
            (vec!["serverSecret"], target.server_secret.as_deref()),
            (vec!["clientCaSecret"], target.client_ca_secret.as_deref()),
        ];
        let ingress = target.ingress();
        let of_ingress = match &ingress {
            Ingress::None | Ingress::Route(_) => vec![],
            Ingress::Gateway(gateway) => {
                vec![(vec!["ingress", "gateway", "name"], Some(gateway.name.as_str()))]
            }
            Ingress::Ingress(ingress) => {
                vec![(vec!["ingress", "ingress", "class"], ingress.class.as_deref())]
            }
        };
        let tls = target.tls();
        let issuer = match &tls {
            KubernetesTls::Own => None,
            KubernetesTls::CertManager(manager) => manager.issuer.as_deref(),
        };
        let all =
            subdomains.into_iter().chain(of_ingress).chain([(vec!["tls", "certManager", "issuer"], issuer)]);
        for (path, name) in all.filter_map(|(path, name)| Some((path, name?))) {
            self.subdomain(&path, name);
        }
        for (index, name) in target.image_pull_secrets.iter().enumerate() {
            self.subdomain(&["imagePullSecrets", &index.to_string()], name);
        }
        if let Some(domain) = ingress.domain() {
            let kind = match &ingress {
                Ingress::Route(_) => "route",
                Ingress::Gateway(_) => "gateway",
                Ingress::None | Ingress::Ingress(_) => "ingress",
            };
            self.subdomain(&["ingress", kind, "domain"], domain);
        }
        let gateway = match &ingress {
            Ingress::Gateway(gateway) => gateway.namespace.as_deref(),
            _ => None,
        };
        for (path, name) in [
            (&["namespace"][..], target.namespace.as_deref()),
            (&["ingress", "gateway", "namespace"], gateway),
        ] {
            if let Some(name) = name.filter(|name| !is_label(name)) {
                let message = format!("`{}` is not the name of a namespace", shown(name));
                self.of_target(
                    Code::InvalidValue,
                    path,
                    message,
                    "use up to 63 of `a` to `z`, `0` to `9` and `-`",
                );
            }
        }
        if let Some(image) = &target.image
            && (image.is_empty() || !image.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            let message = format!("`{}` is not the name of an image", shown(image));
            let help = "write it as `registry.example.org/mq:1.0`";
            self.of_target(Code::InvalidValue, &["image"], message, help);
        }
    }

    fn subdomain(&mut self, path: &[&str], name: &str) {
        if is_subdomain(name) {
            return;
        }
        let message = format!("{} is `{}`, no name that a cluster takes", path.join("."), shown(name));
        let help = "use `a` to `z`, `0` to `9`, `-` and `.`, with a letter or a digit at either end";
        self.of_target(Code::InvalidValue, path, message, help);
    }

    fn tables(&mut self, target: &KubernetesTarget) {
        let ingress = target.ingress();
        let of_ingress = match &ingress {
            Ingress::Ingress(ingress) => Some(&ingress.annotations),
            _ => None,
        };
        self.annotations(&["service", "annotations"], &target.service.annotations);
        if let Some(annotations) = of_ingress {
            self.annotations(&["ingress", "ingress", "annotations"], annotations);
        }
        for (key, value) in &target.node_selector {
            if !is_key(key) || !is_label_value(value) {
                let message = format!("`{}: {}` is not a label of a machine", shown(key), shown(value));
                self.of_target(
                    Code::InvalidValue,
                    &["nodeSelector", key],
                    message,
                    "see `kubectl get nodes --show-labels`",
                );
            }
        }
        for (index, key) in target.topology_spread.keys.iter().enumerate().filter(|(_, key)| !is_key(key)) {
            let message = format!("`{}` is not the key of a label", shown(key));
            let path = ["topologySpread", "keys", &index.to_string()];
            self.of_target(Code::InvalidValue, &path, message, "such as `topology.kubernetes.io/zone`");
        }
        let counts = [
            (&["nodeSelector"][..], target.node_selector.len()),
            (&["tolerations"], target.tolerations.len()),
            (&["imagePullSecrets"], target.image_pull_secrets.len()),
            (&["service", "annotations"], target.service.annotations.len()),
            (&["ingress", "ingress", "annotations"], of_ingress.map_or(0, BTreeMap::len)),
        ];
        for (path, count) in counts.into_iter().filter(|(_, count)| *count > MAX_ITEMS) {
            let message = format!("{} has {count} entries; use at most {MAX_ITEMS}", path.join("."));
            self.of_target(Code::OutOfRange, path, message, "leave some out");
        }
    }

    fn annotations(&mut self, path: &[&str], annotations: &BTreeMap<String, String>) {
        for (key, value) in annotations {
            if !is_key(key) || value.len() > MAX_ANNOTATION {
                let message = format!("`{}` is not an annotation that a cluster takes", shown(key));
                let help = "write the key as `example.org/name`, and at most 4,096 bytes of value";
                self.of_target(Code::InvalidValue, &[path, &[key]].concat(), message, help);
            }
        }
    }

    fn amounts(&mut self, part: &str, amounts: &Amounts) {
        for (field, amount) in [("cpu", &amounts.cpu), ("memory", &amounts.memory)] {
            let Some(amount) = amount.as_ref().filter(|amount| !is_quantity(amount)) else { continue };
            self.not_a_quantity(&["resources", part, field], amount);
        }
    }

    fn size(&mut self, target: &KubernetesTarget) {
        if let Some(size) = target.storage.size.as_ref().filter(|size| !is_quantity(size)) {
            self.not_a_quantity(&["storage", "size"], size);
        }
    }

    fn not_a_quantity(&mut self, path: &[&str], amount: &str) {
        let message = format!("{} is `{}`, not an amount", path.join("."), shown(amount));
        self.of_target(Code::InvalidValue, path, message, "write it as `500m`, `2`, `512Mi` or `10Gi`");
    }

    fn toleration(&mut self, index: usize, toleration: &Toleration) {
        let index = index.to_string();
        let at = |field| ["tolerations", &index, field];
        let exists = toleration.operator == Some(TolerationOperator::Exists);
        if exists && toleration.value.is_some() {
            let message = "a toleration that only asks whether the taint exists has no value".to_owned();
            self.of_target(Code::Conflict, &at("value"), message, "leave `value` or `operator` out");
        }
        if toleration.key.is_none() && (toleration.value.is_some() || !exists) {
            let message = "a toleration without a key is for every taint".to_owned();
            self.of_target(Code::MissingField, &at("operator"), message, "set `key`, or `operator: exists`");
        }
        if toleration.key.as_ref().is_some_and(|key| !is_key(key))
            || toleration.value.as_ref().is_some_and(|value| !is_label_value(value))
        {
            let message = "the toleration names no taint that a cluster has".to_owned();
            self.of_target(Code::InvalidValue, &at("key"), message, "see `kubectl describe node`");
        }
        if toleration.toleration_seconds.is_some()
            && toleration.effect != Some(crate::kubernetes::TaintEffect::NoExecute)
        {
            let message = "tolerationSeconds counts for taints alone that make pods go".to_owned();
            self.of_target(
                Code::NoEffect,
                &at("tolerationSeconds"),
                message,
                "set `effect: no-execute`, or remove it",
            );
        }
    }

    fn autoscale(&mut self, routers: u32, autoscale: &Autoscale) {
        if routers == 0 {
            let message = "autoscale is about routers, and there are none".to_owned();
            self.of_target(
                Code::Conflict,
                &["autoscale"],
                message,
                "set `routers` to the fewest that there are to be",
            );
        } else if autoscale.max_routers < routers {
            let message = format!(
                "autoscale.maxRouters is {}, less than routers with {routers}",
                autoscale.max_routers
            );
            self.of_target(Code::Conflict, &["autoscale", "maxRouters"], message, "raise it");
        }
    }

    fn secrets(&mut self, target: &KubernetesTarget) {
        let is_foreign = target.server_secret.is_some()
            || matches!(target.tls(), KubernetesTls::CertManager(manager) if manager.issuer.is_some());
        if target.has_operator() && is_foreign {
            let message =
                "the operator believes the fleet's own authority, which does not sign what nodes show";
            let help = "leave serverSecret and tls.certManager.issuer out, or the operator";
            self.of_target(Code::Conflict, &["operator"], message.to_owned(), help);
        }
        let KubernetesTls::CertManager(manager) = target.tls() else { return };
        if target.server_secret.is_some() && manager.issuer.is_some() {
            let message = "tls.certManager.issuer makes what serverSecret brings".to_owned();
            self.of_target(Code::Conflict, &["serverSecret"], message, "leave one of the two out");
        }
        if manager.kind.is_some() && manager.issuer.is_none() {
            let message = "tls.certManager.kind says where an issuer is that is not named".to_owned();
            self.of_target(
                Code::NoEffect,
                &["tls", "certManager", "kind"],
                message,
                "set `issuer`, or remove it",
            );
        }
    }

    /// What else the fleet says, where it means nothing to a cluster.
    fn fleet(&mut self, spec: &FleetSpec) {
        if spec.nodes() > MAX_PODS {
            let message =
                format!("the fleet has {} nodes; in a cluster it has at most {MAX_PODS}", spec.nodes());
            self.of_fleet(
                Code::OutOfRange,
                &["nodes"],
                message,
                "use `target.kubernetes.routers` for more clients",
            );
        }
        let files = [
            ("certificate", &spec.tls.certificate),
            ("key", &spec.tls.key),
            ("clientCa", &spec.tls.client_ca),
            ("clientCrl", &spec.tls.client_crl),
        ];
        for (field, _) in files.into_iter().filter(|(_, path)| path.is_some()) {
            let message = format!("tls.{field} is a file of a machine, and pods have none of it");
            let help = match field {
                "clientCrl" => "remove it, and give certificates to clients that end soon",
                _ => "use target.kubernetes.serverSecret or clientCaSecret",
            };
            self.of_fleet(Code::Conflict, &["tls", field], message, help);
        }
        if spec.store.directory.as_ref().is_some_and(|directory| directory.starts_with('/')) {
            let message = "store.directory lies outside of the volume".to_owned();
            self.of_fleet(
                Code::Conflict,
                &["store", "directory"],
                message,
                "use a relative path, or leave it out",
            );
        }
        if spec
            .mesh
            .host
            .as_ref()
            .is_some_and(|host| host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()))
        {
            let message = "mesh.host is a loopback address, and other pods do not reach it".to_owned();
            self.of_fleet(Code::Conflict, &["mesh", "host"], message, "leave it out");
        }
        let listeners = Listeners::of_spec(spec);
        if let Some(https) = &listeners.https {
            self.https(https);
        }
        if listeners.http.enabled && !listeners.http.is_local() {
            let message =
                "listeners.http is not bound to loopback, and in a pod that is the way of the pod itself";
            let help = "leave it on 127.0.0.1: clients have listeners.https";
            self.of_fleet(Code::Conflict, &["listeners", "http", "host"], message.to_owned(), help);
        }
        if spec.tls.client_certificates == Some(ClientCertificates::Require) {
            let message =
                "tls.clientCertificates is `require`, and the cluster has none when it asks how a pod is";
            let help = "use `request`: who shows none has to log in";
            self.of_fleet(Code::Conflict, &["tls", "clientCertificates"], message.to_owned(), help);
        }
        if spec.authentication.anonymous == Some(Where::Never) {
            let message =
                "authentication.anonymous is `never`, and a pod that goes for good is emptied by itself";
            let help = "leave it at `loopback`: nobody but the pod has its loopback";
            self.of_fleet(Code::Conflict, &["authentication", "anonymous"], message.to_owned(), help);
        }
        let mesh = [("mesh", spec.mesh.port())];
        let named = listeners.named();
        let named = named.iter().map(|(name, listener)| (*name, listener.port));
        for (name, port) in named.chain(mesh).filter(|(_, port)| *port < FIRST_FREE_PORT) {
            let path = if name == "mesh" { vec!["mesh", "port"] } else { vec!["listeners", name, "port"] };
            let message = format!("{} is {port}, which a pod cannot have", path.join("."));
            self.of_fleet(Code::OutOfRange, &path, message, "use 1,024 or more");
        }
    }

    /// The cluster asks the pods there how they are.
    fn https(&mut self, https: &ListenerConfig) {
        let reason = if !https.enabled {
            "is switched off"
        } else if https.is_local() || https.host == "localhost" {
            "is bound to loopback"
        } else if https.proxy_protocol {
            "waits for a header of the PROXY protocol"
        } else if https.tls("https").is_never() {
            "speaks no TLS"
        } else {
            return;
        };
        let message = format!("listeners.https {reason}, and the cluster asks there how a pod is");
        self.of_fleet(
            Code::Conflict,
            &["listeners", "https"],
            message,
            "leave it out: then it is on 0.0.0.0:8443",
        );
    }
}

/// A label of a DNS name (RFC 1123), as names of namespaces are.
fn is_label(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Several of them, as most names of objects are.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && is_host(text) && text.split('.').all(is_label)
}

/// The key of a label or an annotation: a name, perhaps behind a domain.
fn is_key(text: &str) -> bool {
    let is_name = |text: &str| !text.is_empty() && is_label_value(text);
    match text.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_name(name),
        None => is_name(text),
    }
}

fn is_label_value(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(is_inner)
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
}

/// A number with a suffix, decimal or binary; more than nothing.
fn is_quantity(text: &str) -> bool {
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_some = number.parse::<f64>().is_ok_and(|number| number > 0.0) && number.len() <= 18;
    is_some && ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"].contains(&suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::{CertManager, ClassIngress, RouteIngress};
    use crate::manifest::{Fleet, Target};

    fn violations(change: impl FnOnce(&mut Fleet, &mut KubernetesTarget)) -> Vec<String> {
        let mut fleet = Fleet::new("f", FleetSpec::default());
        let mut target = KubernetesTarget::default();
        change(&mut fleet, &mut target);
        fleet.spec.target = Target::Kubernetes(Box::new(target));
        match fleet.validate() {
            Ok(()) => vec![],
            Err(invalid) => invalid.violations().iter().map(|violation| violation.path.join(".")).collect(),
        }
    }

    #[test]
    fn a_target_that_says_nothing_is_whole() {
        assert_eq!(violations(|_, _| ()), Vec::<String>::new());
    }

    #[test]
    fn what_a_cluster_would_refuse_is_refused_at_its_place() {
        type Change = fn(&mut Fleet, &mut KubernetesTarget);
        let cases: [(&str, Change); 20] = [
            ("metadata.name", |fleet, _| fleet.metadata.name = "f".repeat(41)),
            ("metadata.name", |fleet, _| fleet.metadata.name = "1f".into()),
            ("spec.target.kubernetes.namespace", |_, target| target.namespace = Some("a.b".into())),
            ("spec.target.kubernetes.image", |_, target| target.image = Some("a b".into())),
            ("spec.target.kubernetes.storage.size", |_, target| target.storage.size = Some("10 GB".into())),
            ("spec.target.kubernetes.storage.class", |_, target| target.storage.class = Some("A".into())),
            ("spec.target.kubernetes.resources.limits.cpu", |_, target| {
                target.resources.limits.cpu = Some("-1".into());
            }),
            ("spec.target.kubernetes.nodeSelector.a b", |_, target| {
                target.node_selector.insert("a b".into(), "c".into());
            }),
            ("spec.target.kubernetes.autoscale", |_, target| {
                target.autoscale = Some(Autoscale { max_routers: 3, cpu_percent: None, connections: None });
            }),
            ("spec.target.kubernetes.ingress.route.domain", |_, target| {
                target.ingress = Some(Ingress::Route(RouteIngress { domain: "a_b".into() }));
            }),
            ("spec.target.kubernetes.ingress.ingress.class", |_, target| {
                let (domain, class) = ("a.example".into(), Some("X".into()));
                target.ingress =
                    Some(Ingress::Ingress(ClassIngress { domain, class, annotations: BTreeMap::new() }));
            }),
            ("spec.target.kubernetes.tolerations.0.operator", |_, target| {
                target.tolerations.push(Toleration::default());
            }),
            ("spec.listeners.https", |fleet, _| {
                fleet.spec.listeners.https = Some(fleet.spec.listeners.http.clone());
                if let Some(https) = &mut fleet.spec.listeners.https {
                    https.port = 9443;
                }
            }),
            ("spec.listeners.http.host", |fleet, _| fleet.spec.listeners.http.host = "0.0.0.0".into()),
            ("spec.authentication.anonymous", |fleet, _| {
                fleet.spec.authentication.anonymous = Some(Where::Never);
            }),
            ("spec.listeners.amqp.port", |fleet, _| fleet.spec.listeners.amqp.port = 0),
            ("spec.tls.clientCertificates", |fleet, _| {
                fleet.spec.tls.client_certificates = Some(ClientCertificates::Require);
            }),
            ("spec.tls.clientCa", |fleet, _| fleet.spec.tls.client_ca = Some("/ca.pem".into())),
            ("spec.tls.clientCrl", |fleet, _| fleet.spec.tls.client_crl = Some("/crl.pem".into())),
            ("spec.store.directory", |fleet, _| fleet.spec.store.directory = Some("/srv".into())),
        ];
        for (path, change) in cases {
            assert_eq!(violations(change), [path], "{path}");
        }
    }

    #[test]
    fn a_certificate_comes_from_one_place() {
        let manager = CertManager { issuer: Some("i".into()), kind: None };
        let found = violations(|_, target| {
            target.server_secret = Some("s".into());
            target.tls = Some(KubernetesTls::CertManager(manager));
        });
        assert_eq!(found, ["spec.target.kubernetes.serverSecret"]);
    }

    #[test]
    fn amounts_are_numbers_with_a_suffix_that_kubernetes_knows() {
        for good in ["1", "0.5", "500m", "10Gi", "1.5Ti", "2G"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "0", "Gi", "1gb", "1 Gi", "-1", "1.2.3", "1e400000", "0000000000000000000001"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}
