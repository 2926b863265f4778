//! The log of each key, put together from everything that shows a piece of it.
//!
//! A poll tells the offsets of its messages, however it ended; a send tells the
//! offset of its message, if it is *committed*: ok, or of unknown outcome but some ok poll
//! returned one of its messages. Offsets may have holes, so orders are compared by *index*, the
//! rank of an offset among those seen. If an offset holds several messages, which is an
//! error of its own, one of them stands for it: the same as in Jepsen, where it is the first
//! of a hash set. The other findings about a broken log depend on that choice.

use super::cases::{Case, Cases};
use super::read::{Key, Msg, Steps};
use crate::history::OpType;

/// Knowledge about a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// The step that sent it; none makes it a phantom.
    pub(super) writer: Option<usize>,
    /// The first ok poll that returned it.
    pub(super) reader: Option<usize>,
    /// Its offsets, in the order of discovery; a sound log has one.
    offsets: Vec<i64>,
    /// The index of its first and of its last offset.
    pub(super) range: Option<(usize, usize)>,
    /// The last index at which it stands for its offset.
    pub(super) index: Option<usize>,
}

/// The messages of a history and the logs they form.
pub(super) struct Log {
    messages: Vec<Message>,
    /// Per key, the message that stands for each index.
    pub(super) orders: Vec<Vec<Msg>>,
}

impl Log {
    /// Puts the logs together, and finds `inconsistent-offsets` and `duplicate`.
    ///
    /// # Errors
    /// If two sends have the same key and value: polls do not tell them apart.
    pub(super) fn new(steps: &Steps<'_>, cases: &mut Cases) -> Result<Log, String> {
        let mut log = Log {
            messages: vec![Message::default(); steps.messages()],
            orders: vec![Vec::new(); steps.keys()],
        };
        log.collect_writers(steps)?;
        log.collect_polls(steps);
        log.collect_sends(steps);
        log.order(steps, cases);
        Ok(log)
    }

    pub(super) fn message(&self, msg: Msg) -> &Message {
        &self.messages[msg.0 as usize]
    }

    /// All messages.
    pub(super) fn all(&self) -> impl Iterator<Item = (Msg, &Message)> {
        (0..).map(Msg).zip(&self.messages)
    }

    /// How far apart two messages of a key are. Where one of them is missing or has no
    /// place in the log, nothing can be said, and they count as neighbours.
    pub(super) fn delta(&self, from: Option<Msg>, to: Option<Msg>) -> i64 {
        let index = |msg: Option<Msg>| self.message(msg?).index;
        match (index(from), index(to)) {
            (Some(from), Some(to)) => to as i64 - from as i64,
            _ => 1,
        }
    }

    /// Whether a step certainly took effect.
    pub(super) fn committed(&self, steps: &Steps<'_>, step: usize) -> bool {
        let step = &steps.all[step];
        let polled = |(_, msg): &(_, Msg)| self.message(*msg).reader.is_some();
        match step.outcome {
            OpType::Ok => true,
            OpType::Info => step.sends.iter().flat_map(|(_, sent)| sent).any(polled),
            OpType::Fail | OpType::Invoke => false,
        }
    }

    fn collect_writers(&mut self, steps: &Steps<'_>) -> Result<(), String> {
        for (i, step) in steps.all.iter().enumerate() {
            for (_, msg) in step.sends.iter().flat_map(|(_, sent)| sent) {
                if self.messages[msg.0 as usize].writer.replace(i).is_some() {
                    let (key, value) = (steps.key(steps.key_of(*msg)), steps.value(*msg));
                    return Err(format!("value {value} was sent to key {key} twice"));
                }
            }
        }
        Ok(())
    }

    fn collect_polls(&mut self, steps: &Steps<'_>) {
        for (i, step) in steps.all.iter().enumerate() {
            for (offset, msg) in step.polls.iter().flat_map(|(_, polled)| polled) {
                let message = &mut self.messages[msg.0 as usize];
                message.add(*offset);
                if step.outcome == OpType::Ok && message.reader.is_none() {
                    message.reader = Some(i);
                }
            }
        }
    }

    fn collect_sends(&mut self, steps: &Steps<'_>) {
        for i in 0..steps.all.len() {
            if steps.all[i].sends.is_empty() || !self.committed(steps, i) {
                continue;
            }
            for (offset, msg) in steps.all[i].sends.iter().flat_map(|(_, sent)| sent) {
                if let Some(offset) = offset {
                    self.messages[msg.0 as usize].add(*offset);
                }
            }
        }
    }

    fn order(&mut self, steps: &Steps<'_>, cases: &mut Cases) {
        let mut entries: Vec<(Key, i64, Msg)> = Vec::with_capacity(self.messages.len());
        for (msg, message) in self.all() {
            let key = steps.key_of(msg);
            entries.extend(message.offsets.iter().map(|offset| (key, *offset, msg)));
            if message.offsets.len() > 1 {
                let mut offsets = message.offsets.clone();
                offsets.sort_unstable();
                cases.add("duplicate", Case::Duplicate { msg, offsets });
            }
        }
        entries.sort_unstable();
        for slot in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (key, offset, only) = slot[0];
            let by_hash = |(.., msg): &&(Key, i64, Msg)| {
                let value = steps.value(*msg);
                (value.as_int().map(clojure_place), value)
            };
            let first = slot.iter().min_by_key(by_hash).map_or(only, |(.., msg)| *msg);
            let order = &mut self.orders[key.0 as usize];
            let index = order.len();
            order.push(first);
            self.messages[first.0 as usize].index = Some(index);
            for (.., msg) in slot {
                let range = &mut self.messages[msg.0 as usize].range;
                *range = Some((range.map_or(index, |(first, _)| first), index));
            }
            if slot.len() > 1 {
                let values = slot.iter().map(|(.., msg)| *msg).collect();
                cases.add("inconsistent-offsets", Case::Offset { key, offset, index, values });
            }
        }
    }
}

impl Message {
    fn add(&mut self, offset: i64) {
        if !self.offsets.contains(&offset) {
            self.offsets.push(offset);
        }
    }
}

/// Where an integer comes in the sequence of a Clojure set: a trie that branches by five bits
/// of the hash at a time, lowest first. The hash is Murmur3 of the two 32 bit halves
/// (`clojure.lang.Murmur3.hashLong`).
fn clojure_place(value: i64) -> [u32; 7] {
    let mut hash = 0u32;
    if value != 0 {
        for half in [value as u32, (value >> 32) as u32] {
            let mixed = half.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
            hash = (hash ^ mixed).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
        hash ^= 8;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^= hash >> 16;
    }
    std::array::from_fn(|level| (hash >> (5 * level)) & 31)
}
