//! Quorum arithmetic: elections and commitment.
//!
//! Everything in Raft that is "decided" is decided here, by counting voters. In a
//! joint configuration both halves must decide the same (thesis §4.3): a vote is won
//! if it is won in both, lost if it is lost in either, and an entry is
//! committed if it is in both. Learners are in neither half, so they are never counted.
//!
//! The functions ask a closure about each voter and keep no state. An empty set of voters agrees to
//! everything; that makes a configuration that is not joint the special case of an empty outgoing
//! half.

use std::collections::BTreeSet;

use super::config::Config;
use super::ids::{Index, RaftId};
use super::planted;

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// A quorum has granted its vote.
    Won,
    /// No quorum can be reached any more.
    Lost,
    /// Not all have answered, and it can still go either way.
    Pending,
}

/// The smallest number of `n` voters that intersects with every other such set.
pub const fn majority(n: usize) -> usize {
    // More than half, also of an even number: two halves do not intersect.
    n / 2 + 1
}

/// How many of `n` voters are asked for.
fn needed(n: usize) -> usize {
    planted::quorum_size(majority(n), n)
}

/// Whether those for which `is_in` holds are a quorum of `config`.
pub fn has_quorum(config: &Config, is_in: impl Fn(RaftId) -> bool) -> bool {
    let half = |voters: &BTreeSet<RaftId>| {
        let count = voters.iter().filter(|id| is_in(**id)).count();
        voters.is_empty() || count >= needed(voters.len())
    };
    half(&config.voters) && half(&config.outgoing)
}

/// How an election stands in which `vote` tells each voter's answer, if there is one.
pub fn vote_result(config: &Config, vote: impl Fn(RaftId) -> Option<bool>) -> VoteResult {
    let config = planted::electing(config);
    if has_quorum(&config, |id| vote(id) == Some(true)) {
        VoteResult::Won
    } else if has_quorum(&config, |id| vote(id) != Some(false)) {
        VoteResult::Pending
    } else {
        VoteResult::Lost
    }
}

/// The highest value that a quorum of `config` has reached, where `value` tells how far each voter
/// is: with matching indices, the commit index (§5.3).
pub fn reached<T: Ord + Copy>(config: &Config, value: impl Fn(RaftId) -> T) -> Option<T> {
    let half = |voters: &BTreeSet<RaftId>| {
        let mut values: Vec<T> = planted::counted(voters, config).map(|id| value(*id)).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.get(needed(voters.len()) - 1).copied()
    };
    match (half(&config.voters), half(planted::old_voters(&config.outgoing))) {
        (Some(new), Some(old)) => Some(new.min(old)),
        (new, old) => new.or(old),
    }
}

/// The highest index that a quorum of `config` holds; zero if there are no voters.
pub fn committed(config: &Config, matched: impl Fn(RaftId) -> Index) -> Index {
    reached(config, matched).unwrap_or(Index::ZERO)
}

#[cfg(test)]
mod tests {
    //! Exhaustive over small clusters, against definitions by quantifying over all
    //! sets of voters instead of counting.

    use super::*;

    fn subsets(of: &BTreeSet<RaftId>) -> Vec<BTreeSet<RaftId>> {
        let ids: Vec<RaftId> = of.iter().copied().collect();
        (0..1u32 << ids.len())
            .map(|mask| (0..ids.len()).filter(|i| mask >> i & 1 == 1).map(|i| ids[i]).collect())
            .collect()
    }

    /// A quorum by its purpose: a set is one iff it intersects with every set that
    /// is at least as large as its complement allows, i.e. iff its complement is not
    /// as large as it.
    fn is_majority(set: &BTreeSet<RaftId>, of: &BTreeSet<RaftId>) -> bool {
        of.is_empty() || set.len() > of.difference(set).count()
    }

    fn all_configs(max_id: u64) -> Vec<Config> {
        let everyone: BTreeSet<RaftId> = (1..=max_id).map(RaftId).collect();
        let sets = subsets(&everyone);
        let mut configs = Vec::new();
        for voters in sets.iter().filter(|s| !s.is_empty()) {
            for outgoing in &sets {
                let learners = everyone
                    .iter()
                    .filter(|id| !voters.contains(id) && !outgoing.contains(id))
                    .copied()
                    .collect();
                configs.push(Config {
                    voters: voters.clone(),
                    outgoing: outgoing.clone(),
                    learners,
                });
            }
        }
        configs
    }

    #[test]
    fn any_two_quorums_intersect_and_none_is_larger_than_needed() {
        for n in 1..=9 {
            assert!(2 * majority(n) > n, "two quorums of {n} could be disjoint");
            assert!(2 * (majority(n) - 1) <= n, "a smaller quorum of {n} would do");
        }
        for config in all_configs(4) {
            let quorums: Vec<BTreeSet<RaftId>> = subsets(&config.members())
                .into_iter()
                .filter(|s| has_quorum(&config, |id| s.contains(&id)))
                .collect();
            for (a, b) in quorums.iter().flat_map(|a| quorums.iter().map(move |b| (a, b))) {
                assert!(a.intersection(b).any(|id| config.is_voter(*id)), "{config}: {a:?} {b:?}");
            }
        }
    }

    #[test]
    fn votes_agree_with_the_definition() {
        for config in all_configs(4) {
            let ids: Vec<RaftId> = config.members().into_iter().collect();
            for code in 0..3usize.pow(ids.len() as u32) {
                let answer = |id: RaftId| {
                    let i = ids.iter().position(|x| *x == id).unwrap();
                    [None, Some(true), Some(false)][code / 3usize.pow(i as u32) % 3]
                };
                let yes = |s: &BTreeSet<RaftId>| {
                    s.iter().copied().filter(|id| answer(*id) == Some(true)).collect()
                };
                let may = |s: &BTreeSet<RaftId>| {
                    s.iter().copied().filter(|id| answer(*id) != Some(false)).collect()
                };
                let both = |f: &dyn Fn(&BTreeSet<RaftId>) -> BTreeSet<RaftId>| {
                    is_majority(&f(&config.voters), &config.voters)
                        && is_majority(&f(&config.outgoing), &config.outgoing)
                };
                let expected = match (both(&yes), both(&may)) {
                    (true, _) => VoteResult::Won,
                    (false, true) => VoteResult::Pending,
                    (false, false) => VoteResult::Lost,
                };
                assert_eq!(vote_result(&config, answer), expected, "{config} {code}");
            }
        }
    }

    #[test]
    fn committed_is_the_highest_index_some_quorum_holds() {
        for config in all_configs(4) {
            let ids: Vec<RaftId> = config.members().into_iter().collect();
            for code in 0..4usize.pow(ids.len() as u32) {
                let matched = |id: RaftId| {
                    let i = ids.iter().position(|x| *x == id).unwrap();
                    Index((code / 4usize.pow(i as u32) % 4) as u64)
                };
                let holds = |index: Index| {
                    let half = |s: &BTreeSet<RaftId>| {
                        let has = s.iter().copied().filter(|id| matched(*id) >= index).collect();
                        is_majority(&has, s)
                    };
                    half(&config.voters) && half(&config.outgoing)
                };
                let expected = (0..4).rev().map(Index).find(|i| holds(*i)).unwrap();
                assert_eq!(committed(&config, matched), expected, "{config} {code}");
            }
        }
    }

    #[test]
    fn a_configuration_without_voters_commits_nothing() {
        assert_eq!(committed(&Config::default(), |_| Index::MAX), Index::ZERO);
    }
}
