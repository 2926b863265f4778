//! Messages of the consensus core and entries of the log, as JSON.
//!
//! An entry is `[term, payload]`; its index follows from its place. The payload is
//! `null` for a leader's empty entry, an object for a configuration, and an array for
//! a command, which always is one (see `Envelope` in `envelope`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::array::array_struct;
use crate::raft::{
    Command, Config, Entry, Index, LogId, Message, MessageKind, Payload, RaftId, ReadContext,
    Round, SnapshotMeta, Term,
};

/// The size of an item besides its text, in bytes: an estimate.
pub(super) const ITEM_BYTES: usize = 64;

array_struct! {
    /// A message of the core without its addresses.
    #[derive(Debug)]
    pub(super) struct CoreMessage {
        pub(super) term: Term,
        pub(super) body: Body,
    }
}

/// The content of a message, by its kind.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body {
    #[serde(rename = "v")]
    RequestVote(RequestVote),
    #[serde(rename = "V")]
    Vote(Vote),
    #[serde(rename = "a")]
    Append(Append),
    #[serde(rename = "A")]
    Appended(Appended),
    #[serde(rename = "R")]
    Rejected(Rejected),
    #[serde(rename = "N")]
    Abstained(Abstained),
    #[serde(rename = "s")]
    Snapshot(Piece),
    #[serde(rename = "S")]
    SnapshotProgress(SnapshotProgress),
    #[serde(rename = "i")]
    ReadIndex(ReadContext),
    #[serde(rename = "I")]
    ReadIndexReply(ReadIndexReply),
    #[serde(rename = "n")]
    TimeoutNow,
    #[serde(rename = "o")]
    Outsider(RaftId),
}

// The fields are those of `MessageKind`, which documents them.

