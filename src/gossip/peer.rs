//! A node's knowledge of one other node.
//!
//! Knowledge of a peer is knowledge of one of its incarnations. Boots have no order, and a message
//! of a former incarnation may arrive late, so the proof that an incarnation is the present one is
//! an echo of a message that was sent after the incarnation was first heard of: the dead echo
//! nothing new. The same proof, an echo of a message sent after the suspicion arose, shows that a
//! suspected peer can be reached *and* be heard; merely hearing it is not enough, because a network
//! may be cut one way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::version::{Boot, Rank, Versions};
use super::wire::Echo;
use crate::planted::invariant;
use crate::time::Time;

/// How many messages to remember while they wait for their echo.
const FLIGHTS: usize = 64;

/// One other node.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) boot: Option<Boot>,
    /// Whom it takes for the hub.
    pub(super) hub: Option<Rank>,
    /// The deltas that it has, if it is in the incarnation that we think it is.
    pub(super) known: Versions,
    /// Whether the incarnation was proved to be the present one.
    pub(super) confirmed: bool,
    /// Whether it failed to answer.
    pub(super) suspected: bool,
    /// The deltas that were sent to it; they may have been lost.
    sent: Arc<Versions>,
    flights: VecDeque<Flight>,
    /// How many messages were sent to it.
    pub(super) number: u64,
    /// Only echoes of later messages prove anything.
    pub(super) floor: u64,
    /// How many messages had been sent to it when its present incarnation was first heard of,
    /// unless that is the first incarnation that was.
    born: u64,
    /// The highest number seen from it, and when.
    heard: Option<(u64, Time)>,
    /// When to acknowledge, if nothing else is sent before.
    pub(super) ack_at: Option<Time>,
    /// When to try again, if it has not answered before.
    pub(super) retry_at: Option<Time>,
    /// How often it was tried again.
    pub(super) attempts: u32,
    /// The last message was a digest: the deltas that it lacks are held back for the answer.
    pub(super) stalled: bool,
}

/// A message that was not echoed yet.
#[derive(Clone, Debug)]
struct Flight {
    number: u64,
    at: Time,
    /// The deltas of its receiver, if the message carried all that were missing.
    covers: Option<Arc<Versions>>,
}

/// The measurement that an echo gives.
pub(super) struct Proof {
    /// Time from our message to its echo, without the time the peer held it.
    pub(super) round_trip: Option<Duration>,
}

impl Peer {
    /// Notes a message of incarnation `boot` with `number`. Returns whether it is the
    /// newest so far of that incarnation.
    pub(super) fn hear(&mut self, boot: Boot, number: u64, now: Time) -> bool {
        match self.boot {
            None => self.boot = Some(boot),
            Some(old) if old != boot => self.switch(boot),
            Some(_) => {}
        }
        let newest = self.heard.is_none_or(|(highest, _)| number > highest);
        if newest {
            self.heard = Some((number, now));
        }
        newest
    }

    /// Begins another incarnation: all knowledge was about the dead one.
    fn switch(&mut self, boot: Boot) {
        let dead = std::mem::take(self);
        *self = Peer {
            boot: Some(boot),
            suspected: dead.suspected,
            number: dead.number,
            // Guard: messages that were sent before this incarnation was heard of prove nothing
            // of it.
            floor: dead.number,
            born: dead.number,
            retry_at: dead.retry_at,
            attempts: dead.attempts,
            ..Peer::default()
        };
        self.plant_old_knowledge(dead);
    }

    /// Whether it was heard at all.
    pub(super) fn is_heard(&self) -> bool {
        self.boot.is_some()
    }

    /// Whether nothing was proved of it and nothing is on its way to it.
    pub(super) fn is_new(&self) -> bool {
        !self.confirmed && self.sent.is_empty()
    }

    /// Takes in an echo of our messages, if it proves anything.
    pub(super) fn prove(&mut self, mine: Boot, echo: Echo, now: Time) -> Option<Proof> {
        let Echo(boot, number, held_ms) = echo;
        if boot != mine || number <= self.floor || number > self.number {
            return None;
        }
        invariant!(number > self.born, "an echo by a dead incarnation confirms another one");
        (self.confirmed, self.suspected) = (true, false);
        let mut round_trip = None;
        while let Some(flight) = self.flights.pop_front_if(|f| f.number <= number) {
            if flight.number == number {
                let held = Duration::from_millis(held_ms);
                round_trip = Some((now - flight.at).saturating_sub(held));
                if let Some(covers) = flight.covers {
                    self.known.merge(&covers);
                }
            }
        }
        Some(Proof { round_trip })
    }

    /// Stops trusting it until an echo of something sent from now on.
    pub(super) fn suspect(&mut self) {
        (self.confirmed, self.suspected) = (false, true);
        self.floor = self.number;
        self.unsend();
    }

    /// Considers everything lost that was not acknowledged.
    pub(super) fn unsend(&mut self) {
        self.sent = Arc::default();
    }

    /// Notes a message sent to it and returns its number. `covers` is everything it
    /// will have once it has the message.
    pub(super) fn depart(&mut self, now: Time, covers: Option<Arc<Versions>>) -> u64 {
        self.number += 1;
        self.stalled = covers.is_none();
        self.ack_at = None;
        if let Some(covers) = &covers {
            self.sent = Arc::clone(covers);
        }
        if self.flights.len() == FLIGHTS {
            self.flights.pop_front();
        }
        self.flights.push_back(Flight { number: self.number, at: now, covers });
        self.number
    }

    /// The acknowledgement that rides on a message sent now.
    pub(super) fn echo(&self, now: Time) -> Option<Echo> {
        let (number, at) = self.heard?;
        let held_ms = u64::try_from((now - at).as_millis()).unwrap_or(u64::MAX);
        Some(Echo(self.boot?, number, held_ms))
    }

    /// Whether some of `versions` was never sent to it and is not known to be there.
    pub(super) fn lacks(&self, versions: &Versions) -> bool {
        versions.iter().any(|(r, count)| count > self.known.get(r).max(self.sent.get(r)))
    }

    /// Whether it certainly has `versions`.
    pub(super) fn has(&self, versions: &Versions) -> bool {
        (self.confirmed || versions.is_empty()) && self.known.covers(versions)
    }

    /// Whether it has everything that was sent to it.
    pub(super) fn caught_up(&self) -> bool {
        self.known.covers(&self.sent) && !self.stalled
    }

    /// Sets the acknowledgement to go at `at` or earlier.
    pub(super) fn ack_by(&mut self, at: Time) {
        self.ack_at = Some(self.ack_at.map_or(at, |earlier| earlier.min(at)));
    }
}
