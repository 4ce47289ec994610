//! The journal under crashes, corruption and failing disks; the catalogue above it.

mod fleet;
mod principals;
mod spaces;

use std::sync::Mutex;

use mq_model::manifest::{AddressSpec, AddressType};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::journal::Medium;
use super::*;
use crate::hub::ShardCommand;

/// The node of the tests.
const HERE: NodeId = NodeId(77);

/// A journal in memory whose writes can be made to fail.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<MemoryState>>);

#[derive(Default)]
struct MemoryState {
    content: Option<Vec<u8>>,
    /// What the next writes fail with; a failing append still leaves half of its bytes.
    fault: Option<io::ErrorKind>,
    /// Appends with this in them fail, too.
    refused: Option<&'static str>,
    failures: usize,
    replacements: usize,
}

impl Memory {
    fn holding(content: &[u8]) -> Self {
        let memory = Self::default();
        memory.0.lock().unwrap().content = Some(content.to_vec());
        memory
    }

    fn content(&self) -> Vec<u8> {
        self.0.lock().unwrap().content.clone().unwrap_or_default()
    }

    fn fail_with(&self, fault: Option<io::ErrorKind>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// Lets appends fail that have this in them.
    fn refuse(&self, text: Option<&'static str>) {
        self.0.lock().unwrap().refused = text;
    }

    /// How often an append has failed.
    fn failures(&self) -> usize {
        self.0.lock().unwrap().failures
    }

    fn open(&self) -> Result<Journal, StoreError> {
        Journal::open(Box::new(self.clone()), HERE)
    }
}

impl Medium for Memory {
    fn path(&self) -> &Path {
        Path::new("objects/addresses.journal")
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().content.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let is_refused = state.refused.is_some_and(|text| String::from_utf8_lossy(bytes).contains(text));
        let fault = state.fault.or_else(|| is_refused.then_some(io::ErrorKind::StorageFull));
        state.failures += usize::from(fault.is_some());
        let kept = if fault.is_some() { bytes.len() / 2 } else { bytes.len() };
        state.content.as_mut().unwrap().extend_from_slice(&bytes[..kept]);
        fault.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if let Some(kind) = state.fault {
            return Err(kind.into());
        }
        state.content.as_mut().unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if let Some(kind) = state.fault {
            return Err(kind.into());
        }
        state.content = Some(content.to_vec());
        state.replacements += 1;
        Ok(())
    }
}

fn spec(link_credit: u32) -> AddressSpec {
    let mut spec = AddressSpec::new(AddressType::Anycast);
    spec.limits.link_credit = Some(link_credit);
    spec
}

fn key(name: &str) -> Key {
    Key::new(ADDRESS, name)
}

fn put(journal: &Journal, name: &str, link_credit: u32) -> Change {
    let labels = BTreeMap::from([("team".to_owned(), "sensors".to_owned())]);
    let version = Version { clock: journal.base().clock + 1, origin: HERE };
    let value = Value {
        spec: spec(link_credit),
        labels,
        home: None,
        moving_from: None,
        birth: version,
        ends: 0,
        created_by: None,
    };
    let record = Record { key: key(name), version, value: Some(value.encode().unwrap()) };
    Change::Set { record, id: journal.base().id + 1 }
}

fn remove(journal: &Journal, name: &str) -> Change {
    let version = Version { clock: journal.base().clock + 1, origin: HERE };
    Change::Set { record: Record { key: key(name), version, value: None }, id: 0 }
}

fn names(journal: &Journal) -> Vec<String> {
    let objects = journal.objects().filter(|kept| kept.record.value.is_some());
    objects.map(|kept| kept.record.key.name.to_string()).collect()
}

/// What a journal says of an address.
fn address(journal: &Journal, name: &str) -> Option<(Value, u64)> {
    let kept = journal.kept(&key(name))?;
    Some((address_of(&kept.record)?, kept.id))
}

/// A journal of three puts and a removal, and its length after each of them.
fn sample() -> (Vec<u8>, Vec<(usize, Vec<String>)>) {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    let mut steps = vec![(memory.content().len(), names(&journal))];
    for step in 0..4 {
        let change = match step {
            3 => remove(&journal, "a-1"),
            number => put(&journal, &format!("a-{number}"), 10 + number),
        };
        journal.commit(&[change]).unwrap();
        steps.push((memory.content().len(), names(&journal)));
    }
    (memory.content(), steps)
}

#[test]
fn a_journal_cut_off_at_any_byte_opens_with_every_whole_change() {
    let (content, steps) = sample();
    for length in steps[0].0..=content.len() {
        let memory = Memory::holding(&content[..length]);
        let journal = memory.open().unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        let expected = steps.iter().rev().find(|(end, _)| *end <= length).map(|(_, names)| names.clone());
        assert_eq!(names(&journal), expected.unwrap_or_default(), "cut at {length}");
    }
}

#[test]
fn a_journal_cut_off_at_any_byte_takes_further_changes_and_opens_again() {
    let (content, steps) = sample();
    for length in steps[0].0..=content.len() {
        let memory = Memory::holding(&content[..length]);
        let mut journal = memory.open().unwrap();
        journal.commit(&[put(&journal, "later", 5)]).unwrap();
        let expected = names(&journal);
        assert_eq!(names(&memory.open().unwrap()), expected, "cut at {length}");
    }
}

#[test]
fn a_file_that_ends_before_its_first_record_is_damaged_and_not_a_node_without_addresses() {
    // A journal gets its name whole: what is shorter has lost what it held.
    let (content, steps) = sample();
    let begun = steps[0].0;
    let cuts = (0..begun).map(|length| content[..length].to_vec());
    for damaged in cuts.chain([vec![0; begun], vec![0; 4_096]]) {
        let memory = Memory::holding(&damaged);
        assert!(matches!(memory.open(), Err(StoreError::Corrupt { .. })), "{} bytes", damaged.len());
        assert_eq!(memory.content(), damaged, "it is left alone");
    }
}

#[test]
fn room_that_the_file_system_filled_with_zeros_is_cut_off() {
    let (content, steps) = sample();
    for length in steps[0].0..=content.len() {
        let mut padded = content[..length].to_vec();
        padded.resize(content.len() + 4096, 0);
        let memory = Memory::holding(&padded);
        let journal = memory.open().unwrap_or_else(|error| panic!("zeros from {length}: {error}"));
        let expected = steps.iter().rev().find(|(end, _)| *end <= length).map(|(_, names)| names.clone());
        assert_eq!(Some(names(&journal)), expected, "zeros from {length}");
    }
}

#[test]
fn a_changed_byte_anywhere_is_found_and_placed() {
    let (content, steps) = sample();
    for position in 0..content.len() {
        let mut damaged = content.clone();
        damaged[position] ^= 0x40;
        let Err(StoreError::Corrupt { offset, path, .. }) = Memory::holding(&damaged).open() else {
            panic!("the byte at {position} was changed and nobody noticed");
        };
        let mut starts: Vec<usize> = steps.iter().map(|(end, _)| *end).collect();
        starts.splice(0..0, [0, record::MAGIC.len()]);
        let expected = starts.iter().rev().find(|start| **start <= position).copied().unwrap();
        assert_eq!(offset, expected as u64, "byte {position}");
        assert_eq!(path, Path::new("objects/addresses.journal"));
    }
}

#[test]
fn a_file_that_is_not_a_journal_is_refused_and_not_overwritten() {
    let memory = Memory::holding(b"something else entirely");
    assert!(matches!(memory.open(), Err(StoreError::Corrupt { offset: 0, .. })));
    assert_eq!(memory.content(), b"something else entirely");
}

#[test]
fn a_journal_of_a_newer_version_is_refused_with_that_reason() {
    let Err(error) = Memory::holding(b"mqobjs3\nwhatever").open() else { panic!("opened") };
    assert!(error.to_string().contains("version"), "{error}");
}

#[test]
fn what_is_read_back_is_what_was_put() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    journal.commit(&[put(&journal, "a/b c:ä", 7)]).unwrap();
    let written = address(&journal, "a/b c:ä").unwrap();
    assert_eq!(written.0.labels["team"], "sensors");
    assert_eq!(memory.open().unwrap().kept(&key("a/b c:ä")), journal.kept(&key("a/b c:ä")));
}

