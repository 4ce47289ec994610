//! How pods are reached: by each other, by clients in the cluster, and from outside of it.

use std::collections::BTreeMap;

use mq_model::kubernetes::{Ingress, ServiceType};
use serde_json::{Value, json};

use super::{Rendering, map};

/// With what ingress-nginx is told to let TLS through.
const PASS_THROUGH: &str = "nginx.ingress.kubernetes.io/ssl-passthrough";

impl Rendering<'_> {
    /// One by which each pod has a name, and one for clients.
    pub(super) fn services(&self) -> Vec<Value> {
        let mut headless = self.object("v1", "Service", &self.names.headless(), None);
        if let Some(labels) = headless.get_mut("metadata").and_then(|metadata| metadata.get_mut("labels")) {
            // By this who looks after every pod finds this Service, and not that of clients.
            labels["mq.messaging/endpoints"] = "pods".into();
        }
        let ports = [("mesh", self.mesh_port()), ("https", self.https_port())];
        let spec = json!({
            "clusterIP": "None",
            // Nodes find each other before they are ready: that is what they wait for.
            "publishNotReadyAddresses": true,
            "selector": self.selector(None),
            "ports": ports.map(|(name, number)| port(name, number)),
        });
        headless.insert("spec".into(), spec);
        vec![headless.into(), self.client_service()]
    }

    fn client_service(&self) -> Value {
        let service = &self.target.service;
        let mut object = self.object("v1", "Service", self.names.fleet(), Some(self.front()));
        let annotations = json!(service.annotations);
        if let Some(Value::Object(metadata)) = object.get_mut("metadata")
            && (self.parameters.is_some() || !service.annotations.is_empty())
        {
            metadata.insert("annotations".into(), self.open("service.annotations", annotations));
        }
        let kind = service.kind.unwrap_or_default();
        let word = match kind {
            ServiceType::ClusterIp => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        };
        let ports: Vec<Value> = self.exposed().into_iter().map(|(name, number)| port(name, number)).collect();
        let mut spec = map([
            ("type", word.into()),
            ("selector", self.selector(Some(self.front())).into()),
            ("ports", ports.into()),
        ]);
        if kind != ServiceType::ClusterIp {
            // Nodes see where clients come from: who fails to log in waits by that.
            spec.insert("externalTrafficPolicy".into(), "Local".into());
        }
        object.insert("spec".into(), spec.into());
        object.into()
    }

    /// Clients reach what is for them, and the mesh is for the fleet's own pods.
    pub(super) fn network_policy(&self) -> Value {
        let number = |port: u16| json!({ "protocol": "TCP", "port": port });
        let clients: Vec<Value> = self.exposed().into_iter().map(|(_, port)| number(port)).collect();
        let own = json!({ "podSelector": { "matchLabels": self.selector(None) } });
        let mut object = self.object("networking.k8s.io/v1", "NetworkPolicy", self.names.fleet(), None);
        let spec = json!({
            "podSelector": { "matchLabels": self.selector(None) },
            "policyTypes": ["Ingress"],
            "ingress": [
                { "from": [own], "ports": [number(self.mesh_port())] },
                { "ports": clients },
            ],
        });
        object.insert("spec".into(), spec);
        object.into()
    }

    /// The ways by which TLS comes in from outside, one for each listener that speaks it.
    pub(super) fn ways_in(&self) -> Vec<Value> {
        let ingress = self.target.ingress();
        let Some(domain) = ingress.domain() else { return Vec::new() };
        let through = self.listeners.passed_through();
        through
            .filter_map(|(name, listener)| {
                self.way_in(&ingress, name, listener.port, &format!("{name}.{domain}"))
            })
            .collect()
    }

    fn way_in(&self, ingress: &Ingress, listener: &str, port: u16, host: &str) -> Option<Value> {
        let name = format!("{}-{listener}", self.names.fleet());
        let service = self.names.fleet();
        let (version, kind, annotations, spec) = match ingress {
            Ingress::None => return None,
            Ingress::Route(_) => {
                let spec = json!({
                    "host": host,
                    "to": { "kind": "Service", "name": service, "weight": 100 },
                    "port": { "targetPort": listener },
                    "tls": { "termination": "passthrough" },
                });
                ("route.openshift.io/v1", "Route", BTreeMap::new(), spec)
            }
            Ingress::Gateway(gateway) => {
                let mut parent = json!({ "name": gateway.name });
                if let (Some(parent), Some(namespace)) = (parent.as_object_mut(), &gateway.namespace) {
                    parent.insert("namespace".into(), namespace.as_str().into());
                }
                let spec = json!({
                    "parentRefs": [parent],
                    "hostnames": [host],
                    "rules": [{ "backendRefs": [{ "name": service, "port": port }] }],
                });
                ("gateway.networking.k8s.io/v1", "TLSRoute", BTreeMap::new(), spec)
            }
            Ingress::Ingress(ingress) => {
                let annotations = match ingress.annotations.is_empty() {
                    true => BTreeMap::from([(PASS_THROUGH.to_owned(), "true".to_owned())]),
                    false => ingress.annotations.clone(),
                };
                let backend = json!({ "service": { "name": service, "port": { "name": listener } } });
                let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
                let mut spec = json!({
                    "tls": [{ "hosts": [host] }],
                    "rules": [{ "host": host, "http": { "paths": [path] } }],
                });
                if let (Some(spec), Some(class)) = (spec.as_object_mut(), &ingress.class) {
                    spec.insert("ingressClassName".into(), class.as_str().into());
                }
                ("networking.k8s.io/v1", "Ingress", annotations, spec)
            }
        };
        let mut object = self.object(version, kind, &name, Some(self.front()));
        if let Some(Value::Object(metadata)) = object.get_mut("metadata")
            && !annotations.is_empty()
        {
            metadata.insert("annotations".into(), json!(annotations));
        }
        object.insert("spec".into(), spec);
        Some(object.into())
    }
}

