//! What replicas say to each other, as JSON.
//!
//! Everything a replica has for another at the end of a turn travels in one message:
//! raft's messages, commands and queries passed on to the leader, and answers. Names
//! are short because the bench counts bytes too, and what is JSON already (commands,
//! queries, answers) is embedded as it is, without being quoted a second time.
//!
//! An entry is `[term, payload]`; its index follows from its place. The payload is
//! `null` for a leader's empty entry, an object for a configuration, and an array for
//! a command, which always is one (see `Envelope` in `envelope`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::changes::Goal;
use super::standing::ClusterId;
use crate::message::MAX_LINE_BYTES;
use crate::raft::{
    Command, Config, Entry, Index, LogId, Message, MessageKind, Payload, RaftId, ReadContext,
    Round, SnapshotMeta, Term,
};

/// The largest command that a message between nodes has room for, in bytes. The rest is
/// for what stands around it.
pub(super) const MAX_COMMAND_BYTES: usize = MAX_LINE_BYTES - (64 << 10);
/// The size from which a bundle is sent as several, in bytes. A single item larger than
/// this travels alone.
pub(super) const BUNDLE_BYTES: usize = 1 << 20;

/// Everything one replica tells another in one turn.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Bundle {
    /// The sender's clock, and the receiver's as the sender last saw it, with the time
    /// it has kept it: both in milliseconds. Gives the round trip.
    #[serde(rename = "w")]
    pub(super) clocks: (u64, Option<u64>),
    /// The sender's cluster, if it knows it.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<ClusterId>,
    /// The sender knows of no session that the receiver ever opened.
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) new: bool,
    /// The sender's term; zero if it abstains, and so confirms nothing.
    #[serde(rename = "t")]
    pub(super) term: Term,
    /// Messages of the consensus core.
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) raft: Vec<(Term, Body)>,
    /// For the leader, from the sender's own clients.
    #[serde(rename = "r", default, skip_serializing_if = "Requests::is_empty")]
    pub(super) requests: Requests,
    /// `requests` are for the leader whom the receiver hears.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pass_on: bool,
    /// Passed on to the leader, each for the replica that asked.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) passed_on: Vec<(RaftId, Requests)>,
    /// For the receiver's own clients.
    #[serde(rename = "a", default, skip_serializing_if = "Replies::is_empty")]
    pub(super) replies: Replies,
    /// For clients of other replicas, which the receiver had passed on.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) replies_back: Vec<(RaftId, Replies)>,
    /// The sender wants to know who hears a leader.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) seeks: bool,
    /// The sender hears a leader, or is it.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) hears: bool,
    /// The sender waits for somebody to lead for the first time.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) wake: bool,
}

impl Bundle {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.raft.is_empty()
            && self.requests.is_empty()
            && self.passed_on.is_empty()
            && self.replies.is_empty()
            && self.replies_back.is_empty()
            && !self.seeks
            && !self.hears
            && !self.wake
    }

    fn size_bytes(&self) -> usize {
        let passed_on: usize = self.passed_on.iter().map(|(_, r)| r.size_bytes()).sum();
        let back: usize = self.replies_back.iter().map(|(_, r)| r.size_bytes()).sum();
        let raft: usize = self.raft.iter().map(|(_, body)| body.size_bytes()).sum();
        raft + self.requests.size_bytes() + passed_on + self.replies.size_bytes() + back
    }

    /// The same as bundles of at most `max_bytes`, in order; an item that is larger has a
    /// bundle of its own. A receiver skips what is longer than a line may be, and
    /// whatever comes behind a long line waits for it.
    pub(super) fn split(self, max_bytes: usize) -> Vec<Bundle> {
        if self.size_bytes() <= max_bytes {
            return vec![self];
        }
        let mut top = self;
        let raft = std::mem::take(&mut top.raft);
        let (requests, pass_on) = (std::mem::take(&mut top.requests), top.pass_on);
        let passed_on = std::mem::take(&mut top.passed_on);
        let replies = std::mem::take(&mut top.replies);
        let replies_back = std::mem::take(&mut top.replies_back);
        let mut pile = Bundles { max_bytes, full: Vec::new(), top, bytes: 0 };
        for (term, body) in raft {
            pile.room(body.size_bytes()).raft.push((term, body));
        }
        requests.each(|bytes, put| {
            let bundle = pile.room(bytes);
            bundle.pass_on = pass_on;
            put(&mut bundle.requests);
        });
        for (origin, requests) in passed_on {
            requests.each(|bytes, put| put(entry(&mut pile.room(bytes).passed_on, origin)));
        }
        replies.each(|bytes, put| put(&mut pile.room(bytes).replies));
        for (origin, replies) in replies_back {
            replies.each(|bytes, put| put(entry(&mut pile.room(bytes).replies_back, origin)));
        }
        pile.full.push(pile.top);
        pile.full
    }
}

