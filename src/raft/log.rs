//! The replicated log: entries, the snapshot that stands for those before them, and how far it is
//! committed, applied and durable.
//!
//! The log keeps entries from `base` (exclusive) on. The snapshot may be *ahead* of
//! the base: compaction leaves a suffix of applied entries behind, so that a follower
//! that is a little behind is served entries instead of a snapshot.
//!
//! Configurations are part of the log. The one in force is the last one appended,
//! committed or not; taking an entry back takes its configuration back too (§6).
//!
//! Durability is a property of positions, not of entries: storage is told entries in
//! order, and says how far it has come. If entries are replaced before storage has
//! confirmed them, a later confirmation must not count for the replacements, so
//! each outstanding write remembers how far it still speaks for the log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::config::Config;
use super::ids::{Index, LogId, Term};
use super::planted;
use super::ready::PersistId;
use super::types::{Entry, Payload, SnapshotMeta};
use crate::planted::invariant;

/// The diagnosis if others contradict the certain knowledge of this server. It must not go on:
/// the others are a majority, and they agree on something else than clients were told.
pub(super) const MEMORY_LOST: &str = "a majority of the cluster has lost what it had \
    acknowledged. Nodes may lose their storage one at a time, each after the last has caught up";

/// The log of one server.
#[derive(Debug)]
pub(super) struct Log {
    /// The entry before the first one kept.
    base: LogId,
    entries: VecDeque<Entry>,
    /// The configurations in the log and the one before them, by position, oldest
    /// first; never empty.
    configs: Vec<(Index, Arc<Config>)>,
    snapshot: Option<SnapshotMeta>,
    commit: Index,
    applied: Index,
    /// The first entry that storage has not been told about.
    untold: Index,
    /// Up to where the log as it is now is on stable storage.
    durable: Index,
    /// Writes that storage has not confirmed, and up to where each makes the log as
    /// it is now durable.
    writes: VecDeque<(PersistId, Index)>,
}

impl Log {
    /// A log as storage held it: everything is durable, and only the entries that the snapshot
    /// covers are known to be committed.
    pub(super) fn new(
        initial: Arc<Config>,
        snapshot: Option<SnapshotMeta>,
        base: LogId,
        base_config: Option<Arc<Config>>,
        entries: Vec<Entry>,
    ) -> Log {
        let start = base_config.unwrap_or(initial);
        let mut log = Log {
            base,
            entries: VecDeque::new(),
            configs: vec![(base.index, start)],
            commit: snapshot.as_ref().map_or(Index::ZERO, |s| s.last.index),
            applied: snapshot.as_ref().map_or(Index::ZERO, |s| s.last.index),
            snapshot,
            untold: base.index.next(),
            durable: base.index,
            writes: VecDeque::new(),
        };
        entries.into_iter().for_each(|entry| log.append(entry));
        invariant!(log.commit <= log.last().index, "storage lost entries that its snapshot covers");
        assert!(log.base.index <= log.applied, "storage lost the snapshot of its first entries");
        log.untold = log.last().index.next();
        log.durable = log.last().index;
        log
    }

    pub(super) fn base(&self) -> LogId {
        self.base
    }

    /// The name of the last entry.
    pub(super) fn last(&self) -> LogId {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    pub(super) fn commit(&self) -> Index {
        self.commit
    }

    pub(super) fn applied(&self) -> Index {
        self.applied
    }

    pub(super) fn durable(&self) -> Index {
        self.durable
    }

    pub(super) fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// All entries kept, oldest first.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The entry before, its configuration, and the entries: all but the oldest up to `covered`, of which the
    /// latest stay that have `most_bytes` together.
    pub(super) fn tail(
        &self,
        covered: Index,
        most_bytes: usize,
    ) -> (LogId, Arc<Config>, Vec<Entry>) {
        let count = self.entries.partition_point(|entry| entry.id.index <= covered);
        let mut bytes = 0;
        let latest = self.entries.range(..count).rev().take_while(|entry| {
            bytes += entry.size_bytes();
            bytes <= most_bytes
        });
        let dropped = count - latest.count();
        let base = dropped.checked_sub(1).map_or(self.base, |last| self.entries[last].id);
        (base, self.config_at(base.index), self.entries.range(dropped..).cloned().collect())
    }

    fn offset(&self, index: Index) -> Option<usize> {
        if index <= self.base.index {
            return None;
        }
        usize::try_from(index - self.base.index - 1).ok()
    }

    /// The term of the entry at `index`; `None` if it is compacted or not there yet.
    pub(super) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entries.get(self.offset(index)?).map(|entry| entry.id.term)
    }

