//! The requests of one kafka client.
//!
//! It remembers the keys it is assigned to and, for each, the offset it polls next. A
//! poll is two requests: `poll`, and, if messages came, `commit_offsets` of the
//! last ones. The position moves before the commit, as in Maelstrom: if the commit
//! is refused for certain the poll counts as failed though it moved on, and the next
//! one skips the messages that it had read.
//!
//! The committed offsets that an assignment is told are recorded under `:committed`, which
//! Maelstrom's client does not do: our checker compares them with the acknowledged ones.

use std::collections::BTreeMap;

use compact_str::{CompactString, ToCompactString};
use serde_json::{Value, json};

use super::super::Invocation;
use super::super::client::{Answer, Client, Completion, Errors, Step, json_from_edn};
use crate::check::kafka::COMMITTED;
use crate::edn::Edn;
use crate::history::OpType;

/// A client; see the module.
#[derive(Default)]
pub(super) struct KafkaClient {
    /// The next offset to poll, by key.
    positions: BTreeMap<CompactString, i64>,
    /// The messages that a poll has brought while its commit is under way.
    polled: Option<Edn>,
}

impl Client for KafkaClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        self.polled = None;
        match op.f.as_str() {
            "crash" => {
                let crashed = Completion { kind: OpType::Info, ..Completion::ok(op.value.clone()) };
                Step::Complete(crashed)
            }
            "assign" if seeks_to_beginning(op) => {
                self.positions = keys(op).map(|key| (key, 0)).collect();
                Step::Complete(Completion::ok(op.value.clone()))
            }
            "assign" => {
                let keys = json_from_edn(&op.value);
                Step::request(&json!({"type": "list_committed_offsets", "keys": keys}))
            }
            "poll" => {
                let offsets = object(self.positions.iter().map(|(k, o)| (k.as_str(), *o)));
                Step::request(&json!({"type": "poll", "offsets": offsets}))
            }
            _ => {
                let (key, msg) = sent(op);
                let (key, msg) = (json_from_edn(key), json_from_edn(msg));
                Step::request(&json!({"type": "send", "key": key, "msg": msg}))
            }
        }
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        let value = match (op.f.as_str(), self.polled.take()) {
            ("poll", None) => return self.poll_ok(body),
            ("poll", Some(polled)) => {
                body.expect("commit_offsets_ok", &[])?;
                polled
            }
            ("assign", _) => {
                let committed = self.assigned(op, body)?;
                let extra = vec![(COMMITTED.into(), committed)];
                let done = Completion { extra, ..Completion::ok(op.value.clone()) };
                return Ok(Step::Complete(done));
            }
            _ => {
                body.expect("send_ok", &["offset"])?;
                let offset = body.edn("offset");
                let (key, msg) = sent(op);
                offset.as_int().ok_or("offset is not an integer")?;
                let mop = [Edn::keyword("send"), key.clone(), Edn::vector([offset, msg.clone()])];
                Edn::vector([Edn::vector(mop)])
            }
        };
        Ok(Step::Complete(Completion::ok(value)))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        if op.f == "assign" { Errors::Idempotent } else { Errors::Handled }
    }
}

impl KafkaClient {
    /// Starts behind the committed offsets; a key that stays assigned keeps its place, for others
    /// may have committed beyond the last message that this client has seen. Returns the committed
    /// offsets.
    fn assigned(&mut self, op: &Invocation, body: &Answer) -> Result<Edn, String> {
        body.expect("list_committed_offsets_ok", &["offsets"])?;
        let offsets = body.edn("offsets");
        let mut committed = BTreeMap::new();
        for (key, offset) in offsets.entries().ok_or("offsets is not an object")? {
            let offset = offset.as_int().ok_or_else(|| format!("{offset} is no offset"))?;
            committed.insert(key.as_text().unwrap_or_default(), offset);
        }
        let start = |key: &CompactString| match self.positions.get(key) {
            Some(position) => *position,
            None => committed.get(key.as_str()).map_or(0, |offset| offset.saturating_add(1)),
        };
        self.positions = keys(op).map(|key| (key.clone(), start(&key))).collect();
        let told = committed.into_iter().map(|(key, offset)| (Edn::str(key), Edn::Int(offset)));
        Ok(Edn::Map(told.collect()))
    }

    fn poll_ok(&mut self, body: &Answer) -> Result<Step, String> {
        body.expect("poll_ok", &["msgs"])?;
        let msgs = body.edn("msgs");
        let (mut polled, mut last) = (Vec::new(), Vec::new());
        for (key, pairs) in msgs.entries().ok_or("msgs is not an object")? {
            let name = key.as_text().unwrap_or_default();
            let offsets = offsets(pairs).ok_or_else(|| {
                format!("the messages of {name} are no list of [offset, message]")
            })?;
            polled.push((Edn::str(name), pairs.clone()));
            last.extend(offsets.into_iter().max().map(|offset| (name, offset)));
        }
        let polled = Edn::vector([Edn::vector([Edn::keyword("poll"), Edn::Map(polled)])]);
        if last.is_empty() {
            return Ok(Step::Complete(Completion::ok(polled)));
        }
        for (key, offset) in &last {
            // Keys that were not asked for are the checker's business.
            if let Some(position) = self.positions.get_mut(*key) {
                *position = (*position).max(offset.saturating_add(1));
            }
        }
        self.polled = Some(polled);
        Ok(Step::request(&json!({"type": "commit_offsets", "offsets": object(last)})))
    }
}

/// The offsets of a list of `[offset message]`; null is an empty list.
fn offsets(pairs: &Edn) -> Option<Vec<i64>> {
    let offset = |pair: &Edn| match pair.as_seq() {
        Some([Edn::Int(offset), _]) => Some(*offset),
        _ => None,
    };
    if pairs.is_nil() {
        return Some(Vec::new());
    }
    pairs.as_seq()?.iter().map(offset).collect()
}

fn object<'a>(offsets: impl IntoIterator<Item = (&'a str, i64)>) -> Value {
    Value::Object(offsets.into_iter().map(|(k, o)| (k.to_owned(), o.into())).collect())
}

fn keys(op: &Invocation) -> impl Iterator<Item = CompactString> {
    let keys = op.value.as_seq().unwrap_or_default();
    keys.iter().filter_map(Edn::as_text).map(|key| key.to_compact_string())
}

fn seeks_to_beginning(op: &Invocation) -> bool {
    op.extra.iter().any(|(name, value)| name == "seek-to-beginning?" && *value == Edn::Bool(true))
}

/// Key and message of a send.
fn sent(op: &Invocation) -> (&Edn, &Edn) {
    message(op).expect("generators make [[:send key message]], and plans are checked")
}

/// The same, of an operation that may come from a plan written by hand.
pub(crate) fn message(op: &Invocation) -> Option<(&Edn, &Edn)> {
    let [_, key, msg] = op.value.as_seq()?.first()?.as_seq()? else { return None };
    Some((key, msg))
}
