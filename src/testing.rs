//! A network for tests of engines, shells and nodes.
//!
//! Messages of any kind travel between addresses of any kind. Time is the caller's: it sends at
//! some moment, asks when the next message arrives, and takes those that have arrived. Latency,
//! loss and repetition follow the weather and are drawn from one seed; a cut loses everything in
//! one direction of one link.
//!
//! ```
//! use seaworthy::testing::{Network, Weather};
//! use seaworthy::time::Time;
//!
//! let mut network = Network::new(Weather::fair(10), 1);
//! network.cut(1, 3);
//! network.send(Time::ZERO, 1, 2, "to a neighbour");
//! network.send(Time::ZERO, 1, 3, "across a cut");
//! let at = network.next().expect("something is on its way");
//! assert_eq!(at, Time::from_millis(10));
//! assert_eq!(network.arrived(at).map(|flight| flight.message), Some("to a neighbour"));
//! assert!(network.arrived(at).is_none());
//! ```
//!
//! Deliberately missing: the machines. Each test decides for itself what a node, a disk and a
//! clock are, since these differ between an engine and a shell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::time::Time;

/// How long a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always as long.
    Constant(Duration),
    /// So long on average, by the exponential distribution: messages overtake each other.
    Exponential(Duration),
    /// At least the first, and less than the second; each is as likely.
    Between(Duration, Duration),
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The time between sending and arrival.
    pub latency: Latency,
    /// How many of a hundred messages are lost.
    pub loss_percent: u64,
    /// How many of a hundred messages arrive twice.
    pub repeat_percent: u64,
}

impl Weather {
    /// Nothing is lost or repeated, and everything takes as long.
    pub const fn fair(latency_ms: u64) -> Weather {
        let latency = Latency::Constant(Duration::from_millis(latency_ms));
        Weather { latency, loss_percent: 0, repeat_percent: 0 }
    }
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight<A, M> {
    /// The sender.
    pub from: A,
    /// The receiver.
    pub to: A,
    /// The message.
    pub message: M,
}

/// Messages on their way between addresses `A`.
#[derive(Clone, Debug)]
pub struct Network<A, M> {
    /// How messages travel that are sent from now on.
    pub weather: Weather,
    /// The source of everything that is drawn here; a test may draw from it as well.
    pub rng: Pcg64Mcg,
    /// Links with a latency of their own.
    links: BTreeMap<(A, A), Duration>,
    cuts: BTreeSet<(A, A)>,
    /// By arrival, and in the order of sending.
    flights: BTreeMap<(Time, u64), Flight<A, M>>,
    /// Numbers the flights.
    next: u64,
}

impl<A: Clone + Ord, M: Clone> Network<A, M> {
    /// An empty network.
    pub fn new(weather: Weather, seed: u64) -> Network<A, M> {
        let rng = Pcg64Mcg::seed_from_u64(seed);
        let (links, cuts, flights) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Network { weather, rng, links, cuts, flights, next: 0 }
    }