#[test]
fn a_full_disk_refuses_changes_and_the_next_one_repairs_the_file() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    journal.commit(&[put(&journal, "kept", 1)]).unwrap();

    memory.fail_with(Some(io::ErrorKind::StorageFull));
    for _ in 0..2 {
        let error = journal.commit(&[put(&journal, "refused", 2)]).unwrap_err();
        assert!(error.to_string().ends_with("free some space and try again"), "{error}");
        assert_eq!(names(&journal), ["kept"]);
    }
    // The half of a record that the disk took is not in the way of a restart either.
    memory.fail_with(None);
    assert_eq!(names(&memory.open().unwrap()), ["kept"]);

    journal.commit(&[put(&journal, "after", 3)]).unwrap();
    assert_eq!(names(&memory.open().unwrap()), ["after", "kept"]);
}

#[test]
fn an_object_that_is_changed_often_does_not_fill_the_disk() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    for round in 0..10_000 {
        journal.commit(&[put(&journal, "busy", round % 10_000 + 1)]).unwrap();
    }
    assert!(memory.content().len() < 1 << 20, "{} bytes", memory.content().len());
    assert!(memory.0.lock().unwrap().replacements > 1);
    let reopened = memory.open().unwrap();
    assert_eq!(address(&reopened, "busy"), address(&journal, "busy"));
    assert_eq!((reopened.base().clock, reopened.base().id), (10_000, 10_000));
}

