//! What `send`, `request`, `reply` and `recv` have in common: building messages, running commands,
//! printing what came.

use std::{path::Path, process::Stdio, time::Duration};

use fe2o3_amqp::types::{
    messaging::{
        ApplicationProperties, Body, Header, Message, MessageAnnotations, Priority, Properties,
        annotations::OwnedKey,
    },
    primitives::{OrderedMap, SimpleValue, Value as Amqp},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;

use super::files;
use crate::{
    args::message::{MessageFields, RecordFormat},
    failure::{Failure, Outcome, reason},
    output::Output,
    record::{self, AnyMessage, Reception},
    value,
};

/// The largest body that is read from a file or from a command: it is held in memory.
pub(super) const MAX_BODY: u64 = 1 << 30;

/// When a queue delivers a message: a time in milliseconds since 1970, and a delay in milliseconds.
const DELIVERY_TIME: &str = "x-opt-delivery-time";
const DELIVERY_DELAY: &str = "x-opt-delivery-delay";
/// Whether a topic retains the message.
const RETAIN: &str = "x-opt-mqtt-retain";
/// What a message of a last-value queue is the last value of.
const LAST_VALUE_KEY: &str = "x-opt-last-value-key";

/// The parts of a message besides its body, checked once and used for every message.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    durable: bool,
    priority: Option<u8>,
    ttl: Option<u32>,
    /// Name and text of each property.
    properties: Vec<(String, String)>,
    annotations: Vec<(String, Amqp)>,
    application: Vec<(String, SimpleValue)>,
}

impl Fields {
    pub(super) fn parse(args: &MessageFields) -> Outcome<Self> {
        let mut fields = Self {
            durable: args.durable,
            priority: args.priority,
            ttl: args.ttl,
            properties: properties(args)?,
            annotations: annotations(args)?,
            application: Vec::new(),
        };
        for text in &args.headers {
            let (key, value) = typed("--header", text)?;
            let value =
                value::simple(value).map_err(|why| Failure::usage(format!("--header {key}: {why}")))?;
            fields.application.push((key, value));
        }
        Ok(fields)
    }

    /// What the flags say of application properties: also a name that is said twice.
    pub(super) fn application(&self) -> &[(String, SimpleValue)] {
        &self.application
    }

    /// Has a topic retain the message.
    pub(super) fn retain(&mut self) {
        self.annotations.push((RETAIN.to_owned(), Amqp::Bool(true)));
    }

    pub(super) fn message(&self, body: Body<Amqp>) -> AnyMessage {
        let mut message = Message::from(body);
        self.put(&mut message);
        message
    }

    /// Puts what was asked for over what the message says.
    pub(super) fn put(&self, message: &mut AnyMessage) {
        if self.durable || self.priority.is_some() || self.ttl.is_some() {
            let header = message.header.get_or_insert_with(Header::default);
            header.durable |= self.durable;
            header.ttl = self.ttl.or(header.ttl);
            if let Some(priority) = self.priority {
                header.priority = Priority(priority);
            }
        }
        if !self.properties.is_empty() {
            let into = message.properties.get_or_insert_with(Properties::new);
            for (name, text) in &self.properties {
                // It has been tried, when the command line was read.
                let _ = record::set_property_text(into, name, text);
            }
        }
        if !self.annotations.is_empty() {
            let empty = || MessageAnnotations(OrderedMap::new());
            let into = message.message_annotations.get_or_insert_with(empty);
            for (name, value) in &self.annotations {
                into.0.insert(OwnedKey::from(name.as_str()), value.clone());
            }
        }
        if !self.application.is_empty() {
            let empty = || ApplicationProperties(OrderedMap::new());
            let into = message.application_properties.get_or_insert_with(empty);
            for (key, value) in &self.application {
                into.0.insert(key.clone(), value.clone());
            }
        }
    }
}

fn properties(args: &MessageFields) -> Outcome<Vec<(String, String)>> {
    let mut properties = Vec::new();
    for text in &args.properties {
        let (name, value) = text.split_once('=').ok_or_else(|| no_value("--property", text))?;
        record::set_property_text(&mut Properties::new(), name, value).map_err(|why| {
            Failure::usage(format!("--property {name}: {why}")).help("see `mq send --help`")
        })?;
        properties.push((name.to_owned(), value.to_owned()));
    }
    for (name, value) in [
        ("message-id", &args.message_id),
        ("group-id", &args.group),
        ("content-type", &args.content_type),
        ("reply-to", &args.reply_to),
        ("correlation-id", &args.correlation_id),
    ] {
        if let Some(value) = value {
            record::set_property_text(&mut Properties::new(), name, value)
                .map_err(|why| Failure::usage(format!("--{name}: {why}")))?;
            properties.push((name.to_owned(), value.clone()));
        }
    }
    Ok(properties)
}

