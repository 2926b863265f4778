//! Trees on disk below the machine's state: `--state fjall`.
//!
//! ```text
//! DIR/trees/NUMBER/   a database of fjall: one keyspace for each part of a tree
//! ```
//!
//! A server has one tree. A state that comes from another server is read into a tree of its own, with the next
//! number; the first batch for that one has the tree before removed. The log of a server that runs for some time goes
//! on from its tree, and from nothing else: without that tree the server does not start. Where the log goes on from a
//! state beside it, or from nothing, a tree that is older, unfinished, damaged, or another directory's is made again.

// Files are this module's business.
#![allow(clippy::disallowed_methods)]

mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seaworthy::raft::Index;
use seaworthy::storage::StorageError;

use self::tree::Tree;
use crate::kv::Base;
use crate::node::{Batch, Before, Changes, Machine};
use crate::states::{Source, read_with};

/// The directory of the trees in that of the server.
pub(crate) const DIR: &str = "trees";
/// The space that is left to the log and to snapshots.
const SPARE_BYTES: u64 = 2 << 20;
/// How long a batch that finds the disk full waits for the next look.
const LOOK: Duration = Duration::from_millis(100);

/// Where the state is while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// In memory.
    Memory,
    /// In a tree on disk.
    Fjall,
}

/// Tells how many bytes are left on a disk that is full; `None` if it is not.
pub type Left = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Finds the state beside a log.
pub type Find<'a> = dyn Fn() -> Result<Box<dyn Source>, StorageError> + 'a;

/// The trees of a server.
pub struct Trees {
    dir: PathBuf,
    incarnation: u64,
    left: Left,
    open: Mutex<BTreeMap<u64, Arc<Tree>>>,
}

impl Trees {
    /// Opens the tree in the data directory `path`, whose random number is `incarnation`. If there is none
    /// that has the state the log goes on from, one is made of the state `beside` it; or, if the log goes on from
    /// no state, an empty one.
    ///
    /// # Errors
    /// Those of the disk, or if the state is damaged; or if the log goes on from a tree that is not there, with the
    /// remedy. Then nothing was changed.
    pub fn open(
        path: &Path,
        incarnation: u64,
        left: Left,
        (before, beside): (Before, &Find),
    ) -> Result<(Trees, Arc<dyn Base>), StorageError> {
        let dir = path.join(DIR);
        let made = fs::create_dir_all(&dir).and_then(|()| File::open(path)?.sync_all());
        made.map_err(|e| failed(&dir, format!("cannot make a directory: {e}")))?;
        let trees = Trees { dir, incarnation, left, open: Mutex::default() };
        let chosen = trees.find(before)?;
        for number in trees.numbers()? {
            if chosen.as_ref().is_none_or(|tree| tree.number() != number) {
                remove(&trees.path(number))?;
            }
        }
        let base = match (chosen, before) {
            (Some(tree), _) => trees.keep(tree).view(),
            (None, Before::Beside(written)) => {
                tracing::info!("reading the state into a tree in {}", trees.dir.display());
                let machine = trees.read(&mut *beside()?, written.index)?;
                machine.store.base().expect("it was read into a tree").clone()
            }
            (None, _) => trees.keep(trees.make()?).view(),
        };
        Ok((trees, base))
    }

    /// Reads the state of the tree that the log of a data directory goes on from into memory. The answer has the last entry
    /// in that state as well. The tree stays.
    ///
    /// # Errors
    /// If there is no such tree, with the remedy.
    pub fn read_out(
        path: &Path,
        incarnation: u64,
        first: Index,
    ) -> Result<(Index, Box<Machine>), StorageError> {
        let (dir, left) = (path.join(DIR), Box::new(|| None));
        let trees = Trees { dir, incarnation, left, open: Mutex::default() };
        let tree = trees.find(Before::Tree(first))?.expect("or there is an error");
        let found = Machine::over(&tree.view()).map_err(|e| failed(tree.path(), e))?;
        let (index, machine) = found.expect("a tree that is found is finished");
        Ok((index, Box::new(machine.to_memory())))
    }

