//! Read committed, totally available: transactions on a replicated lattice.
//!
//! Every node answers at once from its own state, also when it is cut off, and tells the
//! others later, by the gossip engine. The state of a node is the join of a *set of
//! whole transactions*: the writes of a transaction are one value of the lattice
//! (`Registers`), which the engine joins, sends, writes to disk and forgets only as a
//! whole. All writes of a transaction carry one `Version`, greater than every version
//! in the state that it was executed on. Versions are totally ordered, and a state is the
//! result of executing its set in that order (a property test in `registers.rs`).
//! Therefore these cannot be observed (phenomena by Adya, "Weak Consistency", 1999):
//!
//! * **G0, dirty write**, a cycle of transactions that overwrite each other: every key
//!   orders its writers by the same total order.
//! * **G1a, aborted read**: a transaction is refused only before it has done anything.
//!   If its node dies before the writes are on disk, no client has seen them, because
//!   nothing that a node knows leaves it before it is durable.
//! * **G1b, intermediate read**: of several writes to a key only the last leaves the
//!   transaction.
//! * **G1c, circular information flow**: a transaction that reads from another, or
//!   overwrites it, has the greater version (or writes nothing, and then no other
//!   depends on it). Versions cannot grow along a circle.
//! * **Fractured reads**, half of another transaction's writes. Let T write x and y, and
//!   let a reader see T's x. Then T is in the set that its node's state is the join
//!   of, and with it T's y; so the reader sees that y, or one of a later version. It
//!   does not matter in which order, how often, or joined with which others T's writes came,
//!   since they came together. A transaction reads one state from its first operation to
//!   its last, so this holds for all its reads: that is monotonic atomic view (Bailis
//!   et al., "Highly Available Transactions: Virtues and Limitations", 2013) and read
//!   atomic (RAMP, 2014), and no item is read twice with two results.
//!
//! It also follows that a client that stays with one node reads its own writes, or later
//! ones, and never goes back in time; after a kill only if the node has a data directory.
//!
//! Allowed, because no system that stays available can exclude them, are **stale
//! reads**, for as long as a partition lasts; **lost updates**, two nodes read the same value
//! and both write, and the greater version wins; **write skew**; and two nodes that see two
//! unrelated transactions in different orders (long fork). Causal systems show that
//! one more could be excluded: seeing the effect of a transaction before its cause, if that
//! is another transaction. The winner of a lost update is decided by clocks: a node whose
//! clock is behind, as after a restart, loses against concurrent writes of others
//! until it has heard from them.
//!
//! **Appends** are a set of elements by key, read in the order of their versions, after
//! the last `w`, which replaces everything before it. So no append is lost to another,
//! but an element that arrives late takes its place *before* some that were read already: one
//! node may have shown `[1]` when another showed `[2]`, and both show `[1 2]` later. Elle's
//! list-append workload takes the order of elements from reads, and takes lists that
//! are no prefixes of each other (`incompatible-order`) for a violation of every level.
//! No order exists that all nodes could agree on without waiting for each other:
//! list-append is a test for strict serializability.
//!
//! Deliberately missing: deletion, and forgetting keys; a state grows with its keys, and
//! a list with its elements.

mod execute;
mod registers;
mod value;
mod version;

use seaworthy::message::{Message, RpcError};
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Workload};
use seaworthy::shell::gossip::Replicated;

use super::protocol::{TxnOk, micro_ops};
use crate::options::Options;
use crate::reply::not_supported;
use execute::execute;
use registers::Registers;
use version::Version;

/// A node that answers every transaction by itself, at once.
pub struct Committed {
    registers: Replicated<Registers>,
}

impl Committed {
    /// The type of the messages between the nodes.
    pub const GOSSIP: &'static str = "txn_gossip";

    /// A node without any register.
    pub fn new(options: &Options) -> Committed {
        Committed { registers: Replicated::new(Committed::GOSSIP, options.gossip.clone()) }
    }

    fn answer(&mut self, cx: &mut Context<'_>, message: &Message) -> Result<(), RpcError> {
        if message.body.kind != "txn" {
            not_supported(cx, message);
            return Ok(());
        }
        let (_, ops) = micro_ops(message)?;
        let state = self.registers.state();
        let executed = execute(&ops, |key| state.get(key))?;
        if !executed.writes.is_empty() {
            let latest = state.latest();
            let stamp = latest.next(cx.now());
            assert!(stamp > latest, "a transaction is later than all that it may have read");
            let version = Version { stamp, author: self.registers.author() };
            self.registers.add(cx, Registers::of(version, executed.writes));
        }
        self.registers.reply(cx, &message.request(), &TxnOk::new(executed.filled));
        Ok(())
    }
}

impl Workload for Committed {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        for event in self.registers.handle(cx, event) {
            match event {
                Event::Start(mut recovered) => {
                    self.registers.start(cx, recovered.take(DEFAULT_STREAM));
                }
                Event::Message(message) => {
                    if let Err(error) = self.answer(cx, &message) {
                        cx.error(&message.request(), &error);
                    }
                }
                Event::Reply { .. } | Event::Timer(_) | Event::Durable(_) => {}
            }
        }
    }
}
