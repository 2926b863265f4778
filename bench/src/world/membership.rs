//! Members come and go: the nemesis that asks a cluster to change itself.
//!
//! A change is a request like any other (`add_member`, `remove_member`, and
//! `change_members` for several at once, a proposed extension of the protocol), sent to a
//! random node. It may be refused, or lost with a leader; while faults go on, that is
//! left alone. When they are over every node is to be a member again, and the bench asks
//! until each of them is. The answers are compared with the true course (see `members`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use seaworthy::message::NodeId;
use seaworthy::time::Time;

use super::members::{Request, lies};
use crate::backend::Members;
use crate::seed::{Draw, Seed};

/// How often several nodes are changed at once.
pub(super) const TOGETHER: f64 = 0.5;

/// The changes of the members that the bench wants.
pub(super) struct Membership {
    pub(super) draw: Draw,
    /// Nodes that were asked to leave and not asked to come back.
    pub(super) away: BTreeSet<usize>,
    /// Every node was last asked for.
    pub(super) wants_all: bool,
    /// Nodes that are to be members again, group by group, the first being asked for.
    pub(super) restore: VecDeque<BTreeSet<usize>>,
    /// The request that is out for the first of them.
    pub(super) asked: Option<NodeId>,
    pub(super) attempts: u64,
    pub(super) requests: Vec<Request>,
    /// The requests without an answer, by where it is to go.
    pub(super) open: BTreeMap<NodeId, usize>,
    /// The members as they were committed, and since when.
    pub(super) seen: Vec<(Time, Members)>,
}

impl Membership {
    pub(super) fn new(seed: Seed) -> Membership {
        let draw = seed.stream("membership", 0);
        Membership {
            draw,
            away: BTreeSet::new(),
            wants_all: false,
            restore: VecDeque::new(),
            asked: None,
            attempts: 0,
            requests: Vec::new(),
            open: BTreeMap::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn expects(&self, address: &NodeId) -> bool {
        self.open.contains_key(address)
    }

    /// The cluster has committed to these members.
    pub(super) fn note(&mut self, now: Time, members: Members) {
        self.seen.push((now, members));
    }

    /// Returns the nodes that do not vote although every node was asked for, and no request is out: a
    /// removal that was asked for before may be carried out later.
    pub(super) fn missing(&self, nodes: usize) -> BTreeSet<usize> {
        match self.restore.is_empty() {
            true => self.wanted(nodes),
            false => BTreeSet::new(),
        }
    }

    /// Returns when the members last changed, if nodes that were asked for do not vote yet.
    pub(super) fn changed_with_nodes_missing(&self, nodes: usize) -> Option<Time> {
        let (changed, _) = self.seen.last()?;
        (!self.wanted(nodes).is_empty()).then_some(*changed)
    }

    /// Returns the nodes that do not vote although every node was asked for.
    fn wanted(&self, nodes: usize) -> BTreeSet<usize> {
        match self.seen.last() {
            Some((_, members)) if self.wants_all => {
                (0..nodes).filter(|node| !members.voters.contains(node)).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Returns the nodes that became voters after they had been none, and when each did so last.
    pub(super) fn returned(&self) -> BTreeMap<usize, Time> {
        let mut returned = BTreeMap::new();
        for pair in self.seen.windows(2) {
            let ((_, old), (at, new)) = (&pair[0], &pair[1]);
            returned.extend(new.voters.difference(&old.voters).map(|node| (*node, *at)));
        }
        returned
    }

    /// Returns the answers that are not true.
    pub(super) fn lies(&self) -> Vec<String> {
        lies(&self.requests, &self.seen)
    }

    /// Who is to come and who is to go, if `node` is to go; often others as well.
    pub(super) fn choose(
        &mut self,
        node: usize,
        nodes: usize,
    ) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut add, mut remove) = (BTreeSet::new(), BTreeSet::from([node]));
        if self.draw.chance(TOGETHER) {
            if nodes > 3 {
                remove.insert(self.draw.below(nodes));
            }
            add = self.away.difference(&remove).copied().collect();
        }
        self.away.retain(|node| !add.contains(node));
        self.away.extend(&remove);
        (add, remove)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_missing_until_each_that_was_asked_for_votes() {
        let mut membership = Membership::new(Seed(0));
        let at = Time::from_millis;
        let members = |voters: &[usize], all: &[usize]| Members {
            voters: voters.iter().copied().collect(),
            all: all.iter().copied().collect(),
        };
        assert_eq!(membership.changed_with_nodes_missing(3), None, "nothing is known");
        membership.note(at(1), members(&[0, 1], &[0, 1]));
        assert_eq!(membership.changed_with_nodes_missing(3), None, "n2 was not asked for");
        membership.wants_all = true;
        membership.restore.push_back(BTreeSet::from([2]));
        assert_eq!(membership.changed_with_nodes_missing(3), Some(at(1)));
        assert_eq!(membership.missing(3), BTreeSet::new(), "a request is out for it");
        membership.note(at(2), members(&[0, 1], &[0, 1, 2]));
        assert_eq!(membership.changed_with_nodes_missing(3), Some(at(2)), "it learns");
        membership.restore.clear();
        assert_eq!(membership.missing(3), BTreeSet::from([2]));
        membership.note(at(3), members(&[0, 1, 2], &[0, 1, 2]));
        assert_eq!(membership.changed_with_nodes_missing(3), None);
    }
}
