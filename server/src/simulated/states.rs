//! States beside the log of a simulated server: encoding and decoding one takes a while.

use std::collections::VecDeque;
use std::time::Duration;

use rand_core::Rng;
use seaworthy::node::{Context, Token as Timer};
use seaworthy::raft::{Piece, RaftId, Received};

use crate::kv::PlainTree;
use crate::node::shelf::Shelf;
use crate::node::{Checkpoint, Class, Frozen, Input};

/// A state has been encoded.
pub(super) const ENCODED: Timer = Timer(1);
/// A state of another server has been decoded.
pub(super) const DECODED: Timer = Timer(5);
/// How long either takes, at most, in milliseconds.
const CODING_MS: u64 = 100;

/// The states of one server.
pub(super) struct States {
    shelf: Shelf,
    /// One that is being encoded.
    frozen: Option<Box<Frozen>>,
    /// Those of other servers that are being decoded.
    arrived: VecDeque<Input>,
}

impl States {
    pub(super) fn new(shelf: Shelf) -> States {
        States { shelf, frozen: None, arrived: VecDeque::new() }
    }

    /// The bytes of a checkpoint, after its state.
    pub(super) fn checkpoint(&self, checkpoint: Checkpoint) -> Vec<u8> {
        self.shelf.checkpoint(checkpoint)
    }

    /// Begins to encode a state.
    pub(super) fn freeze(&mut self, cx: &mut Context<'_>, frozen: Box<Frozen>) {
        let ms = cx.rng().next_u64() % CODING_MS;
        self.frozen = Some(frozen);
        cx.set_timer(ENCODED, Duration::from_millis(ms));
    }

    /// Stores a piece. The inputs are those of this moment; another may follow with [`DECODED`].
    pub(super) fn store(
        &mut self,
        cx: &mut Context<'_>,
        received: &Received,
        tree: Option<&mut PlainTree>,
    ) -> Vec<Input> {
        let inputs = self.shelf.store(received, tree).into_iter();
        let (later, now): (Vec<_>, Vec<_>) =
            inputs.partition(|input| matches!(input, Input::Arrived(..)));
        if !later.is_empty() {
            let ms = cx.rng().next_u64() % CODING_MS;
            self.arrived.extend(later);
            cx.set_timer(DECODED, Duration::from_millis(ms));
        }
        now
    }

    /// Reads a piece for another server.
    ///
    /// # Errors
    /// An input, if the state is not here any more.
    pub(super) fn piece(&self, piece: Piece) -> Result<(RaftId, Class, Vec<u8>), Input> {
        self.shelf.piece(piece)
    }

    /// The inputs that a timer brings.
    pub(super) fn ripe(&mut self, timer: Timer) -> Vec<Input> {
        match timer {
            ENCODED => {
                self.frozen.take().map(|frozen| self.shelf.write(&frozen)).into_iter().collect()
            }
            DECODED => self.arrived.drain(..).collect(),
            _ => Vec::new(),
        }
    }
}
