//! A stored log without a server: for those who look at it, or save it.
//!
//! Nothing here runs beside other servers. A log is decoded, or carried out to its end by a node
//! that is alone, and a new cluster begins with a state.

use std::collections::BTreeMap;
use std::sync::Arc;

use seaworthy::raft::{
    Config, Entry, HardState, Index, LogId, Payload, RaftId, Restored, SnapshotMeta, Term,
};
use seaworthy::storage::Log;
use seaworthy::time::Time;

use super::envelope::Envelope;
use super::machine::{Frozen, Machine, Member};
use super::members::Proposal;
use super::record::{self, Checkpoint, Standing};
use super::{Effect, Input, Node, Options, Start};
use crate::kv::{Command, Store};

/// A stored log, decoded.
#[derive(Debug)]
pub struct Reading {
    /// The latest term that was seen.
    pub term: Term,
    /// The last entry.
    pub last: LogId,
    /// The last entry that is in the state and need not be in the log; zero if there is no state.
    pub state: Index,
    /// The identity of the cluster, if it was known.
    pub cluster: Option<u64>,
    /// The entries that the log has.
    pub entries: Vec<Entry>,
}

/// The content of an entry, for people.
#[derive(Debug, PartialEq)]
pub enum Content<'a> {
    /// A new leader began its term.
    Blank,
    /// Other members.
    Members(String),
    /// A server began a life.
    Open(String),
    /// Leases ended by the leader's clock: their ids.
    Expired(Vec<i64>),
    /// A client's command, or nothing if a later version wrote it.
    Command(Option<Box<Command>>),
    /// Written by a later version of the program.
    Unknown(&'a [u8]),
}

/// The beginning of a cluster on disk.
#[derive(Debug)]
pub struct First {
    /// The bytes of the state.
    pub state: Vec<u8>,
    /// The log that goes on from it.
    pub checkpoint: Checkpoint,
}

/// A server that is alone carries its log out in far less than this, by its own clock.
const PATIENCE: Time = Time::from_millis(600_000);

/// Decodes a stored log.
///
/// # Errors
/// If another version wrote it.
pub fn look(log: &Log) -> Result<Reading, String> {
    let (restored, standing) = record::decode(log)?;
    let state = restored.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.last.index);
    Ok(Reading {
        term: restored.hard_state.term,
        last: last_of(&restored),
        state,
        cluster: standing.cluster,
        entries: restored.entries,
    })
}

fn last_of(restored: &Restored) -> LogId {
    restored.entries.last().map_or(restored.base, |entry| entry.id)
}

/// Tells the content of an entry.
pub fn content(entry: &Entry) -> Content<'_> {
    let bytes = match &entry.payload {
        Payload::Noop => return Content::Blank,
        Payload::Config(config) => return Content::Members(config.to_string()),
        Payload::Command(command) => command.as_bytes(),
    };
    match Envelope::decode(bytes) {
        Some(Envelope::Write(write)) => match Proposal::decode(write.command) {
            Some(proposal) => Content::Members(format!("{:?}", proposal.change)),
            None => Content::Command(Command::decode(write.command).map(Box::new)),
        },
        Some(Envelope::Open(open)) => {
            Content::Open(format!("{} life {}", open.member.name, open.member.life))
        }
        Some(Envelope::Expire(expire)) => {
            Content::Expired(expire.ended.iter().map(|ended| ended.id).collect())
        }
        None => Content::Unknown(bytes),
    }
}

/// Carries out everything that a log holds, whether or not it is known to be committed: a write that a
/// majority acknowledged may be in this log alone. `state` is the one that the log goes on from, or a later one. `members`
/// began the cluster; `id` is the server of the log. Returns the state, and the id after the last entry.
///
/// # Errors
/// If another version wrote the log.
pub fn carry_out(
    log: &Log,
    state: Option<(Index, Box<Machine>)>,
    id: RaftId,
    members: &BTreeMap<RaftId, Member>,
) -> Result<(Machine, LogId), String> {
    let (mut restored, _) = record::decode(log)?;
    let last = last_of(&restored);
    let ahead = state.as_ref().map_or(Index::ZERO, |(index, _)| *index);
    // A server alone needs no other vote.
    let alone = Arc::new(Config::of_voters([id]));
    restored.snapshot =
        restored.snapshot.map(|snapshot| SnapshotMeta { config: alone.clone(), ..snapshot });
    restored.base_config = Some(alone);
    restored.hard_state.vote = None;
    for entry in &mut restored.entries {
        if matches!(entry.payload, Payload::Config(_)) {
            entry.payload = Payload::Noop;
        }
    }
    let checkpoint = Checkpoint::new(restored, &Standing::default()).encode();
    let start = Start {
        id,
        founders: members.clone(),
        cluster: None,
        member: members.get(&id).cloned().unwrap_or_default(),
        options: Options::default(),
        nonces: [1, 1],
        log: Log { checkpoint: Some(checkpoint), ..Log::default() },
        state,
        tree: None,
    };
    let (mut node, _) = Node::start(start).map_err(|e| e.to_string())?;
    let mut effects = Vec::new();
    let mut now = Time::ZERO;
    while node.raft().status().applied < last.index {
        if now > PATIENCE {
            return Err(format!("{} is not reached, though the server is alone", last.index));
        }
        now = now.max(node.deadline());
        node.flush(now, &mut effects);
        for effect in effects.drain(..) {
            if let Effect::Persist(ticket, _) | Effect::Checkpoint(ticket, _) = effect {
                node.step(now, Input::Durable(ticket));
            }
        }
    }
    // A tree may be ahead of its log.
    let end = last.index.max(ahead);
    let after = LogId { index: end.next(), term: node.raft().term().next() };
    Ok((node.machine().clone(), after))
}

/// The beginning of a new cluster of these members, as each of them has it on disk: the bytes of a
/// state up to the entry `at`, and no log. The cluster gets its identity when its first leader takes office.
pub fn found(store: Store, members: BTreeMap<RaftId, Member>, at: LogId) -> First {
    let config = Arc::new(Config::of_voters(members.keys().copied()));
    let machine = Machine { store, ..Machine::genesis(members) };
    let state = Frozen { index: at.index, machine }.to_bytes();
    let restored = Restored {
        hard_state: HardState { term: at.term, vote: None },
        snapshot: Some(SnapshotMeta::new(at, config.clone(), &state)),
        base: at,
        base_config: Some(config),
        entries: Vec::new(),
    };
    First { state, checkpoint: Checkpoint::new(restored, &Standing::default()) }
}
