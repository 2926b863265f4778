//! Taking in a message.

use std::time::Duration;

use super::engine::Engine;
use super::lattice::Lattice;
use super::pace::Beat;
use super::send_mode::SendMode;
use super::store::Learned;
use super::version::Rank;
use super::wire::Message;
use crate::coverage::{self, Mark};
use crate::time::Time;

impl<L: Lattice> Engine<L> {
    /// Takes in a message from `from`. It may be late, repeated or out of order.
    pub fn receive(&mut self, now: Time, from: Rank, mut message: Message<L>) {
        if from == self.rank || from.index() >= self.peers.len() {
            tracing::debug!(%from, "dropped a message of a node that is not a replica");
            return;
        }
        let before = self.hub();
        let newest = self.peer_mut(from).hear(message.boot, message.number, now);
        if newest {
            self.peer_mut(from).hub = Some(message.hub);
            if message.hub == from && before == self.rank {
                coverage::hit(Mark::TwoHubs);
            }
        }
        let waiting = self.take_echo(now, from, &message);
        let carried = message.carries();
        let learned = self.take_cargo(from, &mut message);
        if self.hub() != before {
            self.beat = None;
            self.round_at = None;
        }
        if let (true, Some(period)) = (newest, message.period_ms) {
            self.keep_beat(now, from, period);
        }
        if learned.news || waiting || self.hub() != before {
            self.schedule(now);
        }
        self.plan_answer(now, from, &message, newest && carried, learned.gap);
        let answered = self.peer(from).ack_at.is_none();
        if waiting && !answered && self.owes(from) && !self.peer(from).has(self.store.versions()) {
            self.send(now, from, SendMode::PLAIN);
        }
    }

    /// Learns from the acknowledgement. Returns whether the sender had only been
    /// sent a digest and has now answered it.
    fn take_echo(&mut self, now: Time, from: Rank, message: &Message<L>) -> bool {
        let boot = self.boot;
        let proof = message.echo.and_then(|echo| self.peer_mut(from).prove(boot, echo, now));
        if let Some(versions) = &message.versions {
            self.peer_mut(from).known.merge(versions);
        }
        let Some(proof) = proof else { return false };
        self.joining = false;
        if let Some(round_trip) = proof.round_trip {
            let first = self.pace.round_trip().is_none();
            self.pace.sample(round_trip);
            if first {
                // A plan that was made without knowing the way may be too late.
                let better = self.round_time(now);
                self.round_at = self.round_at.map(|at| at.min(better));
            }
        }
        let peer = self.peer_mut(from);
        let waiting = std::mem::take(&mut peer.stalled);
        (peer.attempts, peer.retry_at) = (0, None);
        if !peer.caught_up() {
            self.expect_answer(now, from, false);
        }
        waiting
    }

    /// Learns the deltas.
    fn take_cargo(&mut self, from: Rank, message: &mut Message<L>) -> Learned {
        let peer = &mut self.peers[from.index()];
        message.deltas.iter().for_each(|(r, run)| peer.known.raise(*r, run.last()));
        let jumped = match (message.state.take(), &message.versions) {
            (Some(state), Some(versions)) => self.store.learn_state(state, versions),
            _ => false,
        };
        let learned = self.store.learn(std::mem::take(&mut message.deltas));
        if jumped {
            coverage::hit(Mark::WholeState);
        }
        if learned.gap {
            coverage::hit(Mark::DeltaGap);
        }
        Learned { news: learned.news || jumped, ..learned }
    }

    /// Acknowledges: at once if asked or if the sender is mistaken about this node,
    /// with the next round to a leaf, late to all others.
    fn plan_answer(&mut self, now: Time, from: Rank, message: &Message<L>, owed: bool, gap: bool) {
        let suspected = self.peer(from).suspected;
        let mistaken = gap || message.echo.is_some_and(|echo| echo.0 != self.boot);
        if message.ask || mistaken || suspected {
            // Whether a suspected peer can hear again shows in its answer.
            let mode = SendMode { ask: suspected, asked: message.ask, digest: mistaken };
            self.send(now, from, mode);
        } else if owed {
            let leaf = self.neighbours.is_none() && message.hub == self.rank;
            let at = if leaf {
                self.round_at.unwrap_or_else(|| self.round_time(now))
            } else {
                now + self.pace.lone_ack()
            };
            self.peer_mut(from).ack_by(at);
        }
    }

    fn keep_beat(&mut self, now: Time, from: Rank, period_ms: u64) {
        if from != self.hub() {
            return;
        }
        self.beat = Some(Beat { heard: now, period: Duration::from_millis(period_ms) });
        if self.round_at.is_some() {
            self.round_at = Some(self.round_time(now));
        }
    }
}
