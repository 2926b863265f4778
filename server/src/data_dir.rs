//! The data directory: whose it is, and the log in it.
//!
//! ```text
//! DIR/identity.json   format, name, incarnation, and how the cluster was founded
//! DIR/log/            the log: segments and a checkpoint (`seaworthy::storage`)
//! DIR/states/         the state that the checkpoint goes on from (`crate::states`)
//! DIR/log.durable     up to where the log is durable, once more
//! DIR/reserve         space for a full disk (`crate::space`)
//! ```
//!
//! The identity is written once, before anything else. Its name must agree with the
//! flags; which cluster the data belongs to is in the log itself, and compared when servers
//! meet.

// Files are this module's business, and an incarnation is made of randomness.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use seaworthy::raft::{Index, RaftId};
use seaworthy::storage::{FileStorage, Log, Owner};
use serde::{Deserialize, Serialize};

use crate::config::member_id;
use crate::engine::STREAM;
use crate::node::state_before;
use crate::space::Space;
use crate::states::{Beside, States};

/// The layout that this version writes.
pub const FORMAT: u32 = 1;
const IDENTITY: &str = "identity.json";

/// Whose a data directory is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The layout of the directory.
    pub format: u32,
    /// The name of the server.
    pub name: String,
    /// This directory's own random number, in hexadecimal.
    pub incarnation: String,
    /// The token of the founding.
    pub token: String,
    /// The servers that founded the cluster, with the addresses they had then.
    pub founders: BTreeMap<String, Vec<String>>,
    /// The id that the cluster gave to a server that was added later, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The identity of the cluster that it was added to, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Identity {
    /// The server's id.
    ///
    /// # Errors
    /// If the file was edited.
    pub fn member_id(&self) -> anyhow::Result<RaftId> {
        match (&self.id, self.founders.get(&self.name)) {
            (Some(id), _) => Ok(RaftId(number(id)?)),
            (None, Some(urls)) => Ok(RaftId(member_id(&self.token, &self.name, urls))),
            (None, None) => bail!("{} is neither a founder nor has it an id", self.name),
        }
    }

    /// The identity of the cluster that this server was added to, if it was.
    ///
    /// # Errors
    /// If the file was edited.
    pub fn joined(&self) -> anyhow::Result<Option<u64>> {
        self.cluster.as_deref().map(number).transpose()
    }
}

/// Whether there is a server's data in a directory.
pub fn is_used(path: &Path) -> bool {
    path.join(IDENTITY).exists()
}

/// An open data directory. The lock is held as long as the storage is there.
#[derive(Debug)]
pub struct DataDir {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub identity: Identity,
    /// Whether it was made now.
    pub is_new: bool,
    /// The log, for writing.
    pub storage: FileStorage,
    /// The states beside the log.
    pub states: States,
    /// The log as it was found.
    pub log: Log,
    /// The space that is left for them.
    pub space: Space,
}

impl DataDir {
    /// Opens `path` for the server that `wanted` describes, and makes it if it does not
    /// exist. If there is data already, the founding in it counts, and not that in `wanted`.
    ///
    /// # Errors
    /// If it is another server's, in use, or cannot be trusted. The text names both sides
    /// and the remedy.
    pub fn open(path: &Path, wanted: &Identity) -> anyhow::Result<DataDir> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let space = Space::open(path)
            .with_context(|| format!("cannot look at the disk of {}", path.display()))?;
        let room = Arc::new(space.clone());
        let found = read(path)?;
        let is_new = found.is_none();
        let identity = match found {
            Some(identity) => identity,
            None => create(path, wanted)?,
        };
        check(&path.display().to_string(), &identity, wanted)?;
        let beside = path.join("log.durable");
        let fresh = number(&identity.incarnation)?;
        let owner = Owner { node: identity.name.clone(), fresh, beside };
        let opened = FileStorage::open_owned(path.join("log"), &owner);
        let (storage, mut recovered) = opened.with_context(|| {
            format!("cannot use the data directory {} of {}", path.display(), identity.name)
        })?;
        let states = States::open(path)
            .with_context(|| format!("cannot make states in {}", path.display()))?;
        let (storage, states) = (storage.with_room(room.clone()), states.with_room(room));
        let log = with_state(recovered.take(STREAM), &states)?;
        Ok(DataDir { path: path.to_owned(), identity, is_new, storage, states, log, space })
    }
}

/// Puts the state before the checkpoint that goes on from it.
pub(crate) fn with_state(mut log: Log, states: &dyn Beside) -> anyhow::Result<Log> {
    let mut index = Index::ZERO;
    if let Some(tail) = log.checkpoint.take() {
        index = state_before(&tail).context("the log was written by another version")?;
        let mut bytes = match index {
            Index::ZERO => Vec::new(),
            index => states.read(index).map_err(|e| anyhow!("{e}"))?,
        };
        bytes.extend_from_slice(&tail);
        log.checkpoint = Some(bytes);
    }
    states.remove_older(index, true);
    Ok(log)
}

fn read(path: &Path) -> anyhow::Result<Option<Identity>> {
    let file = path.join(IDENTITY);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if path.join("log").exists() {
                bail!(
                    "{} is missing, but there is a log beside it: put the file back, or empty \
                     {} and let the server join anew",
                    file.display(),
                    path.display()
                );
            }
            return Ok(None);
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
    };
    let identity = serde_json::from_slice(&text);
    Ok(Some(identity.with_context(|| format!("{} does not parse", file.display()))?))
}

/// Reads the random number of a directory.
pub(crate) fn number(hex: &str) -> anyhow::Result<u64> {
    u64::from_str_radix(hex, 16).with_context(|| format!("{hex:?} is no incarnation"))
}

fn create(path: &Path, wanted: &Identity) -> anyhow::Result<Identity> {
    let incarnation = format!("{:016x}", getrandom::u64()?.max(1));
    let identity = Identity { incarnation, ..wanted.clone() };
    let (temporary, file) = (path.join("identity.json.new"), path.join(IDENTITY));
    let mut new = File::create(&temporary)?;
    new.write_all(&serde_json::to_vec_pretty(&identity)?)?;
    new.sync_all()?;
    fs::rename(&temporary, &file)?;
    File::open(path)?.sync_all()?;
    Ok(identity)
}

/// Refuses data of another format or server.
pub(crate) fn check(dir: &str, found: &Identity, wanted: &Identity) -> anyhow::Result<()> {
    if found.format != FORMAT {
        bail!(
            "{dir} has format {}, and this program writes {FORMAT}: use the version of the \
             program that wrote it",
            found.format
        );
    }
    if found.name != wanted.name {
        bail!(
            "{dir} belongs to the server {:?}, and this one is to be {:?}: start it with \
             --name {}, or give {} a data directory of its own",
            found.name,
            wanted.name,
            found.name,
            wanted.name
        );
    }
    let is_founder = found.id.is_none();
    if is_founder && (&found.founders, &found.token) != (&wanted.founders, &wanted.token) {
        tracing::warn!(
            "{dir} holds a server of an existing cluster: --initial-cluster and \
             --initial-cluster-token are ignored"
        );
    }
    Ok(())
}