fn annotations(args: &MessageFields) -> Outcome<Vec<(String, Amqp)>> {
    let mut annotations = Vec::new();
    for text in &args.annotations {
        let (name, value) = typed("--annotation", text)?;
        value::symbol(&name).map_err(|why| Failure::usage(format!("--annotation: {why}")))?;
        annotations.push((name, value));
    }
    if let Some(delay) = args.delay {
        annotations.push((DELIVERY_DELAY.to_owned(), Amqp::Long(delay.into())));
    }
    if let Some(at) = args.at {
        annotations.push((DELIVERY_TIME.to_owned(), Amqp::Long(at.as_millisecond())));
    }
    if let Some(key) = &args.last_value_key {
        annotations.push((LAST_VALUE_KEY.to_owned(), Amqp::String(key.clone())));
    }
    Ok(annotations)
}

/// `key=text`, `key:text` or `key:=json`.
fn typed(flag: &str, text: &str) -> Outcome<(String, Amqp)> {
    let position = text.find([':', '=']).ok_or_else(|| no_value(flag, text))?;
    let (key, rest) = text.split_at(position);
    if key.is_empty() {
        return Err(Failure::usage(format!("{flag} `{text}`: the key is missing")));
    }
    let Some(json) = rest.strip_prefix(":=") else {
        // The sign itself, one byte of ASCII, is not part of the value.
        return Ok((key.to_owned(), Amqp::String(rest.get(1..).unwrap_or_default().to_owned())));
    };
    let value = serde_json::from_str(json).map_err(|_| {
        Failure::usage(format!("{flag} {key}: `{json}` is not JSON")).help("write text with `=`")
    })?;
    let value =
        value::value_from_json(&value).map_err(|why| Failure::usage(format!("{flag} {key}: {why}")))?;
    Ok((key.to_owned(), value))
}

fn no_value(flag: &str, text: &str) -> Failure {
    Failure::usage(format!("{flag} `{text}` has no value")).help(format!("write {flag} name=value"))
}

