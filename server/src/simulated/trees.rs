//! A simulated server's way to its trees.
//!
//! A batch is in the tree at once, and the server hears of it later; or it is not there before the
//! server hears of it. So a crash in between loses it, or leaves a tree that is ahead of
//! everything else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seaworthy::node::{Context, Token as Timer};
use seaworthy::raft::RaftId;

use super::disk::Ledger;
use super::forest::Trees;
use crate::kv::PlainTree;
use crate::node::{Batch, Input, index_of};

/// Batches are in the tree.
pub(super) const BASED: Timer = Timer(6);
/// How long that takes, at most, in milliseconds.
const WRITING_MS: u64 = 100;

/// A server's way to its trees.
pub(super) struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    key: (RaftId, u64),
    /// Batches of which the server is to hear, and the trees that have them.
    under_way: VecDeque<(Box<Batch>, Option<PlainTree>)>,
}

impl Writer {
    pub(super) fn new(ledger: Arc<Mutex<Ledger>>, id: RaftId, incarnation: u64) -> Writer {
        Writer { ledger, key: (id, incarnation), under_way: VecDeque::new() }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Trees) -> T) -> T {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        change(ledger.forest.of(self.key))
    }

    /// Begins to write a batch. Nothing is drawn, so that other draws stay as they are.
    pub(super) fn begin(&mut self, cx: &mut Context<'_>, batch: Box<Batch>) {
        let index = batch.index.0;
        let mut under_way = std::mem::take(&mut self.under_way);
        under_way.push_back((batch, None));
        if index.is_multiple_of(2) {
            // Batches are written in their order: this one may have the tree of another one removed.
            for (batch, written) in &mut under_way {
                written.get_or_insert_with(|| self.write(batch));
            }
        }
        self.under_way = under_way;
        cx.set_timer(BASED, Duration::from_millis(index * 37 % WRITING_MS));
    }

    /// Writes a batch, and removes the trees before.
    fn write(&self, batch: &Batch) -> PlainTree {
        self.change(|trees| {
            trees.retain(|number, _| *number >= batch.tree);
            let tree = trees.get_mut(&batch.tree).expect("a server's tree stays");
            batch.visit(&mut |part, key, value| tree.change(part, key, value));
            tree.clone()
        })
    }

    /// The inputs that the timer brings.
    pub(super) fn ripe(&mut self) -> Vec<Input> {
        let under_way = std::mem::take(&mut self.under_way);
        let tree = |(batch, written): (Box<Batch>, Option<PlainTree>)| {
            written.unwrap_or_else(|| self.write(&batch))
        };
        under_way.into_iter().map(|one| Input::Based(Arc::new(tree(one)))).collect()
    }

    /// An empty tree, for a state of another server.
    pub(super) fn plant(&self) -> PlainTree {
        let last = self.change(|trees| trees.keys().next_back().copied());
        PlainTree::new(last.map_or(0, |last| last + 1))
    }

    /// Keeps a tree that has a state of another server, if it has one.
    pub(super) fn keep(&self, tree: PlainTree) {
        if index_of(&tree).is_ok_and(|index| index.is_some()) {
            self.change(|trees| trees.insert(tree.number, tree));
        }
    }
}