#[test]
fn versions_and_ids_never_go_back_even_when_the_latest_change_was_a_removal() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    for round in 0..5_000 {
        journal.commit(&[put(&journal, "x", round + 1)]).unwrap();
        let removal = remove(&journal, "x");
        let version = Version { clock: journal.base().clock + 1, origin: HERE };
        journal.commit(&[removal, Change::Forget { key: key("x"), version }]).unwrap();
    }
    assert!(memory.0.lock().unwrap().replacements > 1);
    let reopened = memory.open().unwrap();
    assert_eq!(reopened.objects().count(), 0);
    assert_eq!((reopened.base().clock, reopened.base().id), (10_000, 5_000));
}

#[test]
fn a_deletion_is_remembered_until_it_is_forgotten_and_no_other_one_with_it() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    journal.commit(&[put(&journal, "x", 1), put(&journal, "y", 1)]).unwrap();
    journal.commit(&[remove(&journal, "x")]).unwrap();
    let version = memory.open().unwrap().kept(&key("x")).unwrap().record.version;
    let earlier = Version { clock: version.clock - 1, origin: HERE };
    journal.commit(&[Change::Forget { key: key("x"), version: earlier }]).unwrap();
    assert!(memory.open().unwrap().kept(&key("x")).is_some());
    journal.commit(&[Change::Forget { key: key("x"), version }]).unwrap();
    assert_eq!(memory.open().unwrap().objects().count(), 1);
}

#[test]
fn of_two_records_of_an_object_the_one_with_the_higher_version_counts() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    let (first, second) = (put(&journal, "x", 1), put(&journal, "x", 2));
    let Change::Set { mut record, id } = second else { unreachable!() };
    record.version.origin = NodeId(HERE.0 + 1);
    journal.commit(&[Change::Set { record, id }]).unwrap();
    journal.commit(&[first]).unwrap();
    assert_eq!(address(&journal, "x").unwrap().0.spec, spec(2));
    assert_eq!(address(&memory.open().unwrap(), "x").unwrap().0.spec, spec(2));
}

/// A record as format 1 had it.
fn record_1(body: &str) -> Vec<u8> {
    let mut prefix = Vec::from(u32::try_from(body.len()).unwrap().to_le_bytes());
    prefix.extend(crc32fast::hash(body.as_bytes()).to_le_bytes());
    let checksum = crc32fast::hash(&prefix).to_le_bytes();
    [prefix, checksum.to_vec(), body.as_bytes().to_vec()].concat()
}

