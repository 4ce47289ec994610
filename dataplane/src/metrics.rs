//! The node's metrics. Labels are bounded: workers, neighbours, directions, outcomes, reasons and a number of
//! address spaces, never addresses, connections or users.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mq_model::admin;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::connectors::Figures;
use crate::hub::{MqttStatistics, ShardStatistics};
use crate::process::Usage;
use crate::usage::{Limit, SpaceFigures};

/// The metrics of a node, once they are registered. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    latest: Arc<Mutex<Snapshot>>,
    /// Requests of the admin API.
    pub(crate) requests: Family<RequestLabels, Counter>,
}

/// What a request of the admin API came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The method of a route, `other` when there is no such route.
    pub(crate) method: &'static str,
    /// The pattern of the route, empty when there is none.
    pub(crate) route: String,
    pub(crate) status: u16,
}

/// Everything that is read anew for each scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// One entry per worker that answered.
    pub(crate) shards: Vec<ShardStatistics>,
    pub(crate) addresses: u64,
    pub(crate) is_ready: bool,
    /// Connections refused, by reason.
    pub(crate) refused: [(&'static str, u64); 3],
    /// How the message log is, when the node has one.
    pub(crate) store: Option<admin::Store>,
    /// What is shown to clients that speak TLS, when any do.
    pub(crate) certificate: Option<admin::NodeCertificate>,
    /// The other nodes of the fleet, when it belongs to one.
    pub(crate) mesh: Option<MeshFigures>,
    /// What address spaces take, in the order of their names.
    pub(crate) spaces: Vec<SpaceFigures>,
    /// Connections that this node opens to other brokers.
    pub(crate) connectors: Figures,
    pub(crate) usage: Usage,
    /// Seconds since the epoch.
    pub(crate) start_seconds: f64,
}

/// How the node and the others of its fleet get on.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeshFigures {
    /// Nodes that can be reached, this one included.
    pub(crate) nodes: u64,
    /// Every neighbour that there has been, by name.
    pub(crate) neighbours: Vec<(String, NeighbourFigures)>,
}

/// What went to a neighbour and came from it since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NeighbourFigures {
    pub(crate) connections: u64,
    /// In and out.
    pub(crate) bytes: [u64; 2],
    pub(crate) frames: [u64; 2],
    /// Segments on their way to others that there was no room for.
    pub(crate) dropped: u64,
    /// Segments that were sent to the node again.
    pub(crate) retransmitted: u64,
    pub(crate) round_trip_micros: Option<u64>,
    /// Connections that came about, and that were lost.
    pub(crate) ups: u64,
    pub(crate) downs: u64,
}

impl Metrics {
    /// Adds the node's metrics to a registry.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let version = ("version", env!("CARGO_PKG_VERSION"));
        registry.register("mq_build", "The daemon that runs", Info::new([version]));
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("mq_admin_requests", "Requests of the admin API", requests.clone());
        let latest = Arc::new(Mutex::new(Snapshot::default()));
        registry.register_collector(Box::new(Latest(latest.clone())));
        Self { latest, requests }
    }

    /// What the next scrape shows.
    pub(crate) fn set(&self, snapshot: Snapshot) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

/// The content type of the text that a scrape answers with.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Latest(Arc<Mutex<Snapshot>>);

impl Collector for Latest {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut page = Page { encoder };
        page.shards(&snapshot.shards)?;
        page.node(&snapshot)?;
        if let Some(store) = &snapshot.store {
            page.store(store)?;
        }
        if let Some(mesh) = &snapshot.mesh {
            page.mesh(mesh)?;
        }
        page.spaces(&snapshot.spaces)?;
        page.connectors(snapshot.connectors)?;
        page.process(&snapshot)
    }
}

/// Address spaces that have figures of their own; those of the others are added up under an empty name.
const MAX_SPACES: usize = 256;

/// Writes families of constants.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

type PerShard = fn(&ShardStatistics) -> u64;

type PerNeighbour<T> = fn(&NeighbourFigures) -> T;

/// A family of one value for each neighbour: its name, what it says, its unit, and the value.
type Shape<'a, T> = (&'a str, &'a str, Option<&'a Unit>, PerNeighbour<T>);