/// Bundles that are being filled, one after the other.
struct Bundles {
    max_bytes: usize,
    full: Vec<Bundle>,
    top: Bundle,
    bytes: usize,
}

impl Bundles {
    /// The bundle that has room for `bytes` more.
    fn room(&mut self, bytes: usize) -> &mut Bundle {
        if self.bytes > 0 && self.bytes + bytes > self.max_bytes {
            self.full.push(std::mem::take(&mut self.top));
            self.bytes = 0;
        }
        self.bytes += bytes;
        &mut self.top
    }
}

/// What is listed for `id`, from now on at least.
pub(super) fn entry<T: Default>(list: &mut Vec<(RaftId, T)>, id: RaftId) -> &mut T {
    let place = list.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
        list.push((id, T::default()));
        list.len() - 1
    });
    &mut list[place].1
}

/// What an item takes besides its text, in bytes: an estimate.
const ITEM_BYTES: usize = 64;

/// What one replica asks of the leader.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    /// Commands, as they will stand in the log.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<Box<RawValue>>,
    /// Commands that may change nothing, each with the term in which this copy was sent.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) labelled: Vec<(Term, Box<RawValue>)>,
    /// Queries: the asking replica's name for each, and the query.
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) queries: Vec<(u64, Box<RawValue>)>,
    /// Changes of membership: name, the term whose leader is asked, and what is to be.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<(u64, Term, Goal)>,
}

impl Requests {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.labelled.is_empty()
            && self.queries.is_empty()
            && self.changes.is_empty()
    }

    fn size_bytes(&self) -> usize {
        let labelled = self.labelled.iter().map(|(_, command)| command);
        let commands = self.commands.iter().chain(labelled);
        let commands: usize = commands.map(|c| ITEM_BYTES + c.get().len()).sum();
        let queries: usize = self.queries.iter().map(|(_, q)| ITEM_BYTES + q.get().len()).sum();
        commands + queries + ITEM_BYTES * self.changes.len()
    }

    /// Hands out every item with its size and with what puts it elsewhere.
    fn each(self, mut take: impl FnMut(usize, &mut dyn FnMut(&mut Requests))) {
        for command in self.commands {
            let (bytes, mut command) = (ITEM_BYTES + command.get().len(), Some(command));
            take(bytes, &mut |to| to.commands.extend(command.take()));
        }
        for command in self.labelled {
            let (bytes, mut command) = (ITEM_BYTES + command.1.get().len(), Some(command));
            take(bytes, &mut |to| to.labelled.extend(command.take()));
        }
        for query in self.queries {
            let (bytes, mut query) = (ITEM_BYTES + query.1.get().len(), Some(query));
            take(bytes, &mut |to| to.queries.extend(query.take()));
        }
        for change in self.changes {
            let mut change = Some(change);
            take(ITEM_BYTES, &mut |to| to.changes.extend(change.take()));
        }
    }
}

/// What the leader answers one replica.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies {
    /// Outcomes of commands: session, number, answer.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) answers: Vec<(u64, u64, Box<RawValue>)>,
    /// The last entry whose answer the replica waits for and will find in its own log.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(super) committed: Option<Id>,
    /// Answers to commands that change nothing: the leader's term, session, number, answer.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) idle: Vec<(Term, u64, u64, Box<RawValue>)>,
    /// Results of queries and changes.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) results: Vec<(u64, Box<RawValue>)>,
}

