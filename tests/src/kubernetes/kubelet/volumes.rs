//! The volumes of pods: folders, which the containers get mounted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::environment::{data, field, text};
use crate::kubernetes::store::Store;

/// The contents of a volume that is written by the cluster: by path, with the mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// A volume of a pod.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) folder: PathBuf,
    /// What was written to it, for volumes that follow an object.
    files: Option<Files>,
    generation: u32,
}

/// Where the volumes of pods are.
pub(super) struct Folders<'a> {
    /// What ends with the pod.
    pub(super) pod: &'a Path,
    /// What stays.
    pub(super) claims: &'a Path,
    /// The certificate of the cluster's authority.
    pub(super) authority: &'a Path,
}

impl Volume {
    /// Makes a volume, or says what keeps it.
    pub(super) fn make(
        store: &mut Store,
        pod: &Value,
        volume: &Value,
        folders: &Folders<'_>,
    ) -> Result<Self, String> {
        let name = text(&volume["name"]);
        if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            let found = store.find("PersistentVolumeClaim", text(&pod["metadata"]["namespace"]), claim);
            let found = found.ok_or_else(|| format!("persistentvolumeclaim \"{claim}\" not found"))?;
            let folder = folders.claims.join(text(&found["metadata"]["uid"]));
            make(&folder, 0o755)?;
            return Ok(Self { folder, files: None, generation: 0 });
        }
        let folder = folders.pod.join("volumes").join(name);
        if volume.get("emptyDir").is_some() {
            make(&folder, 0o777)?;
            return Ok(Self { folder, files: None, generation: 0 });
        }
        let files = contents(store, pod, volume, folders)?;
        make(&folder, 0o755)?;
        let mut made = Self { folder, files: None, generation: 0 };
        made.write(files)?;
        Ok(made)
    }

    /// Lets a volume follow its objects; one that is gone leaves it as it is.
    pub(super) fn refresh(&mut self, store: &mut Store, pod: &Value, volume: &Value, folders: &Folders<'_>) {
        // A token is not made anew with every look.
        let has_token = |source: &Value| source.get("serviceAccountToken").is_some();
        let is_token =
            volume["projected"]["sources"].as_array().is_some_and(|sources| sources.iter().any(has_token));
        if self.files.is_none() || is_token {
            return;
        }
        if let Ok(files) = contents(store, pod, volume, folders)
            && self.files.as_ref() != Some(&files)
        {
            // With the next look, when the disk is full.
            let _ = self.write(files);
        }
    }

    /// Writes all files to a new folder and turns to it at once, as the real kubelet does.
    fn write(&mut self, files: Files) -> Result<(), String> {
        self.generation += 1;
        let data = self.folder.join(format!("..{}", self.generation));
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&data)?;
            for (name, (content, mode)) in &files {
                let path = data.join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(&path, content)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
            }
            let next = self.folder.join("..next");
            symlink(format!("..{}", self.generation), &next)?;
            fs::rename(&next, self.folder.join("..data"))?;
            let tops = files.keys().filter_map(|name| name.split('/').next());
            for top in tops {
                let link = self.folder.join(top);
                if link.symlink_metadata().is_err() {
                    symlink(format!("..data/{top}"), link)?;
                }
            }
            Ok(())
        };
        write().map_err(|error| format!("{}: {error}", self.folder.display()))?;
        self.files = Some(files);
        Ok(())
    }

    /// Gives the volume to the group of the pod (`fsGroup`).
    pub(super) fn give_to(&self, group: u32) {
        give(&self.folder, group);
    }
}

fn give(path: &Path, group: u32) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    if metadata.is_symlink() {
        return;
    }
    // What cannot be given is found by the pod.
    let _ = chown(path, None, Some(group));
    let mode = metadata.permissions().mode();
    let more = if metadata.is_dir() { 0o2070 } else { 0o060 & (mode >> 3) | 0o040 };
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode | more));
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            give(&entry.path(), group);
        }
    }
}