    /// Draws a number below `bound`.
    pub fn random(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// Sends a message as the weather allows: it is lost, or arrives once or twice.
    pub fn send(&mut self, now: Time, from: A, to: A, message: M) {
        if self.random(100) < self.weather.loss_percent {
            return;
        }
        let copies = 1 + u64::from(self.random(100) < self.weather.repeat_percent);
        for _ in 0..copies {
            let own = self.links.get(&(from.clone(), to.clone())).copied();
            let latency = own.unwrap_or_else(|| self.latency());
            self.arrive_at(now + latency, from.clone(), to.clone(), message.clone());
        }
    }

    fn latency(&mut self) -> Duration {
        match self.weather.latency {
            Latency::Constant(latency) => latency,
            Latency::Exponential(mean) => {
                let uniform = (self.random(1 << 53) + 1) as f64 / (1u64 << 53) as f64;
                mean.mul_f64(-uniform.ln())
            }
            Latency::Between(least, most) => {
                let micros = u64::try_from((most - least).as_micros()).unwrap_or(u64::MAX);
                least + Duration::from_micros(self.random(micros))
            }
        }
    }

    /// Lets a message arrive at a certain moment, whatever the weather; also one that could not be
    /// taken when it arrived.
    pub fn arrive_at(&mut self, at: Time, from: A, to: A, message: M) {
        self.flights.insert((at, self.next), Flight { from, to, message });
        self.next += 1;
    }

    /// When the next message arrives.
    pub fn next(&self) -> Option<Time> {
        self.flights.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest message that has arrived by `now`. Those that a cut stops are lost.
    pub fn arrived(&mut self, now: Time) -> Option<Flight<A, M>> {
        while let Some(entry) = self.flights.first_entry().filter(|entry| entry.key().0 <= now) {
            let flight = entry.remove();
            if !self.is_cut(&flight.from, &flight.to) {
                return Some(flight);
            }
        }
        None
    }

    /// Gives a link a latency of its own, in both directions.
    pub fn set_latency(&mut self, a: A, b: A, latency: Duration) {
        self.links.insert((a.clone(), b.clone()), latency);
        self.links.insert((b, a), latency);
    }

    /// Loses everything that would arrive at `to` from `from`.
    pub fn cut(&mut self, from: A, to: A) {
        self.cuts.insert((from, to));
    }

    /// Ends that cut.
    pub fn mend(&mut self, from: A, to: A) {
        self.cuts.remove(&(from, to));
    }

    /// Ends all cuts.
    pub fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// Whether that direction is cut.
    pub fn is_cut(&self, from: &A, to: &A) -> bool {
        !self.cuts.is_empty() && self.cuts.contains(&(from.clone(), to.clone()))
    }

    /// Loses the messages on their way for which `is_lost` holds.
    pub fn lose(&mut self, is_lost: impl Fn(&Flight<A, M>) -> bool) {
        self.flights.retain(|_, flight| !is_lost(flight));
    }

    /// Lets everything that is on its way arrive now, the latest first.
    pub fn reverse(&mut self, now: Time) {
        for flight in std::mem::take(&mut self.flights).into_values().rev() {
            self.arrive_at(now, flight.from, flight.to, flight.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(network: &mut Network<u8, u32>) -> Vec<(Time, u32)> {
        let mut found = Vec::new();
        while let Some(at) = network.next() {
            while let Some(flight) = network.arrived(at) {
                found.push((at, flight.message));
            }
        }
        found
    }

    #[test]
    fn messages_arrive_in_order_and_links_and_cuts_have_directions() {
        let mut network = Network::new(Weather::fair(5), 1);
        network.set_latency(1, 3, Duration::from_millis(2));
        network.cut(2, 1);
        for (from, to, message) in [(1, 2, 10), (2, 1, 11), (3, 1, 12), (1, 2, 13)] {
            network.send(Time::ZERO, from, to, message);
        }
        let at = Time::from_millis;
        assert_eq!(arrivals(&mut network), [(at(2), 12), (at(5), 10), (at(5), 13)]);
        network.mend(2, 1);
        network.send(at(6), 2, 1, 14);
        network.send(at(7), 2, 1, 15);
        network.reverse(at(8));
        assert_eq!(arrivals(&mut network), [(at(8), 15), (at(8), 14)]);
    }

    #[test]
    fn the_weather_loses_and_repeats_its_share() {
        let weather = |latency, loss_percent, repeat_percent| {
            let mut network = Network::new(Weather { latency, loss_percent, repeat_percent }, 7);
            (0..1000).for_each(|n| network.send(Time::ZERO, 1, 2, n));
            arrivals(&mut network)
        };
        let latency = Duration::from_millis(10);
        assert_eq!(weather(Latency::Constant(latency), 0, 100).len(), 2000);
        assert_eq!(weather(Latency::Constant(latency), 100, 0).len(), 0);
        let some = weather(Latency::Exponential(latency), 20, 5);
        assert!((700..1000).contains(&some.len()), "{}", some.len());
        assert!(some.iter().any(|(at, _)| *at > Time::from_millis(20)), "latencies differ");
        let between = weather(Latency::Between(latency, 2 * latency), 0, 0);
        let (least, most) = (Time::from_millis(10), Time::from_millis(20));
        assert!(between.iter().all(|(at, _)| (least..most).contains(at)));
    }
}