impl Replies {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && self.committed.is_none()
            && self.idle.is_empty()
            && self.results.is_empty()
    }

    fn size_bytes(&self) -> usize {
        let idle = self.idle.iter().map(|(.., answer)| answer);
        let answers = self.answers.iter().map(|(.., answer)| answer).chain(idle);
        let answers: usize = answers.map(|a| ITEM_BYTES + a.get().len()).sum();
        let results: usize = self.results.iter().map(|(_, r)| ITEM_BYTES + r.get().len()).sum();
        answers + results + ITEM_BYTES
    }

    /// Hands out every item with its size and with what puts it elsewhere.
    fn each(self, mut take: impl FnMut(usize, &mut dyn FnMut(&mut Replies))) {
        for answer in self.answers {
            let (bytes, mut answer) = (ITEM_BYTES + answer.2.get().len(), Some(answer));
            take(bytes, &mut |to| to.answers.extend(answer.take()));
        }
        for answer in self.idle {
            let (bytes, mut answer) = (ITEM_BYTES + answer.3.get().len(), Some(answer));
            take(bytes, &mut |to| to.idle.extend(answer.take()));
        }
        for result in self.results {
            let (bytes, mut result) = (ITEM_BYTES + result.1.get().len(), Some(result));
            take(bytes, &mut |to| to.results.extend(result.take()));
        }
        if let Some(id) = self.committed {
            take(ITEM_BYTES, &mut |to| to.committed = Some(id));
        }
    }

    /// Adds `other`, which is younger.
    pub(super) fn extend(&mut self, other: Replies) {
        self.answers.extend(other.answers);
        self.idle.extend(other.idle);
        self.committed = other.committed.or(self.committed);
        self.results.extend(other.results);
    }
}

/// A message of the consensus core.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body {
    /// pre, transfer, last
    #[serde(rename = "v")]
    RequestVote(bool, bool, Id),
    /// pre, granted
    #[serde(rename = "V")]
    Vote(bool, bool),
    /// prev, commit, round, entries
    #[serde(rename = "a")]
    Append(Id, Index, Round, Vec<WireEntry>),
    /// round, matched
    #[serde(rename = "A")]
    Appended(Round, Index),
    /// round, prev, hint
    #[serde(rename = "R")]
    Rejected(Round, Index, Id),
    /// round, matched, prev, hint
    #[serde(rename = "N")]
    Abstained(Round, Option<Index>, Index, Id),
    /// last, configuration, length, checksum, offset, data in base64, round
    #[serde(rename = "s")]
    Snapshot(Id, Config, u64, u32, u64, String, Round),
    /// last index, offset, round
    #[serde(rename = "S")]
    SnapshotProgress(Index, u64, Round),
    #[serde(rename = "i")]
    ReadIndex(ReadContext),
    #[serde(rename = "I")]
    ReadIndexReply(ReadContext, Index),
    #[serde(rename = "n")]
    TimeoutNow,
    #[serde(rename = "o")]
    Outsider(RaftId),
}

impl Body {
    fn size_bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Body::Append(_, _, _, entries) => {
                    entries.iter().map(|(_, payload)| ITEM_BYTES + payload.get().len()).sum()
                }
                Body::Snapshot(.., data, _) => data.len(),
                _ => 0,
            }
    }
}

/// Term and index of an entry.
pub(super) type Id = (Term, Index);

/// Term and payload of an entry.
pub(super) type WireEntry = (Term, Box<RawValue>);

fn id(id: LogId) -> Id {
    (id.term, id.index)
}

fn log_id((term, index): Id) -> LogId {
    LogId::new(term, index)
}

/// An entry for the wire or the disk.
pub(super) fn pack_entry(entry: &Entry) -> WireEntry {
    let payload = match &entry.payload {
        Payload::Noop => RawValue::NULL.to_owned(),
        Payload::Config(config) => to_raw_value(&**config).expect("configurations are plain data"),
        Payload::Command(command) => {
            let text = String::from_utf8(command.as_bytes().to_vec());
            let text = text.expect("a replica proposes only text");
            RawValue::from_string(text).expect("a replica proposes only JSON")
        }
    };
    (entry.id.term, payload)
}

