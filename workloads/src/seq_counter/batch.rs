//! The requests of this node's clients, and the node that carries out their common change.

use std::time::Duration;

use seaworthy::message::{Body, NodeId, RpcError};
use seaworthy::node::{Context, Token};
use seaworthy::time::Time;

use super::change::{COMBINE, Change, Combine, CombineOk, Entry};
use super::{Batch, By, JOINS, SeqCounter, Work};

/// A combiner is given so many times as long as one usually takes, before a node tries the same
/// change itself. Both may go on: it is taken once.
const PATIENCE: u32 = 8;
const MIN_PATIENCE: Duration = Duration::from_millis(20);
const MAX_PATIENCE: Duration = Duration::from_millis(1500);
/// After a node did not answer, others are asked for so long.
const SUSPECTED: Duration = Duration::from_millis(2000);

impl SeqCounter {
    /// Makes one change of all that waits, unless one is under way.
    pub(super) fn begin_batch(&mut self, cx: &mut Context<'_>) {
        if self.batch.is_some() || self.queue.is_empty() {
            return;
        }
        let work = std::mem::take(&mut self.queue);
        let known = self.seen.as_ref().and_then(|value| value.get(cx.id()).cloned());
        let by = self.combiner(cx).map_or(By::Itself, By::Combiner);
        self.batch = Some(self.batch_of(known, work, by, cx.now()));
        self.send_batch(cx);
    }

    /// The batch in which `work` changes the entry `from`.
    fn batch_of(&mut self, from: Option<Entry>, work: Vec<Work>, by: By, sent: Time) -> Batch {
        let before = from.as_ref().map_or(0, |entry| entry.0);
        let added: i128 = work.iter().filter_map(|w| w.delta).map(i128::from).sum();
        let change = Change { from, to: (before + added, self.tag()) };
        let join = Token(JOINS + self.tags);
        Batch { work, change, by, join, sent, is_aboard: false }
    }

    pub(super) fn tag(&mut self) -> String {
        self.tags += 1;
        format!("{:x}-{}", self.boot, self.tags)
    }

    /// The first node that is not suspected; none if that is this node.
    fn combiner(&mut self, cx: &Context<'_>) -> Option<NodeId> {
        let now = cx.now();
        self.suspects.retain(|(_, until)| now < *until);
        let trusted = |id: &&NodeId| self.suspects.iter().all(|(suspect, _)| suspect != *id);
        let first = cx.node_ids().iter().find(trusted)?;
        (first != cx.id()).then(|| first.clone())
    }

    pub(super) fn send_batch(&mut self, cx: &mut Context<'_>) {
        let patience = self
            .join_time
            .map_or(MAX_PATIENCE, |time| (time * PATIENCE).clamp(MIN_PATIENCE, MAX_PATIENCE));
        match &mut self.batch {
            Some(Batch { by: By::Combiner(node), change, join, sent, .. }) => {
                *sent = cx.now();
                cx.rpc(node, &Combine { kind: COMBINE, change }, patience, *join);
            }
            _ => self.take_off(cx, 0),
        }
    }

    /// Takes what the combiner answered. The batch that it was asked for may be done since.
    pub(super) fn joined(
        &mut self,
        cx: &mut Context<'_>,
        join: Token,
        result: Result<Body, RpcError>,
    ) {
        let Some(batch) = self.batch.as_mut().filter(|batch| batch.join == join) else { return };
        match result.and_then(|body| body.parse::<CombineOk>()) {
            Ok(CombineOk { entry, sum, .. }) => {
                let is_done = batch.change.made(entry.as_ref());
                if let Some(entry) = &entry {
                    self.seen.get_or_insert_default().insert(cx.id().clone(), entry.clone());
                }
                let took = cx.now() - batch.sent;
                self.join_time = Some(self.join_time.map_or(took, |usual| (usual * 7 + took) / 8));
                if is_done {
                    return self.answer(cx, sum);
                }
                self.renew(entry);
                self.send_batch(cx);
            }
            Err(_) => {
                if let By::Combiner(node) = std::mem::replace(&mut batch.by, By::Itself) {
                    self.suspects.push((node, cx.now() + SUSPECTED));
                }
                self.take_off(cx, 0);
            }
        }
    }

    /// Makes the batch's change anew, from the entry `from` of this node. That is of a value
    /// later than the change, which shows neither the entry that it started from nor the one
    /// that it made: it was not taken, and never will be.
    pub(super) fn renew(&mut self, from: Option<Entry>) {
        if let Some(Batch { work, by, sent, .. }) = self.batch.take() {
            self.batch = Some(self.batch_of(from, work, by, sent));
        }
    }
}
