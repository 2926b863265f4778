//! The messages between replicas, as JSON.
//!
//! Everything a replica has for another at the end of a turn travels in one message:
//! raft's messages, commands and queries passed on to the leader, and answers. Names
//! are short because the bench counts bytes too, and text that is JSON already (commands,
//! queries, answers) is embedded as it is, without being quoted a second time.
//!
//! The messages of the core are in `body`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::array::array_struct;
use super::body::{CoreMessage, ITEM_BYTES, WireLogId};

use super::changes::Goal;
use super::standing::ClusterId;
use super::timing::Clocks;
use crate::message::MAX_LINE_BYTES;
use crate::raft::{RaftId, Term};

/// The largest command that a message between nodes has room for, in bytes. The rest is for the
/// text around it.
pub(super) const MAX_COMMAND_BYTES: usize = MAX_LINE_BYTES - (64 << 10);
/// The size from which a bundle is sent as several, in bytes. A single item larger than
/// this travels alone.
pub(super) const BUNDLE_BYTES: usize = 1 << 20;

/// Everything one replica tells another in one turn.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Bundle {
    #[serde(rename = "w")]
    pub(super) clocks: Clocks,
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
    pub(super) raft: Vec<CoreMessage>,
    /// For the leader, from the sender's own clients.
    #[serde(rename = "r", default, skip_serializing_if = "Requests::is_empty")]
    pub(super) requests: Requests,
    /// `requests` are for the leader whom the receiver hears.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pass_on: bool,
    /// Passed on to the leader, each for the replica that asked.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) passed_on: Vec<OnBehalf<Requests>>,
    /// For the receiver's own clients.
    #[serde(rename = "a", default, skip_serializing_if = "Replies::is_empty")]
    pub(super) replies: Replies,
    /// For clients of other replicas, which the receiver had passed on.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) replies_back: Vec<OnBehalf<Replies>>,
    /// The sender wants to know who hears a leader.
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) seeks: bool,
    /// The sender hears a leader, or is it.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) hears: bool,
    /// The sender waits for the first leader of the cluster.
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
        let passed_on: usize = self.passed_on.iter().map(|r| r.content.size_bytes()).sum();
        let back: usize = self.replies_back.iter().map(|r| r.content.size_bytes()).sum();
        let raft: usize = self.raft.iter().map(|message| message.body.size_bytes()).sum();
        raft + self.requests.size_bytes() + passed_on + self.replies.size_bytes() + back
    }

    /// The same as bundles of at most `max_bytes`, in order; an item that is larger has a
    /// bundle of its own. A receiver skips a line that is too long, and the messages
    /// behind a long line wait for it.
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
        for message in raft {
            pile.room(message.body.size_bytes()).raft.push(message);
        }
        requests.each(|bytes, put| {
            let bundle = pile.room(bytes);
            bundle.pass_on = pass_on;
            put(&mut bundle.requests);
        });
        for OnBehalf { origin, content: requests } in passed_on {
            requests.each(|bytes, put| put(entry(&mut pile.room(bytes).passed_on, origin)));
        }
        replies.each(|bytes, put| put(&mut pile.room(bytes).replies));
        for OnBehalf { origin, content: replies } in replies_back {
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

/// Something on its way by a detour.
#[derive(Debug)]
pub(super) struct OnBehalf<T> {
    /// The replica whose clients ask.
    pub(super) origin: RaftId,
    pub(super) content: T,
}

impl<T: Serialize> Serialize for OnBehalf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.origin, &self.content).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OnBehalf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OnBehalf<T>, D::Error> {
        let (origin, content) = Deserialize::deserialize(deserializer)?;
        Ok(OnBehalf { origin, content })
    }
}

/// Returns the content that `list` has for `origin`, from now on at least.
pub(super) fn entry<T: Default>(list: &mut Vec<OnBehalf<T>>, origin: RaftId) -> &mut T {
    let place = list.iter().position(|other| other.origin == origin).unwrap_or_else(|| {
        list.push(OnBehalf { origin, content: T::default() });
        list.len() - 1
    });
    &mut list[place].content
}

