//! The memory of a follower: appends and pieces that came early, and the answers that it
//! owes for them.
//!
//! The pieces of a snapshot are handed to the caller in order, and only those beyond a gap are kept
//! here. The leader learns how much the caller has stored, and not how much has come, so the disk
//! of a follower sets the pace.

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

/// A piece of a snapshot from another server, for the caller to store: see
/// [`Raft::take_received`](super::Raft::take_received).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which snapshot.
    pub meta: SnapshotMeta,
    /// Where the piece belongs, in bytes: after the one before it, or at 0. There a snapshot begins,
    /// maybe again, and pieces of it or of another one that came before count for nothing.
    pub offset: u64,
    /// The piece.
    pub data: Command,
}

impl Received {
    /// The end of the piece, in bytes.
    pub fn end(&self) -> u64 {
        self.offset + self.data.as_bytes().len() as u64
    }

    /// Whether no further one follows.
    pub fn is_last(&self) -> bool {
        self.end() >= self.meta.len_bytes
    }
}

/// A snapshot of which some pieces have come.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) meta: SnapshotMeta,
    /// Up to where the caller was handed pieces, in bytes; `None` before the first.
    handed: Option<u64>,
    /// Up to where the caller has stored them.
    pub(super) stored: u64,
    /// Pieces beyond a gap, by offset in bytes.
    early: BTreeMap<u64, Command>,
    /// Who leads and sent the last piece, and in which round.
    pub(super) asked: Option<(RaftId, Round)>,
    /// An answer is due at the end of the turn.
    pub(super) is_due: bool,
}

impl Incoming {
    /// Nothing of a snapshot has come.
    pub(super) fn new(meta: SnapshotMeta) -> Incoming {
        let (handed, stored, early) = (None, 0, BTreeMap::new());
        Incoming { meta, handed, stored, early, asked: None, is_due: false }
    }

    /// Takes a piece, and appends those that are next to `out`. Of those beyond a gap at most
    /// `max_early` are kept.
    pub(super) fn take(
        &mut self,
        offset: u64,
        piece: &Command,
        max_early: usize,
        out: &mut Vec<Received>,
    ) {
        if offset > self.handed.unwrap_or(0) && self.early.len() < max_early {
            self.early.insert(offset, piece.clone());
        }
        self.hand_out(offset, piece, out);
        while let Some((offset, piece)) = self.early.pop_first() {
            if offset > self.handed.unwrap_or(0) {
                self.early.insert(offset, piece);
                break;
            }
            self.hand_out(offset, &piece, out);
        }
    }

    /// Hands out the new part of a piece, unless there is a gap before it.
    fn hand_out(&mut self, offset: u64, piece: &Command, out: &mut Vec<Received>) {
        let handed = self.handed.unwrap_or(0);
        let known = handed.checked_sub(offset).and_then(|known| usize::try_from(known).ok());
        let new = known.and_then(|known| piece.as_bytes().get(known..));
        // Also of a snapshot without any bytes there is a first piece.
        let Some(new) = new.filter(|new| self.handed.is_none() || !new.is_empty()) else { return };
        let data = match new.len() == piece.as_bytes().len() {
            true => piece.clone(),
            false => new.to_vec().into(),
        };
        self.handed = Some(handed + new.len() as u64);
        out.push(Received { meta: self.meta.clone(), offset: handed, data });
    }

    /// The caller has stored everything before `upto`.
    pub(super) fn stored(&mut self, upto: u64) {
        if upto > self.stored {
            (self.stored, self.is_due) = (upto, true);
        }
    }

    /// Begins from the beginning.
    pub(super) fn begin_again(self) -> Incoming {
        Incoming { asked: self.asked, is_due: true, ..Incoming::new(self.meta) }
    }
}
