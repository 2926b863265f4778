//! One node as it was seen last: its marks, its log, and its promises.

use std::sync::Arc;

use seaworthy::raft::{Config, HardState, Index, LogId, Payload, Raft, RoleName, Status, Term};

use super::demand::{Check, demand};
use super::log::Logs;

/// The state of a node as it was seen last.
#[derive(Default)]
pub(super) struct Seen {
    status: Option<(Status, HardState)>,
    marks: Marks,
    /// Term and vote as seen last; after a kill, as they were last durable.
    hard: HardState,
    /// Term and vote that it must not forget.
    promised: HardState,
    /// The log, as the terms of its entries after `base`.
    base: LogId,
    terms: Vec<Term>,
    /// Where configurations stand in it.
    configs: Vec<Index>,
    durable: Index,
    /// The last index that was durable when its term was, too: a kill undoes removals of a term
    /// that had not reached the disk.
    on_disk: Index,
    /// The state of its disk before it was rolled back, until it holds as much again: leaders may
    /// go on counting acknowledgements of then, because this server abstains.
    lost: Option<Box<Seen>>,
}

/// The marks that a step is compared with.
#[derive(Clone, Default)]
pub(super) struct Marks {
    pub(super) commit: Index,
    /// The term that it led in, if it led.
    pub(super) led_in: Option<Term>,
    /// The configuration in force, and where it was appended.
    pub(super) config: Option<(Index, Arc<Config>)>,
}

impl Seen {
    /// Whether anything but a leader's view of others is not as it was.
    pub(super) fn has_changed(&self, status: &Status, durable: HardState) -> bool {
        self.status.as_ref().is_none_or(|(old, hard)| old != status || *hard != durable)
    }

    pub(super) fn marks(&self) -> Marks {
        self.marks.clone()
    }

    pub(super) fn term(&self) -> Term {
        self.hard.term
    }

    /// Term and vote as they are on its disk.
    pub(super) fn promised(&self) -> HardState {
        self.promised
    }

    /// Whether its disk rules out that it gives its vote in `term` away once more.
    pub(super) fn has_promised(&self, term: Term) -> bool {
        let HardState { term: durable, vote } = self.promised;
        durable > term || (durable == term && vote.is_some())
    }

    /// Returns the last index whose entry it has ever acknowledged.
    pub(super) fn acknowledged(&self) -> Index {
        let own = self.durable.max(self.on_disk);
        self.lost.as_ref().map_or(own, |lost| lost.acknowledged().max(own))
    }

    /// The node was killed, and its disk forgot durable data.
    pub(super) fn forget(&mut self) {
        let mut before = std::mem::take(self);
        let earlier = before.lost.take().filter(|lost| lost.durable > before.durable);
        self.lost = Some(earlier.unwrap_or_else(|| Box::new(before)));
    }

    /// The node was killed. Its volatile state is forgotten; the disk remains.
    pub(super) fn die(&mut self) {
        self.hard = self.promised;
        self.marks = Marks::default();
        self.status = None;
    }

    /// The name of its entry at `index`, if it is neither compacted nor missing.
    pub(super) fn id(&self, index: Index) -> Option<LogId> {
        if index == self.base.index {
            return Some(self.base);
        }
        let place = index.0.checked_sub(self.base.index.0 + 1)?;
        let term = self.terms.get(usize::try_from(place).ok()?)?;
        Some(LogId::new(*term, index))
    }

    /// Whether it has this entry on its disk. A compacted entry was committed, and
    /// compared when it was.
    pub(super) fn holds(&self, id: LogId) -> bool {
        let has = id.index <= self.base.index || self.id(id.index) == Some(id);
        let has_lost = self.lost.as_ref().is_some_and(|lost| lost.holds(id));
        (has && self.durable >= id.index) || has_lost
    }

    /// Terms do not go back and votes do not change, in one life or from one to the next.
    pub(super) fn check_hard_state(&mut self, status: &Status, durable: HardState) -> Check {
        let (old, new) = (self.hard, status.hard_state);
        demand(new.term >= old.term, || {
            format!("the term of {} went back from {} to {}", status.id, old.term, new.term)
        })?;
        let kept = new.term > old.term || old.vote.is_none() || new.vote == old.vote;
        demand(kept, || format!("{} changed its vote in term {}", status.id, new.term))?;
        self.hard = new;
        self.promised = durable;
        Ok(())
    }

    /// Commit and apply only go forward, in this order.
    pub(super) fn check_indices(&self, status: &Status) -> Check {
        let Status { id, commit, applied, last, .. } = status;
        let before = self.marks.commit;
        demand(*commit >= before, || {
            format!("the commit index of {id} went back from {before} to {commit}")
        })?;
        demand(applied <= commit, || format!("{id} applied {applied}, committed only {commit}"))?;
        demand(*commit <= last.index, || format!("{id} committed {commit} beyond its log, {last}"))
    }

