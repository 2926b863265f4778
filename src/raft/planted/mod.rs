//! The bugs that can be planted in the core (see [`crate::planted`]).
//!
//! Each function returns its first argument, unless its mutant is active. Behaviour that
//! needs a whole server is in `hooks`.

mod hooks;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::config::Config;
use super::ids::{Index, RaftId};
use crate::planted::{Mutant, is};

/// The number of voters, of `n`, that are a quorum.
pub(super) fn quorum_size(majority: usize, n: usize) -> usize {
    if is(Mutant::HalfIsQuorum) { n.div_ceil(2).max(1) } else { majority }
}

/// The configuration that elects.
pub(super) fn electing(config: &Config) -> Cow<'_, Config> {
    match is(Mutant::NewVotersElect) {
        true => Cow::Owned(Config { outgoing: BTreeSet::new(), ..config.clone() }),
        false => Cow::Borrowed(config),
    }
}

/// The servers whose logs are counted for `voters`.
pub(super) fn counted<'a>(
    voters: &'a BTreeSet<RaftId>,
    config: &'a Config,
) -> impl Iterator<Item = &'a RaftId> {
    let learners = config.learners.iter().filter(|_| is(Mutant::LearnersCount));
    voters.iter().chain(learners)
}

/// The old voters that commit in a joint configuration.
pub(super) fn old_voters(outgoing: &BTreeSet<RaftId>) -> &BTreeSet<RaftId> {
    static NONE: BTreeSet<RaftId> = BTreeSet::new();
    if is(Mutant::NewVotersCommit) { &NONE } else { outgoing }
}

/// The round whose answers confirm a read.
pub(super) fn confirming_round<T>(next: T, current: T) -> T {
    if is(Mutant::ReadInCurrentRound) { current } else { next }
}

/// The length of a lease.
pub(super) fn lease_ticks(promised: u64) -> u64 {
    if is(Mutant::LongLease) { 4 * promised } else { promised }
}

/// The vote that is written to disk.
pub(super) fn written_vote(vote: Option<RaftId>) -> Option<RaftId> {
    if is(Mutant::VoteNotPersisted) { None } else { vote }
}

/// The random part of an election timeout.
pub(super) fn jitter_ticks(drawn: u64) -> u64 {
    if is(Mutant::FixedTimeout) { 0 } else { drawn }
}

/// The agreement with the log of a new leader, where the one before agreed up to `before`.
pub(super) fn verified(none: Index, before: Index) -> Index {
    if is(Mutant::VerifiedForever) { before } else { none }
}

/// The end of a follower's log as its answer counts; `sent` was sent to it since.
pub(super) fn acknowledged(matched: Index, sent: Index) -> Index {
    if is(Mutant::StaleAck) { matched.max(sent) } else { matched }
}

/// The end of the leader's own log as it counts.
pub(super) fn own_copy(durable: Index, last: Index) -> Index {
    if is(Mutant::OwnCopyAtOnce) { last } else { durable }
}

/// The commit index that an append tells; the leader has committed `commit`, and the log
/// ends at `last`.
pub(super) fn told_commit(told: Index, commit: Index, last: Index) -> Index {
    if is(Mutant::CommitBeyondAppend) { commit.min(last) } else { told }
}

/// The configuration in force, of all in the log, where `commit` is committed.
pub(super) fn config_in_force<'a>(
    newest: &'a (Index, Arc<Config>),
    all: &'a [(Index, Arc<Config>)],
    commit: Index,
) -> &'a (Index, Arc<Config>) {
    if !is(Mutant::ConfigAtCommit) {
        return newest;
    }
    all.iter().rfind(|(index, _)| *index <= commit).unwrap_or(&all[0])
}

/// The configuration in a snapshot.
pub(super) fn snapshot_config(applied: Arc<Config>, newest: &Arc<Config>) -> Arc<Config> {
    if is(Mutant::SnapshotConfigAhead) { newest.clone() } else { applied }
}