fn make(folder: &Path, mode: u32) -> Result<(), String> {
    if folder.exists() {
        return Ok(());
    }
    let made = fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(mode)));
    made.map_err(|error| format!("{}: {error}", folder.display()))
}

fn mode(source: &Value, item: &Value) -> u32 {
    let mode = item["mode"].as_u64().or_else(|| source["defaultMode"].as_u64()).unwrap_or(0o644);
    u32::try_from(mode & 0o777).unwrap_or(0o644)
}

fn contents(store: &mut Store, pod: &Value, volume: &Value, folders: &Folders<'_>) -> Result<Files, String> {
    if let Some(source) = volume.get("configMap") {
        return of_object(store, pod, "ConfigMap", source, text(&source["name"]));
    }
    if let Some(source) = volume.get("secret") {
        return of_object(store, pod, "Secret", source, text(&source["secretName"]));
    }
    if let Some(source) = volume.get("downwardAPI") {
        return Ok(downward(pod, source));
    }
    let sources = volume["projected"]["sources"].as_array();
    let sources = sources
        .ok_or_else(|| format!("the volume {} is of a kind that is not known here", volume["name"]))?;
    let mut files = Files::new();
    for source in sources {
        if let Some(source) = source.get("configMap") {
            // The authority of the cluster is in every namespace of a real one.
            if source["name"] == "kube-root-ca.crt" {
                let content = fs::read(folders.authority).map_err(|error| error.to_string())?;
                files.insert("ca.crt".into(), (content, 0o644));
            } else {
                files.extend(of_object(store, pod, "ConfigMap", source, text(&source["name"]))?);
            }
        } else if let Some(source) = source.get("secret") {
            files.extend(of_object(store, pod, "Secret", source, text(&source["name"]))?);
        } else if let Some(source) = source.get("downwardAPI") {
            files.extend(downward(pod, source));
        } else if let Some(source) = source.get("serviceAccountToken") {
            let account = text(&pod["spec"]["serviceAccountName"]);
            let token = store.token_of(text(&pod["metadata"]["namespace"]), account);
            files.insert(text(&source["path"]).into(), (token.into_bytes(), 0o644));
        }
    }
    Ok(files)
}

fn of_object(store: &Store, pod: &Value, kind: &str, source: &Value, name: &str) -> Result<Files, String> {
    let Some(data) = data(store, kind, text(&pod["metadata"]["namespace"]), name) else {
        if source["optional"] == true {
            return Ok(Files::new());
        }
        return Err(format!("{} \"{name}\" not found", kind.to_lowercase()));
    };
    let Some(items) = source["items"].as_array() else {
        let all = data.into_iter().map(|(name, content)| (name, (content, mode(source, &Value::Null))));
        return Ok(all.collect());
    };
    let mut files = Files::new();
    for item in items {
        let key = text(&item["key"]);
        match data.get(key) {
            Some(content) => {
                files.insert(text(&item["path"]).into(), (content.clone(), mode(source, item)));
            }
            None if source["optional"] == true => {}
            None => return Err(format!("references non-existent {} key: {key}", kind.to_lowercase())),
        }
    }
    Ok(files)
}

fn downward(pod: &Value, source: &Value) -> Files {
    let items = source["items"].as_array().into_iter().flatten();
    let files = items.map(|item| {
        let path = text(&item["fieldRef"]["fieldPath"]);
        let content = match path {
            "metadata.labels" | "metadata.annotations" => {
                let map =
                    pod["metadata"][path.trim_start_matches("metadata.")].as_object().into_iter().flatten();
                map.map(|(name, value)| format!("{name}={value}\n")).collect()
            }
            path => field(pod, path),
        };
        (text(&item["path"]).to_owned(), (content.into_bytes(), mode(source, item)))
    });
    files.collect()
}
