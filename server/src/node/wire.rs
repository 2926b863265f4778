//! The messages between servers: parcels, one for each addressee and turn.

use seaworthy::raft::{Command, LogId, Message, MessageKind, Piece, RaftId, Term};
use serde::{Deserialize, Serialize};

use super::question::{Asked, Told};

/// Which of the two connections to a server a parcel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Votes, heartbeats, answers, short appends: nothing large may be in their way.
    Control,
    /// Pieces of snapshots and long appends.
    Bulk,
}

/// Everything for one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Parcel {
    /// The core's messages.
    pub(super) raft: Vec<Message>,
    /// Commands for the log, if the addressee leads.
    pub(super) commands: Vec<Command>,
    /// The newest entry of the addressee's own that is committed.
    pub(super) committed: Option<LogId>,
    /// Questions about leases, if the addressee leads.
    pub(super) lease_questions: Vec<Asked>,
    /// Answers to the addressee's own questions.
    pub(super) lease_answers: Vec<Told>,
}

/// Parcels of at least this many bytes take the bulk connection.
const BULK_BYTES: usize = 64 << 10;

impl Parcel {
    pub(super) fn is_empty(&self) -> bool {
        self.raft.is_empty()
            && self.commands.is_empty()
            && self.committed.is_none()
            && self.lease_questions.is_empty()
            && self.lease_answers.is_empty()
    }

    pub(super) fn encode(&self) -> (Class, Vec<u8>) {
        let bytes = postcard::to_allocvec(self).expect("plain data");
        let piece = |m: &Message| matches!(m.kind, MessageKind::Snapshot { .. });
        let is_bulk = bytes.len() >= BULK_BYTES || self.raft.iter().any(piece);
        (if is_bulk { Class::Bulk } else { Class::Control }, bytes)
    }
}

/// The parcel with a piece of a snapshot, as an [`Effect::Send`](super::Effect::Send) has it.
pub fn piece(piece: Piece, data: Vec<u8>) -> (RaftId, Class, Vec<u8>) {
    let (to, raft) = (piece.to, vec![piece.message(data.into())]);
    let (class, bytes) = Parcel { raft, ..Parcel::default() }.encode();
    (to, class, bytes)
}

/// The votes that a parcel gives away, for white-box checks: the term, and whether the sender
/// keeps the vote for itself and asks for others.
pub fn votes(bytes: &[u8]) -> Vec<(Term, bool)> {
    let parcel: Parcel = postcard::from_bytes(bytes).unwrap_or_default();
    let vote = |message: Message| match message.kind {
        MessageKind::Vote { pre: false, granted: true } => Some((message.term, false)),
        MessageKind::RequestVote { pre: false, .. } => Some((message.term, true)),
        _ => None,
    };
    parcel.raft.into_iter().filter_map(vote).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use seaworthy::raft::{
        Config, Entry, Index, Payload, RaftId, ReadContext, Round, SnapshotMeta,
    };

    use super::super::question::Question;
    use super::*;

    /// One of every kind of message, in the order in which their kinds are declared.
    fn every_message() -> Vec<Message> {
        let id = |term, index| LogId::new(Term(term), Index(index));
        let config = Arc::new(Config::of_voters([RaftId(1), RaftId(300)]));
        let entries =
            [Payload::Noop, Payload::Command("c".into()), Payload::Config(config.clone())];
        let entries = entries.into_iter().map(|payload| Entry { id: id(2, 9), payload }).collect();
        let (round, prev, hint) = (Round(5), Index(8), id(1, 7));
        let meta = SnapshotMeta { last: id(2, 4), config, len_bytes: 3, checksum: 99 };
        let kinds = vec![
            MessageKind::RequestVote { pre: true, transfer: false, last: id(2, 9) },
            MessageKind::Vote { pre: false, granted: true },
            MessageKind::Append { prev: id(2, 8), commit: Index(6), round, entries },
            MessageKind::Appended { round, matched: Index(9) },
            MessageKind::Rejected { round, prev, hint },
            MessageKind::Abstained { round, matched: None, prev, hint },
            MessageKind::Snapshot { meta, offset: 1, data: "d".into(), round },
            MessageKind::SnapshotProgress { last_index: Index(4), offset: 2, round },
            MessageKind::ReadIndex { context: ReadContext(77) },
            MessageKind::ReadIndexReply { context: ReadContext(77), index: Index(6) },
            MessageKind::Outsider { id: RaftId(3) },
            MessageKind::TimeoutNow,
        ];
        let message = |kind| Message { from: RaftId(1), to: RaftId(2), term: Term(3), kind };
        kinds.into_iter().map(message).collect()
    }

    #[test]
    fn a_parcel_has_the_bytes_that_other_versions_expect() {
        let committed = Some(LogId::new(Term(2), Index(6)));
        let lease_questions = vec![
            Asked { number: 300, lease: -1, question: Question::KeepAlive },
            Asked { number: 301, lease: 7, question: Question::Left },
        ];
        let lease_answers =
            vec![Told { number: 300, left_ms: Some(2000) }, Told { number: 301, left_ms: None }];
        let (raft, commands) = (every_message(), vec!["w".into()]);
        let parcel = Parcel { raft, commands, committed, lease_questions, lease_answers };
        let (class, bytes) = parcel.encode();
        assert_eq!(class, Class::Bulk, "a piece of a snapshot is in it");
        assert_eq!(postcard::from_bytes::<Parcel>(&bytes).unwrap(), parcel);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, PINNED, "bump peer::VERSION and record::FORMAT, and pin the new bytes");
    }

    /// The bytes that version 2 writes.
    const PINNED: &str = "\
        0c010203000100020901020301000101020302020806050302090002090101630209020201ac0200\
        0001020303050901020304050801070102030505000801070102030602040201ac02000003630101\
        640501020307040205010203084d010203094d060102030a030102030b01017701020602ac020100\
        ad020e0102ac0201d00fad0200";
}