/// The requests of one replica to the leader.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Requests {
    /// Commands, as they will stand in the log.
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<Box<RawValue>>,
    /// Commands that may change nothing.
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) labelled: Vec<Labelled>,
    #[serde(rename = "q", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) queries: Vec<Query>,
    /// Changes of membership.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<ChangeRequest>,
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Labelled {
        /// The term in which this copy was sent.
        pub(super) sent_in: Term,
        /// The command as it will stand in the log.
        pub(super) envelope: Box<RawValue>,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Query {
        /// The asking replica's number for the query.
        pub(super) tag: u64,
        pub(super) query: Box<RawValue>,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct ChangeRequest {
        /// The asking replica's number for the request.
        pub(super) tag: u64,
        /// The term whose leader is asked.
        pub(super) sent_in: Term,
        pub(super) goal: Goal,
    }
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
        let labelled = self.labelled.iter().map(|copy| &copy.envelope);
        let commands = self.commands.iter().chain(labelled);
        let commands: usize = commands.map(|c| ITEM_BYTES + c.get().len()).sum();
        let queries: usize = self.queries.iter().map(|q| ITEM_BYTES + q.query.get().len()).sum();
        commands + queries + ITEM_BYTES * self.changes.len()
    }

    /// Hands out every item with its size and a function that puts it elsewhere.
    fn each(self, mut take: impl FnMut(usize, &mut dyn FnMut(&mut Requests))) {
        for command in self.commands {
            let (bytes, mut command) = (ITEM_BYTES + command.get().len(), Some(command));
            take(bytes, &mut |to| to.commands.extend(command.take()));
        }
        for command in self.labelled {
            let (bytes, mut command) = (ITEM_BYTES + command.envelope.get().len(), Some(command));
            take(bytes, &mut |to| to.labelled.extend(command.take()));
        }
        for query in self.queries {
            let (bytes, mut query) = (ITEM_BYTES + query.query.get().len(), Some(query));
            take(bytes, &mut |to| to.queries.extend(query.take()));
        }
        for change in self.changes {
            let mut change = Some(change);
            take(ITEM_BYTES, &mut |to| to.changes.extend(change.take()));
        }
    }
}

/// The answers of the leader to one replica.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Replies {
    /// Outcomes of commands.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) answers: Vec<CommandAnswer>,
    /// The last entry whose answer the replica waits for and will find in its own log.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub(super) committed: Option<WireLogId>,
    /// Answers to commands that change nothing.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) idle: Vec<IdleAnswer>,
    /// Results of queries and of changes of membership.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) results: Vec<QueryResult>,
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct CommandAnswer {
        pub(super) session: u64,
        pub(super) number: u64,
        pub(super) answer: Box<RawValue>,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct IdleAnswer {
        /// The term of the leader that answers.
        pub(super) term: Term,
        pub(super) session: u64,
        pub(super) number: u64,
        pub(super) answer: Box<RawValue>,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct QueryResult {
        /// The asking replica's number for the query or the change.
        pub(super) tag: u64,
        pub(super) result: Box<RawValue>,
    }
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
        let idle = self.idle.iter().map(|a| &a.answer);
        let answers = self.answers.iter().map(|a| &a.answer).chain(idle);
        let answers: usize = answers.map(|a| ITEM_BYTES + a.get().len()).sum();
        let results: usize = self.results.iter().map(|r| ITEM_BYTES + r.result.get().len()).sum();
        answers + results + ITEM_BYTES
    }

    /// Hands out every item with its size and a function that puts it elsewhere.
    fn each(self, mut take: impl FnMut(usize, &mut dyn FnMut(&mut Replies))) {
        for answer in self.answers {
            let (bytes, mut answer) = (ITEM_BYTES + answer.answer.get().len(), Some(answer));
            take(bytes, &mut |to| to.answers.extend(answer.take()));
        }
        for answer in self.idle {
            let (bytes, mut answer) = (ITEM_BYTES + answer.answer.get().len(), Some(answer));
            take(bytes, &mut |to| to.idle.extend(answer.take()));
        }
        for result in self.results {
            let (bytes, mut result) = (ITEM_BYTES + result.result.get().len(), Some(result));
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