array_struct! {
    #[derive(Debug)]
    pub(super) struct RequestVote {
        pub(super) pre: bool,
        transfer: bool,
        last: WireLogId,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Vote {
        pub(super) pre: bool,
        pub(super) granted: bool,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Append {
        prev: WireLogId,
        commit: Index,
        round: Round,
        entries: Vec<WireEntry>,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Appended {
        round: Round,
        matched: Index,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Rejected {
        round: Round,
        prev: Index,
        hint: WireLogId,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct Abstained {
        round: Round,
        matched: Option<Index>,
        prev: Index,
        hint: WireLogId,
    }
}

array_struct! {
    /// A piece of a snapshot.
    #[derive(Debug)]
    pub(super) struct Piece {
        last: WireLogId,
        config: Config,
        len_bytes: u64,
        checksum: u32,
        offset: u64,
        data_base64: String,
        round: Round,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct SnapshotProgress {
        last_index: Index,
        offset: u64,
        round: Round,
    }
}

array_struct! {
    #[derive(Debug)]
    pub(super) struct ReadIndexReply {
        context: ReadContext,
        index: Index,
    }
}

impl Body {
    pub(super) fn size_bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Body::Append(append) => {
                    append.entries.iter().map(|e| ITEM_BYTES + e.payload.get().len()).sum()
                }
                Body::Snapshot(piece) => piece.data_base64.len(),
                _ => 0,
            }
    }
}

array_struct! {
    /// The name of an entry.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct WireLogId {
        term: Term,
        index: Index,
    }
}

impl From<LogId> for WireLogId {
    fn from(LogId { term, index }: LogId) -> WireLogId {
        WireLogId { term, index }
    }
}

impl From<WireLogId> for LogId {
    fn from(WireLogId { term, index }: WireLogId) -> LogId {
        LogId { term, index }
    }
}

array_struct! {
    /// An entry whose index follows from its place.
    #[derive(Debug)]
    pub(super) struct WireEntry {
        term: Term,
        payload: Box<RawValue>,
    }
}

/// Packs an entry for the wire or the disk.
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
    WireEntry { term: entry.id.term, payload }
}

/// Unpacks the entry at `index`; `None` if it does not parse.
pub(super) fn unpack_entry(index: Index, entry: WireEntry) -> Option<Entry> {
    let text = entry.payload.get();
    let payload = match text.as_bytes().first()? {
        b'n' => Payload::Noop,
        b'{' => Payload::Config(serde_json::from_str::<Config>(text).ok()?.into()),
        _ => Payload::Command(Command::from(text)),
    };
    Some(Entry { id: LogId::new(entry.term, index), payload })
}

/// Unpacks the entries from `first` on; `None` if one does not parse.
pub(super) fn unpack_entries(first: Index, entries: Vec<WireEntry>) -> Option<Vec<Entry>> {
    let entries = entries.into_iter().zip(first.0..);
    entries.map(|(entry, index)| unpack_entry(Index(index), entry)).collect()
}

/// Packs a message of the core.
pub(super) fn pack(message: &Message) -> CoreMessage {
    let body = match &message.kind {
        &MessageKind::RequestVote { pre, transfer, last } => {
            Body::RequestVote(RequestVote { pre, transfer, last: last.into() })
        }
        &MessageKind::Vote { pre, granted } => Body::Vote(Vote { pre, granted }),
        &MessageKind::Append { prev, commit, round, ref entries } => {
            let entries = entries.iter().map(pack_entry).collect();
            Body::Append(Append { prev: prev.into(), commit, round, entries })
        }
        &MessageKind::Appended { round, matched } => Body::Appended(Appended { round, matched }),
        &MessageKind::Rejected { round, prev, hint } => {
            Body::Rejected(Rejected { round, prev, hint: hint.into() })
        }
        &MessageKind::Abstained { round, matched, prev, hint } => {
            Body::Abstained(Abstained { round, matched, prev, hint: hint.into() })
        }
        MessageKind::Snapshot { meta, offset, data, round } => Body::Snapshot(Piece {
            last: meta.last.into(),
            config: (*meta.config).clone(),
            len_bytes: meta.len_bytes,
            checksum: meta.checksum,
            offset: *offset,
            data_base64: BASE64_STANDARD.encode(data.as_bytes()),
            round: *round,
        }),
        &MessageKind::SnapshotProgress { last_index, offset, round } => {
            Body::SnapshotProgress(SnapshotProgress { last_index, offset, round })
        }
        &MessageKind::ReadIndex { context } => Body::ReadIndex(context),
        &MessageKind::ReadIndexReply { context, index } => {
            Body::ReadIndexReply(ReadIndexReply { context, index })
        }
        MessageKind::TimeoutNow => Body::TimeoutNow,
        &MessageKind::Outsider { id } => Body::Outsider(id),
    };
    CoreMessage { term: message.term, body }
}

/// Unpacks a message of the core; `None` if its content does not parse.
pub(super) fn unpack(from: RaftId, to: RaftId, message: CoreMessage) -> Option<Message> {
    let kind = match message.body {
        Body::RequestVote(RequestVote { pre, transfer, last }) => {
            MessageKind::RequestVote { pre, transfer, last: last.into() }
        }
        Body::Vote(Vote { pre, granted }) => MessageKind::Vote { pre, granted },
        Body::Append(Append { prev, commit, round, entries }) => {
            let first = Index(prev.index.0.checked_add(1)?);
            let entries = unpack_entries(first, entries)?;
            MessageKind::Append { prev: prev.into(), commit, round, entries }
        }
        Body::Appended(Appended { round, matched }) => MessageKind::Appended { round, matched },
        Body::Rejected(Rejected { round, prev, hint }) => {
            MessageKind::Rejected { round, prev, hint: hint.into() }
        }
        Body::Abstained(Abstained { round, matched, prev, hint }) => {
            MessageKind::Abstained { round, matched, prev, hint: hint.into() }
        }
        Body::Snapshot(piece) => {
            let (last, config) = (piece.last.into(), piece.config.into());
            let (len_bytes, checksum) = (piece.len_bytes, piece.checksum);
            let meta = SnapshotMeta { last, config, len_bytes, checksum };
            let data = Command::from(BASE64_STANDARD.decode(piece.data_base64).ok()?);
            MessageKind::Snapshot { meta, offset: piece.offset, data, round: piece.round }
        }
        Body::SnapshotProgress(SnapshotProgress { last_index, offset, round }) => {
            MessageKind::SnapshotProgress { last_index, offset, round }
        }
        Body::ReadIndex(context) => MessageKind::ReadIndex { context },
        Body::ReadIndexReply(ReadIndexReply { context, index }) => {
            MessageKind::ReadIndexReply { context, index }
        }
        Body::TimeoutNow => MessageKind::TimeoutNow,
        Body::Outsider(id) => MessageKind::Outsider { id },
    };
    Some(Message { from, to, term: message.term, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: MessageKind) -> String {
        let message = Message { from: RaftId(1), to: RaftId(2), term: Term(7), kind };
        let text = serde_json::to_string(&pack(&message)).unwrap();
        let parsed = unpack(RaftId(1), RaftId(2), serde_json::from_str(&text).unwrap());
        assert_eq!(parsed, Some(message));
        text
    }

    #[test]
    fn every_message_comes_back_and_names_no_field() {
        let (last, round) = (LogId::new(Term(6), Index(5)), Round(9));
        let (prev, hint, matched) = (last.index, last, last.index);
        let vote = MessageKind::RequestVote { pre: true, transfer: false, last };
        assert_eq!(json(vote), r#"[7,{"v":[true,false,[6,5]]}]"#);
        assert_eq!(
            json(MessageKind::Vote { pre: false, granted: true }),
            r#"[7,{"V":[false,true]}]"#
        );
        let config = Config::of_voters([RaftId(1)]);
        let payloads = [
            Payload::Noop,
            Payload::Command(Command::from("[1,2]")),
            Payload::Config(config.clone().into()),
        ];
        let entries = payloads.into_iter().zip(6..);
        let entries = entries
            .map(|(payload, index)| Entry { id: LogId::new(Term(7), Index(index)), payload });
        let append =
            MessageKind::Append { prev: last, commit: Index(4), round, entries: entries.collect() };
        let config_json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            json(append),
            format!(r#"[7,{{"a":[[6,5],4,9,[[7,null],[7,[1,2]],[7,{config_json}]]]}}]"#)
        );
        assert_eq!(json(MessageKind::Appended { round, matched }), r#"[7,{"A":[9,5]}]"#);
        assert_eq!(json(MessageKind::Rejected { round, prev, hint }), r#"[7,{"R":[9,5,[6,5]]}]"#);
        let abstained = MessageKind::Abstained { round, matched: None, prev, hint };
        assert_eq!(json(abstained), r#"[7,{"N":[9,null,5,[6,5]]}]"#);
        let meta = SnapshotMeta { last, config: config.into(), len_bytes: 3, checksum: 8 };
        let data = Command::from(vec![0, 255, 10]);
        let piece = MessageKind::Snapshot { meta, offset: 2, data, round };
        assert_eq!(json(piece), format!(r#"[7,{{"s":[[6,5],{config_json},3,8,2,"AP8K",9]}}]"#));
        let progress = MessageKind::SnapshotProgress { last_index: Index(5), offset: 2, round };
        assert_eq!(json(progress), r#"[7,{"S":[5,2,9]}]"#);
        let context = ReadContext(3);
        assert_eq!(json(MessageKind::ReadIndex { context }), r#"[7,{"i":3}]"#);
        let reply = MessageKind::ReadIndexReply { context, index: Index(4) };
        assert_eq!(json(reply), r#"[7,{"I":[3,4]}]"#);
        assert_eq!(json(MessageKind::TimeoutNow), r#"[7,"n"]"#);
        assert_eq!(json(MessageKind::Outsider { id: RaftId(4) }), r#"[7,{"o":4}]"#);
    }
}