    /// The name of the entry at `index`, if it is known.
    pub(super) fn id(&self, index: Index) -> Option<LogId> {
        self.term(index).map(|term| LogId::new(term, index))
    }

    /// Whether the log holds this very entry. Committed entries that are compacted
    /// are held by every leader (Leader Completeness), so they match.
    pub(super) fn matches(&self, id: LogId) -> bool {
        match self.term(id.index) {
            Some(term) => term == id.term,
            None => id.index <= self.commit,
        }
    }

    /// The entries from `from` on, as many as fit in `max_bytes`, at least one.
    pub(super) fn slice(&self, from: Index, to: Index, max_bytes: usize) -> Vec<Entry> {
        let Some(start) = self.offset(from) else { return Vec::new() };
        let count = usize::try_from(to.next() - from).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.entries
            .iter()
            .skip(start)
            .take(count)
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += entry.size_bytes();
                first || bytes <= max_bytes
            })
            .cloned()
            .collect()
    }

    /// The last entry at or before `from` whose term is not later than `term`: where a log whose
    /// entry there has that term could still agree with this one. Skips a whole term at a time,
    /// where §5.3 would go entry by entry.
    pub(super) fn last_not_after(&self, term: Term, from: Index) -> LogId {
        let mut index = from.min(self.last().index);
        while index > self.base.index {
            match self.id(index) {
                Some(id) if id.term <= term => return id,
                _ => index = index.prev(),
            }
        }
        self.base
    }

    /// Adds an entry at the end.
    pub(super) fn append(&mut self, entry: Entry) {
        let last = self.last();
        assert!(entry.id.index == last.index.next(), "a gap after {last}: {}", entry.id);
        invariant!(entry.id.term >= last.term, "terms go back after {last}: {}", entry.id);
        if let Payload::Config(config) = &entry.payload {
            // Guard: a configuration is in force from its append, not its commit.
            self.configs.push((entry.id.index, config.clone()));
        }
        self.entries.push_back(entry);
    }

    /// Takes back `from` and everything after it.
    pub(super) fn truncate(&mut self, from: Index) {
        invariant!(
            from > self.commit,
            "{from} is committed, and the leader has another entry there: {MEMORY_LOST}"
        );
        let keep = self.offset(from).expect("what is not committed is not compacted");
        self.entries.truncate(keep);
        // Guard: a configuration that is taken back is no longer in force.
        self.configs.retain(|(index, _)| *index < from);
        self.untold = self.untold.min(from);
        self.durable = self.durable.min(from.prev());
        self.writes.iter_mut().for_each(|(_, last)| *last = (*last).min(from.prev()));
    }

    /// Learns that everything up to `index` is committed.
    pub(super) fn commit_to(&mut self, index: Index) {
        invariant!(index <= self.last().index, "committed what is not in the log: {index}");
        self.commit = self.commit.max(index);
    }

    /// The configuration in force, and where it was appended.
    pub(super) fn config(&self) -> &(Index, Arc<Config>) {
        planted::config_in_force(self.newest_config(), &self.configs, self.commit)
    }

    /// The last configuration in the log, and where it was appended.
    pub(super) fn newest_config(&self) -> &(Index, Arc<Config>) {
        self.configs.last().expect("there is always a first configuration")
    }

    /// The latest committed configuration and all after it: any of them may turn out
    /// to be the cluster's.
    pub(super) fn possible_configs(&self) -> impl Iterator<Item = &Config> {
        let committed = self.configs.iter().rposition(|(index, _)| *index <= self.commit);
        self.configs[committed.unwrap_or(0)..].iter().map(|(_, config)| &**config)
    }

    /// The configuration that was in force at `index`, which must not be compacted.
    fn config_at(&self, index: Index) -> Arc<Config> {
        let at = self.configs.iter().rev().find(|(i, _)| *i <= index);
        at.expect("asked for a configuration that is compacted").1.clone()
    }

    /// Takes the committed entries that are not applied yet; they count as applied.
    pub(super) fn take_committed(&mut self) -> Vec<Entry> {
        if self.applied == self.commit {
            return Vec::new();
        }
        let entries = self.slice(self.applied.next(), self.commit, usize::MAX);
        self.applied = self.commit;
        entries
    }

    /// Replaces everything by a snapshot.
    pub(super) fn install(&mut self, snapshot: SnapshotMeta) {
        let last = snapshot.last;
        invariant!(last.index > self.commit, "an old snapshot would undo what is committed");
        self.entries.clear();
        self.base = last;
        self.configs = vec![(last.index, snapshot.config.clone())];
        self.commit = last.index;
        self.applied = last.index;
        self.untold = last.index.next();
        // Nothing that was on its way to storage says anything about the new log.
        self.durable = Index::ZERO;
        self.writes.iter_mut().for_each(|(_, last)| *last = Index::ZERO);
        self.snapshot = Some(snapshot);
    }

    /// Makes a state of this length and checksum the snapshot of everything applied up to `index`,
    /// and drops the entries up to `drop_to`, which it returns.
    pub(super) fn compact(
        &mut self,
        index: Index,
        (len_bytes, checksum): (u64, u32),
        drop_to: Index,
    ) -> VecDeque<Entry> {
        assert!(index <= self.applied, "a snapshot of what is not applied");
        let last = self.id(index).expect("a snapshot of what is compacted already");
        // Guard: a later configuration may yet be taken back.
        let config = planted::snapshot_config(self.config_at(index), &self.newest_config().1);
        self.snapshot = Some(SnapshotMeta { last, config, len_bytes, checksum });
        let base = drop_to.min(index).max(self.base.index);
        let Some(id) = self.id(base) else { return VecDeque::new() };
        let config = self.config_at(base);
        self.configs.retain(|(i, _)| *i > base);
        self.configs.insert(0, (base, config));
        let drop = usize::try_from(base - self.base.index).expect("the log fits in memory");
        let kept = self.entries.split_off(drop);
        self.base = id;
        std::mem::replace(&mut self.entries, kept)
    }

    /// The entries storage has not been told about; they count as told, under `id`.
    pub(super) fn take_untold(&mut self, id: PersistId) -> Vec<Entry> {
        let last = self.last().index;
        let entries = self.slice(self.untold, last, usize::MAX);
        self.untold = last.next();
        self.writes.push_back((id, last));
        entries
    }

    /// Whether storage has not been told everything.
    pub(super) fn has_untold(&self) -> bool {
        self.untold <= self.last().index
    }

    /// Storage has confirmed everything up to and including the write `id`.
    pub(super) fn persisted(&mut self, id: PersistId) {
        while let Some((write, last)) = self.writes.front().copied() {
            if write > id {
                break;
            }
            self.writes.pop_front();
            self.durable = self.durable.max(last);
        }
        invariant!(self.durable <= self.last().index, "storage holds more than the log");
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::RaftId;
    use super::*;

    #[test]
    fn a_tail_has_the_latest_entries_that_are_covered_and_all_others() {
        let [first, second] = [1, 2].map(|n| Arc::new(Config::of_voters((1..=n).map(RaftId))));
        let id = |index| LogId::new(Term(1), Index(index));
        let command =
            |index| Entry { id: id(index), payload: Payload::Command("0123456789".into()) };
        let change = Entry { id: id(4), payload: Payload::Config(second.clone()) };
        let entries = vec![change, command(5), command(6), command(7)];
        let size = entries[1].size_bytes();
        let snapshot = SnapshotMeta::new(id(3), first.clone(), b"state");
        let log = Log::new(first.clone(), Some(snapshot), id(3), Some(first.clone()), entries);
        for (covered, most, base, config) in [
            (6, usize::MAX, 3, &first),
            (6, 2 * size, 4, &second),
            (6, 2 * size - 1, 5, &second),
            (6, 0, 6, &second),
            (7, size, 6, &second),
            (3, 0, 3, &first),
            (0, 0, 3, &first),
        ] {
            let (found, its_config, entries) = log.tail(Index(covered), most);
            assert_eq!((found, &its_config), (id(base), config), "{covered} {most}");
            let left: Vec<u64> = entries.iter().map(|entry| entry.id.index.0).collect();
            assert_eq!(left, (base + 1..=7).collect::<Vec<_>>());
        }
    }
}
