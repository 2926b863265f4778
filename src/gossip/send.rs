//! Composing a message: everything the receiver lacks, or a digest first.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Output};
use super::lattice::Lattice;
use super::log::Runs;
use super::send_mode::SendMode;
use super::version::{Rank, Versions};
use super::wire::Message;
use crate::time::Time;

/// More deltas than this are not sent to a peer of which it is not certain that it
/// lacks them; it is asked first.
const UNASKED: u64 = 64;

/// The content of a message.
struct Cargo<L> {
    deltas: Runs<L>,
    state: Option<L>,
    versions: Option<Versions>,
    /// Whether the receiver will have everything.
    complete: bool,
}

impl<L: Lattice> Engine<L> {
    /// Sends `to` the deltas it lacks; the acknowledgement rides along.
    pub(super) fn send(&mut self, now: Time, to: Rank, mode: SendMode) {
        if self.store.number() || *self.shared != *self.store.versions() {
            self.shared = Arc::new(self.store.versions().clone());
        }
        let cargo = self.load(to, mode);
        let carries = !cargo.deltas.is_empty() || cargo.state.is_some();
        // An incarnation that was never proved to be the present one must prove it.
        let unproved = !self.peer(to).confirmed && !mode.asked && !carries;
        let ask = mode.ask || unproved || !cargo.complete;
        let covers = cargo.complete.then(|| Arc::clone(&self.shared));
        let hub = self.hub();
        let round = self.last_round.filter(|round| round.at == now && hub == self.rank);
        let peer = self.peer_mut(to);
        let echo = peer.echo(now);
        let number = peer.depart(now, covers);
        let message = Message {
            boot: self.boot,
            number,
            echo,
            hub,
            period_ms: round.map(|round| millis(round.next - now)),
            deltas: cargo.deltas,
            state: cargo.state,
            versions: cargo.versions,
            ask,
        };
        if carries || ask {
            self.expect_answer(now, to, ask);
        }
        self.record();
        self.outputs.push(Output::Send(to, message));
    }

    fn load(&self, to: Rank, mode: SendMode) -> Cargo<L> {
        let peer = self.peer(to);
        let digest = || Some(self.store.versions().clone());
        if peer.suspected {
            // It probably cannot hear this, so it is kept short.
            return Cargo { deltas: Runs::new(), state: None, versions: digest(), complete: false };
        }
        let log = self.store.log();
        if peer.is_new() && !mode.asked && log.lag(&peer.known) > UNASKED {
            let deltas = self.news();
            return Cargo { deltas, state: None, versions: digest(), complete: false };
        }
        let runs = log.since(&peer.known);
        let state = runs.is_none().then(|| self.store.state().clone());
        let tell = !peer.confirmed || mode.asked || mode.digest || state.is_some();
        let versions = tell.then(|| self.store.versions().clone());
        Cargo { deltas: runs.unwrap_or_default(), state, versions, complete: true }
    }

    /// The own deltas that no peer has acknowledged: certainly news to all of them.
    fn news(&self) -> Runs<L> {
        let mut known = self.store.versions().clone();
        let mine = self.author();
        let spread = self.peers.iter().map(|peer| peer.known.get(mine)).max().unwrap_or(0);
        known.forget(mine);
        known.raise(mine, spread);
        self.store.log().since(&known).unwrap_or_default()
    }

    /// Sets the time at which silence of `to` becomes conspicuous.
    pub(super) fn expect_answer(&mut self, now: Time, to: Rank, asked: bool) {
        let wait = if asked {
            self.pace.answer()
        } else if self.neighbours.is_none() && self.hub() == to {
            // A hub acknowledges with its next round, so that a leaf soon knows.
            self.pace.window() + self.pace.answer()
        } else {
            self.pace.lone_ack() + self.pace.answer()
        };
        let peer = self.peer_mut(to);
        let at = now + wait;
        peer.retry_at = Some(peer.retry_at.map_or(at, |earlier| earlier.min(at)));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