/// The body that the flags say, when they say one.
pub(super) fn body(body: Option<&String>, message: Option<&String>, file: Option<&Path>) -> Outcome<Vec<u8>> {
    match (body.or(message), file) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(path)) => {
            let bytes = files::read(path, MAX_BODY + 1)?;
            if bytes.len() as u64 > MAX_BODY {
                return Err(Failure::usage(format!("{} is larger than 1 GiB", path.display())));
            }
            Ok(bytes)
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// Prints one message in the format that was asked for.
pub(super) fn print(
    message: &AnyMessage,
    reception: Reception<'_>,
    format: RecordFormat,
    output: &mut Output,
) -> Outcome {
    match format {
        RecordFormat::Json => output.line(&record::to_json(message, reception).to_string()),
        RecordFormat::Raw => output.bytes(&record::body_bytes(&message.body)),
        RecordFormat::Text => {
            let mut line = record::body_bytes(&message.body);
            line.push(b'\n');
            output.bytes(&line)
        }
    }
}

/// How a command ended.
pub(super) enum Ran {
    Succeeded(Vec<u8>),
    /// With the reason, such as `exit status: 1`.
    Failed(String),
}

/// Runs a shell command with the body as its stdin; what it says on stderr is shown as it is.
pub(super) async fn run(command: &str, body: &[u8], address: &str, deadline: Duration) -> Outcome<Ran> {
    let cannot =
        |error: &std::io::Error| Failure::failed(format!("cannot run `{command}`: {}", reason(error)));
    let mut child = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("MQ_ADDRESS", address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn()
        .map_err(|error| cannot(&error))?;
    let mut group = Group::of(&child);
    let mut stdin = child.stdin.take();
    let feeding = async {
        if let Some(stdin) = &mut stdin {
            // A command that does not read its input is allowed to.
            let _ = stdin.write_all(body).await;
        }
        drop(stdin.take());
    };
    let finishing = async { tokio::join!(feeding, child.wait_with_output()).1 };
    let finished = tokio::time::timeout(deadline, finishing).await;
    if finished.is_ok() {
        group.release();
    }
    match finished {
        Err(_) => Ok(Ran::Failed(format!("not done within {}", crate::shape::elapsed(deadline)))),
        Ok(Err(error)) => Err(cannot(&error)),
        Ok(Ok(done)) if done.status.success() => Ok(Ran::Succeeded(done.stdout)),
        Ok(Ok(done)) => Ok(Ran::Failed(done.status.to_string())),
    }
}

/// The processes of a command: killed together when nobody waits for them any more, because the command took
/// too long or `mq` is told to stop. The shell alone would leave its children behind.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// The command has ended by itself; its id may soon be somebody else's.
    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_text_or_typed() {
        assert_eq!(typed("--header", "a=b:c").unwrap(), ("a".into(), Amqp::String("b:c".into())));
        assert_eq!(typed("--header", "a:b=c").unwrap(), ("a".into(), Amqp::String("b=c".into())));
        assert_eq!(typed("--header", "a:=5").unwrap(), ("a".into(), Amqp::Long(5)));
        assert_eq!(typed("--header", "a:=true").unwrap(), ("a".into(), Amqp::Bool(true)));
        assert_eq!(typed("--header", r#"a:={"i32":5}"#).unwrap(), ("a".into(), Amqp::Int(5)));
    }

    #[test]
    fn a_header_that_makes_no_sense_is_refused() {
        for (text, why) in [("a", "has no value"), ("=b", "key is missing"), ("a:=x", "is not JSON")] {
            let failure = typed("--header", text).unwrap_err();
            assert!(failure.message.contains(why), "{failure}");
        }
    }

    #[test]
    fn a_property_that_does_not_exist_is_refused() {
        let args = MessageFields { properties: vec!["nope=1".into()], ..MessageFields::default() };
        assert!(Fields::parse(&args).unwrap_err().message.contains("no such property"));
    }

    #[test]
    fn what_flags_say_goes_over_what_the_message_says() {
        let args = MessageFields {
            durable: true,
            priority: Some(9),
            delay: Some(5),
            at: None,
            group: Some("g".into()),
            headers: vec!["a:=2".into()],
            ..MessageFields::default()
        };
        let line = r#"{"header": {"ttl_ms": 7, "priority": 1}, "properties": {"subject": "s"},
            "application_properties": {"a": 1, "b": true}}"#;
        let (mut message, _) = record::from_json(line).unwrap();
        Fields::parse(&args).unwrap().put(&mut message);
        let header = message.header.unwrap();
        assert_eq!((header.durable, header.priority.0, header.ttl), (true, 9, Some(7)));
        let properties = message.properties.unwrap();
        assert_eq!((properties.subject.as_deref(), properties.group_id.as_deref()), (Some("s"), Some("g")));
        let application = message.application_properties.unwrap().0;
        assert_eq!(application.get("a"), Some(&SimpleValue::Long(2)));
        assert_eq!(application.get("b"), Some(&SimpleValue::Bool(true)));
        let annotations = message.message_annotations.unwrap().0;
        assert_eq!(annotations.get(&OwnedKey::from(DELIVERY_DELAY)), Some(&Amqp::Long(5)));
    }

    #[test]
    fn a_message_that_nothing_is_asked_of_stays_as_it_was() {
        let (mut message, _) = record::from_json("{}").unwrap();
        let before = message.clone();
        Fields::parse(&MessageFields::default()).unwrap().put(&mut message);
        assert_eq!(message, before);
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}; wait", file.display());
        let Ran::Failed(why) = run(&command, b"", "a", Duration::from_secs(1)).await.unwrap() else {
            panic!()
        };
        assert!(why.contains("not done within"), "{why}");
        let child = std::fs::read_to_string(&file).unwrap();
        // Gone, or dead and not yet collected: a dead process has no command line.
        let line = format!("/proc/{}/cmdline", child.trim());
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read(&line).is_ok_and(|line| !line.is_empty()) {
            assert!(std::time::Instant::now() < end, "the child {child} lives on");
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_command_gets_the_body_and_answers_or_fails() {
        let minute = Duration::from_secs(60);
        let Ran::Succeeded(answer) = run("tr a-z A-Z", b"abc", "a", minute).await.unwrap() else { panic!() };
        assert_eq!(answer, b"ABC");
        let Ran::Failed(why) = run("exit 3", &[0; 1 << 20], "a", minute).await.unwrap() else { panic!() };
        assert!(why.contains('3'), "{why}");
        let Ran::Failed(why) = run("sleep 60", b"", "a", Duration::from_millis(50)).await.unwrap() else {
            panic!()
        };
        assert!(why.contains("not done within"), "{why}");
    }
}
