//! The pods, and what keeps as many of them running as there are to be.

use mq_model::{
    kubernetes::{Amounts, Ingress, TaintEffect, Toleration, TolerationOperator, mounts},
    manifest::Fleet,
};
use serde_json::{Map, Value, json};

use super::{NODE, ROUTER, Rendering, map};

/// The user and the group of the processes, who have no rights anywhere.
const USER: u32 = 65_532;
/// Seconds between the moment in which a pod is no longer wanted and the one in which it is told so: meanwhile the
/// cluster stops sending clients to it.
const NOTICE: u32 = 5;
/// Seconds beyond the drain's in which a process has to end.
const STOP_GRACE: u32 = 30;
/// Read by the owner and the group: how the files of Secrets are given to the pods.
pub(super) const PRIVATE: u32 = 0o440;
/// Over which machines nodes are spread where the fleet does not say.
const SPREAD: [&str; 2] = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

impl Rendering<'_> {
    /// What runs the pods.
    pub(super) fn workloads(&self) -> Vec<Value> {
        let mut objects = vec![self.stateful_set()];
        objects.extend(self.has_routers().then(|| self.deployment()));
        objects
    }

    fn stateful_set(&self) -> Value {
        let target = self.target;
        let mut claim = json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": self.open("storage.size", target.storage.size().into()) } },
        });
        if let (Some(claim), Some(class)) = (claim.as_object_mut(), &target.storage.class) {
            claim.insert("storageClassName".into(), self.open("storage.class", class.as_str().into()));
        }
        let keep = if target.storage.is_retained() { "Retain" } else { "Delete" };
        let mut object = self.object("apps/v1", "StatefulSet", &self.names.nodes(), Some(NODE));
        let spec = json!({
            "serviceName": self.names.headless(),
            "replicas": self.fleet.spec.nodes(),
            // Nodes are counted from 1, and a pod's number is its node's.
            "ordinals": { "start": 1 },
            // Each waits by itself for those that it connects to.
            "podManagementPolicy": "Parallel",
            "minReadySeconds": NOTICE,
            "revisionHistoryLimit": 3,
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": keep, "whenScaled": keep },
            "selector": { "matchLabels": self.selector(Some(NODE)) },
            "template": self.template(NODE, self.node_container(), self.node_spec()),
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim }],
        });
        object.insert("spec".into(), spec);
        object.into()
    }

    fn deployment(&self) -> Value {
        let mut object = self.object("apps/v1", "Deployment", &self.names.routers(), Some(ROUTER));
        let mut spec = map([
            ("minReadySeconds", NOTICE.into()),
            ("revisionHistoryLimit", 3.into()),
            (
                "strategy",
                json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } }),
            ),
            ("selector", json!({ "matchLabels": self.selector(Some(ROUTER)) })),
            ("template", self.template(ROUTER, self.router_container(), self.router_spec())),
        ]);
        // Where the cluster decides how many there are, whoever says it again undoes that.
        if self.target.autoscale.is_none() {
            spec.insert("replicas".into(), self.open("routers", self.target.routers().into()));
        }
        object.insert("spec".into(), spec.into());
        object.into()
    }

    fn template(&self, component: &str, container: Value, own: Map<String, Value>) -> Value {
        let mut spec = map([
            ("serviceAccountName", self.names.fleet().into()),
            ("enableServiceLinks", false.into()),
            ("securityContext", self.pod_security()),
        ]);
        spec.extend(own);
        self.placement(&mut spec);
        spec.insert("topologySpreadConstraints".into(), self.spread(component));
        spec.insert("containers".into(), json!([container]));
        let volumes = self.volumes(component);
        spec.insert("volumes".into(), volumes.into());
        let mut labels = self.selector(Some(component));
        labels.insert("app.kubernetes.io/managed-by".into(), "mq".into());
        let annotations = json!({
            "mq.messaging/config": self.revision(),
            "kubectl.kubernetes.io/default-container": "mqd",
        });
        json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": spec })
    }

    /// Where pods run, and from where their image comes.
    pub(super) fn placement(&self, spec: &mut Map<String, Value>) {
        let target = self.target;
        let secrets: Vec<Value> =
            target.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        self.table(spec, "imagePullSecrets", secrets.into());
        self.table(spec, "nodeSelector", json!(target.node_selector));
        let tolerations: Vec<Value> = target.tolerations.iter().map(toleration).collect();
        self.table(spec, "tolerations", tolerations.into());
    }

    /// A field that is left out where it is empty, unless a chart leaves it open.
    fn table(&self, spec: &mut Map<String, Value>, name: &str, value: Value) {
        let is_empty = match &value {
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if self.parameters.is_some() || !is_empty {
            spec.insert(name.into(), self.open(name, value));
        }
    }

    /// What differs in pods with a volume: they may ask whether they come back, and have time to give away what
    /// they hold when they do not.
    fn node_spec(&self) -> Map<String, Value> {
        let grace =
            self.target.leave_seconds().saturating_add(drain_seconds(self.fleet)).saturating_add(STOP_GRACE);
        map([("automountServiceAccountToken", true.into()), ("terminationGracePeriodSeconds", grace.into())])
    }

    fn router_spec(&self) -> Map<String, Value> {
        let grace = NOTICE.saturating_add(drain_seconds(self.fleet)).saturating_add(STOP_GRACE);
        map([("automountServiceAccountToken", false.into()), ("terminationGracePeriodSeconds", grace.into())])
    }

    fn node_container(&self) -> Value {
        let config = format!("{}/$(POD_NAME).yaml", mounts::CONFIG);
        let admin = format!("http://127.0.0.1:{}", self.listeners.http.port);
        let seconds = self.target.leave_seconds().to_string();
        let leave = json!([
            "/usr/local/bin/mq",
            "pod",
            "leave",
            "--admin",
            admin,
            "--seconds",
            seconds,
            "--state",
            mounts::STATE
        ]);
        self.container(json!(["--config", config]), json!({ "exec": { "command": leave } }))
    }

    fn router_container(&self) -> Value {
        let config = format!("{}/{ROUTER}.yaml", mounts::CONFIG);
        self.container(
            json!(["--config", config, "--node", "$(POD_NAME)"]),
            json!({ "sleep": { "seconds": NOTICE } }),
        )
    }

    fn container(&self, arguments: Value, before_stop: Value) -> Value {
        let mut ports: Vec<Value> = self
            .exposed()
            .into_iter()
            .map(|(name, port)| json!({ "name": name, "containerPort": port, "protocol": "TCP" }))
            .collect();
        ports.push(json!({ "name": "mesh", "containerPort": self.mesh_port(), "protocol": "TCP" }));
        let asked = |path: &str| json!({ "path": path, "port": "https", "scheme": "HTTPS" });
        json!({
            "name": "mqd",
            "image": self.open("image", self.target.image().into()),
            "command": ["/usr/local/bin/mqd"],
            "args": arguments,
            "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
            "ports": ports,
            "resources": self.open("resources", self.resources()),
            // A node answers while it reads a long log; what comes before that is short.
            "startupProbe": { "httpGet": asked("/livez"), "periodSeconds": 2, "failureThreshold": 60 },
            "livenessProbe": {
                "httpGet": asked("/livez"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6,
            },
            "readinessProbe": {
                "httpGet": asked("/readyz"), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2,
            },
            "lifecycle": { "preStop": before_stop },
            "securityContext": container_security(),
            "volumeMounts": self.mounts(),
        })
    }

    fn mounts(&self) -> Value {
        let mount = |name: &str, path: &str, is_fixed: bool| json!({ "name": name, "mountPath": path, "readOnly": is_fixed });
        let mut mounted = vec![
            mount("config", mounts::CONFIG, true),
            mount("mesh", mounts::MESH, true),
            mount("server", mounts::SERVER, true),
        ];
        if self.target.client_ca_secret.is_some() {
            mounted.push(mount("clients", mounts::CLIENTS, true));
        }
        mounted.push(mount("data", mounts::DATA, false));
        mounted.into()
    }

    fn volumes(&self, component: &str) -> Vec<Value> {
        let secret = |volume: &str, name: &str| json!({ "name": volume, "secret": { "secretName": name, "defaultMode": PRIVATE } });
        let server = self.target.server_secret.clone().unwrap_or_else(|| self.names.server_secret());
        let mut volumes = vec![
            json!({ "name": "config", "configMap": { "name": self.names.config() } }),
            secret("mesh", &self.names.mesh_secret()),
            secret("server", &server),
        ];
        volumes.extend(self.target.client_ca_secret.as_ref().map(|name| secret("clients", name)));
        // That of a node that stores is made by its StatefulSet.
        if component == ROUTER {
            volumes.push(json!({ "name": "data", "emptyDir": {} }));
        }
        volumes
    }

    /// OpenShift gives each namespace users of its own, and refuses pods that choose theirs.
    pub(super) fn pod_security(&self) -> Value {
        let mut security =
            map([("runAsNonRoot", true.into()), ("seccompProfile", json!({ "type": "RuntimeDefault" }))]);
        if !matches!(self.target.ingress(), Ingress::Route(_)) {
            security.extend(map([
                ("runAsUser", USER.into()),
                ("runAsGroup", USER.into()),
                ("fsGroup", USER.into()),
                ("fsGroupChangePolicy", "OnRootMismatch".into()),
            ]));
        }
        security.into()
    }

    fn resources(&self) -> Value {
        let resources = &self.target.resources;
        let requests = Amounts {
            cpu: resources.requests.cpu.clone().or_else(|| Some("250m".into())),
            memory: resources.requests.memory.clone().or_else(|| Some("512Mi".into())),
        };
        let mut given = map([("requests", amounts(&requests).into())]);
        let limits = amounts(&resources.limits);
        if !limits.is_empty() {
            given.insert("limits".into(), limits.into());
        }
        given.into()
    }

    fn spread(&self, component: &str) -> Value {
        let spread = &self.target.topology_spread;
        let when = if spread.required.unwrap_or(false) { "DoNotSchedule" } else { "ScheduleAnyway" };
        let keys: Vec<&str> = match spread.keys.as_slice() {
            [] => SPREAD.to_vec(),
            keys => keys.iter().map(String::as_str).collect(),
        };
        let constraints = keys.into_iter().map(|key| {
            json!({
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": when,
                "labelSelector": { "matchLabels": self.selector(Some(component)) },
            })
        });
        constraints.collect::<Vec<_>>().into()
    }

    /// The cluster takes one pod of each component at a time, when it chooses.
    pub(super) fn disruption_budgets(&self) -> Vec<Value> {
        let budget = |name: String, component| {
            let mut object = self.object("policy/v1", "PodDisruptionBudget", &name, Some(component));
            let spec =
                json!({ "maxUnavailable": 1, "selector": { "matchLabels": self.selector(Some(component)) } });
            object.insert("spec".into(), spec);
            Value::Object(object)
        };
        let mut budgets = vec![budget(self.names.nodes(), NODE)];
        budgets.extend(self.has_routers().then(|| budget(self.names.routers(), ROUTER)));
        budgets
    }

    pub(super) fn autoscaler(&self) -> Option<Value> {
        let autoscale = self.target.autoscale.as_ref()?;
        let cpu = autoscale.cpu_percent.or_else(|| autoscale.connections.is_none().then_some(70));
        let mut metrics: Vec<Value> = Vec::new();
        metrics.extend(cpu.map(|percent| {
            let target = json!({ "type": "Utilization", "averageUtilization": percent });
            json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })
        }));
        metrics.extend(autoscale.connections.map(|connections| {
            let target = json!({ "type": "AverageValue", "averageValue": connections.to_string() });
            json!({ "type": "Pods", "pods": { "metric": { "name": "mq_connections" }, "target": target } })
        }));
        let mut object =
            self.object("autoscaling/v2", "HorizontalPodAutoscaler", &self.names.routers(), Some(ROUTER));
        let spec = json!({
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": self.names.routers() },
            "minReplicas": self.target.routers(),
            "maxReplicas": autoscale.max_routers,
            "metrics": metrics,
            // Clients that are sent away come back at once: going down slowly spares them that.
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": 600 } },
        });
        object.insert("spec".into(), spec);
        Some(object.into())
    }
}

