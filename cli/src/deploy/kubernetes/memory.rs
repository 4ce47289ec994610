//! What an operator has to remember of a fleet that it makes: the fleet's authority with what that has signed, and what
//! was wanted since the last roll that was ended. It is in a Secret beside the fleet, so that any pod of the operator goes on
//! where another one was, and a fleet that was deployed by hand is handed over by making the Secret.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use mq_model::manifest::Fleet;
use serde_json::{Map, Value, json};

use crate::{
    cluster::{Application, Cluster, SECRETS},
    context::read_bounded,
    deploy::{authority::write_private, local::create_private},
    failure::{Failure, Outcome},
};

/// On a Fleet: whoever gives this another value has the authority of the fleet replaced. On the Secret: the value for which
/// that was done last.
pub const ROTATE: &str = "mq.messaging/rotate-ca";

/// The folders of a fleet's directory that are remembered: its authority, and what that has signed.
const FOLDERS: [&str; 2] = ["ca", "kubernetes"];
/// The field with what was wanted, the oldest first.
const WANTED: &str = "fleets.json";
/// In the name of a field what is between folders in a path.
const BETWEEN: &str = "__";
/// The largest file, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// The most files, and the deepest folder.
const MAX_FILES: usize = 64;
const MAX_DEPTH: usize = 4;
/// The most fleets that were wanted and never came to be: of those before, what they have made is forgotten.
const MAX_WANTED: usize = 8;

/// The memory of one fleet.
#[derive(Debug)]
pub struct Memory {
    cluster: Cluster,
    fleet: String,
    /// Where the fleet's files are while this process looks after it.
    pub directory: PathBuf,
}

/// What is remembered beside the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// What was wanted since the last roll that was ended, the oldest first.
    pub wanted: Vec<Fleet>,
    /// The value of [`ROTATE`] for which the authority was replaced last.
    pub rotated: Option<String>,
}

impl Memory {
    /// The memory of the fleet, whose files are below `directory`.
    pub fn of_fleet(cluster: &Cluster, fleet: &str, directory: PathBuf) -> Self {
        Self { cluster: cluster.clone(), fleet: fleet.to_owned(), directory }
    }

    fn secret(&self) -> String {
        format!("{}-fleet", self.fleet)
    }

    /// Whether anything is remembered of such a fleet.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or does not let this be known.
    pub async fn is_there(&self) -> Outcome<bool> {
        Ok(self.cluster.get(SECRETS, &self.secret()).await?.is_some())
    }

    /// Puts the files into their places, and returns the rest. `None`: there is no such fleet.
    ///
    /// # Errors
    ///
    /// When the cluster does not answer, or what is there cannot be understood.
    pub async fn recall(&self) -> Outcome<Option<Remembered>> {
        let Some(secret) = self.cluster.get(SECRETS, &self.secret()).await? else { return Ok(None) };
        let fields = fields(&secret).map_err(|why| self.broken(&why))?;
        let wanted = fields.get(WANTED).ok_or_else(|| self.broken("it does not say what was wanted"))?;
        let wanted = serde_json::from_slice(wanted).map_err(|error| self.broken(&error.to_string()))?;
        put(&self.directory, &fields)?;
        let rotated = secret["metadata"]["annotations"][ROTATE].as_str().map(str::to_owned);
        Ok(Some(Remembered { wanted, rotated }))
    }

    /// Writes the files down, and the rest.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or the cluster does not take them.
    pub async fn keep(&self, remembered: &Remembered) -> Outcome {
        let first = remembered.wanted.len().saturating_sub(MAX_WANTED);
        let wanted = serde_json::to_vec(remembered.wanted.get(first..).unwrap_or_default())
            .map_err(|error| Failure::failed(format!("cannot write down a fleet: {error}")))?;
        let mut data = Map::new();
        data.insert(WANTED.into(), STANDARD.encode(wanted).into());
        for (name, content) in files(&self.directory)? {
            data.insert(name, STANDARD.encode(content).into());
        }
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.secret(),
                "namespace": self.cluster.namespace(),
                "labels": {
                    "app.kubernetes.io/name": "mq",
                    "app.kubernetes.io/instance": self.fleet,
                    "app.kubernetes.io/managed-by": "mq",
                },
            },
            "type": "Opaque",
            "data": data,
        });
        if let Some(rotated) = &remembered.rotated {
            secret["metadata"]["annotations"] = json!({ ROTATE: rotated });
        }
        // Applying what is there already changes nothing.
        let how = Application { is_rehearsal: false, is_forced: true };
        self.cluster.apply(&secret, how).await.map(drop)
    }

    /// Forgets the fleet.
    ///
    /// # Errors
    ///
    /// When the cluster does not let it go, or the files stay.
    pub async fn forget(&self) -> Outcome {
        self.leave().await?;
        remove(&self.directory)
    }

    /// Has the files alone know of the fleet from now on.
    ///
    /// # Errors
    ///
    /// When the cluster does not let it go.
    pub async fn leave(&self) -> Outcome {
        if let Some(secret) = self.cluster.get(SECRETS, &self.secret()).await? {
            let uid = secret["metadata"]["uid"].as_str().unwrap_or_default();
            self.cluster.delete_exactly(SECRETS, &self.secret(), uid).await?;
        }
        Ok(())
    }

    fn broken(&self, why: &str) -> Failure {
        Failure::usage(format!("the Secret `{}` cannot be understood: {why}", self.secret()))
            .help("bring it back from a backup, or delete the Fleet and make it again")
    }
}

