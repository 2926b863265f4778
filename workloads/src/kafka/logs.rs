//! The logs as a state machine: pure, and the same on every node.
//!
//! A log keeps its messages from some offset on. With a retention limit that is the
//! offset of the oldest of the last so many; without one it is always 0. Nodes may have
//! different limits: no replicated answer depends on it.
//!
//! The cost: with a limit of N, the state is N messages for each key that was ever
//! sent to, and an offset for each that was ever committed, however many messages there
//! were. That is about 360 bytes of memory for a key with one small message and a
//! committed offset (a million such keys: 342 MB) and 60 bytes of a snapshot. Without
//! a limit every message stays. The replica writes a snapshot when its log has grown by as
//! much as the last snapshot had, so the disk holds a small multiple of the state, and
//! the log never decides about memory.
//!
//! Deliberately missing: an end to the number of keys. A key that were forgotten would
//! begin at offset 0 again, and a second message at an offset that was used before is
//! an anomaly; so even an empty key has to be remembered.

use std::collections::{BTreeMap, VecDeque};

use seaworthy::message::{ErrorCode, RpcError};
use seaworthy::shell::raft::{Answer, StateMachine};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::protocol::{Batch, ListCommittedOk, Offsets, SendOk};
use crate::planted;
use crate::reply::Done;

/// The most messages in the answer to a poll. A client that wants more polls again.
pub const POLL_MESSAGES_MAX: usize = 1024;
/// The most bytes of messages in the answer to a poll, as far as one message fits.
pub const POLL_BYTES_MAX: usize = 1 << 20;

/// All logs, and how far each has been committed.
#[derive(Default, Serialize, Deserialize)]
pub struct Logs {
    logs: BTreeMap<String, Log>,
    committed: Offsets,
    #[serde(skip)]
    retain: Option<u32>,
}

/// The messages of one key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Log {
    /// The offset of the first message kept.
    first: u64,
    messages: VecDeque<Box<RawValue>>,
}

/// A command as it stands in the replicated log.
#[derive(Serialize, Deserialize)]
pub(crate) enum Command<'a> {
    /// Key and message.
    #[serde(rename = "s")]
    Send(String, #[serde(borrow)] &'a RawValue),
    /// Committed offsets.
    #[serde(rename = "c")]
    Commit(Offsets),
}

impl Log {
    /// The offset of the next message.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Puts a message at the end; its offset. Keeps the last `retain` messages.
    pub(crate) fn push(&mut self, message: Box<RawValue>, retain: Option<u32>) -> u64 {
        let offset = self.end();
        self.messages.push_back(message);
        self.trim(retain);
        offset
    }

    fn trim(&mut self, retain: Option<u32>) {
        let limit = retain.map_or(usize::MAX, |limit| limit as usize);
        let excess = self.messages.len().saturating_sub(limit);
        self.messages.drain(..excess);
        self.first += excess as u64;
    }

    /// The messages from `offset` on, or from the first one that is kept.
    pub(crate) fn from(&self, offset: u64) -> impl Iterator<Item = (u64, &RawValue)> {
        let skip = usize::try_from(offset.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let skip = skip.min(self.messages.len());
        // A range begins at once, wherever it begins: skipping would walk through the log.
        let messages = self.messages.range(skip..).map(|message| &**message);
        (self.first + skip as u64..).zip(messages)
    }
}

/// Reads from each log in `asked`, within the limits of a poll. Each key gets an equal
/// share of the messages, so that a long log does not keep the others from a client.
pub(crate) fn poll<'a>(asked: &'a Offsets, log: impl Fn(&str) -> Option<&'a Log>) -> Batch<'a> {
    let mut batch = Batch::new();
    let (mut messages_left, mut bytes_left) = (POLL_MESSAGES_MAX, POLL_BYTES_MAX);
    for (place, (key, offset)) in asked.iter().enumerate() {
        let share = messages_left.div_ceil(asked.len() - place);
        let mut found = Vec::new();
        for (offset, message) in log(key).into_iter().flat_map(|log| log.from(*offset)) {
            let bytes = message.get().len();
            let is_first = batch.is_empty() && found.is_empty();
            if found.len() == share || bytes > bytes_left && !is_first {
                break;
            }
            bytes_left = bytes_left.saturating_sub(bytes);
            found.push((offset, message));
        }
        messages_left -= found.len();
        if !found.is_empty() {
            batch.insert(key, found);
        }
    }
    batch
}

impl Logs {
    /// No logs yet; each will keep its last `retain` messages, or all.
    pub fn new(retain: Option<u32>) -> Logs {
        Logs { retain, ..Logs::default() }
    }

