//! A fixed result, for the tests of everything that reads one.

use super::result::{
    API_VERSION, BenchResult, Cost, CostSource, Distribution, Host, Integrity, Interval, KIND_RESULT,
    Latencies, Load, Quantiles, Rates, RunContext, Shape, SizeDescription, Validity, Wire,
};

/// A valid open-loop run of 20,000 messages per second.
pub(crate) fn result() -> BenchResult {
    let e2e = distribution([112.0, 251.4, 240.0, 377.0, 512.0, 940.0, 3_400.0, 7_700.0, 11_200.0]);
    BenchResult {
        api_version: API_VERSION.into(),
        kind: KIND_RESULT.into(),
        context: context(),
        load: load(),
        rates: Rates {
            elapsed_seconds: 10.0,
            target_per_second: Some(20_000.0),
            sent_per_second: 20_000.0,
            settled_per_second: 20_000.0,
            received_per_second: 20_000.0,
            sent_bytes_per_second: 20_480_000.0,
            received_bytes_per_second: 20_480_000.0,
        },
        latency: Latencies {
            delay: Some(distribution([1.0, 12.6, 11.0, 19.0, 24.0, 61.0, 400.0, 900.0, 1_200.0])),
            lag: Some(distribution([1.0, 8.2, 7.25, 14.0, 18.0, 42.0, 120.0, 300.0, 410.0])),
            ack: Some(distribution([98.0, 221.0, 212.0, 318.0, 430.0, 801.0, 2_900.0, 6_100.0, 9_000.0])),
            e2e: Some(e2e),
            rtt: None,
            connect: None,
        },
        intervals: (0..10).map(interval).collect(),
        integrity: Integrity {
            sent: 300_000,
            accepted: 300_000,
            received: 300_000,
            longest_silence_seconds: Some(0.0112),
            ..Integrity::default()
        },
        cost: Some(Cost {
            source: CostSource::Process { pid: 4711, name: "mqd".into() },
            cpu_seconds: 0.38,
            cores: 0.038,
            cpu_us_per_message: Some(1.9),
            resident_before: 6_291_456,
            resident_peak: 12_582_912,
            resident_after: 9_437_184,
        }),
        storm: None,
        validity: Validity {
            valid: true,
            reasons: Vec::new(),
            notes: vec!["the generator shares its cores with the target".into()],
            generator_cpu: 0.42,
            generator_busy: 0.55,
            elsewhere_cores: Some(0.04),
        },
    }
}

/// The same run with every latency times `factor`, and the rate divided by it.
pub(crate) fn scaled(factor: f64) -> BenchResult {
    let mut run = result();
    let latencies = &mut run.latency;
    let series = [&mut latencies.delay, &mut latencies.ack, &mut latencies.e2e];
    for distribution in series.into_iter().flatten() {
        for figure in [
            &mut distribution.min_us,
            &mut distribution.mean_us,
            &mut distribution.p50_us,
            &mut distribution.p90_us,
            &mut distribution.p95_us,
            &mut distribution.p99_us,
            &mut distribution.p99_9_us,
            &mut distribution.p99_99_us,
            &mut distribution.max_us,
        ] {
            *figure *= factor;
        }
    }
    run.rates.received_per_second /= factor;
    run
}

fn context() -> RunContext {
    RunContext {
        name: "telemetry".into(),
        command_line: ["mq", "bench", "telemetry", "--rate", "20k"].map(str::to_owned).to_vec(),
        started_at: "2026-11-22T21:00:00Z".parse().expect("a timestamp"),
        mq_version: "0.1.0".into(),
        client: "mq-amqp 0.1.0".into(),
        target: "amqp://127.0.0.1:5672".into(),
        target_product: Some("mqd 0.1.0".into()),
        host: Host {
            system: "linux".into(),
            architecture: "x86_64".into(),
            kernel: Some("6.8.0".into()),
            cpu_model: Some("Example CPU <R> & Co".into()),
            cores: 2,
        },
    }
}

fn load() -> Load {
    Load {
        shape: Shape::Pipe,
        protocol: Wire::Amqp,
        address: "telemetry".into(),
        senders: 4,
        receivers: 4,
        connections: 8,
        links: 1,
        rate: Some(20_000),
        ramp: Vec::new(),
        size: SizeDescription::Fixed(1_024),
        settled: false,
        durable: true,
        credit: 200,
        in_flight: 200,
        qos: None,
        mqtt_version: None,
        tls: false,
        warmup_seconds: 5.0,
        duration_seconds: Some(10.0),
        count: None,
        seed: 7,
    }
}

/// Minimum, mean, the percentiles from 50 on, maximum; the histogram itself is left out.
fn distribution(figures: [f64; 9]) -> Distribution {
    let [min_us, mean_us, p50_us, p90_us, p95_us, p99_us, p99_9_us, p99_99_us, max_us] = figures;
    Distribution {
        count: 200_000,
        min_us,
        mean_us,
        stdev_us: mean_us / 2.0,
        p50_us,
        p90_us,
        p95_us,
        p99_us,
        p99_9_us,
        p99_99_us,
        max_us,
        beyond: 0,
        histogram: String::new(),
    }
}

/// A second; they differ from each other by up to six percent.
fn interval(second: u32) -> Interval {
    let wave = 1.0 + 0.02 * f64::from(second % 4);
    let quantiles = |p50_us: f64| Quantiles {
        count: 20_000,
        mean_us: 1.05 * p50_us * wave,
        p50_us: p50_us * wave,
        p90_us: 1.5 * p50_us * wave,
        p99_us: 4.0 * p50_us * wave,
        p99_9_us: 14.0 * p50_us * wave,
        max_us: 40.0 * p50_us * wave,
    };
    Interval {
        start_seconds: f64::from(second),
        seconds: 1.0,
        sent: 20_000,
        settled: 20_000,
        received: 20_000,
        delay: Some(quantiles(11.0)),
        ack: Some(quantiles(212.0)),
        e2e: Some(quantiles(240.0)),
        rtt: None,
        connect: None,
    }
}
