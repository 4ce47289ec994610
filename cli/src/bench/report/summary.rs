//! The figures of several runs of one load, as medians: what every report for people shows.

use crate::{
    bench::{
        compare,
        metric::{Metric, Series, Statistic, Unit},
        noise::median,
        result::{BenchResult, Integrity, Shape},
    },
    shape,
};

/// The figures of a stage.
pub(super) struct Summary<'a> {
    runs: &'a [BenchResult],
}

/// A word and the count that it stands for.
type Count = (&'static str, fn(&Integrity) -> u64);

/// One latency: its name and the figures of [`Statistic::SHOWN`], with their units.
pub(super) struct Latency {
    pub(super) series: Series,
    pub(super) figures: Vec<String>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(runs: &'a [BenchResult]) -> Self {
        Self { runs }
    }

    fn first(&self) -> Option<&BenchResult> {
        self.runs.first()
    }

    /// What ran: shape, target, parties, sizes, guarantees, rate, time.
    pub(super) fn load(&self) -> Vec<String> {
        let Some(run) = self.first() else { return Vec::new() };
        let load = &run.load;
        let shape_name = format!("{:?}", load.shape).to_lowercase();
        let target = run.context.target.trim_end_matches('/');
        let place = match load.address.as_str() {
            "" => format!("{shape_name} {target}"),
            address => format!("{shape_name} {target}/{address}"),
        };
        if load.shape == Shape::Connect {
            let mut parts = vec![
                place,
                connections(load.connections),
                load.rate.map_or_else(String::new, |rate| format!("{}/s", shape::number(rate))),
                self.repetition(),
            ];
            parts.retain(|part| !part.is_empty());
            return parts;
        }
        let mut parts =
            vec![place, format!("{}→{} on {}", load.senders, load.receivers, connections(load.connections))];
        // What others send, and how fast, is not known.
        if load.shape == Shape::Recv {
            parts.extend(load.qos.map(|qos| format!("QoS {qos}")));
        } else {
            parts.push(format!("{}{}", compare::size(&load.size), self.guarantees()));
            parts.push(if load.is_open_loop() {
                format!("{} open loop", compare::rate(load))
            } else {
                "closed loop: latencies are service times".into()
            });
        }
        if load.warmup_seconds > 0.0 {
            parts.push(format!("warm-up {} s", load.warmup_seconds));
        }
        parts.push(format!("measured {:.1} s", run.rates.elapsed_seconds));
        parts.push(self.repetition());
        parts.retain(|part| !part.is_empty());
        parts
    }

    fn guarantees(&self) -> String {
        let Some(run) = self.first() else { return String::new() };
        let durable = if run.load.durable { " durable" } else { "" };
        match (run.load.qos, run.load.settled) {
            (Some(qos), _) => format!("{durable} QoS {qos}"),
            (None, true) => format!("{durable} pre-settled"),
            (None, false) => format!("{durable} unsettled"),
        }
    }

    fn repetition(&self) -> String {
        if self.runs.len() > 1 { format!("medians of {} runs", self.runs.len()) } else { String::new() }
    }

    /// Who ran it: client, target, machine.
    pub(super) fn context(&self) -> Vec<String> {
        let Some(run) = self.first() else { return Vec::new() };
        let context = &run.context;
        let product = match (&context.target_product, run.load.mqtt_version) {
            (Some(product), _) => product.clone(),
            // No MQTT server says what it is.
            (None, Some(version)) => format!("speaks MQTT {}", version.name()),
            (None, None) => "does not say what it is".into(),
        };
        let cores = shape::plural(context.host.cores.into(), "core");
        let machine = match &context.host.cpu_model {
            Some(model) => format!("{cores} of {model}"),
            None => cores,
        };
        vec![
            format!("client {}", context.client),
            format!("target {product}"),
            format!("mq {} on {machine}", context.mq_version),
            format!("started {:.0}", context.started_at),
        ]
    }

    /// The median of a metric, with its unit.
    pub(super) fn figure(&self, name: &str) -> Option<String> {
        let metric = Metric::parse(name).ok()?;
        Some(metric.unit().show(self.number(metric)?))
    }

    fn number(&self, metric: Metric) -> Option<f64> {
        let figures: Vec<f64> = self.runs.iter().filter_map(|run| metric.read(run)).collect();
        median(&figures)
    }

    /// The rates that the runs have.
    pub(super) fn rates(&self) -> Vec<String> {
        let Some(run) = self.first() else { return Vec::new() };
        let target = run.rates.target_per_second.map(|rate| format!("target {}", Unit::Rate.show(rate)));
        let mut parts: Vec<String> = target.into_iter().collect();
        let rates = [
            ("sent", run.rates.sent_per_second, "sent.rate"),
            ("settled", run.rates.settled_per_second, "settled.rate"),
            ("received", run.rates.received_per_second, "received.rate"),
        ];
        for (word, figure, metric) in rates {
            // What a storm settles is connections, which have a line of their own.
            if figure > 0.0 && run.storm.is_none() {
                parts.extend(self.figure(metric).map(|shown| format!("{word} {shown}")));
            }
        }
        let bandwidth = if run.rates.received_per_second > 0.0 { "received" } else { "sent" };
        if run.rates.sent_per_second + run.rates.received_per_second > 0.0 {
            parts.extend(self.figure(&format!("{bandwidth}.bandwidth")));
        }
        if run.storm.is_some() {
            parts.extend(self.figure("opened.rate").map(|shown| format!("opened {shown}")));
        }
        parts
    }

    /// The latencies that the runs have.
    pub(super) fn latencies(&self) -> Vec<Latency> {
        Series::ALL.into_iter().rev().filter_map(|series| self.latency(series)).collect()
    }

    fn latency(&self, series: Series) -> Option<Latency> {
        let figures: Option<Vec<String>> = Statistic::SHOWN
            .into_iter()
            .map(|statistic| self.number(Metric::Latency(series, statistic)).map(|us| Unit::Time.show(us)))
            .collect();
        figures.map(|figures| Latency { series, figures })
    }

    /// The sums over all runs of what became of the messages; what did not happen and rarely does
    /// is left out.
    pub(super) fn integrity(&self) -> Vec<String> {
        let total = |read: fn(&Integrity) -> u64| -> u64 {
            self.runs.iter().map(|run| read(&run.integrity)).fold(0, u64::saturating_add)
        };
        let has_messages = total(|run| run.sent) + total(|run| run.received) > 0;
        let always: [Count; 6] = [
            ("sent", |run| run.sent),
            ("received", |run| run.received),
            ("lost", |run| run.lost),
            ("duplicated", |run| run.duplicated),
            ("reordered", |run| run.reordered),
            ("reconnects", |run| run.reconnects),
        ];
        let rarely: [Count; 8] = [
            ("released", |run| run.released),
            ("rejected", |run| run.rejected),
            ("modified", |run| run.modified),
            ("in doubt", |run| run.in_doubt),
            ("gaps", |run| run.gaps),
            ("corrupted", |run| run.corrupted),
            ("foreign", |run| run.foreign),
            ("timed out", |run| run.timed_out),
        ];
        let always = always.into_iter().filter(|_| has_messages).map(|(word, read)| (word, total(read)));
        let rarely =
            rarely.into_iter().map(|(word, read)| (word, total(read))).filter(|(_, count)| *count > 0);
        let mut parts: Vec<String> =
            always.chain(rarely).map(|(word, count)| format!("{} {word}", shape::number(count))).collect();
        let outage = self.runs.iter().map(|run| run.integrity.longest_outage_seconds).fold(0.0, f64::max);
        if outage > 0.0 {
            parts.push(format!("longest outage {}", Unit::Time.show(outage * 1e6)));
        }
        if self.runs.iter().any(|run| run.integrity.incomplete) {
            parts.push("lost, duplicated and gaps are lower bounds".into());
        }
        parts.extend(self.storm());
        parts
    }

    fn storm(&self) -> Vec<String> {
        let storms: Vec<_> = self.runs.iter().filter_map(|run| run.storm.as_ref()).collect();
        if storms.is_empty() {
            return Vec::new();
        }
        let sum = |read: fn(&crate::bench::result::Storm) -> u64| -> String {
            shape::number(storms.iter().map(|storm| read(storm)).fold(0, u64::saturating_add))
        };
        let mut parts = vec![
            format!("{} wanted", sum(|storm| storm.wanted)),
            format!("{} opened", sum(|storm| storm.opened)),
            format!("{} failed", sum(|storm| storm.failed)),
            format!("{} alive at the end", sum(|storm| storm.alive)),
        ];
        parts.extend(storms.iter().find_map(|storm| storm.first_error.clone()));
        parts
    }

    /// What it cost the target.
    pub(super) fn cost(&self) -> Vec<String> {
        let is_storm = self.first().is_some_and(|run| run.storm.is_some());
        let figures = [
            ("cpu.per_message", if is_storm { "CPU per connection" } else { "CPU per message" }),
            ("cpu.cores", "cores"),
            ("memory.peak", "resident at most"),
            ("memory.per_connection", "per connection"),
        ];
        figures
            .into_iter()
            .filter_map(|(name, word)| Some(format!("{} {word}", self.figure(name)?)))
            .collect()
    }

    /// What a reader should know, each said once.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.said(|run| &run.validity.notes);
        notes.extend(self.elsewhere());
        notes
    }

    /// Why runs are invalid, each reason said once.
    pub(super) fn invalid(&self) -> Vec<String> {
        self.said(|run| &run.validity.reasons)
    }

    fn said(&self, read: fn(&BenchResult) -> &[String]) -> Vec<String> {
        let mut said: Vec<String> = Vec::new();
        for text in self.runs.iter().flat_map(read) {
            if !said.contains(text) {
                said.push(text.clone());
            }
        }
        said
    }

    /// What other programs used of this machine, when it may have mattered.
    fn elsewhere(&self) -> Option<String> {
        /// Less than this part of a core is what any machine does besides.
        const WORTH_SAYING: f64 = 0.15;
        let cores: Vec<f64> = self.runs.iter().filter_map(|run| run.validity.elsewhere_cores).collect();
        let cores = median(&cores).filter(|cores| *cores >= WORTH_SAYING)?;
        let all = shape::plural(self.first()?.context.host.cores.into(), "core");
        Some(format!("other programs used {cores:.1} of {all} meanwhile"))
    }
}

fn connections(count: u32) -> String {
    shape::plural(count.into(), "connection")
}