    /// Answers a poll.
    pub fn poll<'a>(&'a self, asked: &'a Offsets) -> Batch<'a> {
        poll(asked, |key| self.logs.get(key))
    }

    /// Whether committing these offsets changes nothing.
    pub(crate) fn covers(&self, offsets: &Offsets) -> bool {
        offsets.iter().all(|(key, offset)| self.committed.get(key) >= Some(offset))
    }
}

impl StateMachine for Logs {
    fn apply(&mut self, command: &RawValue) -> Answer {
        match serde_json::from_str(command.get()) {
            Ok(Command::Send(key, message)) => {
                let log = self.logs.entry(key).or_default();
                Answer::new(&SendOk::new(log.push(message.to_owned(), self.retain)))
            }
            Ok(Command::Commit(offsets)) => {
                for (key, offset) in offsets {
                    let committed = self.committed.entry(key).or_default();
                    // Guard: committed offsets do not go back, however late and in which
                    // order commits arrive.
                    *committed = offset.max(*committed);
                }
                Answer::new(&Done::of("commit_offsets_ok"))
            }
            // Every node decides the same about it, and nothing has happened.
            Err(e) => Answer::error(&RpcError::new(ErrorCode::NOT_SUPPORTED, e.to_string())),
        }
    }

    /// The committed offsets of a list of keys.
    fn query(&self, keys: &RawValue) -> Answer {
        match serde_json::from_str::<Vec<String>>(keys.get()) {
            Ok(keys) => {
                let known = |key| self.committed.get_key_value(key);
                let offsets = keys.iter().filter_map(known).map(|(k, v)| (k.as_str(), *v));
                Answer::new(&ListCommittedOk::new(offsets.collect()))
            }
            Err(e) => Answer::error(&RpcError::new(ErrorCode::NOT_SUPPORTED, e.to_string())),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        // Guard: the committed offsets are part of the state, and of its snapshots.
        planted::logs_snapshot(serde_json::to_vec(self).expect("logs are plain data"))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let restored: Logs = serde_json::from_slice(snapshot).map_err(|e| e.to_string())?;
        *self = Logs { retain: self.retain, ..restored };
        // The node that took the snapshot may keep more than this one.
        self.logs.values_mut().for_each(|log| log.trim(self.retain));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::*;

    fn told(answer: &Answer) -> Value {
        serde_json::from_str(answer.as_str()).unwrap()
    }

    fn send(logs: &mut Logs, key: &str, message: &Value) -> u64 {
        let message = to_raw_value(message).unwrap();
        let command = to_raw_value(&Command::Send(key.to_owned(), &message)).unwrap();
        let answer = told(&logs.apply(&command));
        assert_eq!(answer["type"], "send_ok");
        answer["offset"].as_u64().unwrap()
    }

    fn offsets(offsets: &Value) -> Offsets {
        serde_json::from_value(offsets.clone()).unwrap()
    }

    fn commit(logs: &mut Logs, asked: &Value) {
        let command = to_raw_value(&Command::Commit(offsets(asked))).unwrap();
        assert_eq!(told(&logs.apply(&command)), json!({"type": "commit_offsets_ok"}));
    }

    fn committed(logs: &Logs, keys: &Value) -> Value {
        told(&logs.query(&to_raw_value(keys).unwrap()))["offsets"].clone()
    }

    fn polled(logs: &Logs, asked: &Value) -> Value {
        serde_json::to_value(logs.poll(&offsets(asked))).unwrap()
    }

    #[test]
    fn offsets_count_from_zero_in_each_log() {
        let mut logs = Logs::new(None);
        assert_eq!(send(&mut logs, "a", &json!(7)), 0);
        assert_eq!(send(&mut logs, "a", &json!({"x": [1]})), 1);
        assert_eq!(send(&mut logs, "b", &json!(null)), 0);
        let all = json!({"a": [[0, 7], [1, {"x": [1]}]], "b": [[0, null]]});
        assert_eq!(polled(&logs, &json!({"a": 0, "b": 0, "c": 0})), all);
        assert_eq!(polled(&logs, &json!({"a": 1})), json!({"a": [[1, {"x": [1]}]]}));
        assert_eq!(polled(&logs, &json!({"a": 2, "b": u64::MAX})), json!({}));
    }

    #[test]
    fn committed_offsets_never_go_back() {
        let mut logs = Logs::new(None);
        assert_eq!(committed(&logs, &json!(["a"])), json!({}));
        commit(&mut logs, &json!({"a": 5, "b": 0}));
        commit(&mut logs, &json!({"a": 3, "b": 1}));
        assert_eq!(committed(&logs, &json!(["a", "b", "c"])), json!({"a": 5, "b": 1}));
        assert!(logs.covers(&offsets(&json!({"a": 5, "b": 0}))));
        assert!(!logs.covers(&offsets(&json!({"a": 5, "b": 2}))));
        assert!(!logs.covers(&offsets(&json!({"c": 0}))), "committing 0 is something");
    }

    #[test]
    fn older_offsets_are_answered_from_the_first_message_kept() {
        let mut logs = Logs::new(Some(2));
        for n in 0..5 {
            assert_eq!(send(&mut logs, "a", &json!(n)), n);
        }
        assert_eq!(polled(&logs, &json!({"a": 0})), json!({"a": [[3, 3], [4, 4]]}));
        assert_eq!(polled(&logs, &json!({"a": 4})), json!({"a": [[4, 4]]}));
        assert_eq!(logs.logs["a"].messages.len(), 2);
    }

    #[test]
    fn with_a_limit_the_state_grows_with_the_keys_and_not_with_the_messages() {
        let snapshot = |keys: u64, messages: u64| {
            let mut logs = Logs::new(Some(3));
            for n in 0..keys * messages {
                send(&mut logs, &format!("key {:05}", n % keys), &json!(n % 10));
                commit(&mut logs, &json!({(format!("key {:05}", n % keys)): n / keys}));
            }
            logs.snapshot().len() as u64
        };
        let (few, many) = (snapshot(100, 10), snapshot(100, 300));
        assert!(many <= few + 100 * 8, "only offsets may be longer: {few} and {many} bytes");
        let more_keys = snapshot(1000, 10);
        assert!(more_keys / 1000 <= 100, "a key costs {} bytes", more_keys / 1000);
    }

    #[test]
    fn a_poll_is_bounded_and_leaves_no_key_out() {
        let mut logs = Logs::new(None);
        for n in 0..POLL_MESSAGES_MAX {
            send(&mut logs, "a", &json!(n));
            send(&mut logs, "b", &json!(n));
        }
        send(&mut logs, "c", &json!(0));
        let asked = offsets(&json!({"a": 10, "b": 0, "c": 0, "d": 0}));
        let batch = logs.poll(&asked);
        let share = POLL_MESSAGES_MAX / asked.len();
        assert!(batch.values().map(Vec::len).eq([share, share, 1]));
        for (key, messages) in &batch {
            let expected = (asked[*key]..).take(messages.len());
            assert!(messages.iter().map(|m| m.0).eq(expected), "{key} has a gap");
        }
    }

    #[test]
    fn a_message_larger_than_a_poll_is_still_delivered() {
        let mut logs = Logs::new(None);
        let huge = json!("x".repeat(POLL_BYTES_MAX));
        send(&mut logs, "a", &huge);
        send(&mut logs, "a", &json!(1));
        send(&mut logs, "b", &json!(2));
        assert_eq!(polled(&logs, &json!({"a": 0, "b": 0})), json!({"a": [[0, huge]]}));
        assert_eq!(polled(&logs, &json!({"a": 1})), json!({"a": [[1, 1]]}));
    }

    #[test]
    fn a_snapshot_carries_everything_and_fits_the_limit_of_who_takes_it() {
        let mut logs = Logs::new(None);
        for n in 0..4 {
            send(&mut logs, "a", &json!(n));
        }
        commit(&mut logs, &json!({"a": 2, "z": 9}));
        let mut copy = Logs::new(Some(3));
        send(&mut copy, "old", &json!(1));
        copy.restore(&logs.snapshot()).unwrap();
        let expected = json!({"a": [[1, 1], [2, 2], [3, 3]]});
        assert_eq!(polled(&copy, &json!({"a": 0, "old": 0})), expected);
        assert_eq!(committed(&copy, &json!(["a", "z"])), json!({"a": 2, "z": 9}));
        assert_eq!(send(&mut copy, "a", &json!(4)), 4);
        assert!(copy.restore(b"{}").is_err());
    }
}
