//! The data directory: whose it is, and the log in it.
//!
//! ```text
//! DIR/identity.json   format, name, incarnation, and how the cluster was founded
//! DIR/log/            the log: segments and a checkpoint (`seaworthy::storage`)
//! DIR/states/         the state that the checkpoint goes on from (`crate::states`)
//! DIR/trees/          the state of now, if it is not in memory (`crate::trees`)
//! DIR/log.durable     up to where the log is durable, once more
//! DIR/reserve         space for a full disk (`crate::space`)
//! ```
//!
//! The identity is written once, before anything else. Its name must agree with the
//! flags; which cluster the data belongs to is in the log itself, and compared when servers
//! meet.

// Files are this module's business, and an incarnation is made of randomness.
#![allow(clippy::disallowed_methods)]

mod begin;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use seaworthy::raft::RaftId;
use seaworthy::storage::{self, FileStorage, Log, Owner, Storage, WriteData};
use serde::{Deserialize, Serialize};

pub(crate) use self::begin::Begun;
use self::begin::{look_at_state, state_in, tree_of};
#[cfg(feature = "postgres")]
pub(crate) use self::begin::{look_in_database, state_of};
use crate::engine::STREAM;
use crate::founding::member_id;
use crate::kv::Base;
use crate::node::offline::First;
use crate::space::Space;
use crate::states::{Beside, States, Trouble};
use crate::trees::{self, Trees};

/// The layout that this version writes.
pub const FORMAT: u32 = 1;
const IDENTITY: &str = "identity.json";
const LOG: &str = "log";
const BESIDE: &str = "log.durable";

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
    /// The state that the log goes on from, or a later one. `None` if the log begins with the first entry, or
    /// the state is in a tree.
    pub state: Option<Begun>,
    /// The tree that has that state or a later one, and a view of it.
    pub tree: Option<(Arc<Trees>, Arc<dyn Base>)>,
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
    pub fn open(path: &Path, wanted: &Identity, kind: trees::Kind) -> anyhow::Result<DataDir> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let space = Space::open(path)
            .with_context(|| format!("cannot look at the disk of {}", path.display()))?;
        let room = Arc::new(space.clone());
        let found = read(path)?;
        let is_new = found.is_none();
        let identity = match found {
            Some(identity) => identity,
            None => create(path, wanted, getrandom::u64()?.max(1))?,
        };
        check(&path.display().to_string(), &identity, wanted)?;
        let beside = path.join(BESIDE);
        let fresh = number(&identity.incarnation)?;
        let owner = Owner { node: identity.name.clone(), fresh, beside };
        let opened = FileStorage::open_owned(path.join(LOG), &owner);
        let (storage, mut recovered) = opened.with_context(|| {
            format!("cannot use the data directory {} of {}", path.display(), identity.name)
        })?;
        let states = States::open(path)
            .with_context(|| format!("cannot make states in {}", path.display()))?;
        let (storage, states) = (storage.with_room(room.clone()), states.with_room(room));
        let log = recovered.take(STREAM);
        let (state, tree) = match kind {
            trees::Kind::Memory => (state_in(path, fresh, &log, &states)?, None),
            trees::Kind::Fjall => (None, Some(tree_of(path, fresh, &space, &log, &states)?)),
        };
        let path = path.to_owned();
        Ok(DataDir { path, identity, is_new, storage, states, log, state, tree, space })
    }
}

/// A data directory that was read.
#[derive(Debug)]
pub struct Found {
    /// Whose it is.
    pub identity: Identity,
    /// Its log.
    pub log: Log,
    path: PathBuf,
}

/// Everything of a server, in memory.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) identity: Identity,
    pub(crate) log: Log,
    /// The state that the log goes on from, or a later one. `None` if the log begins with the first
    /// entry.
    pub(crate) state: Option<Begun>,
}

impl Found {
    /// Reads the state as well. A state in a tree is read by opening the tree, so no server may run on the directory.
    ///
    /// # Errors
    /// If the state is missing or damaged.
    pub(crate) fn whole(self) -> anyhow::Result<Whole> {
        let Found { identity, log, path } = self;
        let incarnation = number(&identity.incarnation)?;
        let state = look_at_state(&path, incarnation, &log, &States::at(&path))?;
        Ok(Whole { identity, log, state })
    }
}

/// Reads a data directory, and changes nothing.
///
/// # Errors
/// If it is none, or cannot be trusted.
pub fn look(path: &Path) -> anyhow::Result<Found> {
    let Some(identity) = read(path)? else {
        bail!("{} is no data directory of seaworthy-server: it has no {IDENTITY}", path.display());
    };
    if identity.format != FORMAT {
        bail!(other_format(&path.display().to_string(), identity.format));
    }
    let mut recovered = FileStorage::read(path.join(LOG))?;
    let log = recovered.take(STREAM);
    Ok(Found { identity, log, path: path.to_owned() })
}