/// A journal of format 1, and where its records begin.
fn journal_1() -> (Vec<u8>, Vec<usize>) {
    let bodies = [
        r##"{"change":"base","revision":4}"##,
        r##"{"change":"put-address","revision":5,"name":"#","id":0,"spec":{"type":"topic"}}"##,
        r##"{"change":"put-address","revision":7,"name":"a","spec":{"type":"queue"}}"##,
        r##"{"change":"put-address","revision":8,"name":"b","id":3,"labels":{"x":"y"},"spec":{"type":"anycast"}}"##,
        r##"{"change":"remove-address","revision":9,"name":"a"}"##,
    ];
    let mut content = record::MAGIC_1.to_vec();
    let mut starts = Vec::new();
    for body in bodies {
        starts.push(content.len());
        content.extend(record_1(body));
    }
    (content, starts)
}

#[test]
fn a_journal_of_format_1_is_upgraded_without_loss_and_belongs_to_the_node_that_reads_it() {
    let (content, starts) = journal_1();
    let memory = Memory::holding(&content[..starts[4]]);
    let journal = memory.open().unwrap();
    assert!(memory.content().starts_with(record::MAGIC));
    for journal in [journal, memory.open().unwrap()] {
        assert_eq!(names(&journal), ["#", "a", "b"]);
        let (value, id) = address(&journal, "a").unwrap();
        assert_eq!((value.spec.kind, id), (AddressType::Queue, 7), "a revision is used once, so it is an id");
        let (value, id) = address(&journal, "b").unwrap();
        assert_eq!((value.labels["x"].as_str(), id), ("y", 3));
        assert_eq!(address(&journal, "#").unwrap().1, 0);
        assert!(journal.objects().all(|kept| kept.record.version.origin == HERE));
        assert_eq!(journal.base(), Base { clock: 8, id: 7, is_member: false });
    }
    let memory = Memory::holding(&content);
    assert_eq!(names(&memory.open().unwrap()), ["#", "b"]);
    assert_eq!(memory.open().unwrap().base().clock, 9);
}

#[test]
fn a_journal_of_format_1_cut_off_at_any_byte_is_upgraded_with_every_whole_change() {
    let (content, starts) = journal_1();
    for length in record::MAGIC_1.len()..content.len() {
        let memory = Memory::holding(&content[..length]);
        let mut journal = memory.open().unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        // The second to the fourth record put an address each.
        let expected = starts[2..].iter().filter(|start| **start <= length).count();
        assert_eq!(names(&journal).len(), expected, "cut at {length}");
        journal.commit(&[put(&journal, "later", 5)]).unwrap();
        assert_eq!(names(&memory.open().unwrap()), names(&journal), "cut at {length}");
    }
}

#[test]
fn a_changed_byte_in_a_journal_of_format_1_is_found_and_the_file_left_alone() {
    let (content, _) = journal_1();
    for position in record::MAGIC_1.len()..content.len() {
        let mut damaged = content.clone();
        damaged[position] ^= 0x40;
        let memory = Memory::holding(&damaged);
        assert!(matches!(memory.open(), Err(StoreError::Corrupt { .. })), "byte {position}");
        assert_eq!(memory.content(), damaged);
    }
}

#[test]
fn creating_addresses_alone_never_rewrites_the_journal() {
    let memory = Memory::default();
    let mut journal = memory.open().unwrap();
    for number in 0..10_000 {
        journal.commit(&[put(&journal, &format!("address-{number}"), 1)]).unwrap();
    }
    assert_eq!(memory.0.lock().unwrap().replacements, 1, "the first one began the journal");
}

#[test]
fn a_journal_on_disk_survives_reopening_and_leftovers_of_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("addresses.journal");
    for number in 0..3 {
        std::fs::write(directory.path().join("addresses.journal.new"), "half").unwrap();
        let mut journal = Journal::open(Box::new(JournalFile::new(path.clone())), HERE).unwrap();
        assert_eq!(journal.objects().count(), number);
        journal.commit(&[put(&journal, &format!("a-{number}"), 1)]).unwrap();
    }
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A catalogue over a memory journal and one shard that confirms everything; what the shard was
/// told comes out of the receiver.
fn catalogue(memory: &Memory) -> (Catalogue, UnboundedReceiver<String>) {
    catalogue_of(memory, |loaded| loaded)
}