/// What no process of a fleet needs.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

fn drain_seconds(fleet: &Fleet) -> u32 {
    fleet.spec.drain_seconds.unwrap_or(10)
}

fn amounts(amounts: &Amounts) -> Map<String, Value> {
    let fields = [("cpu", &amounts.cpu), ("memory", &amounts.memory)].into_iter();
    fields.filter_map(|(name, amount)| Some((name.to_owned(), amount.clone()?.into()))).collect()
}

fn toleration(toleration: &Toleration) -> Value {
    let operator = toleration.operator.unwrap_or(match toleration.value {
        Some(_) => TolerationOperator::Equal,
        None => TolerationOperator::Exists,
    });
    let operator = match operator {
        TolerationOperator::Equal => "Equal",
        TolerationOperator::Exists => "Exists",
    };
    let effect = toleration.effect.map(|effect| match effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    });
    let fields = [
        ("key", toleration.key.clone().map(Value::from)),
        ("operator", Some(operator.into())),
        ("value", toleration.value.clone().map(Value::from)),
        ("effect", effect.map(Value::from)),
        ("tolerationSeconds", toleration.toleration_seconds.map(Value::from)),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{find, fleet};
    use super::*;

    fn objects(target: Value) -> Vec<Value> {
        Rendering::of_fleet(&fleet(target)).unwrap().objects().unwrap()
    }

    #[test]
    fn no_pod_has_a_right_that_it_could_do_without() {
        for (kind, name) in [("StatefulSet", "prod-node"), ("Deployment", "prod-router")] {
            let objects = objects(json!({ "routers": 2 }));
            let pod = &find(&objects, kind, name)["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            let container = &pod["containers"][0]["securityContext"];
            assert_eq!(container["readOnlyRootFilesystem"], true);
            assert_eq!(container["allowPrivilegeEscalation"], false);
            assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(pod["automountServiceAccountToken"], kind == "StatefulSet");
        }
    }

    #[test]
    fn the_user_is_left_to_openshift_where_the_fleet_is_there() {
        let objects = objects(json!({ "ingress": { "route": { "domain": "apps.example" } } }));
        let pod = &find(&objects, "StatefulSet", "prod-node")["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"].get("runAsUser"), None);
    }

    #[test]
    fn a_node_that_goes_for_good_has_time_to_become_empty_and_a_router_needs_none() {
        let objects = objects(json!({ "routers": 1, "leaveSeconds": 600 }));
        let grace = |kind: &str, name: &str| {
            find(&objects, kind, name)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].clone()
        };
        assert_eq!(grace("StatefulSet", "prod-node"), 640);
        assert_eq!(grace("Deployment", "prod-router"), 45);
        let node = &find(&objects, "StatefulSet", "prod-node")["spec"]["template"]["spec"]["containers"][0];
        let command = node["lifecycle"]["preStop"]["exec"]["command"].as_array().unwrap();
        assert_eq!(command[..3], ["/usr/local/bin/mq", "pod", "leave"].map(Value::from));
    }

    #[test]
    fn how_many_routers_there_are_is_said_in_one_place() {
        let fixed = objects(json!({ "routers": 2 }));
        assert_eq!(find(&fixed, "Deployment", "prod-router")["spec"]["replicas"], 2);
        let scaled = objects(json!({ "routers": 2, "autoscale": { "maxRouters": 9, "connections": 5000 } }));
        assert_eq!(find(&scaled, "Deployment", "prod-router")["spec"].get("replicas"), None);
        let scaler = &find(&scaled, "HorizontalPodAutoscaler", "prod-router")["spec"];
        assert_eq!((&scaler["minReplicas"], &scaler["maxReplicas"]), (&json!(2), &json!(9)));
        assert_eq!(scaler["metrics"][0]["pods"]["target"]["averageValue"], "5000");
    }

    #[test]
    fn the_volume_of_a_node_stays_unless_the_fleet_says_otherwise() {
        for (target, word) in [(json!({}), "Retain"), (json!({ "storage": { "retain": false } }), "Delete")] {
            let objects = objects(target);
            let set = &find(&objects, "StatefulSet", "prod-node")["spec"];
            assert_eq!(
                set["persistentVolumeClaimRetentionPolicy"],
                json!({ "whenDeleted": word, "whenScaled": word })
            );
        }
    }
}
