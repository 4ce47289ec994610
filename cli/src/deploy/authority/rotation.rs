//! The authority of a fleet in the place of another one, in steps that can be taken again after each end:
//!
//! ```text
//! Settled ──begin──► Trusting ──promote──► Issuing ──finish──► Settled
//! ```
//!
//! While `Trusting`, the next authority lies in `ca/next`, both are trusted, and the one before still signs. While
//! `Issuing`, the new one signs, and both are still trusted. What is trusted is `ca/ca.pem` at each time: that of the
//! authority which signs comes first. A step is taken when every node has taken the one before it.

use std::{fs, io, path::Path};

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};

use super::{FILES, broken, make, read, write_private};
use crate::{
    context::sync_parent,
    deploy::local::create_private,
    failure::{Failure, Outcome},
};

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is one authority.
    Settled,
    /// The next one is trusted, too.
    Trusting,
    /// The new one signs.
    Issuing,
}

/// How far the rotation of the fleet in this directory is.
pub fn phase(directory: &Path) -> Outcome<Phase> {
    let folder = directory.join("ca");
    recover(&folder)?;
    if folder.join(NEXT).exists() {
        return Ok(Phase::Trusting);
    }
    Ok(if each(&trusted(&folder)?).count() > 1 { Phase::Issuing } else { Phase::Settled })
}

/// Makes the next authority, unless it is there, and trusts it, too.
pub fn begin(directory: &Path, fleet: &str, now: Timestamp) -> Outcome {
    let folder = directory.join("ca");
    let next = folder.join(NEXT);
    if !next.exists() {
        make(&next, fleet, now)?;
    }
    let both = [first(&trusted(&folder)?), &trusted(&next)?].concat();
    write_private(&folder.join(CERTIFICATE), both.as_bytes())
}

/// Has the next authority sign from now on. The key of the one before is gone.
pub fn promote(directory: &Path) -> Outcome {
    let folder = directory.join("ca");
    let (next, new, old) = (folder.join(NEXT), folder.with_extension(NEW), folder.with_extension(OLD));
    let both = [trusted(&next)?, first(&trusted(&folder)?).to_owned()].concat();
    remove(&new)?;
    create_private(&new)?;
    for name in FILES {
        let content = read(&next.join(name))?.ok_or_else(|| broken(&next, "a part of it is missing"))?;
        let content = if name == CERTIFICATE { both.clone() } else { content };
        write_private(&new.join(name), content.as_bytes())?;
    }
    rename(&folder, &old)?;
    rename(&new, &folder)?;
    remove(&old)
}

/// Copies the authority of the fleet in one directory into another one, in the place of what is there, as far as a
/// rotation is. A fleet without one has nothing to copy.
pub fn copy(from: &Path, to: &Path) -> Outcome {
    let (source, folder) = (from.join("ca"), to.join("ca"));
    recover(&source)?;
    if !source.exists() {
        return Ok(());
    }
    recover(&folder)?;
    let (new, old) = (folder.with_extension(NEW), folder.with_extension(OLD));
    remove(&new)?;
    copy_files(&source, &new)?;
    if source.join(NEXT).exists() {
        copy_files(&source.join(NEXT), &new.join(NEXT))?;
    }
    if folder.exists() {
        rename(&folder, &old)?;
    }
    rename(&new, &folder)?;
    remove(&old)
}

fn copy_files(from: &Path, to: &Path) -> Outcome {
    create_private(to)?;
    let entries = fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in entries.map_err(|error| Failure::file("read", from, &error))? {
        let path = entry.path();
        if path.is_file()
            && let Some(content) = read(&path)?
        {
            write_private(&to.join(entry.file_name()), content.as_bytes())?;
        }
    }
    Ok(())
}

/// Trusts the one authority alone that signs.
pub fn finish(directory: &Path) -> Outcome {
    let folder = directory.join("ca");
    let alone = first(&trusted(&folder)?).to_owned();
    write_private(&folder.join(CERTIFICATE), alone.as_bytes())
}

/// Ends what [`promote`] was interrupted in.
pub(super) fn recover(folder: &Path) -> Outcome {
    let (new, old) = (folder.with_extension(NEW), folder.with_extension(OLD));
    match (folder.exists(), old.exists()) {
        // Between the two names: the new one is whole before the old one goes.
        (false, true) => {
            rename(&new, folder)?;
            remove(&old)
        }
        (true, true) => remove(&old),
        _ => Ok(()),
    }
}

