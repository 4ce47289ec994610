//! What was deployed: the manifests of the last deployments of a fleet, with who, when and what came of it.
//!
//! Each is a file of its own in `revisions/`, written before anything is changed and again when it is known
//! how it ended. So the newest one says what is wanted, also after a deployment that was interrupted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mq_model::manifest::{Address, Fleet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::local::create_private;
use crate::{
    context::{read_bounded, replace},
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{value, yaml},
};

/// How many deployments are kept.
pub const KEPT: usize = 20;
/// The largest revision that is read: manifests have bounds of their own, and JSON is longer than YAML.
const MAX_FILE: u64 = 64 << 20;

/// One deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Counts up from 1.
    pub number: u64,
    pub at: Timestamp,
    /// `user@host`.
    pub by: String,
    /// What the user typed, such as `mq scale 5`.
    pub command: String,
    /// A fingerprint of the manifest: two revisions that want the same have the same.
    pub hash: String,
    pub result: Ending,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub fleet: Fleet,
    pub addresses: Vec<Address>,
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Everything is as it says.
    Applied,
    /// Something is not.
    Failed,
    /// It is under way, or was cut off.
    Begun,
}

/// The deployments of one fleet.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
}

impl Ending {
    pub fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Begun => "begun",
        }
    }
}

impl Revision {
    /// The manifest as it could be deployed with `-f`.
    pub fn manifest(&self) -> Outcome<String> {
        let mut text = String::new();
        let documents = std::iter::once(value(&self.fleet)).chain(self.addresses.iter().map(value));
        for document in documents {
            text.push_str("---\n");
            text.push_str(yaml(&document)?.trim_end());
            text.push('\n');
        }
        Ok(text)
    }
}

impl History {
    /// The history below the fleet's directory.
    pub fn of_fleet(directory: &Path) -> Self {
        Self { directory: directory.join("revisions") }
    }

    /// The numbers of the deployments that are kept, the oldest first.
    fn numbers(&self) -> Outcome<Vec<u64>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::file("read", &self.directory, &error)),
        };
        let mut numbers: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Every deployment that is kept, the oldest first.
    pub fn all(&self) -> Outcome<Vec<Revision>> {
        self.numbers()?.into_iter().map(|number| self.get(number)).collect()
    }

    /// The newest one: what is wanted.
    pub fn newest(&self) -> Outcome<Option<Revision>> {
        self.numbers()?.last().map(|number| self.get(*number)).transpose()
    }

    /// The newest one that was applied: what the fleet was last seen to be.
    pub fn applied(&self) -> Outcome<Option<Revision>> {
        Ok(self.all()?.into_iter().rev().find(|revision| revision.result == Ending::Applied))
    }

    /// The deployment with this number.
    pub fn get(&self, number: u64) -> Outcome<Revision> {
        let path = self.path(number);
        let text = match read_bounded(&path, MAX_FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("there is no revision {number}");
                return Err(Failure::new(Exit::NotFound, message)
                    .help(format!("the last {KEPT} are kept: mq deploy history")));
            }
            Err(error) => return Err(Failure::file("read", &path, &error)),
        };
        serde_json::from_str(&text).map_err(|error| {
            Failure::failed(format!("cannot understand {}: {error}", path.display()))
                .help("compare `mq version` with the one that wrote it, or delete the file")
        })
    }

    /// The one to go back to: the newest that was applied and wants something else than the newest of all.
    pub fn before(&self) -> Outcome<Revision> {
        let mut all = self.all()?;
        let newest = all.pop();
        let wants_other = |revision: &Revision| {
            revision.result == Ending::Applied
                && newest.as_ref().is_some_and(|newest| newest.hash != revision.hash)
        };
        all.into_iter().rev().find(wants_other).ok_or_else(|| {
            Failure::new(Exit::NotFound, "there is no earlier deployment to go back to")
                .help("see `mq deploy history`; `mq deploy rollback REVISION` takes any of them")
        })
    }

    /// Writes down that a deployment begins. One that wants what the newest wants, and is not done, goes on
    /// under its number.
    pub fn begin(&self, fleet: &Fleet, addresses: &[Address], command: &str) -> Outcome<Revision> {
        let hash = fingerprint(fleet, addresses);
        let newest = self.newest()?;
        let number = match &newest {
            Some(newest) if newest.hash == hash && newest.result != Ending::Applied => newest.number,
            Some(newest) => newest.number.saturating_add(1),
            None => 1,
        };
        let revision = Revision {
            number,
            at: Timestamp::now(),
            by: env::whoami(),
            command: command.to_owned(),
            hash,
            result: Ending::Begun,
            reason: None,
            fleet: fleet.clone(),
            addresses: addresses.to_vec(),
        };
        create_private(&self.directory)?;
        self.write(&revision)?;
        Ok(revision)
    }

    /// Writes down how a deployment ended, and forgets the ones that are too old.
    pub fn end(&self, mut revision: Revision, failure: Option<&Failure>) -> Outcome {
        revision.result = if failure.is_none() { Ending::Applied } else { Ending::Failed };
        revision.reason = failure.map(|failure| failure.message.clone());
        self.write(&revision)?;
        self.prune()
    }

    /// Forgets the ones that are too old.
    fn prune(&self) -> Outcome {
        let numbers = self.numbers()?;
        for number in numbers.iter().take(numbers.len().saturating_sub(KEPT)) {
            let path = self.path(*number);
            fs::remove_file(&path).map_err(|error| Failure::file("delete", &path, &error))?;
        }
        Ok(())
    }

    /// Takes over a deployment that was made on another machine; says whether that is news. Of two with one number the
    /// later one counts.
    pub fn learn(&self, revision: &Revision) -> Outcome<bool> {
        let is_known = self.numbers()?.contains(&revision.number);
        if is_known && self.get(revision.number)?.at >= revision.at {
            return Ok(false);
        }
        create_private(&self.directory)?;
        self.write(revision)?;
        self.prune()?;
        Ok(true)
    }

    /// Whether a deployment of this would be one more, and not the newest once again.
    pub fn is_news(&self, fleet: &Fleet, addresses: &[Address]) -> Outcome<bool> {
        let newest = self.newest()?;
        Ok(newest.is_none_or(|newest| {
            newest.result != Ending::Applied || newest.hash != fingerprint(fleet, addresses)
        }))
    }

    fn write(&self, revision: &Revision) -> Outcome {
        let text = serde_json::to_string(revision)
            .map_err(|error| Failure::failed(format!("cannot write the revision: {error}")))?;
        replace(&self.path(revision.number), text.as_bytes())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.json"))
    }
}

