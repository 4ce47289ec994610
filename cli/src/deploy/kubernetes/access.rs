//! Who the pods are to the cluster, and by what they know each other.

use mq_model::kubernetes::{CertManager, IssuerKind, KubernetesTls};
use serde_json::{Value, json};

use super::{Rendering, map};

/// How long the fleet's authority is good.
const AUTHORITY_DURATION: &str = "87600h";
/// The group of cert-manager.
const CERT_MANAGER: &str = "cert-manager.io/v1";

impl Rendering<'_> {
    pub(super) fn namespace(&self) -> Value {
        let mut object = self.object("v1", "Namespace", self.target.namespace(), None);
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.shift_remove("namespace");
        }
        object.into()
    }

    /// The account of the pods. A node asks the cluster one thing: whether it is to come back.
    pub(super) fn accounts(&self) -> Vec<Value> {
        let name = self.names.fleet();
        let mut account = self.object("v1", "ServiceAccount", name, None);
        // The pods that need a token say so.
        account.insert("automountServiceAccountToken".into(), false.into());
        let mut role = self.object("rbac.authorization.k8s.io/v1", "Role", name, None);
        let rule = json!({
            "apiGroups": ["apps"],
            "resources": ["statefulsets"],
            "resourceNames": [self.names.nodes()],
            "verbs": ["get"],
        });
        role.insert("rules".into(), json!([rule]));
        let mut binding = self.object("rbac.authorization.k8s.io/v1", "RoleBinding", name, None);
        let of_role = map([
            ("apiGroup", "rbac.authorization.k8s.io".into()),
            ("kind", "Role".into()),
            ("name", name.into()),
        ]);
        binding.insert("roleRef".into(), of_role.into());
        let subject = json!({ "kind": "ServiceAccount", "name": name, "namespace": self.target.namespace() });
        binding.insert("subjects".into(), json!([subject]));
        vec![account.into(), role.into(), binding.into()]
    }

    /// An authority of the fleet's own, and what it signs.
    pub(super) fn certificates(&self, manager: &CertManager) -> Vec<Value> {
        let fleet = self.names.fleet();
        let (root, authority) = (format!("{fleet}-root"), format!("{fleet}-ca"));
        let issuer = |name: &str, spec: Value| {
            let mut object = self.object(CERT_MANAGER, "Issuer", name, None);
            object.insert("spec".into(), spec);
            Value::Object(object)
        };
        let own = json!({ "name": authority, "kind": "Issuer", "group": "cert-manager.io" });
        let of_clients = manager.issuer.as_ref().map(|issuer| {
            let kind = match manager.kind.unwrap_or_default() {
                IssuerKind::Issuer => "Issuer",
                IssuerKind::ClusterIssuer => "ClusterIssuer",
            };
            json!({ "name": issuer, "kind": kind, "group": "cert-manager.io" })
        });
        let mut objects = vec![
            issuer(&root, json!({ "selfSigned": {} })),
            self.certificate(
                &authority,
                json!({
                    "isCA": true,
                    "commonName": format!("mq fleet {fleet}"),
                    "duration": AUTHORITY_DURATION,
                    "usages": ["cert sign", "crl sign"],
                    "issuerRef": { "name": root, "kind": "Issuer", "group": "cert-manager.io" },
                }),
            ),
            issuer(&authority, json!({ "ca": { "secretName": authority } })),
            self.certificate(
                &self.names.mesh_secret(),
                json!({
                    "dnsNames": [self.names.mesh_identity()],
                    "usages": ["digital signature", "server auth", "client auth"],
                    "issuerRef": own,
                }),
            ),
            self.certificate(
                &self.names.admin_secret(),
                json!({
                    "commonName": mq_model::user::FLEET_ADMIN,
                    "usages": ["digital signature", "client auth"],
                    "issuerRef": own,
                }),
            ),
        ];
        if self.target.server_secret.is_none() {
            let (addresses, hosts): (Vec<String>, Vec<String>) =
                self.certified_names().into_iter().partition(|name| name.parse::<std::net::IpAddr>().is_ok());
            let mut spec = json!({
                "dnsNames": hosts,
                "usages": ["digital signature", "server auth"],
                "issuerRef": of_clients.unwrap_or(own),
            });
            if let (Some(spec), false) = (spec.as_object_mut(), addresses.is_empty()) {
                spec.insert("ipAddresses".into(), addresses.into());
            }
            objects.push(self.certificate(&self.names.server_secret(), spec));
        }
        objects
    }

    /// What the certificate that nodes show to clients is for.
    pub(super) fn certified_names(&self) -> Vec<String> {
        let spec = &self.fleet.spec;
        let all = self.names.server_names(spec, self.target);
        let KubernetesTls::CertManager(CertManager { issuer: Some(_), .. }) = self.target.tls() else {
            return all;
        };
        // An issuer that others believe signs no names of the inside.
        let suffix = self.target.ingress().domain().map(|domain| format!(".{domain}"));
        let is_outside = |name: &String| {
            spec.tls.names.contains(name) || suffix.as_ref().is_some_and(|suffix| name.ends_with(suffix))
        };
        let outside: Vec<String> = all.iter().filter(|name| is_outside(name)).cloned().collect();
        if outside.is_empty() { all } else { outside }
    }

    /// A certificate in the Secret of its name, with a key that changes with it.
    fn certificate(&self, name: &str, mut spec: Value) -> Value {
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("secretName".into(), name.into());
            spec.insert(
                "privateKey".into(),
                json!({ "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" }),
            );
        }
        let mut object = self.object(CERT_MANAGER, "Certificate", name, None);
        object.insert("spec".into(), spec);
        object.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{find, fleet};
    use super::*;

    #[test]
    fn the_account_of_the_pods_may_look_at_one_object_and_nothing_else() {
        let fleet = fleet(json!({}));
        let objects = Rendering::of_fleet(&fleet).unwrap().objects().unwrap();
        let rules = find(&objects, "Role", "prod")["rules"].clone();
        let only = json!([{
            "apiGroups": ["apps"],
            "resources": ["statefulsets"],
            "resourceNames": ["prod-node"],
            "verbs": ["get"],
        }]);
        assert_eq!(rules, only);
        assert_eq!(find(&objects, "ServiceAccount", "prod")["automountServiceAccountToken"], false);
    }

    #[test]
    fn the_mesh_has_an_authority_of_its_own_whoever_signs_for_clients() {
        let fleet = fleet(json!({
            "tls": { "certManager": { "issuer": "public", "kind": "cluster-issuer" } },
            "ingress": { "route": { "domain": "mq.example.org" } },
        }));
        let objects = Rendering::of_fleet(&fleet).unwrap().objects().unwrap();
        let of = |name: &str| find(&objects, "Certificate", name)["spec"].clone();
        assert_eq!(of("prod-mesh")["issuerRef"]["name"], "prod-ca");
        assert_eq!(of("prod-admin")["issuerRef"]["name"], "prod-ca");
        assert_eq!(of("prod-server")["issuerRef"]["kind"], "ClusterIssuer");
        let names = ["amqps.mq.example.org", "mqtts.mq.example.org", "https.mq.example.org"];
        assert_eq!(of("prod-server")["dnsNames"], json!(names));
    }
}
