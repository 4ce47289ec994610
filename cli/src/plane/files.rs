//! What RabbitMQ is started with: where it is on this machine, and the files that say how it runs.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use mq_model::config::{DaemonConfig, ListenerConfig};

use super::state::{Kept, write_private};
use crate::{
    deploy::local::create_private,
    failure::{Failure, Outcome},
};

/// The user that administers the broker.
pub(super) const ADMINISTRATOR: &str = "mq-admin";
/// Whom clients are that give no name.
pub(super) const ANONYMOUS: &str = "mq-anonymous";
/// Where Debian has the program that needs no rights: the one in `PATH` insists on a user of its own.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const PROGRAM: &str = "rabbitmq-server";
const PLUGINS: &str = "[rabbitmq_amqp1_0,rabbitmq_management,rabbitmq_mqtt,rabbitmq_prometheus].\n";
/// How often queues say what they count, in milliseconds.
const STATISTICS_INTERVAL: u32 = 1_000;

/// RabbitMQ as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    pub server: PathBuf,
}

impl Installation {
    /// # Errors
    ///
    /// It is not installed.
    pub fn find() -> Outcome<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
        let mut found = std::iter::once(PathBuf::from(DEBIAN)).chain(in_path).filter(|path| path.is_file());
        found.next().map(|server| Self { server }).ok_or_else(|| {
            Failure::failed("RabbitMQ is not installed: there is no `rabbitmq-server`")
                .help("install it, on Debian with `apt-get install rabbitmq-server`")
        })
    }
}

/// Writes what the broker reads when it starts, into its folder.
pub(super) fn write(config: &DaemonConfig, kept: &Kept, home: &Path) -> Outcome {
    create_private(home)?;
    write_private(&home.join("rabbitmq.conf"), settings(config, kept).as_bytes())?;
    write_private(&home.join("enabled_plugins"), PLUGINS.as_bytes())?;
    write_private(&home.join(".erlang.cookie"), kept.cookie.expose().as_bytes())
}

/// The settings, in RabbitMQ's own format.
fn settings(config: &DaemonConfig, kept: &Kept) -> String {
    let place = |listener: &ListenerConfig| format!("{}:{}", listener.host, listener.port);
    let amqp = place(&config.listeners.amqp);
    let mut text = format!("listeners.tcp.1 = {amqp}\namqp1_0.default_user = {ANONYMOUS}\n");
    let mut set = |name: &str, value: &str| {
        // Text without an end cannot fail.
        let _ = writeln!(text, "{name} = {value}");
    };
    if config.listeners.mqtt.enabled {
        set("mqtt.listeners.tcp.1", &place(&config.listeners.mqtt));
    } else {
        set("mqtt.listeners.tcp", "none");
    }
    set("mqtt.allow_anonymous", "true");
    set("mqtt.default_user", ANONYMOUS);
    set("mqtt.default_pass", kept.anonymous_password.expose());
    set("mqtt.exchange", "amq.topic");
    for (name, port) in [("management", kept.management_port), ("prometheus", kept.metrics_port)] {
        set(&format!("{name}.tcp.ip"), "127.0.0.1");
        set(&format!("{name}.tcp.port"), &port.to_string());
    }
    set("default_user", ADMINISTRATOR);
    set("default_pass", kept.password.expose());
    set("default_user_tags.administrator", "true");
    set(&format!("loopback_users.{ADMINISTRATOR}"), "true");
    set("collect_statistics_interval", &STATISTICS_INTERVAL.to_string());
    set("log.console", "true");
    set("log.console.stdio", "stderr");
    set("log.console.use_colors", "off");
    set("log.console.level", level(&config.log.filter));
    set("log.file", "false");
    text
}

/// What RabbitMQ calls a level of the log.
fn level(filter: &str) -> &str {
    match filter {
        "warn" => "warning",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use mq_model::Secret;

    use super::*;

    fn kept() -> Kept {
        Kept {
            epmd_port: 1,
            distribution_port: 2,
            management_port: 3,
            metrics_port: 4,
            cookie: Secret::new("cookie"),
            password: Secret::new("password"),
            anonymous_password: Secret::new("nobody"),
        }
    }

    #[test]
    fn clients_get_in_where_the_configuration_says_and_administration_stays_on_loopback() {
        let mut config = DaemonConfig::embedded("state");
        config.listeners.amqp.host = "0.0.0.0".into();
        let text = settings(&config, &kept());
        for line in [
            "listeners.tcp.1 = 0.0.0.0:5672",
            "mqtt.listeners.tcp.1 = 127.0.0.1:1883",
            "management.tcp.ip = 127.0.0.1",
            "management.tcp.port = 3",
            "loopback_users.mq-admin = true",
            "log.console.level = info",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("cookie"), "{text}");
    }

    #[test]
    fn a_listener_that_is_off_is_none() {
        let mut config = DaemonConfig::embedded("state");
        config.listeners.mqtt.enabled = false;
        let text = settings(&config, &kept());
        assert!(text.contains("mqtt.listeners.tcp = none\n") && !text.contains("1883"), "{text}");
    }
}