/// FNV-1a over what is wanted: it finds changes, it does not protect against somebody who wants a collision.
fn fingerprint(fleet: &Fleet, addresses: &[Address]) -> String {
    let wanted = |address: &Address| {
        let mut address = value(address);
        // What a node has written says nothing about what is wanted.
        if let Value::Object(fields) = &mut address {
            fields.remove("status");
        }
        address
    };
    let mut addresses: Vec<Value> = addresses.iter().map(wanted).collect();
    addresses.sort_by_key(|address| address["metadata"]["name"].to_string());
    let text = Value::from(vec![value(fleet), Value::from(addresses)]).to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use mq_model::{
        Documents,
        manifest::{AddressSpec, AddressType, FleetSpec},
    };

    use super::*;

    fn fleet(nodes: u32) -> Fleet {
        Fleet::new("prod", FleetSpec { nodes: Some(nodes), ..FleetSpec::default() })
    }

    fn deploy(history: &History, nodes: u32, failure: Option<&str>) -> u64 {
        let revision = history.begin(&fleet(nodes), &[], "mq deploy").unwrap();
        let number = revision.number;
        history.end(revision, failure.map(Failure::failed).as_ref()).unwrap();
        number
    }

    #[test]
    fn a_deployment_that_failed_goes_on_under_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::of_fleet(directory.path());
        assert_eq!(deploy(&history, 3, Some("no")), 1);
        assert_eq!(history.newest().unwrap().unwrap().reason.as_deref(), Some("no"));
        assert_eq!(deploy(&history, 3, None), 1);
        assert_eq!(deploy(&history, 3, None), 2, "it is applied: this is another one");
        assert_eq!(deploy(&history, 4, None), 3);
    }

    #[test]
    fn rolling_back_leads_to_the_last_one_that_was_applied_and_was_another() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::of_fleet(directory.path());
        assert_eq!(history.before().unwrap_err().exit, Exit::NotFound);
        deploy(&history, 1, None);
        deploy(&history, 2, None);
        deploy(&history, 3, Some("no"));
        deploy(&history, 4, None);
        deploy(&history, 4, None);
        assert_eq!(history.before().unwrap().number, 2);
        deploy(&history, 5, Some("no"));
        assert_eq!(history.applied().unwrap().unwrap().number, 5, "revision 6 failed");
    }

    #[test]
    fn the_last_twenty_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::of_fleet(directory.path());
        for nodes in 1..=25 {
            deploy(&history, nodes, None);
        }
        let numbers: Vec<u64> = history.all().unwrap().iter().map(|revision| revision.number).collect();
        assert_eq!(numbers, (6..=25).collect::<Vec<_>>());
        assert_eq!(history.get(5).unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn a_revision_is_a_manifest_that_can_be_deployed() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::of_fleet(directory.path());
        let address = Address::new("a: b/~1", AddressSpec::new(AddressType::Queue));
        let revision = history.begin(&fleet(3), std::slice::from_ref(&address), "mq deploy").unwrap();
        let documents = Documents::parse("f", &history.get(1).unwrap().manifest().unwrap()).unwrap();
        assert_eq!(documents.fleet.as_ref(), Some(&revision.fleet));
        assert_eq!(documents.addresses, [address]);
    }

    #[test]
    fn what_a_node_wrote_and_the_order_of_addresses_make_no_other_manifest() {
        let one = Address::new("a", AddressSpec::new(AddressType::Queue));
        let mut other = Address::new("b", AddressSpec::new(AddressType::Queue));
        let hash = fingerprint(&fleet(1), &[one.clone(), other.clone()]);
        other.status = Some(mq_model::manifest::AddressStatus::default());
        assert_eq!(fingerprint(&fleet(1), &[other, one.clone()]), hash);
        assert_ne!(fingerprint(&fleet(1), &[one]), hash);
    }
}