/// The entry at `index` that was packed as this; `None` if it was not.
pub(super) fn unpack_entry(index: Index, (term, payload): WireEntry) -> Option<Entry> {
    let text = payload.get();
    let payload = match text.as_bytes().first()? {
        b'n' => Payload::Noop,
        b'{' => Payload::Config(serde_json::from_str::<Config>(text).ok()?.into()),
        _ => Payload::Command(Command::from(text)),
    };
    Some(Entry { id: LogId::new(term, index), payload })
}

/// A message of the core, packed.
pub(super) fn pack(message: &Message) -> (Term, Body) {
    let body = match &message.kind {
        MessageKind::RequestVote { pre, transfer, last } => {
            Body::RequestVote(*pre, *transfer, id(*last))
        }
        MessageKind::Vote { pre, granted } => Body::Vote(*pre, *granted),
        MessageKind::Append { prev, commit, round, entries } => {
            Body::Append(id(*prev), *commit, *round, entries.iter().map(pack_entry).collect())
        }
        MessageKind::Appended { round, matched } => Body::Appended(*round, *matched),
        MessageKind::Rejected { round, prev, hint } => Body::Rejected(*round, *prev, id(*hint)),
        MessageKind::Abstained { round, matched, prev, hint } => {
            Body::Abstained(*round, *matched, *prev, id(*hint))
        }
        MessageKind::Snapshot { meta, offset, data, round } => Body::Snapshot(
            id(meta.last),
            (*meta.config).clone(),
            meta.len_bytes,
            meta.checksum,
            *offset,
            BASE64_STANDARD.encode(data.as_bytes()),
            *round,
        ),
        MessageKind::SnapshotProgress { last_index, offset, round } => {
            Body::SnapshotProgress(*last_index, *offset, *round)
        }
        MessageKind::ReadIndex { context } => Body::ReadIndex(*context),
        MessageKind::ReadIndexReply { context, index } => Body::ReadIndexReply(*context, *index),
        MessageKind::TimeoutNow => Body::TimeoutNow,
        MessageKind::Outsider { id } => Body::Outsider(*id),
    };
    (message.term, body)
}

/// The message that was packed as this; `None` if it was not.
pub(super) fn unpack(from: RaftId, to: RaftId, (term, body): (Term, Body)) -> Option<Message> {
    let kind = match body {
        Body::RequestVote(pre, transfer, last) => {
            MessageKind::RequestVote { pre, transfer, last: log_id(last) }
        }
        Body::Vote(pre, granted) => MessageKind::Vote { pre, granted },
        Body::Append(prev, commit, round, entries) => {
            let first = Index(prev.1.0.checked_add(1)?);
            let entries = entries.into_iter().zip(first.0..);
            let entries = entries.map(|(e, index)| unpack_entry(Index(index), e));
            let entries = entries.collect::<Option<Vec<Entry>>>()?;
            MessageKind::Append { prev: log_id(prev), commit, round, entries }
        }
        Body::Appended(round, matched) => MessageKind::Appended { round, matched },
        Body::Rejected(round, prev, hint) => {
            MessageKind::Rejected { round, prev, hint: log_id(hint) }
        }
        Body::Abstained(round, matched, prev, hint) => {
            MessageKind::Abstained { round, matched, prev, hint: log_id(hint) }
        }
        Body::Snapshot(last, config, len_bytes, checksum, offset, data, round) => {
            let meta =
                SnapshotMeta { last: log_id(last), config: config.into(), len_bytes, checksum };
            let data = Command::from(BASE64_STANDARD.decode(data).ok()?);
            MessageKind::Snapshot { meta, offset, data, round }
        }
        Body::SnapshotProgress(last_index, offset, round) => {
            MessageKind::SnapshotProgress { last_index, offset, round }
        }
        Body::ReadIndex(context) => MessageKind::ReadIndex { context },
        Body::ReadIndexReply(context, index) => MessageKind::ReadIndexReply { context, index },
        Body::TimeoutNow => MessageKind::TimeoutNow,
        Body::Outsider(id) => MessageKind::Outsider { id },
    };
    Some(Message { from, to, term, kind })
}