/// Holds a data directory, so that no server starts on it. Let go with the answer.
///
/// # Errors
/// If there is none, or a server runs on it.
pub fn lock(path: &Path) -> anyhow::Result<File> {
    let file = path.join(LOG).join("lock");
    let lock = File::options().write(true).open(&file);
    let lock = lock
        .with_context(|| format!("{} is no data directory of seaworthy-server", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(_) => bail!("a server runs on {}: stop it first", path.display()),
    }
}

/// Makes a data directory that begins a cluster.
///
/// # Errors
/// If there is something at `path` already.
pub async fn found(path: &Path, identity: &Identity, first: First) -> anyhow::Result<()> {
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: nothing was changed there", path.display());
    }
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    let states = States::open(path)?;
    write_state(&states, &first).map_err(|e| anyhow!("cannot write a state: {e:?}"))?;
    let fresh = getrandom::u64()?.max(1);
    let owner = Owner { node: identity.name.clone(), fresh, beside: path.join(BESIDE) };
    let (mut storage, _) = FileStorage::open_owned(path.join(LOG), &owner)?;
    let data = WriteData::Checkpoint(first.checkpoint.encode());
    storage.commit(vec![storage::Write { stream: STREAM, data }]).await?;
    // Last, so that no server starts on half of it.
    create(path, identity, fresh)?;
    Ok(())
}

fn write_state(states: &States, first: &First) -> Result<(), Trouble> {
    let mut sink = states.create(first.checkpoint.before.index())?;
    sink.append(&first.state)?;
    sink.finish().map(|_| ())
}

/// The directory in which a recovery is prepared, and that for the data before it.
const RECOVERED: &str = "recovered";
/// Where the data is that a directory had before a recovery.
pub const BEFORE: &str = "before-recovery";

/// Puts new data in the place of that in a directory, which stays in [`BEFORE`].
///
/// # Errors
/// Those of the disk: before the first move nothing has changed, and later [`finish_recovery`] helps.
pub async fn replace(path: &Path, identity: &Identity, first: First) -> anyhow::Result<()> {
    prepare(path, identity, first).await?;
    move_all(path)
}

async fn prepare(path: &Path, identity: &Identity, first: First) -> anyhow::Result<()> {
    if path.join(BEFORE).join(IDENTITY).exists() {
        bail!("{} is there already: move it elsewhere", path.join(BEFORE).display());
    }
    // An attempt that did not come as far as its first move counts for nothing.
    let new = path.join(RECOVERED);
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    found(&new, identity, first).await?;
    fs::create_dir_all(path.join(BEFORE))?;
    Ok(())
}

/// The moves that are left to be made. The identity goes first and comes last: without it no
/// server starts on the rest.
fn moves(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let (new, old) = (path.join(RECOVERED), path.join(BEFORE));
    // A part whose successor is home already was missing before: it is the successor.
    let away = [IDENTITY, BESIDE, "states", LOG].into_iter().filter(|name| new.join(name).exists());
    let away = away.map(|name| (path.join(name), old.join(name)));
    // A tree has no successor: it is another server's as soon as the new identity is there.
    let trees = Some(trees::DIR).filter(|_| new.join(IDENTITY).exists());
    let trees = trees.map(|name| (path.join(name), old.join(name)));
    let home = [LOG, "states", BESIDE, IDENTITY].map(|name| (new.join(name), path.join(name)));
    let away = away.chain(trees).filter(|(from, to)| from.exists() && !to.exists());
    let home = home.into_iter().filter(|(from, _)| from.exists());
    away.chain(home).collect()
}

fn move_all(path: &Path) -> anyhow::Result<()> {
    for (from, to) in moves(path) {
        fs::rename(from, to)?;
    }
    for dir in [&path.join(BEFORE), path] {
        File::open(dir)?.sync_all()?;
    }
    fs::remove_dir_all(path.join(RECOVERED))?;
    Ok(())
}

/// Finishes a replacement that was interrupted after its first move: before that a server may
/// have run on the directory again. The answer is whether there was one. Can be repeated until it succeeds;
/// meanwhile no server starts on the directory.
///
/// # Errors
/// Those of the disk.
pub fn finish_recovery(path: &Path) -> anyhow::Result<bool> {
    let is_begun = path.join(RECOVERED).exists() && path.join(BEFORE).join(IDENTITY).exists();
    if is_begun {
        move_all(path)?;
    }
    Ok(is_begun)
}

