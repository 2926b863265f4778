//! The messages between servers.
//!
//! Six conversations: votes, entries, snapshots, read indices, transfer of leadership,
//! servers that do not know that they left, and nothing else. A heartbeat is an `Append`
//! without entries, so that whatever a heartbeat is for (keeping followers quiet,
//! spreading the commit index, confirming leadership for reads, finding lost entries)
//! rides on entries when there are any, and costs a message only when there are none.

use serde::{Deserialize, Serialize};

use super::ids::{Index, LogId, RaftId, Term};
use super::types::{Command, Entry, SnapshotMeta};

/// A message from one server to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender.
    pub from: RaftId,
    /// The addressee.
    pub to: RaftId,
    /// The sender's term; in a pre-vote and its grant, the term it would start.
    pub term: Term,
    /// The content.
    pub kind: MessageKind,
}

/// A number that grows with each turn in which a leader sends. An answer repeats the number of its
/// message, and so proves that its sender still followed at some time after the leader's turn of
/// that number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Round(pub u64);

/// The caller's own name for a read. A server must not use one twice, neither in a later
/// incarnation: an answer that was held up would be taken for the answer to the later read.
/// Different servers may use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReadContext(pub u64);

impl Message {
    /// Whether a server in term `current` can have been sent this. A term at the end of all
    /// numbers, by a mistake on the way or in a sender, would leave no term for another
    /// election, and an index there no place for another entry: they must not spread.
    pub(super) fn is_plausible(&self, current: Term) -> bool {
        let highest = match &self.kind {
            MessageKind::RequestVote { last, .. } => last.index,
            MessageKind::Append { prev, commit, .. } => prev.index.max(*commit),
            MessageKind::Appended { matched, .. } => *matched,
            MessageKind::Rejected { prev, hint, .. } => hint.index.max(*prev),
            MessageKind::Abstained { matched, prev, hint, .. } => {
                hint.index.max(*prev).max(matched.unwrap_or_default())
            }
            MessageKind::Snapshot { meta, .. } => meta.last.index,
            MessageKind::SnapshotProgress { last_index, .. } => *last_index,
            MessageKind::ReadIndexReply { index, .. } => *index,
            _ => Index::ZERO,
        };
        let terms = match &self.kind {
            MessageKind::RequestVote { last, .. } => last.term <= self.term,
            MessageKind::Append { prev, entries, .. } => {
                let newest = entries.iter().map(|e| e.id.term).max().unwrap_or_default();
                newest.max(prev.term) <= self.term
            }
            MessageKind::Snapshot { meta, .. } => meta.last.term <= self.term,
            _ => true,
        };
        let jump = self.term.0.saturating_sub(current.0);
        jump <= Term::MAX_JUMP && terms && highest <= Index::LAST_PLAUSIBLE
    }
}

impl MessageKind {
    /// Whether it answers another message, and asks for nothing.
    pub(super) fn is_answer(&self) -> bool {
        use MessageKind::{Abstained, Appended, ReadIndexReply, Rejected, SnapshotProgress, Vote};
        if matches!(self, Abstained { .. }) {
            return true;
        }
        let answers = matches!(self, Vote { .. } | Appended { .. } | Rejected { .. });
        answers || matches!(self, SnapshotProgress { .. } | ReadIndexReply { .. })
    }
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageKind {
    /// Asks for a vote (§5.2), or whether one would be given (thesis §9.6).
    RequestVote {
        /// Only asks; the sender has not started the term yet.
        pre: bool,
        /// The old leader asked for this election, so its lease does not protect it.
        transfer: bool,
        /// The last entry of the candidate's log.
        last: LogId,
    },
    /// Answers a `RequestVote`.
    Vote {
        /// Whether the question was one.
        pre: bool,
        /// The answer.
        granted: bool,
    },
    /// Replicates entries; without entries, a heartbeat.
    Append {
        /// The entry before the first of `entries`.
        prev: LogId,
        /// The leader's commit index.
        commit: Index,
        /// To be repeated in the answer.
        round: Round,
        /// The entries after `prev`.
        entries: Vec<Entry>,
    },
    /// Answers an `Append`: the log agrees with the leader's up to here, durably.
    Appended {
        /// The round of the message that this answers.
        round: Round,
        /// Up to where the logs are known to agree.
        matched: Index,
    },
    /// Answers an `Append` whose `prev` is not in the log.
    Rejected {
        /// The round of the message that this answers.
        round: Round,
        /// The `prev` that was refused.
        prev: Index,
        /// The last entry that could be in both logs, going by its term.
        hint: LogId,
    },
    /// Answers an `Append` for a server that abstains: the leader may go on sending, but
    /// must count this for nothing.
    Abstained {
        /// The round of the message that this answers.
        round: Round,
        /// Up to where the logs are known to agree; `None` if `prev` is not in the log.
        matched: Option<Index>,
        /// The `prev` that was refused, if it was.
        prev: Index,
        /// The last entry that could be in both logs, if it was refused.
        hint: LogId,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Where the piece belongs, in bytes.
        offset: u64,
        /// The piece.
        data: Command,
        /// To be repeated in the answer.
        round: Round,
    },
    /// Answers a `Snapshot`: go on from here. The last piece is answered by an
    /// `Appended`, once the whole is durable.
    SnapshotProgress {
        /// The last index of the snapshot.
        last_index: Index,
        /// The offset of the next piece wanted, in bytes.
        offset: u64,
        /// The round of the message that this answers.
        round: Round,
    },
    /// Asks the leader for an index at which a read is linearizable (thesis §6.4).
    ReadIndex {
        /// The asking server's name for the read.
        context: ReadContext,
    },
    /// Answers a `ReadIndex`.
    ReadIndexReply {
        /// The asking server's name for the read.
        context: ReadContext,
        /// Apply up to here before reading.
        index: Index,
    },
    /// Tells the leader that a server asks for votes which is not a member, and must have
    /// missed that it left.
    Outsider {
        /// The server that asks.
        id: RaftId,
    },
    /// Asks for an election at once: the sender gives up leadership (thesis §3.10).
    TimeoutNow,
}
