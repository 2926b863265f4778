//! One tree: a database of fjall.

use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use seaworthy::raft::Index;

use crate::kv::{Base, Entries, Part};
use crate::node::{Changes, index_of};

/// The key of the random number of the data directory, among the rest.
const OWNER: &[u8] = b"owner";
/// The memory for blocks that were read.
const CACHE_BYTES: u64 = 64 << 20;
/// The memory of a part for changes that are not in a table yet; fjall has a few of these.
const BUFFER_BYTES: u64 = 8 << 20;
/// The most bytes of journals, the least that fjall takes.
const JOURNAL_BYTES: u64 = 64 << 20;
/// The files that are held open.
const FILES: usize = 128;

const PARTS: [(Part, &str); 5] = [
    (Part::Current, "current"),
    (Part::History, "history"),
    (Part::Versions, "versions"),
    (Part::Replaced, "replaced"),
    (Part::Rest, "rest"),
];

/// A tree on disk.
pub(super) struct Tree {
    number: u64,
    path: PathBuf,
    /// None while this is dropped.
    open: Option<Open>,
    is_doomed: AtomicBool,
}

struct Open {
    parts: [Keyspace; PARTS.len()],
    database: Database,
}

impl Tree {
    /// Opens a tree that is there.
    pub(super) fn open(path: &Path, number: u64, incarnation: u64) -> Result<Tree, String> {
        let tree = Tree::begin(path, number).map_err(|e| e.to_string())?;
        let owner = tree.read(Part::Rest, OWNER).map_err(|e| e.to_string())?;
        match owner.as_deref() == Some(&incarnation.to_le_bytes()[..]) {
            true => Ok(tree),
            false => Err("it is not of this data directory".to_owned()),
        }
    }

    /// Makes an empty tree.
    pub(super) fn make(path: &Path, number: u64, incarnation: u64) -> fjall::Result<Tree> {
        let tree = Tree::begin(path, number)?;
        let owner = incarnation.to_le_bytes().to_vec();
        tree.write(&|visit| visit(Part::Rest, OWNER.to_vec(), Some(owner.clone())))?;
        Ok(tree)
    }

    fn begin(path: &Path, number: u64) -> fjall::Result<Tree> {
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(FILES))
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(2)
            .manual_journal_persist(true)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(BUFFER_BYTES);
        let open = |(_, name): (Part, &str)| database.keyspace(name, options);
        let [current, history, versions, replaced, rest] = PARTS.map(open);
        let parts = [current?, history?, versions?, replaced?, rest?];
        let (path, is_doomed) = (path.to_owned(), AtomicBool::new(false));
        Ok(Tree { number, path, open: Some(Open { parts, database }), is_doomed })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The last entry in it; none if it is empty or unfinished.
    pub(super) fn index(self: &Arc<Tree>) -> Result<Option<Index>, String> {
        index_of(&*self.view())
    }

    fn opened(&self) -> &Open {
        self.open.as_ref().expect("it is open until it is dropped")
    }

    fn part(&self, part: Part) -> &Keyspace {
        let place = PARTS.iter().position(|(other, _)| *other == part);
        &self.opened().parts[place.expect("all parts are listed")]
    }

    fn read(&self, part: Part, key: &[u8]) -> fjall::Result<Option<Bytes>> {
        let found = self.opened().database.snapshot().get(self.part(part), key)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Makes changes, all at once, and durable: before a table has any of them, the journal has all.
    pub(super) fn write(&self, changes: &Changes<'_>) -> fjall::Result<()> {
        let mut batch = self.opened().database.batch().durability(Some(PersistMode::SyncAll));
        changes(&mut |part, key, value| match value {
            Some(value) => batch.insert(self.part(part), key, value),
            None => batch.remove(self.part(part), key),
        });
        batch.commit()
    }

    /// The tree at this moment.
    pub(super) fn view(self: &Arc<Tree>) -> Arc<dyn Base> {
        let snapshot = self.opened().database.snapshot();
        Arc::new(View { snapshot, tree: self.clone() })
    }

    /// Has the files removed when nobody reads the tree any more.
    pub(super) fn remove_when_unused(&self) {
        self.is_doomed.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tree in {}", self.path.display())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.open = None;
        if *self.is_doomed.get_mut()
            && let Err(e) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!("cannot remove {}: {e}", self.path.display());
        }
    }
}

/// A tree at one moment.
struct View {
    snapshot: Snapshot,
    tree: Arc<Tree>,
}

impl View {
    /// A server that cannot read its state has to end, whatever asks for it.
    fn read<T>(&self, read: fjall::Result<T>) -> T {
        read.unwrap_or_else(|error| {
            tracing::error!("cannot read {:?}: {error}", self.tree);
            std::process::exit(1)
        })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree.fmt(f)
    }
}

impl Base for View {
    fn number(&self) -> u64 {
        self.tree.number
    }

    fn get(&self, part: Part, key: &[u8]) -> Option<Bytes> {
        let found = self.read(self.snapshot.get(self.tree.part(part), key));
        found.map(|value| Bytes::copy_from_slice(&value))
    }

    fn range(&self, part: Part, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Entries<'_> {
        let entries = self.snapshot.range::<&[u8], _>(self.tree.part(part), (from, to));
        Box::new(entries.map(|entry| {
            let (key, value) = self.read(entry.into_inner());
            (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value))
        }))
    }
}
