//! The log's records for people: which entries a record brings, and what they do to which key.

use seaworthy::raft::{Entry, Payload, RaftId};

use super::envelope::Envelope;
use super::record;
use crate::kv::Command;

/// The content of a record, or of the checkpoint in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The term, if it was written.
    pub term: Option<u64>,
    /// The vote in that term.
    pub vote: Option<RaftId>,
    /// The entries; the first one, and everything after it, is replaced.
    pub lines: Vec<Line>,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The kind of its command.
    pub operation: &'static str,
    /// The key that it is about: the first one of a range or transaction, the name of a server
    /// that begins a life, empty if there is none.
    pub key: Vec<u8>,
}

/// Reads a record, or the checkpoint that follows a state; `None` if another version wrote it.
pub fn tell(bytes: &[u8]) -> Option<Told> {
    let (hard_state, entries) = record::decode_any(bytes)?;
    let lines = entries.iter().map(line).collect();
    let (term, vote) = (hard_state.map(|h| h.term.0), hard_state.and_then(|h| h.vote));
    Some(Told { term, vote, lines })
}

fn line(entry: &Entry) -> Line {
    let (operation, key) = match &entry.payload {
        Payload::Command(command) => match Envelope::decode(command.as_bytes()) {
            Some(Envelope::Write(write)) => operation(write.command),
            Some(Envelope::Open(open)) => ("open", open.member.name.into_bytes()),
            Some(Envelope::Expire(_)) => ("expire", Vec::new()),
            None => ("unknown", Vec::new()),
        },
        Payload::Config(_) => ("config", Vec::new()),
        Payload::Noop => ("noop", Vec::new()),
    };
    Line { index: entry.id.index.0, term: entry.id.term.0, operation, key }
}

fn operation(command: &[u8]) -> (&'static str, Vec<u8>) {
    match Command::decode(command) {
        Some(command) => command.title(),
        None => ("unknown", Vec::new()),
    }
}