/// A port of a Service, which leads to that of the pods with the same name.
fn port(name: &str, number: u16) -> Value {
    json!({ "name": name, "port": number, "targetPort": name, "protocol": "TCP" })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{find, fleet};
    use super::*;

    fn objects(target: Value) -> Vec<Value> {
        Rendering::of_fleet(&fleet(target)).unwrap().objects().unwrap()
    }

    fn ports(service: &Value) -> Vec<(&str, u64)> {
        let ports = service["spec"]["ports"].as_array().unwrap().iter();
        ports.map(|port| (port["name"].as_str().unwrap(), port["port"].as_u64().unwrap())).collect()
    }

    #[test]
    fn clients_get_to_what_is_bound_for_them_and_to_routers_where_there_are_some() {
        let plain = objects(json!({}));
        let service = find(&plain, "Service", "prod");
        assert_eq!(ports(service), [("amqps", 5671), ("mqtts", 8883), ("https", 8443)]);
        assert_eq!(service["spec"]["selector"]["app.kubernetes.io/component"], "node");
        let routed = objects(json!({ "routers": 2 }));
        assert_eq!(
            find(&routed, "Service", "prod")["spec"]["selector"]["app.kubernetes.io/component"],
            "router"
        );
    }

    #[test]
    fn nobody_but_pods_of_the_fleet_gets_to_the_mesh() {
        let objects = objects(json!({}));
        let rules = &find(&objects, "NetworkPolicy", "prod")["spec"]["ingress"];
        assert_eq!(rules[0]["ports"], json!([{ "protocol": "TCP", "port": 7672 }]));
        assert_eq!(rules[0]["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"], "prod");
        assert_eq!(rules[1].get("from"), None);
        assert!(!rules[1]["ports"].to_string().contains("7672"));
    }

    #[test]
    fn each_listener_with_tls_has_a_host_of_its_own() {
        for (ingress, kind, host) in [
            (json!({ "route": { "domain": "a.example" } }), "Route", "/spec/host"),
            (json!({ "gateway": { "domain": "a.example", "name": "g" } }), "TLSRoute", "/spec/hostnames/0"),
            (json!({ "ingress": { "domain": "a.example" } }), "Ingress", "/spec/rules/0/host"),
        ] {
            let objects = objects(json!({ "ingress": ingress }));
            for name in ["amqps", "mqtts", "https"] {
                let way = find(&objects, kind, &format!("prod-{name}"));
                assert_eq!(way.pointer(host), Some(&format!("{name}.a.example").into()), "{way}");
            }
        }
    }

    #[test]
    fn nodes_find_each_other_before_they_are_ready() {
        let objects = objects(json!({}));
        let service = &find(&objects, "Service", "prod-nodes")["spec"];
        assert_eq!(
            (&service["clusterIP"], &service["publishNotReadyAddresses"]),
            (&json!("None"), &json!(true))
        );
    }
}
