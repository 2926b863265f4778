//! The trees of half of the simulated servers, in the place of databases on disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use seaworthy::raft::{Index, RaftId};

use crate::kv::{Base, PlainTree};
use crate::node::index_of;
use crate::node::shelf::{Shelf, read_over};

/// The trees of a directory: that of its server, and those of states that came from others.
pub(super) type Trees = BTreeMap<u64, PlainTree>;

/// All trees, by server and directory.
#[derive(Debug, Default)]
pub(super) struct Forest(BTreeMap<(RaftId, u64), Trees>);

/// Whether a server has a tree.
pub(super) fn has_tree(id: RaftId) -> bool {
    id.0.is_multiple_of(2)
}

impl Forest {
    /// The trees of a server's directory.
    pub(super) fn of(&mut self, key: (RaftId, u64)) -> &mut Trees {
        self.0.entry(key).or_default()
    }

    /// Opens the tree of a server: the latest that has the state before its log; or a new one with that
    /// state, as in a directory that another one took the place of.
    pub(super) fn open(&mut self, id: RaftId, incarnation: u64, shelf: &Shelf) -> Arc<dyn Base> {
        let trees = self.0.entry((id, incarnation)).or_default();
        let first = shelf.latest().map_or(Index::ZERO, |(index, _)| index);
        let index = |tree: &PlainTree| index_of(tree).expect("this version wrote it");
        trees.retain(|_, tree| index(tree).is_some_and(|index| index >= first));
        if let Some(latest) = trees.values().max_by_key(|tree| index(tree)).cloned() {
            trees.retain(|number, _| *number == latest.number);
            return Arc::new(latest);
        }
        let mut tree = PlainTree::new(0);
        if let Some((index, bytes)) = shelf.latest() {
            read_over(bytes, index, &mut tree).expect("this version wrote it");
        }
        trees.insert(tree.number, tree.clone());
        Arc::new(tree)
    }

    /// The tree of a directory is not the one that belongs to it.
    pub(super) fn remove(&mut self, id: RaftId, incarnation: u64) {
        self.0.remove(&(id, incarnation));
    }
}
