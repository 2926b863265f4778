//! All logs of a cluster as one: every entry that ever was in any, and those that are
//! committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use seaworthy::raft::{Config, Entry, Index, LogId, Payload, Raft, Status, Term};

use super::demand::{Check, demand};

/// The last sight of an entry.
struct Known {
    payload: Payload,
    /// The term of the entry before it.
    prev: Term,
}

/// A committed position.
struct Committed {
    term: Term,
    /// The term of the leader that was the first to know.
    committed_in: Term,
}

/// The entries of all logs.
#[derive(Default)]
pub(super) struct Logs {
    entries: BTreeMap<LogId, Known>,
    /// By index, from 1.
    committed: Vec<Committed>,
    /// The committed configurations, and the one that the cluster began with, at 0.
    configs: BTreeMap<Index, Arc<Config>>,
}

impl Logs {
    /// Takes in an entry of some log, with the term of the one before it there.
    pub(super) fn take_in(&mut self, entry: &Entry, prev: Term) -> Check {
        let Entry { id, payload } = entry;
        let known =
            self.entries.entry(*id).or_insert_with(|| Known { payload: payload.clone(), prev });
        demand(known.prev == prev, || {
            format!(
                "log matching: before {id} stands an entry of term {prev}, and elsewhere one of term {}",
                known.prev
            )
        })?;
        demand(known.payload == *payload, || format!("log matching: two different entries {id}"))
    }

    /// The highest index that is known to be committed by anyone.
    pub(super) fn committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// A node in `term` says that `id` is committed.
    pub(super) fn commit(&mut self, id: LogId, term: Term) -> Check {
        let place = usize::try_from(id.index.0 - 1).expect("a log fits in memory");
        if place == self.committed.len() {
            self.committed.push(Committed { term: id.term, committed_in: term });
            if let Some(config) = self.config(id) {
                self.configs.insert(id.index, config);
            }
        }
        let Some(known) = self.committed.get(place) else {
            return Err(format!("{id} is committed, but not everything before it"));
        };
        demand(known.term == id.term, || {
            let first = LogId::new(known.term, id.index);
            format!("state machine safety: {first} and {id} are both committed")
        })
    }

    /// A new leader must have everything that was committed in earlier terms.
    /// `id_at` gives the entry of its log at an index, if it is known.
    pub(super) fn check_complete(
        &self,
        leader: &Status,
        id_at: impl Fn(Index) -> Option<LogId>,
    ) -> Check {
        let term = leader.hard_state.term;
        let earlier = self.committed.partition_point(|c| c.committed_in < term);
        let Some(last) = earlier.checked_sub(1).map(|place| &self.committed[place]) else {
            return Ok(());
        };
        let index = Index(earlier as u64);
        let id = LogId::new(last.term, index);
        // The entries that its snapshot covers were compared when it was installed.
        let has = id_at(index).is_none_or(|own| own == id) && leader.last.index >= index;
        demand(has, || {
            format!("leader completeness: {} leads in term {term} without {id}", leader.id)
        })
    }

    /// Notes the configuration that the cluster began with. A server that is to be added
    /// later begins with an empty one.
    pub(super) fn note_beginning(&mut self, raft: &Raft) {
        let (index, config) = raft.configuration();
        if index == Index::ZERO && !config.voters.is_empty() {
            self.configs.entry(index).or_insert_with(|| config.clone());
        }
    }

    /// A snapshot holds the configuration that was in force at its last entry, and no
    /// later one, which may yet be taken back (§7).
    pub(super) fn check_snapshot(&self, raft: &Raft) -> Check {
        let Some(snapshot) = raft.snapshot() else { return Ok(()) };
        let Some((at, config)) = self.configs.range(..=snapshot.last.index).next_back() else {
            return Ok(());
        };
        demand(**config == *snapshot.config, || {
            let (id, last, other) = (raft.id(), snapshot.last, &snapshot.config);
            format!(
                "the snapshot of {id} at {last} holds {other}, but {config} of {at} was in force"
            )
        })
    }

    /// The configuration in the entry `id`, if that is one.
    pub(super) fn config(&self, id: LogId) -> Option<Arc<Config>> {
        match &self.entries.get(&id)?.payload {
            Payload::Config(config) => Some(config.clone()),
            _ => None,
        }
    }
}
