//! The acts of the nemesis take effect.

use std::time::Duration;

use super::event::Event;
use super::nemesis::Act;
use super::outage::lasting;
use super::state::World;
use crate::backend::Cluster;

/// How long a node must have been without operations before it may be replaced.
const DRAINED_AFTER: Duration = Duration::from_secs(2);

/// The clients that were waiting for the end of a fault.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freed {
    /// No client was waiting.
    Nothing,
    /// Some may go on: the generator has to be asked.
    Clients,
}

impl<C: Cluster> World<C> {
    /// Lets an act take effect.
    pub(super) fn take_effect(&mut self, act: Act) -> Freed {
        match act {
            Act::Partition(grudge) => self.network.partition(grudge),
            Act::Heal => self.network.partition(Default::default()),
            Act::CutOneWay(links) => self.network.cut_one_way(links),
            Act::HealOneWay => self.network.cut_one_way(Default::default()),
            Act::Reset(links) => self.network.reset(links),
            Act::HealReset => self.network.reset(Default::default()),
            Act::Throttle(kilobytes) => self.network.throttle(Some(kilobytes)),
            Act::Unthrottle => self.network.throttle(None),
            Act::LoseRequests(nodes) => self.network.lose_requests(nodes),
            Act::LoseAnswers(nodes) => self.network.lose_answers(nodes),
            Act::HealClients => self.network.heal_clients(),
            Act::Slow(factor) => self.network.slow(f64::from(factor)),
            Act::Fast => self.network.slow(1.0),
            Act::RemoveMember(node) => self.request_removal(node),
            Act::RestoreMembers => self.restore_members(),
            Act::Stall(links) => self.network.stall(links),
            Act::Release => self.release_stalled(),
            Act::Drain(node) => self.drain(node),
            Act::Replace => return self.replace_drained(),
            Act::Kill(nodes) => {
                for node in nodes {
                    self.lifecycle.killed(node);
                    self.with_cluster(|c, now, _| c.kill(now, node));
                }
            }
            Act::Start => (0..self.config.nodes.len()).for_each(|node| self.start_node(node)),
            Act::Pause(nodes) => {
                for node in nodes {
                    self.lifecycle.paused(node);
                    self.with_cluster(|c, now, _| c.pause(now, node));
                }
            }
            Act::FillDisks(nodes) => {
                for node in nodes {
                    self.with_cluster(|c, _, out| c.fill_disk(node, out));
                }
            }
            Act::FreeDisks => {
                for node in 0..self.config.nodes.len() {
                    self.with_cluster(|c, _, out| c.free_disk(node, out));
                }
            }
            Act::Resume => {
                for node in 0..self.config.nodes.len() {
                    for attempt in self.lifecycle.resumed(node, self.now) {
                        let deadline = self.now + self.config.init_timeout;
                        self.queue.push(deadline, Event::Deadline(attempt));
                    }
                    self.with_cluster(|c, now, out| c.resume(now, node, out));
                }
            }
        }
        Freed::Nothing
    }

    /// Delivers the messages that waited on stalled links, in order.
    fn release_stalled(&mut self) {
        self.network.stall(Default::default());
        for flight in std::mem::take(&mut self.stalled) {
            self.queue.push(self.now, Event::Deliver(Box::new(flight)));
        }
    }

    /// Takes a node out of service.
    fn drain(&mut self, node: usize) {
        self.outage.drained = Some((node, self.now));
        self.clients.spare(Some(node));
    }

    /// Puts an empty machine in the place of the drained one. If that was not long enough
    /// without operations, it comes back as it is.
    fn replace_drained(&mut self) -> Freed {
        let Some((node, since)) = self.outage.drained.take() else { return Freed::Nothing };
        self.clients.spare(None);
        if self.now - since >= DRAINED_AFTER {
            self.lifecycle.killed(node);
            self.with_cluster(|c, now, _| {
                c.kill(now, node);
                c.wipe(node);
            });
            self.start_node(node);
        }
        Freed::Clients
    }

    /// Draws the fault that lasts through the phase without others, if there is to be one.
    pub(super) fn draw_lasting_fault(&mut self) -> Option<Act> {
        let n = self.config.nodes.len();
        let minority = n.saturating_sub(1) / 2;
        if !self.config.args.chaos.lasting_fault || minority == 0 {
            return None;
        }
        let mut draw = self.config.seed.stream("lasting-fault", 0);
        let mut victims: Vec<usize> = (0..n).collect();
        draw.shuffle(&mut victims);
        victims.truncate(1 + draw.below(minority));
        victims.sort_unstable();
        let act = lasting(n, &victims, &mut draw);
        self.outage.lasting = victims;
        Some(act)
    }
}
