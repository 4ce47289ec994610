//! What is started on a node, by the data plane of its fleet.
//!
//! `mqd` is started as it is. In the place of another data plane `mq` runs itself (see [`crate::plane`]): it takes the
//! same configuration, holds the same lock, writes the same `node.json` and answers the same questions, so that
//! backends, gates and rolls know of one kind of node alone.

use std::path::{Path, PathBuf};

use mq_model::{Dataplane, config::DaemonConfig};

use crate::{
    failure::{Failure, Outcome},
    plane::files::Installation,
};

/// A program with what comes before `--config` on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: &'static [&'static str],
}

impl Program {
    /// What runs the node; `mqd` is where that one is.
    ///
    /// # Errors
    ///
    /// It cannot be found.
    pub fn of(dataplane: Dataplane, mqd: impl FnOnce() -> Outcome<PathBuf>) -> Outcome<Self> {
        let mq = || std::env::current_exe().map_err(|error| Failure::file("find", Path::new("mq"), &error));
        Ok(match dataplane {
            Dataplane::Mqd => Self { path: mqd()?, arguments: &[] },
            Dataplane::Rabbitmq => Self { path: mq()?, arguments: &["plane", "rabbitmq"] },
        })
    }

    /// The same program of a release, where one was sent.
    #[must_use]
    pub fn below(self, release: &Path) -> Self {
        match self.path.file_name().map(|name| release.join(name)) {
            Some(path) => Self { path, ..self },
            None => self,
        }
    }
}

/// What has to be installed for a node to run.
///
/// # Errors
///
/// It is not.
pub fn check_installed(node: &DaemonConfig) -> Outcome {
    match node.dataplane {
        Dataplane::Mqd => Ok(()),
        Dataplane::Rabbitmq => Installation::find().map(drop),
    }
}

/// Whether the version of what runs on a node is that of programs which `mq` brings along: others are upgraded with
/// the machine that they are installed on.
pub fn is_brought(dataplane: Dataplane) -> bool {
    dataplane == Dataplane::Mqd
}
