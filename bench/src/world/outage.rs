//! Nodes that are out of service while the rest must do well without them.
//!
//! *Lasting faults*: when all other faults are over, a random minority stays out of reach: deaf,
//! mute, cut off, or switched off. The others all reach each other, so any system that needs a
//! majority must serve their clients. A healed network hides the bugs that only one-sided cuts
//! show: a node that hears no other and disturbs them for ever, or a leader that hears no follower
//! and does not notice (Cloudflare's outage of November 2020 was one).
//!
//! *Replacement*: a machine is taken out of service, left alone until its knowledge has spread, and
//! replaced by an empty one of the same name. An acknowledged write must survive that. It is not
//! for consensus, whose members must not forget their votes: there a machine that lost its disk
//! abstains until it has caught up.

use std::collections::BTreeSet;

use seaworthy::time::Time;

use super::nemesis::Act;
use crate::seed::Draw;

/// Who is out of service.
#[derive(Default)]
pub(super) struct Outage {
    /// Out of reach in the quiet phase.
    pub(super) lasting: Vec<usize>,
    /// Asked nothing since then.
    pub(super) drained: Option<(usize, Time)>,
}

impl Outage {
    pub(super) fn into_lasting(self) -> Vec<usize> {
        self.lasting
    }
}

/// A way for `victims` of `n` nodes to be out of reach of the others.
pub(super) fn lasting(n: usize, victims: &[usize], draw: &mut Draw) -> Act {
    let others = || (0..n).filter(|node| !victims.contains(node));
    let pairs = || others().flat_map(|other| victims.iter().map(move |victim| (other, *victim)));
    let deaf: BTreeSet<(usize, usize)> = pairs().collect();
    let mute = pairs().map(|(other, victim)| (victim, other));
    match draw.below(4) {
        0 => Act::CutOneWay(deaf),
        1 => Act::CutOneWay(mute.collect()),
        2 => Act::CutOneWay(mute.chain(deaf.iter().copied()).collect()),
        _ => Act::Kill(victims.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn the_others_all_reach_each_other() {
        let mut draw = Seed(1).stream("x", 0);
        for _ in 0..100 {
            match lasting(5, &[1, 4], &mut draw) {
                Act::CutOneWay(links) => {
                    assert!(!links.is_empty());
                    let out = |node: &usize| [1, 4].contains(node);
                    assert!(links.iter().all(|(from, to)| out(from) != out(to)));
                }
                Act::Kill(victims) => assert_eq!(victims, [1, 4]),
                act => panic!("{act:?} is no such fault"),
            }
        }
    }
}
