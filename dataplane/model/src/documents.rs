//! Files with manifests, and the configuration file of the daemon: text in, values or every problem
//! out.

use std::collections::HashMap;
use std::ops::Range;

use serde::de::DeserializeOwned;

use crate::bench::{BENCH_KIND, Bench, BenchSpec};
use crate::check::{check, listed};
use crate::code::Code;
use crate::config::DaemonConfig;
use crate::connector::{CONNECTOR_KIND, Connector, ConnectorSpec};
use crate::dataplane::{self, Dataplane};
use crate::diagnostic::{Collector, Diagnostics, Finding, Findings, Lines};
use crate::grant::Grant;
use crate::manifest::{
    ADDRESS_KIND, API_VERSION, Address, AddressSpec, AddressType, FLEET_KIND, Fleet, FleetSpec, Metadata,
};
use crate::names::{shown, split_subscription};
use crate::schema::shapes;
use crate::shape::Shape;
use crate::space::{
    AddressSpace, AddressSpaceSpec, DEFAULT_SPACE, PROFILE_KIND, Profile, ProfileSpec, SPACE_KIND,
};
use crate::suggest::nearest;
use crate::user::{ROLE_KIND, Role, RoleSpec, USER_KIND, User, UserSpec};
use crate::validate::{self, Violation};
use crate::yaml::{self, MAX_BYTES, Node, Value};

/// The kinds of documents in manifest files.
const KINDS: [&str; 8] =
    [FLEET_KIND, ADDRESS_KIND, USER_KIND, ROLE_KIND, SPACE_KIND, PROFILE_KIND, CONNECTOR_KIND, BENCH_KIND];

/// The documents of the files of one command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    pub fleet: Option<Fleet>,
    /// In the order of the files; no name appears twice.
    pub spaces: Vec<AddressSpace>,
    /// In the order of the files; no name appears twice.
    pub profiles: Vec<Profile>,
    /// In the order of the files; no name appears twice in a space.
    pub addresses: Vec<Address>,
    /// In the order of the files; no name appears twice in a space.
    pub users: Vec<User>,
    /// In the order of the files; no name appears twice in a space.
    pub roles: Vec<Role>,
    /// In the order of the files; no name appears twice in a space.
    pub connectors: Vec<Connector>,
    /// In the order of the files; no name appears twice.
    pub benches: Vec<Bench>,
}

/// A file that somebody has read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The path as the user gave it; it appears in diagnostics.
    pub path: &'a str,
    pub bytes: &'a [u8],
}

impl Documents {
    /// Reads one file of YAML or JSON: any number of `Fleet` (at most one), `Address`, `User`, `Role`,
    /// `AddressSpace`, `Profile`, `Connector` and `Bench` documents in any order.
    ///
    /// # Errors
    ///
    /// Every problem of the file with its place. Behind a syntax error nothing is read.
    pub fn parse(path: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::parse_files(&[Source { path, bytes: text.as_bytes() }])
    }