impl Page<'_> {
    fn shards(&mut self, shards: &[ShardStatistics]) -> fmt::Result {
        let gauges: [(&str, &str, PerShard); 6] = [
            ("mq_connections", "Client connections", |shard| shard.connections),
            ("mq_sessions", "Sessions of client connections", |shard| shard.sessions),
            ("mq_producers", "Links on which clients send", |shard| shard.producers),
            ("mq_consumers", "Links on which clients receive", |shard| shard.consumers),
            ("mq_undelivered", "Deliveries received and not yet handed to a consumer", |shard| {
                shard.undelivered
            }),
            ("mq_unsettled", "Deliveries handed to a consumer and not yet settled", |shard| shard.unsettled),
        ];
        for (name, help, value) in gauges {
            self.gauges(name, help, shards.iter().enumerate().map(|(index, shard)| (index, value(shard))))?;
        }
        let counters: [(&str, &str, PerShard); 3] = [
            ("mq_connections_opened", "Client connections since the start", |shard| shard.connections_opened),
            ("mq_dropped", "Pre-settled deliveries dropped by the overload policy", |shard| shard.dropped),
            ("mq_expired", "Deliveries whose time to live ran out", |shard| shard.expired),
        ];
        for (name, help, value) in counters {
            let values = shards.iter().enumerate().map(|(index, shard)| ([worker(index)], value(shard)));
            self.counters(name, help, None, values)?;
        }
        self.directions(shards)?;
        let outcomes = shards.iter().enumerate().flat_map(|(index, shard)| {
            let outcomes = shard.outcomes;
            let named = [
                ("accepted", outcomes.accepted),
                ("rejected", outcomes.rejected),
                ("released", outcomes.released),
                ("modified", outcomes.modified),
                ("presettled", outcomes.presettled),
            ];
            named.map(|(outcome, count)| ([worker(index), ("outcome", outcome.to_owned())], count))
        });
        self.counters("mq_outcomes", "Deliveries to consumers by outcome", None, outcomes)?;
        self.access(shards)?;
        self.mqtt(shards)?;
        self.tls(shards)
    }

    /// Who was let in, and what clients had no right to.
    fn access(&mut self, shards: &[ShardStatistics]) -> fmt::Result {
        let logins = shards.iter().enumerate().flat_map(|(index, shard)| {
            shard.logins.iter().map(move |((mechanism, outcome), count)| {
                let (mechanism, outcome) = ((*mechanism).to_owned(), (*outcome).to_owned());
                ([worker(index), ("mechanism", mechanism), ("outcome", outcome)], *count)
            })
        });
        let help = "Clients that said who they are, by how and by what came of it";
        self.counters("mq_logins", help, None, logins)?;
        let denials = shards.iter().enumerate().flat_map(|(index, shard)| {
            shard
                .denials
                .iter()
                .map(move |(right, count)| ([worker(index), ("right", right.name().to_owned())], *count))
        });
        self.counters("mq_denials", "What clients had no right to, by the right", None, denials)
    }

    fn connectors(&mut self, figures: Figures) -> fmt::Result {
        let help = sentence("Connectors that this node has, by how they are");
        let mut family = self.encoder.encode_descriptor("mq_connectors", &help, None, MetricType::Gauge)?;
        for (state, count) in [("connected", figures.connected), ("connecting", figures.connecting)] {
            ConstGauge::new(count as f64).encode(family.encode_family(&[("state", state)])?)?;
        }
        let help = "Tries of connectors to connect that have failed, and connections that were lost";
        self.counters("mq_connector_failures", help, None, std::iter::once(([], figures.failures)))
    }

    fn mesh(&mut self, mesh: &MeshFigures) -> fmt::Result {
        self.gauge("mq_mesh_nodes", "Nodes that can be reached, this one included", None, mesh.nodes as f64)?;
        let gauges: [Shape<'_, Option<f64>>; 2] = [
            ("mq_mesh_connections", "Connections to a neighbour", None, |neighbour| {
                Some(neighbour.connections as f64)
            }),
            ("mq_mesh_round_trip", "The last round trip to a neighbour", Some(&Unit::Seconds), |neighbour| {
                neighbour.round_trip_micros.map(|micros| micros as f64 / 1e6)
            }),
        ];
        for (name, help, unit, value) in gauges {
            let mut family =
                self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Gauge)?;
            for (neighbour, figures) in &mesh.neighbours {
                let Some(value) = value(figures) else { continue };
                let labels = [("neighbour", neighbour.clone())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        let directions: [Shape<'_, [u64; 2]>; 2] = [
            ("mq_mesh", "Bytes between the node and a neighbour", Some(&Unit::Bytes), |of| of.bytes),
            ("mq_mesh_frames", "Frames between the node and a neighbour", None, |of| of.frames),
        ];
        for (name, help, unit, value) in directions {
            let values = mesh.neighbours.iter().flat_map(|(neighbour, figures)| {
                let [inward, outward] = value(figures);
                [("in", inward), ("out", outward)].map(|(direction, count)| {
                    ([("neighbour", neighbour.clone()), ("direction", direction.to_owned())], count)
                })
            });
            self.counters(name, help, unit, values)?;
        }
        let counters: [(&str, &str, PerNeighbour<u64>); 4] = [
            ("mq_mesh_dropped", "Segments for others that there was no room for", |of| of.dropped),
            ("mq_mesh_retransmitted", "Segments that were sent to a node again", |of| of.retransmitted),
            ("mq_mesh_connects", "Connections to a neighbour that came about", |of| of.ups),
            ("mq_mesh_disconnects", "Connections to a neighbour that were lost", |of| of.downs),
        ];
        for (name, help, value) in counters {
            let values = mesh
                .neighbours
                .iter()
                .map(|(neighbour, figures)| ([("neighbour", neighbour.clone())], value(figures)));
            self.counters(name, help, None, values)?;
        }
        Ok(())
    }

    fn mqtt(&mut self, shards: &[ShardStatistics]) -> fmt::Result {
        let gauges: [(&str, &str, PerShard); 4] = [
            ("mq_mqtt_connections", "MQTT clients that are connected", |shard| shard.mqtt.connections),
            ("mq_mqtt_sessions", "Sessions of MQTT clients, connected or away", |shard| shard.mqtt.sessions),
            ("mq_mqtt_subscriptions", "Subscriptions of MQTT clients that are connected", |shard| {
                shard.mqtt.subscriptions
            }),
            ("mq_mqtt_retained", "Names for which a message is retained", |shard| shard.mqtt.retained),
        ];
        for (name, help, value) in gauges {
            self.gauges(name, help, shards.iter().enumerate().map(|(index, shard)| (index, value(shard))))?;
        }
        let counters: [(&str, &str, PerShard); 5] = [
            ("mq_mqtt_taken_over", "MQTT connections that another one of the client took over", |shard| {
                shard.mqtt.taken_over
            }),
            ("mq_mqtt_sessions_expired", "Sessions of MQTT clients whose time was over", |shard| {
                shard.mqtt.sessions_expired
            }),
            ("mq_mqtt_publishes_refused", "Messages from MQTT clients that were refused", |shard| {
                shard.mqtt.publishes_refused
            }),
            ("mq_mqtt_deliveries_rejected", "Messages that MQTT clients refused", |shard| {
                shard.mqtt.rejected
            }),
            ("mq_mqtt_expired", "Messages for MQTT clients whose time was over", |shard| shard.mqtt.expired),
        ];
        for (name, help, value) in counters {
            let values = shards.iter().enumerate().map(|(index, shard)| ([worker(index)], value(shard)));
            self.counters(name, help, None, values)?;
        }
        let by = |label: &'static str, values: fn(&MqttStatistics) -> Vec<(&'static str, u64)>| {
            let of = move |(index, shard): (usize, &ShardStatistics)| {
                values(&shard.mqtt)
                    .into_iter()
                    .map(move |(value, count)| ([worker(index), (label, value.to_owned())], count))
            };
            shards.iter().enumerate().flat_map(of).collect::<Vec<_>>().into_iter()
        };
        let connects = by("outcome", |mqtt| {
            let fresh = mqtt.connected.saturating_sub(mqtt.resumed);
            vec![("new", fresh), ("resumed", mqtt.resumed), ("refused", mqtt.refused)]
        });
        self.counters("mq_mqtt_connects", "CONNECTs of MQTT clients by what came of them", None, connects)?;
        let wills = by("outcome", |mqtt| vec![("published", mqtt.wills), ("refused", mqtt.wills_refused)]);
        self.counters("mq_mqtt_wills", "Wills of MQTT clients by what came of them", None, wills)?;
        let dropped = by("reason", |mqtt| {
            vec![
                ("slow", mqtt.dropped_slow),
                ("full", mqtt.dropped_full),
                ("large", mqtt.dropped_large),
                ("unfit", mqtt.dropped_unfit),
            ]
        });
        self.counters("mq_mqtt_dropped", "Messages for MQTT clients that were dropped", None, dropped)?;
        let by_qos = |(index, shard): (usize, &ShardStatistics)| {
            let directions = [("in", shard.mqtt.published), ("out", shard.mqtt.sent)];
            directions.into_iter().flat_map(move |(direction, counts)| {
                ["0", "1", "2"].into_iter().zip(counts).map(move |(qos, count)| {
                    let labels =
                        [worker(index), ("direction", direction.to_owned()), ("qos", qos.to_owned())];
                    (labels, count)
                })
            })
        };
        let publishes: Vec<_> = shards.iter().enumerate().flat_map(by_qos).collect();
        self.counters("mq_mqtt_publishes", "Messages from and to MQTT clients", None, publishes.into_iter())
    }

    fn tls(&mut self, shards: &[ShardStatistics]) -> fmt::Result {
        let handshakes = shards.iter().enumerate().flat_map(|(index, shard)| {
            let tls = shard.tls;
            let outcomes = [("full", tls.full), ("resumed", tls.resumed), ("failed", tls.failed)];
            outcomes.map(|(outcome, count)| ([worker(index), ("outcome", outcome.to_owned())], count))
        });
        let help = "TLS handshakes of clients by what came of them";
        self.counters("mq_tls_handshakes", help, None, handshakes)?;
        let postponed =
            shards.iter().enumerate().map(|(index, shard)| ([worker(index)], shard.tls.postponed));
        let help = "Steps of TLS handshakes that waited, because others had taken their share of the time";
        self.counters("mq_tls_handshakes_postponed", help, None, postponed)
    }

    fn directions(&mut self, shards: &[ShardStatistics]) -> fmt::Result {
        let deliveries = by_direction(shards, |shard| [shard.deliveries_in, shard.deliveries_out]);
        self.counters("mq_deliveries", "Deliveries from producers and to consumers", None, deliveries)?;
        let bytes = by_direction(shards, |shard| [shard.bytes_in, shard.bytes_out]);
        self.counters("mq_network", "Bytes from and to clients", Some(&Unit::Bytes), bytes)
    }

    fn node(&mut self, snapshot: &Snapshot) -> fmt::Result {
        self.gauge("mq_addresses", "Addresses of the node", None, snapshot.addresses as f64)?;
        self.gauge(
            "mq_ready",
            "Whether clients should be sent here: 1 or 0",
            None,
            f64::from(u8::from(snapshot.is_ready)),
        )?;
        let refused = snapshot.refused.iter().filter(|(reason, _)| !reason.is_empty());
        let refused = refused.map(|(reason, count)| ([("reason", (*reason).to_owned())], *count));
        self.counters("mq_connections_refused", "Client connections that were not served", None, refused)?;
        let Some(certificate) = &snapshot.certificate else { return Ok(()) };
        let help = "When the certificate ends that is shown to clients, since the epoch";
        self.gauge(
            "mq_tls_certificate_expiry",
            help,
            Some(&Unit::Seconds),
            certificate.expires.as_second() as f64,
        )?;
        if let Some(expires) = certificate.revocations_expire {
            let help = "When the first list of revoked client certificates is out of date, since the epoch";
            self.gauge(
                "mq_tls_revocation_list_expiry",
                help,
                Some(&Unit::Seconds),
                expires.as_second() as f64,
            )?;
        }
        let help = "Replacements of certificates and keys that were of no use, and changed nothing";
        self.counters("mq_tls_reload_failures", help, None, [([], certificate.reload_failures)].into_iter())
    }

    fn store(&mut self, store: &admin::Store) -> fmt::Result {
        let takes_messages = store.state == admin::StoreState::Ready;
        let help = "Whether the message log takes messages: 1 or 0";
        self.gauge("mq_store_ready", help, None, f64::from(u8::from(takes_messages)))?;
        self.gauge("mq_store_messages", "Messages in the message log", None, store.messages as f64)?;
        self.gauge("mq_store_segments", "Files of the message log", None, store.segments as f64)?;
        let help = "Bytes of the message log that are still wanted";
        self.gauge("mq_store_live", help, Some(&Unit::Bytes), store.live_bytes as f64)?;
        let help = "Bytes that the message log takes on the disk";
        self.gauge("mq_store_disk", help, Some(&Unit::Bytes), store.disk_bytes as f64)
    }

    fn spaces(&mut self, spaces: &[SpaceFigures]) -> fmt::Result {
        let spaces = bounded(spaces);
        let gauges = [
            ("mq_space_connections", "Client connections of an address space", None, Limit::Connections),
            ("mq_space_sessions", "AMQP sessions of an address space", None, Limit::Sessions),
            ("mq_space_links", "AMQP links of an address space", None, Limit::Links),
            ("mq_space_mqtt_sessions", "MQTT sessions of an address space", None, Limit::MqttSessions),
            (
                "mq_space_subscriptions",
                "Subscriptions of clients of an address space",
                None,
                Limit::Subscriptions,
            ),
            ("mq_space_stored_messages", "Messages stored for an address space", None, Limit::StoredMessages),
            ("mq_space_stored", "Bytes stored for an address space", Some(&Unit::Bytes), Limit::StoredBytes),
            ("mq_space_retained", "Retained messages of an address space", None, Limit::RetainedMessages),
        ];
        for (name, help, unit, limit) in gauges {
            let mut family =
                self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Gauge)?;
            for space in &spaces {
                let labels = [("space", space.name.to_string())];
                ConstGauge::new(space.held(limit) as f64).encode(family.encode_family(&labels)?)?;
            }
        }
        let refused = spaces.iter().flat_map(|space| {
            let refused = Limit::ALL.into_iter().map(|limit| (limit, space.refused(limit)));
            refused.filter(|(_, count)| *count > 0).map(|(limit, count)| {
                ([("space", space.name.to_string()), ("limit", limit.name().to_owned())], count)
            })
        });
        let help = "What was refused because an address space, or a user of it, is at a limit";
        self.counters("mq_space_refused", help, None, refused)?;
        let delayed = spaces.iter().map(|space| ([("space", space.name.to_string())], space.delayed));
        let help = "How often a client had to wait because it, or its address space, sends too fast";
        self.counters("mq_space_delayed", help, None, delayed)
    }

    fn process(&mut self, snapshot: &Snapshot) -> fmt::Result {
        let usage = snapshot.usage;
        let cpu = ConstCounter::new(usage.cpu.as_secs_f64());
        let help = "CPU time of the process, user and system";
        let metric = self.encoder.encode_descriptor(
            "process_cpu",
            &sentence(help),
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        cpu.encode(metric)?;
        let help = "When the process began, since the epoch";
        self.gauge("process_start_time", help, Some(&Unit::Seconds), snapshot.start_seconds)?;
        let optional = [
            ("process_resident_memory", "Resident memory", Some(&Unit::Bytes), usage.resident_bytes),
            ("process_threads", "Threads of the process", None, usage.threads),
            ("process_open_fds", "Open file descriptors", None, usage.open_files),
            ("process_max_fds", "File descriptors that may be open", None, usage.max_files),
        ];
        for (name, help, unit, value) in optional {
            if let Some(value) = value {
                self.gauge(name, help, unit, value as f64)?;
            }
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let metric = self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl Iterator<Item = (usize, u64)>) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?;
        for (index, value) in values {
            ConstGauge::new(value as f64).encode(family.encode_family(&[worker(index)])?)?;
        }
        Ok(())
    }

    fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl Iterator<Item = ([(&'static str, String); N], u64)>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, &sentence(help), unit, MetricType::Counter)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The registry ends the help of its own families with a full stop.
fn sentence(help: &str) -> String {
    format!("{help}.")
}

/// The first spaces, and the sum of all others.
fn bounded(spaces: &[SpaceFigures]) -> Vec<SpaceFigures> {
    let (shown, others) = spaces.split_at(spaces.len().min(MAX_SPACES));
    let mut shown = shown.to_vec();
    let sum = others.iter().cloned().reduce(|sum, other| sum.with(&other));
    shown.extend(sum.map(SpaceFigures::unnamed));
    shown
}

fn worker(index: usize) -> (&'static str, String) {
    ("worker", index.to_string())
}

fn by_direction(
    shards: &[ShardStatistics],
    values: fn(&ShardStatistics) -> [u64; 2],
) -> impl Iterator<Item = ([(&'static str, String); 2], u64)> {
    shards.iter().enumerate().flat_map(move |(index, shard)| {
        let [inward, outward] = values(shard);
        [("in", inward), ("out", outward)]
            .map(|(direction, count)| ([worker(index), ("direction", direction.to_owned())], count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(snapshot: Snapshot) -> String {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.set(snapshot);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn what_is_done_for_mqtt_is_counted_by_qos_and_reason() {
        let mqtt = MqttStatistics {
            connections: 4,
            connected: 9,
            resumed: 2,
            published: [1, 2, 3],
            sent: [4, 5, 6],
            dropped_full: 8,
            ..MqttStatistics::default()
        };
        let shards = vec![ShardStatistics { mqtt, ..ShardStatistics::default() }];
        let text = page(Snapshot { shards, ..Snapshot::default() });
        for line in [
            "mq_mqtt_connections{worker=\"0\"} 4",
            "mq_mqtt_connects_total{worker=\"0\",outcome=\"new\"} 7",
            "mq_mqtt_publishes_total{worker=\"0\",direction=\"in\",qos=\"2\"} 3",
            "mq_mqtt_publishes_total{worker=\"0\",direction=\"out\",qos=\"0\"} 4",
            "mq_mqtt_dropped_total{worker=\"0\",reason=\"full\"} 8",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn counters_carry_worker_and_direction_and_end_in_total() {
        let shard = ShardStatistics { deliveries_in: 7, bytes_out: 9, ..ShardStatistics::default() };
        let text = page(Snapshot { shards: vec![ShardStatistics::default(), shard], ..Snapshot::default() });
        for line in [
            "mq_deliveries_total{worker=\"1\",direction=\"in\"} 7",
            "mq_network_bytes_total{worker=\"1\",direction=\"out\"} 9",
            "mq_connections{worker=\"0\"} 0.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_version_is_a_label_of_the_build() {
        let version = env!("CARGO_PKG_VERSION");
        assert!(page(Snapshot::default()).contains(&format!("mq_build_info{{version=\"{version}\"}} 1")));
    }

    #[test]
    fn a_message_log_that_takes_nothing_more_is_not_ready() {
        let mut store = admin::Store {
            state: admin::StoreState::Ready,
            reason: None,
            directory: "store".into(),
            durability: mq_model::config::Durability::Fsync,
            live_bytes: 5,
            disk_bytes: 1 << 20,
            segments: 1,
            messages: 2,
        };
        let text = page(Snapshot { store: Some(store.clone()), ..Snapshot::default() });
        for line in ["mq_store_ready 1.0", "mq_store_messages 2.0", "mq_store_disk_bytes 1048576.0"] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        store.state = admin::StoreState::Full;
        let text = page(Snapshot { store: Some(store), ..Snapshot::default() });
        assert!(text.contains("mq_store_ready 0.0"), "{text}");
        assert!(!page(Snapshot::default()).contains("mq_store"), "a node without a log has no figures of it");
    }

    #[test]
    fn what_goes_to_neighbours_is_counted_by_their_names() {
        let figures = NeighbourFigures {
            connections: 4,
            bytes: [1, 2],
            frames: [3, 5],
            dropped: 6,
            retransmitted: 7,
            round_trip_micros: Some(250),
            ups: 8,
            downs: 9,
        };
        let silent = NeighbourFigures::default();
        let neighbours = vec![("node-2".to_owned(), figures), ("node-3".to_owned(), silent)];
        let text = page(Snapshot { mesh: Some(MeshFigures { nodes: 3, neighbours }), ..Snapshot::default() });
        for line in [
            "mq_mesh_nodes 3.0",
            "mq_mesh_connections{neighbour=\"node-2\"} 4.0",
            "mq_mesh_round_trip_seconds{neighbour=\"node-2\"} 0.00025",
            "mq_mesh_bytes_total{neighbour=\"node-2\",direction=\"out\"} 2",
            "mq_mesh_frames_total{neighbour=\"node-2\",direction=\"in\"} 3",
            "mq_mesh_dropped_total{neighbour=\"node-2\"} 6",
            "mq_mesh_retransmitted_total{neighbour=\"node-2\"} 7",
            "mq_mesh_connects_total{neighbour=\"node-2\"} 8",
            "mq_mesh_disconnects_total{neighbour=\"node-3\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(!text.contains("mq_mesh_round_trip_seconds{neighbour=\"node-3\"}"), "nothing is known of it");
        assert!(!page(Snapshot::default()).contains("mq_mesh"), "a node that is alone has none");
    }

    #[test]
    fn what_the_system_does_not_tell_is_left_out() {
        let text = page(Snapshot::default());
        assert!(!text.contains("process_resident_memory_bytes"), "{text}");
        let usage = Usage { resident_bytes: Some(4096), ..Usage::default() };
        let text = page(Snapshot { usage, ..Snapshot::default() });
        assert!(text.contains("process_resident_memory_bytes 4096.0"), "{text}");
    }
}
