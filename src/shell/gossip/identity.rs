//! Whose value it is: a node of another cluster is not listened to.
//!
//! Nothing here is decided by a quorum, so the identity is agreed on as everything else
//! is, by merging. Each node draws one and writes it down before it says anything; the
//! lowest that was heard wins, and with it travels who ever had it. When all have had it, it
//! is *settled*: it goes to the disk and never changes. A settled identity replaces one that
//! is not.
//!
//! Only one can be settled in a cluster: no node ever has a higher one than it drew, so an
//! identity that all have had is the lowest that was drawn. That takes disks: a node that
//! forgets draws once more. So two settled identities are only taken for two clusters if both
//! were read from disks; nodes without a directory refuse no other.
//!
//! It costs a few bytes in messages to nodes that have not proved that they hear this one
//! in its present incarnation, and nothing afterwards.
//!
//! Deliberately missing: an identity before all nodes were heard once and started again.
//! Until then a cluster takes every node of the right name for its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gossip::{Boot, Rank};

/// The identity of a cluster, 32 bits drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ClusterId(pub(super) u32);

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// An identity as it travels: with those that ever had it, or none if it is settled; and
/// whether it was read, settled, from a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim(ClusterId, BTreeSet<Rank>, bool);

/// The identity as storage holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The settled one.
    #[serde(rename = "i", default)]
    pub(super) settled: Option<ClusterId>,
    /// The one that this node drew.
    #[serde(rename = "j", default)]
    pub(super) drawn: Option<ClusterId>,
}

/// A node's own identity, and its knowledge of others.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    own: ClusterId,
    drawn: ClusterId,
    /// The nodes that ever had it, as far as is known; empty if it is settled.
    holders: BTreeSet<Rank>,
    /// It was settled when this incarnation began.
    is_old: bool,
    rank: Rank,
    nodes: usize,
    /// The incarnations that named a fitting identity.
    admitted: BTreeMap<Rank, BTreeSet<Boot>>,
    /// The last other identity that each node has named.
    foreign: BTreeMap<Rank, ClusterId>,
}

/// The decision about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// It comes from a node of another cluster, or from an incarnation that has not shown yet that
    /// it is none; it will.
    Drop,
    /// It is of another cluster. To be said if it is news.
    Refuse(ClusterId, bool),
}

impl Identity {
    /// Node `rank` of `nodes`, with the identity that storage held or one drawn at random.
    pub(super) fn new(rank: Rank, nodes: usize, stored: Stored, random: u64) -> Identity {
        let drawn = stored.drawn.unwrap_or(ClusterId((random >> 32) as u32));
        let own = stored.settled.unwrap_or(drawn);
        let is_old = stored.settled.is_some();
        let holders = if is_old { BTreeSet::new() } else { BTreeSet::from([rank]) };
        let (admitted, foreign) = (BTreeMap::new(), BTreeMap::new());
        let mut new = Identity { own, drawn, holders, is_old, rank, nodes, admitted, foreign };
        new.settle();
        new
    }

    /// Returns the identity that storage should hold.
    pub(super) fn to_store(&self) -> Stored {
        Stored { settled: self.settled(), drawn: Some(self.drawn) }
    }

    /// The identity, if it is settled.
    pub(super) fn settled(&self) -> Option<ClusterId> {
        self.holders.is_empty().then_some(self.own)
    }

    /// The identity, settled or not.
    pub(super) fn own(&self) -> ClusterId {
        self.own
    }

    /// Returns the claim for a node, which has proved that it hears this one or has not.
    pub(super) fn claim(&self, is_proved: bool) -> Option<Claim> {
        let is_needed = !is_proved || self.settled().is_none();
        is_needed.then(|| Claim(self.own, self.holders.clone(), self.is_old))
    }

    /// Takes in the claim of a message from the incarnation `boot` of `from`.
    pub(super) fn take(&mut self, from: Rank, boot: Boot, claim: Option<Claim>) -> Verdict {
        let Some(Claim(theirs, holders, is_old)) = claim else {
            let is_known = self.admitted.get(&from).is_some_and(|boots| boots.contains(&boot));
            let is_foreign = self.foreign.contains_key(&from) && !is_known;
            return if is_foreign { Verdict::Drop } else { Verdict::Take };
        };
        match (self.settled().is_some(), holders.is_empty()) {
            (true, true) if theirs != self.own && self.is_old && is_old => {
                let is_news = self.foreign.insert(from, theirs) != Some(theirs);
                return Verdict::Refuse(theirs, is_news);
            }
            // A node without a disk has forgotten its draw.
            (true, true) if is_old || (!self.is_old && theirs < self.own) => self.own = theirs,
            (true, _) => {}
            (false, true) => (self.own, self.holders) = (theirs, BTreeSet::new()),
            (false, false) => self.merge(theirs, holders),
        }
        self.foreign.remove(&from);
        self.admitted.entry(from).or_default().insert(boot);
        Verdict::Take
    }