    /// Reads the files of one command as if they were one. A file may have 1 MiB.
    ///
    /// # Errors
    ///
    /// Every problem of all files with its place, names that appear in two files included.
    pub fn parse_files(sources: &[Source<'_>]) -> Result<Self, Diagnostics> {
        let (mut documents, mut collector) = read_all(sources, Dataplane::default());
        // What a data plane can do is said at the addresses, which may stand before their fleet.
        let dataplane =
            documents.fleet.as_ref().map_or_else(Dataplane::default, |fleet| fleet.spec.dataplane);
        if !dataplane.is_default() {
            (documents, collector) = read_all(sources, dataplane);
        }
        collector.finish(Some(documents))
    }
}

/// The documents of files whose addresses are for this data plane, and what is wrong with them.
fn read_all(sources: &[Source<'_>], dataplane: Dataplane) -> (Documents, Collector) {
    let mut reader = Reader { dataplane, ..Reader::default() };
    let mut collector = Collector::default();
    for source in sources {
        read(*source, &mut collector, |nodes, lines, findings| {
            for node in nodes {
                reader.document(node, &Place { path: source.path, lines }, findings);
            }
            reader.end_of_file(findings);
        });
    }
    (reader.documents, collector)
}

impl DaemonConfig {
    /// Reads the configuration file of `mqd`, YAML or JSON.
    ///
    /// # Errors
    ///
    /// Every problem of the file with its place.
    pub fn parse(path: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::parse_bytes(path, text.as_bytes())
    }

    /// As [`DaemonConfig::parse`], for a file whose encoding has not been checked.
    ///
    /// # Errors
    ///
    /// Every problem of the file with its place.
    pub fn parse_bytes(path: &str, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let mut collector = Collector::default();
        let mut config = None;
        read(Source { path, bytes }, &mut collector, |nodes, _, findings| {
            if let Some(second) = nodes.get(1) {
                let message = "the configuration of a daemon is one document, and this is a second one";
                let finding = Finding::new(Code::SeveralDocuments, second.start(), message);
                findings.push(finding.help("remove it, and the `---` before it"));
            }
            config = nodes.first().and_then(|node| daemon(node, findings));
        });
        collector.finish(config)
    }
}

/// Decodes and parses a file, lets `use_nodes` check its documents, and files what was found.
fn read(
    source: Source<'_>,
    collector: &mut Collector,
    use_nodes: impl FnOnce(&[Node], &Lines<'_>, &mut Findings),
) {
    let mut findings = Findings::default();
    if source.bytes.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes; a file may have {MAX_BYTES} (1 MiB)", source.bytes.len());
        let finding = Finding::new(Code::FileSize, 0..0, message);
        findings.push(finding.help("split it; `-f` may be given several times"));
        collector.add(source.path, &Lines::new(""), findings);
        return;
    }
    let text = match std::str::from_utf8(source.bytes) {
        Ok(text) => text,
        Err(error) => {
            // Up to the bad byte the two texts are the same, so the place is right.
            let lossy = String::from_utf8_lossy(source.bytes);
            let at = error.valid_up_to();
            let message = format!("byte {at} of the file is not UTF-8");
            findings.push(Finding::new(Code::Encoding, at..at + 1, message).help("save the file as UTF-8"));
            collector.add(source.path, &Lines::new(&lossy), findings);
            return;
        }
    };
    let lines = Lines::new(text);
    let nodes = yaml::parse(text, &mut findings);
    if nodes.is_empty() && findings.is_empty() {
        let finding = Finding::new(Code::EmptyDocument, 0..0, "the file holds no document");
        findings.push(finding.help("write one, or leave the file out"));
    }
    use_nodes(&nodes, &lines, &mut findings);
    collector.add(source.path, &lines, findings);
}

/// Where a document stands.
struct Place<'a> {
    path: &'a str,
    lines: &'a Lines<'a>,
}

impl Place<'_> {
    fn of(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.path, self.lines.number(span.start) + 1)
    }
}

/// Gathers the documents of several files.
#[derive(Default)]
struct Reader {
    documents: Documents,
    /// What the addresses are for.
    dataplane: Dataplane,
    /// Where each kind, space and name was first seen.
    seen: HashMap<(&'static str, String, String), String>,
    /// Where the first fleet was seen.
    fleet: Option<String>,
    /// The type of each address, by space and name.
    types: HashMap<(String, String), AddressType>,
    /// The subscriptions of the file that is being read: where the name stands, and the space and topic in it.
    subscriptions: Vec<(Range<usize>, (String, String))>,
}

impl Reader {
    fn document(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        match kind(node, findings) {
            Some(FLEET_KIND) => self.fleet(node, place, findings),
            Some(ADDRESS_KIND) => self.address(node, place, findings),
            Some(USER_KIND) => self.user(node, place, findings),
            Some(ROLE_KIND) => self.role(node, place, findings),
            Some(SPACE_KIND) => self.space(node, place, findings),
            Some(PROFILE_KIND) => self.profile(node, place, findings),
            Some(CONNECTOR_KIND) => self.connector(node, place, findings),
            Some(BENCH_KIND) => self.bench(node, place, findings),
            _ => {}
        }
    }

