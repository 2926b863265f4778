//! Nodes that are out of service while the rest must do well without them.
//!
//! *Lasting faults*: when all other faults are over, a random minority stays out of
//! reach: deaf, mute, cut off, or switched off. The others all reach each other, so any
//! system that needs a majority must serve their clients. A healed network hides what
//! only one-sided cuts show: a node that hears nobody and disturbs the others for ever,
//! or a leader that hears nobody and does not notice (Cloudflare's outage of November
//! 2020 was one).
//!
//! *Replacement*: a machine is taken out of service, left alone until what it knows has
//! spread, and replaced by an empty one of the same name. What was acknowledged must
//! survive that. It is not for consensus, whose members must not forget their votes:
//! there a machine that lost its disk abstains until it has caught up.

use std::collections::BTreeSet;
use std::time::Duration;

use seaworthy::time::Time;

use super::World;
use super::nemesis::{Act, tell};
use crate::backend::Cluster;
use crate::seed::Draw;

/// How long a node must have been without operations before it may be replaced.
const DRAINED_AFTER: Duration = Duration::from_secs(2);

/// Who is out of service.
#[derive(Default)]
pub(super) struct Outage {
    /// Out of reach in the quiet phase.
    lasting: Vec<usize>,
    /// Asked nothing since then.
    drained: Option<(usize, Time)>,
}

impl Outage {
    pub(super) fn into_lasting(self) -> Vec<usize> {
        self.lasting
    }
}

impl<C: Cluster> World<C> {
    /// Begins the fault that lasts through the quiet phase.
    pub(super) fn begin_lasting_fault(&mut self) {
        let n = self.config.nodes.len();
        let minority = n.saturating_sub(1) / 2;
        if !self.config.args.chaos.lasting_fault || minority == 0 {
            return;
        }
        let mut draw = self.config.seed.stream("lasting-fault", 0);
        let mut victims: Vec<usize> = (0..n).collect();
        draw.shuffle(&mut victims);
        victims.truncate(1 + draw.below(minority));
        victims.sort_unstable();
        let act = lasting(n, &victims, &mut draw);
        self.carry_out(tell(act, &self.config.nodes));
        self.outage.lasting = victims;
    }

    /// Ends it.
    pub(super) fn end_lasting_fault(&mut self) {
        if !self.outage.lasting.is_empty() {
            self.carry_out(tell(Act::HealOneWay, &[]));
            self.carry_out(tell(Act::Start, &[]));
        }
    }

    /// Takes a node out of service.
    pub(super) fn drain(&mut self, node: usize) {
        self.outage.drained = Some((node, self.now));
        self.clients.spare(Some(node));
    }

    /// Puts an empty machine in the place of the drained one. If that was not long enough
    /// without operations, it comes back as it is.
    pub(super) fn replace_drained(&mut self) {
        let Some((node, since)) = self.outage.drained.take() else { return };
        self.clients.spare(None);
        if self.now - since >= DRAINED_AFTER {
            self.lifecycle.killed(node);
            self.with_cluster(|c, now, _| {
                c.kill(now, node);
                c.wipe(node);
            });
            self.start_node(node);
        }
        self.generate();
    }
}

/// A way for `victims` of `n` nodes to be out of reach of the others.
fn lasting(n: usize, victims: &[usize], draw: &mut Draw) -> Act {
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
