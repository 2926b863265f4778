//! The bug that can be planted in a node (see [`crate::planted`]).

use super::core::Core;
use crate::message::NodeId;
use crate::planted::{Mutant, is};

impl Core {
    /// The request that a reply by `src` is matched with, where it names `msg_id`.
    pub(super) fn plant_reply_order(&self, msg_id: u64, src: &NodeId) -> u64 {
        let oldest = || self.rpcs.iter().find(|(_, rpc)| rpc.dest == *src);
        let in_order = is(Mutant::ReplyInOrder).then(oldest).flatten();
        in_order.map_or(msg_id, |(id, _)| *id)
    }
}