/// The same, of what was loaded as `with` leaves it.
fn catalogue_of(
    memory: &Memory,
    with: impl FnOnce(Loaded) -> Loaded,
) -> (Catalogue, UnboundedReceiver<String>) {
    let (commands, mut received) = unbounded_channel();
    let (told, tellings) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(command) = received.recv().await {
            match command {
                ShardCommand::SetAddress { address, reply } => {
                    let _ = (told.send(format!("+{}", address.name)), reply.send(()));
                }
                ShardCommand::RemoveAddress { name, reply } => {
                    let _ = (told.send(format!("-{name}")), reply.send(()));
                }
                // Sessions hear of it once every shard serves it.
                ShardCommand::AddressServed { reply, .. } | ShardCommand::SetUsers { reply, .. } => {
                    let _ = reply.send(());
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    });
    let loaded = with(Loaded::of(memory.open().unwrap(), HERE));
    (loaded.serve(Hub::new(vec![commands])), tellings)
}

#[tokio::test]
async fn a_change_is_answered_when_it_is_durable_and_served() {
    let memory = Memory::default();
    let (catalogue, mut tellings) = catalogue(&memory);
    let created = catalogue.create("a".into(), BTreeMap::new(), spec(1)).await.unwrap();
    assert_eq!(names(&memory.open().unwrap()), ["a"]);
    assert_eq!(tellings.try_recv().unwrap(), "+a");
    assert_eq!(catalogue.address("a"), Some(created));

    catalogue.remove("a".into()).await.unwrap();
    assert!(names(&memory.open().unwrap()).is_empty());
    assert_eq!(tellings.try_recv().unwrap(), "-a");
    assert_eq!(catalogue.len(), 0);
}

#[tokio::test]
async fn putting_what_is_there_changes_nothing() {
    let memory = Memory::default();
    let (catalogue, mut tellings) = catalogue(&memory);
    let (first, object) = catalogue.put("a".into(), BTreeMap::new(), spec(1)).await.unwrap();
    let length = memory.content().len();
    let (second, same) = catalogue.put("a".into(), BTreeMap::new(), spec(1)).await.unwrap();
    let (third, changed) = catalogue.put("a".into(), BTreeMap::new(), spec(2)).await.unwrap();
    assert_eq!([first, second, third], [Put::Created, Put::Unchanged, Put::Updated]);
    assert_eq!(object, same);
    assert!(changed.version > object.version);
    assert!(memory.content().len() > length);
    assert_eq!(tellings.try_recv().unwrap(), "+a");
    assert_eq!(tellings.try_recv().unwrap(), "+a");
    assert!(tellings.try_recv().is_err(), "the unchanged put reached the shard");
}

#[tokio::test]
async fn changes_that_arrive_together_are_decided_in_order() {
    let memory = Memory::default();
    let (catalogue, _tellings) = catalogue(&memory);
    let (first, second, removed, missing, third) = tokio::join!(
        catalogue.create("a".into(), BTreeMap::new(), spec(1)),
        catalogue.create("a".into(), BTreeMap::new(), spec(2)),
        catalogue.remove("a".into()),
        catalogue.remove("a".into()),
        catalogue.create("a".into(), BTreeMap::new(), spec(3)),
    );
    assert!(first.is_ok() && removed.is_ok(), "{first:?} {removed:?}");
    assert!(matches!(second, Err(ChangeError::Exists(_))), "{second:?}");
    assert!(matches!(missing, Err(ChangeError::NotFound(_))), "{missing:?}");
    assert_eq!(third.unwrap().spec, spec(3));
    assert_eq!(address(&memory.open().unwrap(), "a").unwrap().0.spec, spec(3));
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_reaches_nobody() {
    let memory = Memory::default();
    let (catalogue, mut tellings) = catalogue(&memory);
    memory.fail_with(Some(io::ErrorKind::ReadOnlyFilesystem));
    let error = catalogue.create("a".into(), BTreeMap::new(), spec(1)).await.unwrap_err();
    assert!(matches!(error, ChangeError::Store(_)), "{error}");
    assert!(error.to_string().contains("objects/addresses.journal"), "{error}");
    assert!(catalogue.is_empty());
    assert!(tellings.try_recv().is_err());

    memory.fail_with(None);
    catalogue.create("a".into(), BTreeMap::new(), spec(1)).await.unwrap();
    assert_eq!(tellings.try_recv().unwrap(), "+a");
}

fn of(kind: AddressType) -> AddressSpec {
    AddressSpec::new(kind)
}

fn told(tellings: &mut UnboundedReceiver<String>) -> Vec<String> {
    std::iter::from_fn(|| tellings.try_recv().ok()).collect()
}

#[tokio::test]
async fn an_address_keeps_its_id_until_it_becomes_something_else_or_is_made_again() {
    let memory = Memory::default();
    let (catalogue, mut tellings) = catalogue(&memory);
    let put = async |spec| catalogue.put("q".into(), BTreeMap::new(), spec).await.unwrap().1;
    let first = put(of(AddressType::Queue)).await;
    let mut deeper = of(AddressType::Queue);
    deeper.limits.max_messages = Some(10);
    assert_eq!(put(deeper).await.id, first.id);
    assert_eq!(told(&mut tellings), ["+q", "+q"]);

    let direct = put(of(AddressType::Anycast)).await;
    assert_ne!(direct.id, first.id);
    assert_eq!(told(&mut tellings), ["-q", "+q"], "what it held goes first");
    let again = put(of(AddressType::Queue)).await;
    assert!(again.id > direct.id, "an id is not used twice");

    catalogue.remove("q".into()).await.unwrap();
    let anew = put(of(AddressType::Queue)).await;
    assert!(anew.id > again.id);
    assert_eq!(address(&memory.open().unwrap(), "q").unwrap().1, anew.id);
}

#[tokio::test]
async fn the_built_in_topic_stays_and_a_declared_one_takes_its_place_without_beginning_anew() {
    let memory = Memory::default();
    let (catalogue, mut tellings) = catalogue_of(&memory, Loaded::with_catch_all);
    let put = async |name: &str, kind| catalogue.put(name.into(), BTreeMap::new(), of(kind)).await;
    assert_eq!((catalogue.len(), catalogue.addresses().len()), (0, 1));
    let refused = catalogue.remove("#".into()).await;
    assert!(matches!(refused, Err(ChangeError::BuiltIn(_))), "{refused:?}");
    let undeclared = put("#::audit", AddressType::Subscription).await;
    assert!(matches!(undeclared, Err(ChangeError::NoTopic(..))), "{undeclared:?}");
    assert_eq!(told(&mut tellings), Vec::<String>::new());

    let built_in = catalogue.address("#").unwrap();
    let declared = catalogue.create("#".into(), BTreeMap::new(), of(AddressType::Topic)).await.unwrap();
    assert!(built_in.is_built_in && !declared.is_built_in);
    assert_eq!((declared.id, catalogue.len()), (built_in.id, 1));
    put("#::audit", AddressType::Subscription).await.unwrap();
    assert_eq!(told(&mut tellings), ["+#", "+#::audit"]);
    assert_eq!(names(&memory.open().unwrap()), ["#", "#::audit"]);

    catalogue.remove("#".into()).await.unwrap();
    assert_eq!(told(&mut tellings), ["-#::audit", "+#"], "the topic is served on, as it was built in");
    assert!(catalogue.address("#").unwrap().is_built_in);
    assert_eq!(names(&memory.open().unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn a_subscription_needs_its_topic_and_goes_with_it() {
    let memory = Memory::default();
    let (catalogue, mut tellings) = catalogue(&memory);
    let put = async |name: &str, kind| catalogue.put(name.into(), BTreeMap::new(), of(kind)).await;
    let missing = put("events::billing", AddressType::Subscription).await;
    assert!(matches!(missing, Err(ChangeError::NoTopic(..))), "{missing:?}");
    put("events", AddressType::Queue).await.unwrap();
    let wrong = put("events::billing", AddressType::Subscription).await;
    assert!(matches!(wrong, Err(ChangeError::NoTopic(..))), "{wrong:?}");

    put("events", AddressType::Topic).await.unwrap();
    put("events::billing", AddressType::Subscription).await.unwrap();
    put("events-of-others", AddressType::Anycast).await.unwrap();
    let kept = put("events", AddressType::Queue).await;
    assert!(matches!(kept, Err(ChangeError::HasSubscriptions(..))), "{kept:?}");
    told(&mut tellings);
    catalogue.remove("events".into()).await.unwrap();
    assert_eq!(told(&mut tellings), ["-events::billing", "-events"]);
    assert_eq!(names(&memory.open().unwrap()), ["events-of-others"]);
}