fn read(path: &Path) -> anyhow::Result<Option<Identity>> {
    let file = path.join(IDENTITY);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if path.join(RECOVERED).exists() {
                bail!(
                    "a recovery of {0} was interrupted: finish it with `seaworthy-server recover {0}`",
                    path.display()
                );
            }
            if path.join(LOG).exists() {
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

fn create(path: &Path, wanted: &Identity, fresh: u64) -> anyhow::Result<Identity> {
    let incarnation = format!("{fresh:016x}");
    let identity = Identity { incarnation, ..wanted.clone() };
    let (temporary, file) = (path.join("identity.json.new"), path.join(IDENTITY));
    let mut new = File::create(&temporary)?;
    new.write_all(&serde_json::to_vec_pretty(&identity)?)?;
    new.sync_all()?;
    fs::rename(&temporary, &file)?;
    File::open(path)?.sync_all()?;
    Ok(identity)
}

/// The refusal of data whose identity has another format.
pub(crate) fn other_format(place: &str, format: u32) -> String {
    format!(
        "{place} has format {format}, and this program writes {FORMAT}: use the version of the program \
         that wrote it"
    )
}

/// Refuses data of another format or server.
pub(crate) fn check(dir: &str, found: &Identity, wanted: &Identity) -> anyhow::Result<()> {
    if found.format != FORMAT {
        bail!(other_format(dir, found.format));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kv::Store;
    use crate::node::{Member, offline};
    use seaworthy::raft::{Index, LogId, RaftId, Term};

    fn identity(token: &str) -> Identity {
        let founders = BTreeMap::from([("n1".to_owned(), vec!["http://127.0.0.1:1".to_owned()])]);
        let (name, token) = ("n1".to_owned(), token.to_owned());
        let incarnation = String::new();
        Identity { format: FORMAT, name, incarnation, token, founders, id: None, cluster: None }
    }

    fn first() -> First {
        let members = BTreeMap::from([(RaftId(1), Member::default())]);
        offline::found(Store::default(), members, LogId { index: Index(1), term: Term(1) })
    }

    #[test]
    fn a_recovery_that_is_interrupted_anywhere_is_finished_and_no_server_starts_meanwhile() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for done in 0..=8 {
            let dir = tempfile::TempDir::new().unwrap();
            let path = &dir.path().join("data");
            runtime.block_on(found(path, &identity("old"), first())).unwrap();
            assert!(!finish_recovery(path).unwrap(), "there is none");
            runtime.block_on(prepare(path, &identity("new"), first())).unwrap();
            let moves = moves(path);
            assert_eq!(moves.len(), 8);
            for (from, to) in &moves[..done] {
                fs::rename(from, to).unwrap();
            }
            match (done, read(path)) {
                (0, Ok(Some(found))) => assert_eq!(found.token, "old"),
                (8, Ok(Some(found))) => assert_eq!(found.token, "new"),
                (1..8, Err(why)) => assert!(why.to_string().contains("finish it"), "{why}"),
                (_, other) => panic!("after {done} moves: {other:?}"),
            }
            assert_eq!(finish_recovery(path).unwrap(), done > 0);
            if done == 0 {
                runtime.block_on(replace(path, &identity("new"), first())).unwrap();
            }
            assert_eq!(look(path).unwrap().identity.token, "new");
            assert_eq!(look(&path.join(BEFORE)).unwrap().identity.token, "old");
            assert!(!finish_recovery(path).unwrap());
        }
    }

    #[test]
    fn a_part_that_was_missing_before_a_recovery_does_not_take_the_new_one_away() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for done in 1..=7 {
            let dir = tempfile::TempDir::new().unwrap();
            let path = &dir.path().join("data");
            runtime.block_on(found(path, &identity("old"), first())).unwrap();
            fs::remove_file(path.join(BESIDE)).unwrap();
            runtime.block_on(prepare(path, &identity("new"), first())).unwrap();
            let moves = moves(path);
            assert_eq!(moves.len(), 7);
            moves[..done].iter().for_each(|(from, to)| fs::rename(from, to).unwrap());
            assert!(finish_recovery(path).unwrap());
            assert!(path.join(BESIDE).exists(), "after {done} moves");
            assert!(!path.join(BEFORE).join(BESIDE).exists(), "after {done} moves");
        }
    }

    #[test]
    fn a_state_that_the_log_names_is_kept_also_if_it_is_still_apart() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let _entered = runtime.enter();
        let dir = tempfile::TempDir::new().unwrap();
        let path = &dir.path().join("data");
        runtime.block_on(found(path, &identity("one"), first())).unwrap();
        fs::rename(path.join("states/1"), path.join("states/1.received")).unwrap();
        for _ in 0..2 {
            let opened = DataDir::open(path, &identity("one"), trees::Kind::Memory).unwrap();
            assert_eq!(opened.state.unwrap().1.members.len(), 1);
        }
        fs::remove_file(path.join("states/1")).unwrap();
        let why =
            DataDir::open(path, &identity("one"), trees::Kind::Memory).unwrap_err().to_string();
        assert!(why.contains("a state is missing"), "{why}");
    }
}
