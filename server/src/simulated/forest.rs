//! The trees of half of the simulated servers, in the place of databases on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use seaworthy::raft::RaftId;

use crate::kv::{Base, PlainTree};
use crate::node::shelf::{Shelf, read_over};
use crate::node::{Before, index_of};

/// The trees of a directory: that of its server, and those of states that came from others.
pub(super) type Trees = BTreeMap<u64, PlainTree>;

/// All trees, by server and directory.
#[derive(Debug, Default)]
pub(super) struct Forest {
    trees: BTreeMap<(RaftId, u64), Trees>,
    /// The trees of directories that an older copy has taken the place of.
    aside: BTreeMap<(RaftId, u64), Trees>,
}

/// Whether a server has a tree.
pub(super) fn has_tree(id: RaftId) -> bool {
    id.0.is_multiple_of(2)
}

impl Forest {
    /// The trees of a server's directory.
    pub(super) fn of(&mut self, key: (RaftId, u64)) -> &mut Trees {
        self.trees.entry(key).or_default()
    }

    /// Opens the tree of a server: the latest that has the state before its log; or a new one with the state
    /// beside it, as in a directory that another one took the place of.
    ///
    /// # Panics
    /// If the log goes on from a tree, and none has that state: no crash may lead there.
    pub(super) fn open(
        &mut self,
        key: (RaftId, u64),
        before: Before,
        shelf: &Shelf,
    ) -> Arc<dyn Base> {
        let trees = self.of(key);
        let first = before.index();
        let index = |tree: &PlainTree| index_of(tree).expect("this version wrote it");
        trees.retain(|_, tree| index(tree).is_some_and(|index| index >= first));
        if let Some(latest) = trees.values().max_by_key(|tree| index(tree)).cloned() {
            trees.retain(|number, _| *number == latest.number);
            return Arc::new(latest);
        }
        assert!(!matches!(before, Before::Tree(_)), "{} has no tree from {first} on", key.0);
        let mut tree = PlainTree::new(0);
        if let Some((index, bytes)) = shelf.latest() {
            read_over(bytes, index, &mut tree).expect("this version wrote it");
        }
        trees.insert(tree.number, tree.clone());
        Arc::new(tree)
    }

    /// An older copy of a directory takes its place. The copy has no tree; or, if its log goes on from a tree, it gets
    /// the tree of now: all entries that this one has beyond the copy's log are committed.
    pub(super) fn put_aside(&mut self, key: (RaftId, u64), before: Before) {
        // The copy may have been there in an earlier life already.
        if self.aside.contains_key(&key) {
            return;
        }
        let own = self.of(key).clone();
        self.aside.insert(key, own);
        if !matches!(before, Before::Tree(_)) {
            self.trees.remove(&key);
        }
    }

    /// The directory of a server is put back as it was.
    pub(super) fn put_back(&mut self, id: RaftId) {
        let (own, others) =
            std::mem::take(&mut self.aside).into_iter().partition(|(key, _)| key.0 == id);
        self.aside = others;
        self.trees.extend::<BTreeMap<_, _>>(own);
    }

    /// A server is accepted with the directory that it has.
    pub(super) fn accept(&mut self, id: RaftId) {
        self.aside.retain(|key, _| key.0 != id);
    }
}
