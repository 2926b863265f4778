//! The memory of a follower: appends and pieces that came early, and the answers that it
//! owes for them.

use std::collections::{BTreeMap, VecDeque};

use super::ids::{Index, LogId, RaftId, Term};
use super::log::Log;
use super::message::Round;
use super::types::{Command, Entry, SnapshotMeta};

/// The answer to the leader that is due at the end of the turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) to: RaftId,
    pub(super) round: Round,
    pub(super) matched: Index,
}

/// The acknowledgement that the current leader gets as soon as it is durable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    /// Up to where.
    pub(super) matched: Index,
    /// Since when the disk has been busy with it; `None` once it is durable.
    pub(super) since: Option<u64>,
    /// How long the disk took for the last one, in ticks.
    pub(super) took: u64,
}

/// An append.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) prev: LogId,
    pub(super) commit: Index,
    pub(super) round: Round,
    pub(super) entries: Vec<Entry>,
}

/// Appends that came before those that they follow.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Of one term, and so of one leader.
    term: Term,
    /// The newest first.
    appends: VecDeque<Append>,
}

impl Early {
    /// Keeps an append, at most `max` in all. The oldest makes room: by now it is likely
    /// that its predecessor is lost.
    pub(super) fn keep(&mut self, term: Term, append: Append, max: usize) {
        if term != self.term {
            *self = Early { term, appends: VecDeque::new() };
        }
        self.appends.push_front(append);
        self.appends.truncate(max);
    }

    /// Takes one that follows an entry of `log`, if this is still the term.
    pub(super) fn take(&mut self, term: Term, log: &Log) -> Option<Append> {
        if term != self.term {
            self.appends.clear();
        }
        let last = log.last().index;
        self.appends.retain(|early| early.prev.index > last || log.matches(early.prev));
        let next = self.appends.iter().position(|early| early.prev.index <= last)?;
        self.appends.remove(next)
    }
}

/// A snapshot of which some pieces have come.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) meta: SnapshotMeta,
    pub(super) data: Vec<u8>,
    /// Pieces beyond a gap, by offset in bytes.
    pub(super) early: BTreeMap<u64, Command>,
}

impl Incoming {
    /// Takes a piece. Of those beyond a gap at most `max_early` are kept.
    pub(super) fn take(&mut self, offset: u64, piece: &Command, max_early: usize) {
        if offset > self.data.len() as u64 && self.early.len() < max_early {
            self.early.insert(offset, piece.clone());
        }
        self.extend(offset, piece);
        while let Some((offset, piece)) = self.early.pop_first() {
            if offset > self.data.len() as u64 {
                self.early.insert(offset, piece);
                break;
            }
            self.extend(offset, &piece);
        }
    }

    /// Adds the new part of a piece, unless there is a gap before it.
    fn extend(&mut self, offset: u64, piece: &Command) {
        let known = (self.data.len() as u64).checked_sub(offset);
        let known = known.and_then(|known| usize::try_from(known).ok());
        if let Some(new) = known.and_then(|known| piece.as_bytes().get(known..)) {
            self.data.extend_from_slice(new);
        }
    }
}