/// The fingerprints of what is trusted now, as nodes say them.
pub fn fingerprints(directory: &Path) -> Outcome<Vec<String>> {
    Ok(each(&trusted(&directory.join("ca"))?).filter_map(fingerprint).collect())
}

/// SHA-256 of the first certificate in a text, as 64 hexadecimal digits; `None`: there is none.
pub fn fingerprint(text: &str) -> Option<String> {
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
    Some(Sha256::digest(&certificate).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The first certificate of a text, as it stands there.
pub(super) fn first(text: &str) -> &str {
    each(text).next().unwrap_or(text)
}

/// Each certificate of a text, as it stands there.
pub(super) fn each(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(start, _)| start).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([text.len()]).collect();
    starts.into_iter().zip(ends).filter_map(move |(start, end)| text.get(start..end))
}

fn trusted(folder: &Path) -> Outcome<String> {
    read(&folder.join(CERTIFICATE))?.ok_or_else(|| broken(folder, "a part of it is missing"))
}

fn rename(from: &Path, to: &Path) -> Outcome {
    let renamed = fs::rename(from, to).and_then(|()| sync_parent(to));
    renamed.map_err(|error| Failure::file("rename", from, &error))
}

fn remove(folder: &Path) -> Outcome {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Failure::file("delete", folder, &error)),
        _ => Ok(()),
    }
}

/// The folder of the next authority, in that of the authority.
const NEXT: &str = "next";
/// What the folder is called while it is made, and when its time is over.
const NEW: &str = "promoted";
const OLD: &str = "retired";
const CERTIFICATE: &str = "ca.pem";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use mq_model::config::MeshTls;

    use super::{super::Authority, *};

    fn authority(directory: &Path) -> Authority {
        Authority::of_fleet(directory, "f", Timestamp::now()).unwrap()
    }

    fn equipped(directory: &Path, node: &str) -> (bool, String) {
        let tls = MeshTls::default();
        let state = directory.join(node).join("state");
        create_private(&state).unwrap();
        let is_new = authority(directory).equip(node, &state, &tls, Timestamp::now()).unwrap();
        (is_new, fs::read_to_string(tls.below(&state).certificate).unwrap())
    }

    #[test]
    fn one_authority_takes_the_place_of_another_and_each_node_believes_both_meanwhile() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path();
        let old = authority(directory);
        let (_, by_old) = equipped(directory, "node-1");
        assert_eq!(phase(directory).unwrap(), Phase::Settled);

        begin(directory, "f", Timestamp::now()).unwrap();
        let both = fingerprints(directory).unwrap();
        begin(directory, "f", Timestamp::now()).unwrap();
        assert_eq!(fingerprints(directory).unwrap(), both, "the same one, when it is begun again");
        assert_eq!((phase(directory).unwrap(), both.len()), (Phase::Trusting, 2));
        assert_eq!(
            equipped(directory, "node-1"),
            (true, by_old.clone()),
            "told whom to believe, and nothing else"
        );
        assert_eq!(equipped(directory, "node-1"), (false, by_old.clone()));
        assert!(authority(directory).certificate == old.certificate, "the old one signs");

        promote(directory).unwrap();
        assert_eq!(phase(directory).unwrap(), Phase::Issuing);
        assert_eq!(fingerprints(directory).unwrap(), [both[1].clone(), both[0].clone()]);
        let new = authority(directory);
        assert!(new.certificate != old.certificate);
        let (is_new, by_new) = equipped(directory, "node-1");
        assert!(is_new && by_new != by_old);

        finish(directory).unwrap();
        assert_eq!(phase(directory).unwrap(), Phase::Settled);
        assert_eq!(fingerprints(directory).unwrap(), [both[1].clone()]);
        assert_eq!(equipped(directory, "node-1"), (true, by_new));
        assert!(!directory.join("ca.retired").exists() && !directory.join("ca/next").exists());
    }

    #[test]
    fn a_promotion_that_was_interrupted_is_ended() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path();
        drop(authority(directory));
        begin(directory, "f", Timestamp::now()).unwrap();
        let both = fingerprints(directory).unwrap();
        promote(directory).unwrap();
        // As it is between the two names.
        fs::rename(directory.join("ca"), directory.join("ca.promoted")).unwrap();
        fs::create_dir(directory.join("ca.retired")).unwrap();
        drop(authority(directory));
        assert_eq!(fingerprints(directory).unwrap(), [both[1].clone(), both[0].clone()]);
        assert_eq!(phase(directory).unwrap(), Phase::Issuing);
        assert!(!directory.join("ca.retired").exists());
    }
}