    /// The latest tree that has the state which a log goes on from.
    fn find(&self, before: Before) -> Result<Option<Arc<Tree>>, StorageError> {
        let (mut found, mut troubles): (Option<(Index, Arc<Tree>)>, _) = (None, Vec::new());
        let numbers = if self.dir.exists() { self.numbers()? } else { Vec::new() };
        for number in numbers {
            match self.look(number) {
                Ok((index, tree)) if index >= before.index() => {
                    if found.as_ref().is_none_or(|(other, _)| index > *other) {
                        found = Some((index, tree));
                    }
                }
                Ok((index, _)) => troubles.push(format!("{number} ends at entry {index}")),
                Err(why) => troubles.push(format!("{number}: {why}")),
            }
        }
        if let (None, Before::Tree(first)) = (&found, before) {
            let troubles =
                if troubles.is_empty() { "there is none".into() } else { troubles.join("; ") };
            return Err(failed(&self.dir, missing(first, &troubles)));
        }
        if found.is_none() {
            let dir = self.dir.display();
            troubles
                .iter()
                .for_each(|why| tracing::warn!("the tree in {dir}/{why}: it is made anew"));
        }
        Ok(found.map(|(_, tree)| tree))
    }

    /// Removes the trees of a data directory, if there are any: its server has its state in memory.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove_all(path: &Path) -> Result<(), StorageError> {
        match path.join(DIR) {
            dir if dir.exists() => remove(&dir),
            _ => Ok(()),
        }
    }

    /// Reads a state of everything up to an entry into a tree of its own.
    ///
    /// # Errors
    /// Those of the disk, or if the state is damaged.
    pub fn read(
        &self,
        source: &mut dyn Source,
        index: Index,
    ) -> Result<Box<Machine>, StorageError> {
        let tree = self.make()?;
        let machine = read_with(source, &mut |mut input| {
            let mut write = |changes: &Changes<'_>| {
                tree.write(changes).map_err(io::Error::other)?;
                Ok(tree.view())
            };
            Machine::read_over(tree.view(), index, &mut input, &mut write)
        });
        match &machine {
            Ok(_) => drop(self.keep(tree)),
            Err(_) => tree.remove_when_unused(),
        }
        machine
    }

    /// Writes a batch, and makes it durable; waits while the disk has no space for it. The answer is the tree that has it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write(&self, batch: &Batch) -> Result<Arc<dyn Base>, StorageError> {
        // Deletions are written on a full disk as well: they make space, when a snapshot without what they
        // deleted takes the log's place.
        while (self.left)().is_some_and(|left| left < batch.size_bytes() + SPARE_BYTES) {
            std::thread::sleep(LOOK);
        }
        let tree = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let later = open.split_off(&batch.tree);
            std::mem::replace(&mut *open, later)
                .values()
                .for_each(|tree| tree.remove_when_unused());
            open.get(&batch.tree).expect("a server's tree stays").clone()
        };
        let written = tree.write(&|visit| batch.visit(visit));
        written.map_err(|e| failed(tree.path(), e.to_string()))?;
        Ok(tree.view())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// Opens a tree that is there, and tells its last entry; or why it is of no use.
    fn look(&self, number: u64) -> Result<(Index, Arc<Tree>), String> {
        let tree = Arc::new(Tree::open(&self.path(number), number, self.incarnation)?);
        let index = tree.index()?.ok_or("it is unfinished")?;
        Ok((index, tree))
    }

    /// Makes an empty tree.
    fn make(&self) -> Result<Arc<Tree>, StorageError> {
        let number = self.numbers()?.last().map_or(0, |last| last + 1);
        let path = self.path(number);
        let tree = Tree::make(&path, number, self.incarnation);
        let tree = tree.map_err(|e| failed(&path, e.to_string()))?;
        // A log may soon go on from this tree alone: so the tree's name has to be durable as well.
        let named = File::open(&self.dir).and_then(|dir| dir.sync_all());
        named.map_err(|e| failed(&self.dir, format!("cannot be flushed: {e}")))?;
        Ok(Arc::new(tree))
    }

    fn keep(&self, tree: Arc<Tree>) -> Arc<Tree> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(tree.number(), tree.clone());
        tree
    }

    fn numbers(&self) -> Result<Vec<u64>, StorageError> {
        let entries = fs::read_dir(&self.dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|e| failed(&self.dir, format!("cannot be read: {e}")))?;
        let names = entries.iter().map(fs::DirEntry::file_name);
        let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

impl fmt::Debug for Trees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the trees in {}", self.dir.display())
    }
}

/// Why a server does not start: its log goes on from a tree, and no tree has that state.
fn missing(first: Index, troubles: &str) -> String {
    format!(
        "the log goes on from the state up to entry {first}, which was in a tree here alone, and no tree has \
         it ({troubles}). Put the directory back as it was; or, if the other servers are a quorum, remove this \
         server from the cluster, empty its data directory, and add it anew"
    )
}

fn remove(path: &Path) -> Result<(), StorageError> {
    fs::remove_dir_all(path).map_err(|e| failed(path, format!("cannot remove a tree: {e}")))
}

fn failed(path: &Path, reason: String) -> StorageError {
    StorageError { place: path.display().to_string(), reason }
}
