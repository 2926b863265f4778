//! A server alone over a tree: what it hands out when another server asks for its state.

use std::sync::Arc;
use std::time::Duration;

use seaworthy::raft::{RaftId, SnapshotMeta};
use seaworthy::time::Time;

use super::shelf::Shelf;
use super::tests::put;
use super::{Before, Effect, Frozen, Input, Member, Node, Options, Start, Token};
use crate::kv::PlainTree;

struct Alone {
    node: Node,
    now: Time,
    tree: PlainTree,
    shelf: Shelf,
    /// The states that were handed out to be encoded.
    frozen: Vec<Frozen>,
    /// How often the log went on from an encoded state.
    beside: usize,
}

impl Alone {
    fn start() -> Alone {
        let id = RaftId(1);
        let member = Member { name: "n1".into(), incarnation: 7, ..Member::default() };
        let founders = [(id, Member { incarnation: 0, ..member.clone() })].into();
        let options = Options { snapshot_bytes: 300, batch_ms: 10, ..Options::default() };
        let tree = PlainTree::new(0);
        let (log, base) = (Default::default(), Some(Arc::new(tree.clone()) as _));
        let (state, cluster, nonces) = (None, None, [1, 2]);
        let start =
            Start { id, founders, member, options, nonces, cluster, log, state, tree: base };
        let (node, _) = Node::start(start).unwrap();
        let (now, frozen) = (Time::from_millis(1), Vec::new());
        Alone { node, now, tree, shelf: Shelf::default(), frozen, beside: 0 }
    }

    /// Lets time pass. Disk and tree are swift; a state that is to be encoded waits in `frozen`.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + Duration::from_millis(1);
            let mut effects = Vec::new();
            self.node.flush(self.now, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Persist(ticket, _) => self.node.step(self.now, Input::Durable(ticket)),
                    Effect::Checkpoint(ticket, checkpoint) => {
                        self.beside += usize::from(matches!(checkpoint.before, Before::Beside(_)));
                        self.node.step(self.now, Input::Durable(ticket));
                    }
                    Effect::Batch(batch) => {
                        batch.visit(&mut |part, key, value| self.tree.change(part, key, value));
                        self.node.step(self.now, Input::Based(Arc::new(self.tree.clone())));
                    }
                    Effect::Freeze(frozen) => self.frozen.push(*frozen),
                    _ => {}
                }
            }
        }
    }

    fn put(&mut self, n: u64) {
        self.node.step(self.now, Input::Request(Token(n), put(&format!("k{n}"), &[b'v'; 100])));
        self.run(20);
    }

    fn snapshot(&self) -> SnapshotMeta {
        self.node.raft.snapshot().cloned().expect("the log has grown enough for one")
    }

    /// A piece of the latest snapshot is asked for.
    fn ask(&mut self) {
        self.node.want_encoded();
        self.run(1);
    }
}

#[test]
fn a_state_that_is_asked_for_again_while_it_is_encoded_is_encoded_once() {
    let mut alone = Alone::start();
    alone.run(5000);
    (0..20).for_each(|n| alone.put(n));
    assert!(alone.frozen.is_empty(), "a checkpoint over a tree copies nothing");
    let first = alone.snapshot();
    assert!(matches!(Before::of(Some(&first)), Before::Tree(_)), "{first:?}");
    for n in 20..40 {
        alone.ask();
        alone.put(n);
    }
    assert_eq!(alone.frozen.len(), 1);
    assert_eq!(alone.snapshot(), first, "no checkpoint makes the state that is encoded useless");
    let encoded = alone.shelf.write(&alone.frozen[0]);
    alone.node.step(alone.now, encoded);
    alone.run(100);
    assert_eq!(alone.beside, 1, "the state takes the place of the tree");
    (40..60).for_each(|n| alone.put(n));
    assert_eq!(alone.frozen.len(), 1, "one state was asked for");
}