    fn fleet(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let span = node.field("kind").map_or_else(|| node.start(), |entry| entry.value.span.clone());
        if let Some(first) = &self.fleet {
            let finding = Finding::new(Code::SeveralFleets, span, "there is more than one Fleet");
            findings
                .push(finding.help("put it into a file of its own").note(format!("the first is at {first}")));
        } else {
            self.fleet = Some(place.of(&span));
        }
        let Some(mut parts) = Parts::read(node, &shapes().fleet, FLEET_KIND, findings) else { return };
        let metadata = parts.take::<Metadata>("metadata", validate::named_metadata, findings);
        let spec = parts.take_or_default::<FleetSpec>(
            "spec",
            |spec| validate::fleet_spec(spec, &["spec"]),
            findings,
        );
        if let (Some(metadata), Some(spec)) = (metadata, spec) {
            let named = validate::kubernetes::fleet_name(&metadata, &spec);
            report(named.into_iter().collect(), node, findings);
            self.documents.fleet =
                Some(Fleet { api_version: API_VERSION.into(), kind: FLEET_KIND.into(), metadata, spec });
        }
    }

    fn address(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().address, ADDRESS_KIND, findings) else { return };
        let metadata = parts.take::<Metadata>("metadata", validate::address_metadata, findings);
        let spec =
            parts.take::<AddressSpec>("spec", |spec| validate::address_spec(spec, &["spec"]), findings);
        let Some(metadata) = metadata else { return };
        if let Some(spec) = &spec {
            report(validate::name_and_spec(&metadata.name, spec), node, findings);
            report(dataplane::address(&metadata, spec, self.dataplane), node, findings);
        }
        if !self.is_new(ADDRESS_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            let space = metadata.space().to_owned();
            if let Some((topic, _)) = split_subscription(&metadata.name) {
                let span = locate(node, &["metadata".into(), "name".into()]);
                self.subscriptions.push((span, (space.clone(), topic.to_owned())));
            }
            self.types.insert((space, metadata.name.clone()), spec.kind);
            self.documents.addresses.push(Address {
                api_version: API_VERSION.into(),
                kind: ADDRESS_KIND.into(),
                metadata,
                spec,
                status: None,
            });
        }
    }

    /// Looks at the documents together: the topic of a subscription may stand behind it, or in an
    /// earlier file. One that stands nowhere may be on the node already, which knows better.
    fn end_of_file(&mut self, findings: &mut Findings) {
        for (span, topic) in self.subscriptions.drain(..) {
            if self.types.get(&topic).is_none_or(|&kind| kind == AddressType::Topic) {
                continue;
            }
            let (_, topic) = topic;
            let message = format!("a subscription of `{0}`, and `{0}` is not a topic", shown(&topic));
            let finding = Finding::new(Code::Reference, span, message);
            findings.push(finding.help(format!("make `{}` a `topic`, or name another", shown(&topic))));
        }
    }

