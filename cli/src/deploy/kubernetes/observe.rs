//! What the Prometheus operator is told: where the metrics are, and when somebody should look.

use mq_model::kubernetes::{CertManager, KubernetesTls};
use serde_json::{Value, json};

use super::Rendering;

/// The group of the Prometheus operator.
const GROUP: &str = "monitoring.coreos.com/v1";

impl Rendering<'_> {
    pub(super) fn monitoring(&self) -> Vec<Value> {
        vec![self.service_monitor(), self.rules()]
    }

    fn service_monitor(&self) -> Value {
        let (secret, mesh) = (self.names.metrics_secret(), self.names.mesh_secret());
        let server = self.target.server_secret.clone().unwrap_or_else(|| self.names.server_secret());
        let is_foreign = self.target.server_secret.is_some()
            || matches!(self.target.tls(), KubernetesTls::CertManager(CertManager { issuer: Some(_), .. }));
        let ca = if is_foreign { server } else { mesh };
        let endpoint = json!({
            "port": "https",
            "scheme": "https",
            "path": "/metrics",
            "basicAuth": {
                "username": { "name": secret, "key": "username" },
                "password": { "name": secret, "key": "password" },
            },
            "tlsConfig": {
                "ca": { "secret": { "name": ca, "key": "ca.crt" } },
                "serverName": self.server_name(),
            },
        });
        let mut object = self.object(GROUP, "ServiceMonitor", self.names.fleet(), None);
        // Every pod has its address there, and no other one has.
        let mut labels = self.selector(None);
        labels.insert("mq.messaging/endpoints".into(), "pods".into());
        let spec = json!({ "selector": { "matchLabels": labels }, "endpoints": [endpoint] });
        object.insert("spec".into(), spec);
        object.into()
    }

    /// A name that the certificate of every node is for.
    fn server_name(&self) -> String {
        let inside = format!("{}.{}.svc", self.names.fleet(), self.target.namespace());
        let names = match &self.target.server_secret {
            Some(_) => self.fleet.spec.tls.names.clone(),
            None => self.certified_names(),
        };
        if names.contains(&inside) {
            return inside;
        }
        names.into_iter().find(|name| !name.starts_with('*')).unwrap_or(inside)
    }

    fn rules(&self) -> Value {
        let nodes = self.fleet.spec.nodes();
        let namespace = self.target.namespace();
        let of_fleet = format!("namespace=\"{namespace}\",service=\"{}\"", self.names.headless());
        let alert = |name: &str, expression: String, wait: &str, severity: &str, summary: &str| {
            json!({
                "alert": name,
                "expr": expression,
                "for": wait,
                "labels": { "severity": severity },
                "annotations": { "summary": summary },
            })
        };
        let rules = json!([
            alert(
                "MqNodeNotReady",
                format!("mq_ready{{{of_fleet}}} == 0 or up{{{of_fleet}}} == 0"),
                "5m",
                "critical",
                "{{ $labels.pod }} takes no clients",
            ),
            alert(
                "MqFleetParted",
                format!("mq_mesh_nodes{{{of_fleet}}} < {nodes}"),
                "5m",
                "critical",
                "{{ $labels.pod }} does not reach every node of the fleet",
            ),
            alert(
                "MqStoreFull",
                format!("mq_store_ready{{{of_fleet}}} == 0"),
                "2m",
                "critical",
                "{{ $labels.pod }} takes no messages to store: its volume is full, or has failed",
            ),
            alert(
                "MqCertificateExpires",
                format!("mq_tls_certificate_expiry_seconds{{{of_fleet}}} - time() < 14 * 86400"),
                "1h",
                "warning",
                "what {{ $labels.pod }} shows to clients expires within two weeks",
            ),
            alert(
                "MqConnectionsRefused",
                format!("sum by (pod, reason) (rate(mq_connections_refused_total{{{of_fleet}}}[5m])) > 0"),
                "10m",
                "warning",
                "{{ $labels.pod }} turns clients away: {{ $labels.reason }}",
            ),
        ]);
        let mut object = self.object(GROUP, "PrometheusRule", self.names.fleet(), None);
        object.insert(
            "spec".into(),
            json!({ "groups": [{ "name": format!("mq-{}", self.names.fleet()), "rules": rules }] }),
        );
        object.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{find, fleet};
    use super::*;

    #[test]
    fn prometheus_is_told_where_it_is_wanted_and_logs_in() {
        let silent = fleet(json!({}));
        let objects = Rendering::of_fleet(&silent).unwrap().objects().unwrap();
        assert!(objects.iter().all(|object| object["kind"] != "ServiceMonitor"));
        let told = fleet(json!({ "monitoring": "always", "namespace": "n" }));
        let objects = Rendering::of_fleet(&told).unwrap().objects().unwrap();
        let monitor = &find(&objects, "ServiceMonitor", "prod")["spec"];
        assert_eq!(monitor["endpoints"][0]["basicAuth"]["password"]["name"], "prod-metrics");
        assert_eq!(monitor["endpoints"][0]["tlsConfig"]["serverName"], "prod.n.svc");
        let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
        let services: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "Service")
            .filter(|object| {
                wanted.iter().all(|(key, value)| object["metadata"]["labels"].get(key) == Some(value))
            })
            .collect();
        assert_eq!(services.len(), 1, "each pod is asked once");
        assert_eq!(services[0]["metadata"]["name"], "prod-nodes");
    }
}