    fn merge(&mut self, theirs: ClusterId, holders: BTreeSet<Rank>) {
        if theirs < self.own {
            (self.own, self.holders) = (theirs, BTreeSet::from([self.rank]));
        }
        if theirs == self.own {
            self.holders.extend(holders);
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.holders.len() == self.nodes {
            self.holders.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(me: u16, random: u64) -> Identity {
        Identity::new(Rank(me), 3, Stored::default(), random << 32)
    }

    /// A node of three in a later incarnation.
    fn old(me: u16, id: u32) -> Identity {
        let stored = Stored { settled: Some(ClusterId(id)), drawn: Some(ClusterId(id)) };
        Identity::new(Rank(me), 3, stored, 0)
    }

    /// Each tells the other its claim.
    fn meet(a: &mut Identity, b: &mut Identity) -> (Verdict, Verdict) {
        let (of_a, of_b) = (a.claim(false), b.claim(false));
        (a.take(b.rank, Boot(1), of_b), b.take(a.rank, Boot(1), of_a))
    }

    #[test]
    fn all_settle_on_one_by_way_of_a_hub_and_then_say_nothing_more() {
        let [mut hub, mut one, mut two] = [identity(0, 7), identity(1, 5), identity(2, 9)];
        for _ in 0..2 {
            meet(&mut hub, &mut one);
            meet(&mut hub, &mut two);
        }
        meet(&mut hub, &mut one);
        for node in [&hub, &one, &two] {
            assert_eq!(node.settled(), Some(ClusterId(5)));
            assert_eq!(node.claim(true), None);
        }
    }

    #[test]
    fn two_clusters_refuse_each_other_and_say_so_once() {
        let (mut a, mut b) = (old(0, 7), old(1, 5));
        let first = meet(&mut a, &mut b);
        let refuse = |id, news| Verdict::Refuse(ClusterId(id), news);
        assert_eq!(first, (refuse(5, true), refuse(7, true)));
        assert_eq!(meet(&mut a, &mut b), (refuse(5, false), refuse(7, false)));
        // Nor is a message without its identity believed.
        assert_eq!(a.take(Rank(1), Boot(1), None), Verdict::Drop);
    }

    #[test]
    fn a_node_that_begins_with_nothing_adopts_the_settled_identity() {
        let (mut old, mut fresh) = (old(0, 7), identity(1, 5));
        assert_eq!(meet(&mut old, &mut fresh), (Verdict::Take, Verdict::Take));
        assert_eq!((old.settled(), fresh.settled()), (Some(ClusterId(7)), Some(ClusterId(7))));
        assert_eq!(old.take(Rank(1), Boot(2), None), Verdict::Take);
    }

    #[test]
    fn a_late_claim_settles_nothing_else_where_draws_are_remembered() {
        let two = |me, stored, random: u64| Identity::new(Rank(me), 2, stored, random << 32);
        let (mut a, mut b) = (two(0, Stored::default(), 5), two(1, Stored::default(), 7));
        let late = b.claim(false);
        b.take(Rank(0), Boot(1), a.claim(false));
        assert_eq!(b.settled(), Some(ClusterId(5)));
        // n0 is killed before it hears of it, and remembers its draw.
        a = two(0, a.to_store(), 9);
        a.take(Rank(1), Boot(1), late);
        assert_eq!(a.settled(), None);
        a.take(Rank(1), Boot(1), b.claim(false));
        assert_eq!(a.settled(), Some(ClusterId(5)));
    }

    #[test]
    fn nodes_without_disks_refuse_no_other() {
        let two = |me, random: u64| Identity::new(Rank(me), 2, Stored::default(), random << 32);
        let (mut a, mut b) = (two(0, 5), two(1, 7));
        let late = b.claim(false);
        b.take(Rank(0), Boot(1), a.claim(false));
        // n0 is killed, and draws again.
        a = two(0, 9);
        a.take(Rank(1), Boot(1), late);
        assert_eq!((a.settled(), b.settled()), (Some(ClusterId(7)), Some(ClusterId(5))));
        assert_eq!(meet(&mut a, &mut b), (Verdict::Take, Verdict::Take));
        assert_eq!(a.settled(), b.settled());
    }
}