    fn bench(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().bench, BENCH_KIND, findings) else { return };
        let metadata = parts.take::<Metadata>("metadata", validate::named_metadata, findings);
        let spec = parts.take::<BenchSpec>("spec", |spec| validate::bench_spec(spec, &["spec"]), findings);
        let Some(metadata) = metadata else { return };
        if !self.is_new(BENCH_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            self.documents.benches.push(Bench {
                api_version: API_VERSION.into(),
                kind: BENCH_KIND.into(),
                metadata,
                spec,
            });
        }
    }

    fn user(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().user, USER_KIND, findings) else { return };
        parts.check_grants(findings);
        let metadata = parts.take::<Metadata>("metadata", validate::user_metadata, findings);
        let spec =
            parts.take_or_default::<UserSpec>("spec", |spec| validate::user_spec(spec, &["spec"]), findings);
        let Some(metadata) = metadata else { return };
        if !self.is_new(USER_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            self.documents.users.push(User { metadata, ..User::new("", spec) });
        }
    }

    fn role(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().role, ROLE_KIND, findings) else { return };
        parts.check_grants(findings);
        let metadata = parts.take::<Metadata>("metadata", validate::role_metadata, findings);
        let spec =
            parts.take_or_default::<RoleSpec>("spec", |spec| validate::role_spec(spec, &["spec"]), findings);
        let Some(metadata) = metadata else { return };
        if !self.is_new(ROLE_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            self.documents.roles.push(Role { metadata, ..Role::new("", spec) });
        }
    }

    fn space(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().space, SPACE_KIND, findings) else { return };
        let metadata = parts.take::<Metadata>("metadata", validate::named_metadata, findings);
        let rules = |spec: &AddressSpaceSpec| validate::space_spec(spec, &["spec"]);
        let spec = parts.take_or_default::<AddressSpaceSpec>("spec", rules, findings);
        let Some(metadata) = metadata else { return };
        if let Some(spec) = &spec {
            report(validate::space_name_and_spec(&metadata.name, spec).into_iter().collect(), node, findings);
        }
        if !self.is_new(SPACE_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            self.documents.spaces.push(AddressSpace { metadata, ..AddressSpace::new("", spec) });
        }
    }

    fn profile(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().profile, PROFILE_KIND, findings) else { return };
        let metadata = parts.take::<Metadata>("metadata", validate::named_metadata, findings);
        let spec = parts.take_or_default::<ProfileSpec>("spec", |_| Vec::new(), findings);
        let Some(metadata) = metadata else { return };
        if !self.is_new(PROFILE_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            self.documents.profiles.push(Profile { metadata, ..Profile::new("", spec) });
        }
    }

    fn connector(&mut self, node: &Node, place: &Place<'_>, findings: &mut Findings) {
        let Some(mut parts) = Parts::read(node, &shapes().connector, CONNECTOR_KIND, findings) else {
            return;
        };
        let metadata = parts.take::<Metadata>("metadata", validate::connector_metadata, findings);
        let rules = |spec: &ConnectorSpec| validate::connector_spec(spec, &["spec"]);
        let spec = parts.take::<ConnectorSpec>("spec", rules, findings);
        let Some(metadata) = metadata else { return };
        if !self.is_new(CONNECTOR_KIND, &metadata, node, place, findings) {
            return;
        }
        if let Some(spec) = spec {
            self.documents.connectors.push(Connector { metadata, ..Connector::new("", spec) });
        }
    }

    /// Whether no document of this kind had the name before; reports it otherwise.
    fn is_new(
        &mut self,
        kind: &'static str,
        metadata: &Metadata,
        node: &Node,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> bool {
        let span = locate(node, &["metadata".into(), "name".into()]);
        let key = (kind, metadata.space().to_owned(), metadata.name.clone());
        if let Some(first) = self.seen.get(&key) {
            let of_space = match metadata.space() {
                DEFAULT_SPACE => String::new(),
                space => format!(" of the space `{}`", shown(space)),
            };
            let kind = match kind {
                SPACE_KIND => "address space".to_owned(),
                kind => kind.to_lowercase(),
            };
            let message = format!("the {kind} `{}`{of_space} is defined twice", shown(&metadata.name));
            let finding = Finding::new(Code::DuplicateObject, span, message);
            findings.push(finding.help("rename or remove one").note(format!("the first is at {first}")));
            return false;
        }
        self.seen.insert(key, place.of(&span));
        true
    }
}

/// A document whose shape has been checked, ready to be taken apart. Each part is checked by its own
/// rules, so that a problem in one does not hide those of another.
struct Parts<'a> {
    node: &'a Node,
    value: serde_json::Map<String, serde_json::Value>,
    /// Whether the shape had no problem, so that every part must be readable.
    is_whole: bool,
}

impl<'a> Parts<'a> {
    fn read(node: &'a Node, shape: &Shape, kind: &str, findings: &mut Findings) -> Option<Self> {
        let before = findings.total();
        let value = check(node, shape, kind, findings)?;
        let is_whole = findings.total() == before;
        match value {
            serde_json::Value::Object(value) => Some(Self { node, value, is_whole }),
            _ => None,
        }
    }

    /// Reports the grants of the `spec` that are none, each at its place.
    fn check_grants(&mut self, findings: &mut Findings) {
        let grants = self.value.get("spec").and_then(|spec| spec.get("grants")?.as_array());
        let texts = grants.into_iter().flatten().enumerate();
        for (index, text) in texts.filter_map(|(index, text)| Some((index, text.as_str()?))) {
            let Err(error) = text.parse::<Grant>() else { continue };
            let span = locate(self.node, &["spec".into(), "grants".into(), index.to_string()]);
            findings.push(Finding::new(Code::InvalidValue, span, error.to_string()));
            self.is_whole = false;
        }
    }

    fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        rules: impl FnOnce(&T) -> Vec<Violation>,
        findings: &mut Findings,
    ) -> Option<T> {
        let value = self.value.remove(name)?;
        self.accept(value, name, rules, findings)
    }

    fn take_or_default<T: DeserializeOwned + Default>(
        &mut self,
        name: &str,
        rules: impl FnOnce(&T) -> Vec<Violation>,
        findings: &mut Findings,
    ) -> Option<T> {
        let Some(value) = self.value.remove(name) else { return Some(T::default()) };
        self.accept(value, name, rules, findings)
    }

    fn accept<T: DeserializeOwned>(
        &self,
        value: serde_json::Value,
        name: &str,
        rules: impl FnOnce(&T) -> Vec<Violation>,
        findings: &mut Findings,
    ) -> Option<T> {
        match serde_json::from_value::<T>(value) {
            Ok(part) => {
                report(rules(&part), self.node, findings);
                Some(part)
            }
            // A required field is missing or was refused: reported already.
            Err(_) if !self.is_whole => None,
            Err(error) => {
                let span = locate(self.node, &[name.to_owned()]);
                findings.push(Finding::new(Code::InvalidValue, span, error.to_string()));
                None
            }
        }
    }
}

/// The kind of a document, when it is one of [`KINDS`].
fn kind(node: &Node, findings: &mut Findings) -> Option<&'static str> {
    let known = || listed(KINDS.into_iter(), "or");
    match &node.value {
        Value::Null => {
            let finding = Finding::new(Code::EmptyDocument, node.span.clone(), "the document is empty");
            findings.push(finding.help("remove the extra `---`"));
            return None;
        }
        Value::Map(_) => {}
        _ => {
            let message = "a document must be an object with `apiVersion`, `kind`, `metadata` and `spec`";
            findings.push(Finding::new(Code::WrongType, node.start(), message));
            return None;
        }
    }
    let Some(entry) = node.field("kind") else {
        let finding = Finding::new(Code::MissingField, node.start(), "missing field `kind` in the document");
        findings.push(finding.help(format!("add `kind: …` with {}", known())));
        return None;
    };
    let Some(name) = entry.value.text() else {
        let message = format!("kind must be {}", known());
        findings.push(Finding::new(Code::WrongType, entry.key_span.clone(), message));
        return None;
    };
    let found = KINDS.into_iter().find(|&kind| kind == name);
    if found.is_none() {
        let help = nearest(name, KINDS)
            .map_or_else(|| format!("use {}", known()), |kind| format!("did you mean `{kind}`?"));
        let message = format!("unknown kind `{}`", shown(name));
        findings.push(Finding::new(Code::UnknownKind, entry.value.span.clone(), message).help(help));
    }
    found
}

fn daemon(node: &Node, findings: &mut Findings) -> Option<DaemonConfig> {
    if matches!(node.value, Value::Null) {
        let finding = Finding::new(Code::EmptyDocument, node.span.clone(), "the configuration is empty");
        findings.push(finding.help("set at least `state-dir`"));
        return None;
    }
    let before = findings.total();
    let value = check(node, &shapes().daemon, "DaemonConfig", findings)?;
    match serde_json::from_value::<DaemonConfig>(value) {
        Ok(config) => {
            report(validate::daemon(&config), node, findings);
            Some(config)
        }
        Err(_) if findings.total() > before => None,
        Err(error) => {
            findings.push(Finding::new(Code::InvalidValue, node.start(), error.to_string()));
            None
        }
    }
}

fn report(violations: Vec<Violation>, node: &Node, findings: &mut Findings) {
    for violation in violations {
        let finding = Finding::new(violation.code, locate(node, &violation.path), violation.message);
        findings.push(finding.help_maybe(violation.help));
    }
}

/// Where a field stands (an item of a list is called by its number): its value when that is on one line, or else its key; of a field that is
/// not there, the nearest object that is.
fn locate(node: &Node, path: &[String]) -> Range<usize> {
    let mut span = node.start();
    let mut node = node;
    for name in path {
        if let Value::List(items) = &node.value {
            let Some(item) = name.parse().ok().and_then(|index: usize| items.get(index)) else { break };
            span = item.start();
            node = item;
            continue;
        }
        let Some(entry) = node.field(name) else { break };
        let is_scalar = !matches!(entry.value.value, Value::Map(_) | Value::List(_) | Value::Null);
        span = if is_scalar { entry.value.span.clone() } else { entry.key_span.clone() };
        node = &entry.value;
    }
    span
}