    /// Takes in the new entries of the log. Compares it with all other logs.
    pub(super) fn take_in_log(&mut self, raft: &Raft, status: &Status, logs: &mut Logs) -> Check {
        self.move_base(status.base);
        // From the end back to the known entries.
        let new: Vec<_> =
            raft.entries().rev().take_while(|e| self.id(e.id.index) != Some(e.id)).collect();
        let kept = status.last.index.0 - new.len() as u64;
        self.terms.truncate(usize::try_from(kept - self.base.index.0).unwrap_or(usize::MAX));
        self.configs.retain(|index| index.0 <= kept);
        for entry in new.into_iter().rev() {
            let prev = self.terms.last().copied().unwrap_or(self.base.term);
            logs.take_in(entry, prev)?;
            self.terms.push(entry.id.term);
            if let Payload::Config(config) = &entry.payload {
                self.configs.push(entry.id.index);
                self.check_change(status, entry.id, config)?;
            }
        }
        Ok(())
    }

    fn move_base(&mut self, base: LogId) {
        if base == self.base {
            return;
        }
        // Compacted, if it goes on from an entry that was there; else replaced.
        if base.index > self.base.index && self.id(base.index) == Some(base) {
            let dropped = usize::try_from(base.index - self.base.index).unwrap_or(usize::MAX);
            self.terms.drain(..dropped);
        } else {
            // A write that was on its way to the disk still arrives there, before the snapshot
            // does, and is then acknowledged.
            self.durable = self.durable.max(Index(self.base.index.0 + self.terms.len() as u64));
            self.terms.clear();
            self.configs.clear();
        }
        self.base = base;
        self.configs.retain(|index| *index > base.index);
    }

    /// A leader changes voters in two steps, and not before it knows the commit index.
    fn check_change(&self, status: &Status, id: LogId, config: &Config) -> Check {
        let own = status.role == RoleName::Leader && id.term == status.hard_state.term;
        let Some((at, old)) = self.marks.config.as_ref().filter(|_| own) else { return Ok(()) };
        demand(status.commit >= *at, || {
            format!(
                "{} left {old} of {at} for {config}, committed only {}",
                status.id, status.commit
            )
        })?;
        let known = self.id(status.commit).is_some_and(|last| last.term == id.term);
        demand(known, || {
            format!("{} changed the members before it had committed in term {}", status.id, id.term)
        })?;
        let at_once = !old.is_joint() && !config.is_joint() && old.voters != config.voters;
        demand(!at_once, || format!("{} went from {old} to {config} at once", status.id))
    }

    /// The configuration in force is the last one in the log (§6).
    pub(super) fn check_configuration(&self, raft: &Raft) -> Check {
        let (in_force, config) = raft.configuration();
        let last = self.configs.last().copied().unwrap_or(in_force);
        demand(in_force == last, || {
            format!("{} goes by {config} of {in_force}, not by that of {last}", raft.id())
        })
    }

    /// Where the first configuration after `index` stands.
    pub(super) fn config_after(&self, index: Index) -> Option<LogId> {
        self.configs.iter().find(|at| **at > index).and_then(|at| self.id(*at))
    }

    /// Demands that its newly committed entries are those that the others have committed, too.
    pub(super) fn check_committed(
        &self,
        from: Index,
        term: Term,
        status: &Status,
        logs: &mut Logs,
    ) -> Check {
        let first = from.max(self.base.index.prev()).next();
        (first.0..=status.commit.0)
            .filter_map(|index| self.id(Index(index)))
            .try_for_each(|id| logs.commit(id, term))
    }

    /// Notes how it is now.
    pub(super) fn remember(&mut self, raft: &Raft, status: &Status) {
        let (index, config) = raft.configuration();
        self.marks = Marks {
            commit: status.commit,
            led_in: (status.role == RoleName::Leader).then_some(status.hard_state.term),
            config: Some((index, config.clone())),
        };
        // While a snapshot from elsewhere is being written, nothing of the new log is
        // durable, and the replaced entries are still on the disk. An own snapshot may be ahead
        // of the durable entries: entries are applied as soon as others have made them so.
        if status.durable >= status.base.index || status.durable > self.durable {
            self.durable = status.durable;
        }
        if self.promised.term == self.hard.term {
            self.on_disk = self.durable;
        }
        self.lost.take_if(|lost| lost.durable <= self.durable);
        self.status = Some((status.clone(), raft.durable_hard_state()));
    }
}
