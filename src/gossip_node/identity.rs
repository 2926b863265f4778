//! Whose value it is: a node of another cluster is not listened to.
//!
//! Nothing here is decided by a quorum, so the identity is agreed on as everything else
//! is, by merging. Each node draws one; the lowest that was heard wins, and with it travels
//! who is known to have it. When all have it, it is *settled*: it goes to the disk and
//! never changes. A settled identity replaces one that is not, for that is of a node that
//! begins with nothing. Two that are settled and differ are of two clusters.
//!
//! An identity cannot be settled twice in one cluster: the lower one would need the name
//! of every node, and a node whose identity is settled gives its name to no other.
//!
//! It costs a few bytes in messages to nodes that have not proved that they hear this one
//! in its present life, and nothing afterwards. What comes without it is believed only
//! from lives that named it once.
//!
//! Deliberately missing: an identity before all nodes were heard once. Until then a
//! cluster takes every node of the right name for its own.

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

/// An identity as it travels: with those that are known to have it; with nobody if it is
/// settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim(ClusterId, BTreeSet<Rank>);

/// What a node knows of identities.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    own: ClusterId,
    /// Who is known to have it; nobody if it is settled.
    holders: BTreeSet<Rank>,
    me: Rank,
    nodes: usize,
    /// The lives that named a fitting identity.
    admitted: BTreeMap<Rank, BTreeSet<Boot>>,
    /// The last other identity that each node has named.
    foreign: BTreeMap<Rank, ClusterId>,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// It comes from a life that has not named its identity; it will.
    Drop,
    /// It is of another cluster. To be said if it is news.
    Refuse(ClusterId, bool),
}

impl Identity {
    /// Node `me` of `nodes`, with the identity that storage held or one drawn at random.
    pub(super) fn new(me: Rank, nodes: usize, stored: Option<ClusterId>, random: u64) -> Identity {
        let drawn = ClusterId((random >> 32) as u32);
        let own = stored.unwrap_or(drawn);
        let holders = if stored.is_some() { BTreeSet::new() } else { BTreeSet::from([me]) };
        let (admitted, foreign) = (BTreeMap::new(), BTreeMap::new());
        let mut new = Identity { own, holders, me, nodes, admitted, foreign };
        new.settle();
        new
    }

    /// The identity, if it is settled.
    pub(super) fn settled(&self) -> Option<ClusterId> {
        self.holders.is_empty().then_some(self.own)
    }

    /// The identity, settled or not.
    pub(super) fn own(&self) -> ClusterId {
        self.own
    }

    /// What to say to a node, which has proved that it hears this one or has not.
    pub(super) fn claim(&self, is_proved: bool) -> Option<Claim> {
        let is_needed = !is_proved || self.settled().is_none();
        is_needed.then(|| Claim(self.own, self.holders.clone()))
    }

    /// Takes in what a message from the life `boot` of `from` claims.
    pub(super) fn take(&mut self, from: Rank, boot: Boot, claim: Option<Claim>) -> Verdict {
        let Some(Claim(theirs, holders)) = claim else {
            let is_known = self.admitted.get(&from).is_some_and(|boots| boots.contains(&boot));
            return if is_known { Verdict::Take } else { Verdict::Drop };
        };
        match (self.settled().is_some(), holders.is_empty()) {
            (true, true) if theirs != self.own => {
                let is_news = self.foreign.insert(from, theirs) != Some(theirs);
                return Verdict::Refuse(theirs, is_news);
            }
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
            (self.own, self.holders) = (theirs, BTreeSet::from([self.me]));
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
        Identity::new(Rank(me), 3, None, random << 32)
    }

    /// Each tells the other what it claims.
    fn meet(a: &mut Identity, b: &mut Identity) -> (Verdict, Verdict) {
        let (of_a, of_b) = (a.claim(false), b.claim(false));
        (a.take(b.me, Boot(1), of_b), b.take(a.me, Boot(1), of_a))
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
        let new = |me, id| Identity::new(Rank(me), 3, Some(ClusterId(id)), 0);
        let (mut a, mut b) = (new(0, 7), new(1, 5));
        let first = meet(&mut a, &mut b);
        let refuse = |id, news| Verdict::Refuse(ClusterId(id), news);
        assert_eq!(first, (refuse(5, true), refuse(7, true)));
        assert_eq!(meet(&mut a, &mut b), (refuse(5, false), refuse(7, false)));
        // Nor is what it says without its identity believed.
        assert_eq!(a.take(Rank(1), Boot(1), None), Verdict::Drop);
    }

    #[test]
    fn a_node_that_begins_with_nothing_adopts_what_is_settled() {
        let mut old = Identity::new(Rank(0), 3, Some(ClusterId(7)), 0);
        let mut fresh = identity(1, 5);
        assert_eq!(meet(&mut old, &mut fresh), (Verdict::Take, Verdict::Take));
        assert_eq!((old.settled(), fresh.settled()), (Some(ClusterId(7)), Some(ClusterId(7))));
        assert_eq!(old.take(Rank(1), Boot(1), None), Verdict::Take);
        assert_eq!(old.take(Rank(1), Boot(2), None), Verdict::Drop, "another life has to say it");
    }
}