/// The remembered files of a fleet's directory, by the names of their fields.
fn files(directory: &Path) -> Outcome<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        collect(&directory.join(folder), folder, 1, &mut files)?;
    }
    Ok(files)
}

/// Writes the remembered files, and nothing else stays in their folders.
fn put(directory: &Path, fields: &BTreeMap<String, Vec<u8>>) -> Outcome {
    for folder in FOLDERS {
        remove(&directory.join(folder))?;
    }
    for (name, content) in fields.iter().filter(|(name, _)| *name != WANTED) {
        let path = path_of(name)
            .ok_or_else(|| Failure::usage(format!("`{name}` is not the name of a remembered file")))?;
        let path = directory.join(path);
        if let Some(folder) = path.parent() {
            create_private(folder)?;
        }
        write_private(&path, content)?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Outcome {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("delete", folder, &error)),
        _ => Ok(()),
    }
}

fn collect(folder: &Path, name: &str, depth: usize, files: &mut BTreeMap<String, Vec<u8>>) -> Outcome {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::file("read", folder, &error)),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = format!("{name}{BETWEEN}{}", entry.file_name().to_string_lossy());
        if path.is_dir() && depth < MAX_DEPTH {
            collect(&path, &name, depth + 1, files)?;
        } else if path.is_file() {
            if files.len() >= MAX_FILES {
                let message = format!("{} holds more than {MAX_FILES} files", folder.display());
                return Err(Failure::failed(message));
            }
            let text = read_bounded(&path, MAX_FILE).map_err(|error| Failure::file("read", &path, &error))?;
            files.insert(name, text.into_bytes());
        }
    }
    Ok(())
}

/// The path below the fleet's directory of the file in a field; `None`: it would be elsewhere.
fn path_of(field: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = field.split(BETWEEN).collect();
    let is_plain = |part: &&str| {
        !part.is_empty() && !part.starts_with('.') && !part.contains('/') && !part.contains('\0')
    };
    let is_known = parts.first().is_some_and(|first| FOLDERS.contains(first));
    let is_file = (2..=MAX_DEPTH + 1).contains(&parts.len()) && parts.iter().all(is_plain);
    (is_known && is_file).then(|| parts.iter().collect())
}

/// What the fields of a Secret hold.
fn fields(secret: &Value) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let fields = secret["data"].as_object().into_iter().flatten();
    let decoded = fields.map(|(name, text)| {
        let bytes = STANDARD.decode(text.as_str().unwrap_or_default());
        Ok((name.clone(), bytes.map_err(|_| format!("`{name}` is not base64"))?))
    });
    decoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_put_where_it_was_and_nothing_else_stays() {
        let home = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| home.path().join(name));
        for (path, content) in [("ca/ca.pem", "a"), ("ca/next/ca.key", "b"), ("kubernetes/mesh.pem", "c")] {
            let path = one.join(path);
            create_private(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let remembered = files(&one).unwrap();
        let names: Vec<&str> = remembered.keys().map(String::as_str).collect();
        assert_eq!(names, ["ca__ca.pem", "ca__next__ca.key", "kubernetes__mesh.pem"]);
        create_private(&other.join("ca")).unwrap();
        fs::write(other.join("ca/stale.pem"), "x").unwrap();
        put(&other, &remembered).unwrap();
        assert_eq!(files(&other).unwrap(), remembered);
    }

    #[test]
    fn no_field_leads_out_of_the_fleets_directory() {
        assert_eq!(path_of("ca__next__ca.pem"), Some("ca/next/ca.pem".into()));
        for wrong in
            ["ca", "..__x", "ca__..__x", "ca____x", "other__x", "ca__a/b", "/etc__x", "ca__a__b__c__d__e"]
        {
            assert_eq!(path_of(wrong), None, "{wrong}");
        }
    }
}
