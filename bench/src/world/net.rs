//! The network: latency, cuts, loss, duplication, and the count of it all.
//!
//! Maelstrom's rules. Latency applies between servers and services only; a client's
//! messages arrive at once. Whether a cut stops a message is decided when it is
//! taken out of the queue, not when it is put in.
//!
//! The fate of a message follows from the seed, the link it takes, the moment (to ten milliseconds)
//! and how many took that link before it in that moment. There is no one stream of draws that a
//! message more or less would shift for all later ones: a run from which something was taken away
//! stays close to the run that it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seaworthy::time::Time;

use super::links::Links;
use crate::backend::Weather;
use crate::config::{CALM_FACTOR, LatencyDist, RunConfig};
use crate::directory::Party;
use crate::seed::{Draw, Moment, Seed};

/// Messages counted as Maelstrom counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages put into the network.
    pub sent: u64,
    /// Messages taken out of it.
    pub received: u64,
}

/// The counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Every message.
    pub all: Count,
    /// Those to or from a client.
    pub clients: Count,
    /// Those between servers, or a server and a service.
    pub servers: Count,
}

impl Counts {
    fn each(&mut self, client: bool) -> [&mut Count; 2] {
        [&mut self.all, if client { &mut self.clients } else { &mut self.servers }]
    }
}

/// The fate of one message as it is sent: the delay of the copy that will arrive, unless it is
/// lost, and of the second one, if there is.
pub type Copies = (Option<Duration>, Option<Duration>);

/// The network's state.
pub struct Network {
    dist: LatencyDist,
    mean_ms: f64,
    /// How far apart the nodes are.
    links: Links,
    loss: f64,
    duplicate: f64,
    reorder: f64,
    seed: Seed,
    /// For each link the moment of the last message.
    moments: BTreeMap<(u32, u32), Moment>,
    /// For a receiving node, the nodes it does not hear.
    deaf: BTreeMap<usize, BTreeSet<usize>>,
    /// The same for the cuts in one direction, which come and go on their own.
    one_way: BTreeSet<(usize, usize)>,
    /// Directions in which everything waits.
    stalled: BTreeSet<(usize, usize)>,
    /// Pairs of nodes whose connections are reset.
    torn: BTreeSet<(usize, usize)>,
    /// Thousands of bytes a second for a connection between servers, if that is limited.
    kilobytes: Option<u32>,
    /// Nodes that no request of a client reaches, and those whose answers reach no client.
    unasked: BTreeSet<usize>,
    unanswering: BTreeSet<usize>,
    /// Latency is multiplied by this.
    slowdown: f64,
    /// The storm is over.
    calm: bool,
    /// When the last of the messages sent so far arrives.
    last_arrival: Time,
    counts: Counts,
}

impl Network {
    /// The network of a run, whole and quick.
    pub fn new(config: &RunConfig) -> Network {
        Network {
            dist: config.args.latency_dist,
            mean_ms: config.args.latency,
            links: Links::new(config.seed, config.args.latency_spread),
            loss: config.args.chaos.loss,
            duplicate: config.args.chaos.duplicate,
            reorder: config.args.chaos.reorder,
            seed: config.seed,
            moments: BTreeMap::new(),
            deaf: BTreeMap::new(),
            one_way: BTreeSet::new(),
            stalled: BTreeSet::new(),
            torn: BTreeSet::new(),
            kilobytes: None,
            unasked: BTreeSet::new(),
            unanswering: BTreeSet::new(),
            slowdown: 1.0,
            calm: false,
            last_arrival: Time::ZERO,
            counts: Counts::default(),
        }
    }

    /// Decides the fate of a message from `src` to `dest` as it is sent.
    pub fn send(&mut self, now: Time, src: Party, dest: Party) -> Copies {
        let copies = self.decide(now, src, dest);
        if let Some(longest) = copies.0.max(copies.1) {
            self.last_arrival = self.last_arrival.max(now + longest);
        }
        copies
    }

    fn decide(&mut self, now: Time, src: Party, dest: Party) -> Copies {
        let client = src == Party::Client || dest == Party::Client;
        self.counts.each(client).into_iter().for_each(|c| c.sent += 1);
        if client {
            return (Some(Duration::ZERO), None);
        }
        if self.is_plain() {
            return (Some(self.plain_latency(src, dest)), None);
        }
        let draw = &mut self.draw(now, src, dest);
        let (Party::Node(from), Party::Node(to)) = (src, dest) else {
            return (Some(self.latency(draw, 1.0)), None);
        };
        // Losing or doubling a message to a service would break the service's
        // promise, which is not the fault under test: only nodes get these.
        if draw.chance(self.loss) {
            return (None, None);
        }
        let twice = draw.chance(self.duplicate);
        let length = self.links.length(from, to);
        let first = self.latency(draw, length) + self.detour(draw);
        (Some(first), twice.then(|| self.latency(draw, length) + self.detour(draw)))
    }

    /// The numbers of the next message from `src` to `dest`.
    fn draw(&mut self, now: Time, src: Party, dest: Party) -> Draw {
        let number = |party| match party {
            Party::Node(index) => (index as u32) << 1,
            Party::Service(index) => (index as u32) << 1 | 1,
            Party::Client => unreachable!("a client's messages are not drawn for"),
        };
        let link = (number(src), number(dest));
        let moment = Moment::after(self.moments.get(&link).copied(), now);
        self.moments.insert(link, moment);
        self.seed.message(link.0, link.1, moment)
    }

    /// Whether nothing is left to chance.
    fn is_plain(&self) -> bool {
        let constant = self.dist == LatencyDist::Constant || self.mean() <= 0.0;
        constant && self.loss <= 0.0 && self.duplicate <= 0.0 && self.reorder <= 0.0
    }

    fn mean(&self) -> f64 {
        let slow = self.slowdown > 1.0;
        if slow { self.mean_ms.max(1.0) * self.slowdown } else { self.mean_ms }
    }

    fn plain_latency(&self, src: Party, dest: Party) -> Duration {
        let length = match (src, dest) {
            (Party::Node(from), Party::Node(to)) => self.links.length(from, to),
            _ => 1.0,
        };
        Duration::from_secs_f64(self.mean().max(0.0) * length / 1000.0)
    }

    /// The latency of one message on a link that is `length` times as long as the shortest.
    fn latency(&self, draw: &mut Draw, length: f64) -> Duration {
        let mean = self.mean() * length;
        if mean <= 0.0 {
            return Duration::ZERO;
        }
        let ms = match self.dist {
            LatencyDist::Constant => mean,
            LatencyDist::Uniform => draw.unit() * 2.0 * mean,
            LatencyDist::Exponential => draw.exponential(mean),
        };
        let ms = if self.calm { ms.min(CALM_FACTOR * mean) } else { ms };
        Duration::from_secs_f64(ms / 1000.0)
    }

    /// Returns how long a message that is overtaken waits: long enough for several others.
    fn detour(&self, draw: &mut Draw) -> Duration {
        if !draw.chance(self.reorder) {
            return Duration::ZERO;
        }
        let scale_ms = (4.0 * self.mean_ms).max(20.0);
        Duration::from_secs_f64(draw.unit() * scale_ms / 1000.0)
    }

    /// Whether a message that comes out of the queue now arrives.
    pub fn arrives(&self, src: Party, dest: Party) -> bool {
        let (Party::Node(src), Party::Node(dest)) = (src, dest) else { return true };
        let torn = [(src, dest), (dest, src)].iter().any(|link| self.torn.contains(link));
        !self.is_cut(src, dest) && !torn
    }

    /// Whether a message between a client's worker and a node is lost.
    pub fn is_lost_to_clients(&self, src: Party, dest: Party) -> bool {
        match (src, dest) {
            (Party::Client, Party::Node(node)) => self.unasked.contains(&node),
            (Party::Node(node), Party::Client) => self.unanswering.contains(&node),
            _ => false,
        }
    }

    fn is_cut(&self, src: usize, dest: usize) -> bool {
        let is_deaf = self.deaf.get(&dest).is_some_and(|unheard| unheard.contains(&src));
        is_deaf || self.one_way.contains(&(src, dest))
    }

    /// The same of every link between `n` nodes, for nodes that send through proxies: to those
    /// a message is a piece of a stream, which cannot be lost or doubled alone.
    pub fn weather(&self, n: usize) -> Weather {
        let pairs = || (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let is_cut = |(a, b): &(usize, usize)| self.is_cut(*a, *b);
        let delay = |(a, b)| ((a, b), self.plain_latency(Party::Node(a), Party::Node(b)));
        Weather {
            cut: pairs().filter(is_cut).collect(),
            stalled: self.stalled.clone(),
            torn: self.torn.clone(),
            kilobytes: self.kilobytes,
            delay: pairs().map(delay).filter(|(_, delay)| !delay.is_zero()).collect(),
        }
    }

    /// Counts an arrival.
    pub fn received(&mut self, src: Party, dest: Party) {
        let client = src == Party::Client || dest == Party::Client;
        self.counts.each(client).into_iter().for_each(|c| c.received += 1);
    }

    /// Cuts the network so that each key no longer hears the nodes in its set.
    pub fn partition(&mut self, grudge: BTreeMap<usize, BTreeSet<usize>>) {
        self.deaf = grudge;
    }

    /// Cuts these (from, to) directions.
    pub fn cut_one_way(&mut self, links: BTreeSet<(usize, usize)>) {
        self.one_way = links;
    }

    /// Lets everything in these (from, to) directions wait.
    pub fn stall(&mut self, links: BTreeSet<(usize, usize)>) {
        self.stalled = links;
    }

    /// Resets the connections between these pairs of nodes.
    pub fn reset(&mut self, links: BTreeSet<(usize, usize)>) {
        self.torn = links;
    }

    /// Limits the bytes of each connection between servers, in thousands a second.
    pub fn throttle(&mut self, kilobytes: Option<u32>) {
        self.kilobytes = kilobytes;
    }

    /// Loses the requests of clients to these nodes.
    pub fn lose_requests(&mut self, nodes: Vec<usize>) {
        self.unasked = nodes.into_iter().collect();
    }

    /// Loses the answers of these nodes to clients.
    pub fn lose_answers(&mut self, nodes: Vec<usize>) {
        self.unanswering = nodes.into_iter().collect();
    }

    /// Lets clients and nodes hear each other again.
    pub fn heal_clients(&mut self) {
        self.unasked.clear();
        self.unanswering.clear();
    }

    /// Whether a message that comes out of the queue now has to wait.
    pub fn is_stalled(&self, src: Party, dest: Party) -> bool {
        let (Party::Node(src), Party::Node(dest)) = (src, dest) else { return false };
        self.stalled.contains(&(src, dest))
    }

    /// Multiplies latency (of at least a millisecond) by `factor` from now on.
    pub fn slow(&mut self, factor: f64) {
        self.slowdown = factor;
    }

    /// Ends everything a nemesis can do, the constant faults included: the quiet
    /// after the storm. From now on latency has a bound: no consensus protocol promises
    /// to get anywhere in a network whose delays have none (partial synchrony: Dwork,
    /// Lynch and Stockmeyer, 1988), and an answer that needs four messages would miss
    /// a client's timeout now and then for no other reason. A message that was sent before comes as
    /// late as it would have.
    pub fn calm(&mut self) {
        self.calm = true;
        self.deaf.clear();
        self.one_way.clear();
        self.stalled.clear();
        self.torn.clear();
        self.kilobytes = None;
        self.heal_clients();
        self.slowdown = 1.0;
        (self.loss, self.duplicate, self.reorder) = (0.0, 0.0, 0.0);
    }

    /// When the last of the messages sent so far arrives.
    pub fn last_arrival(&self) -> Time {
        self.last_arrival
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunArgs;
    use crate::seed::Seed;

    #[test]
    fn latency_has_a_bound_in_the_quiet_after_the_storm() {
        let flags = "-w echo --latency 100 --latency-dist exponential --loss 0.2";
        let run = RunArgs::from_flags(flags.split_whitespace()).expect("the flags exist");
        let config = RunConfig::new(run, Seed(1)).expect("the flags make sense");
        let mut network = Network::new(&config);
        let sample = |network: &mut Network| {
            let at = |i: u64| Time::from_millis(20 * i);
            let send = |i| network.send(at(i), Party::Node(0), Party::Node(1)).0;
            (0..1000).map(send).collect::<Vec<Option<Duration>>>()
        };
        let storm = sample(&mut network);
        assert!(storm.contains(&None), "nothing was lost");
        assert!(storm.iter().flatten().max() > Some(&Duration::from_millis(400)));
        network.calm();
        let quiet = sample(&mut network);
        assert!(!quiet.contains(&None), "messages are lost in the quiet");
        assert!(quiet.iter().flatten().max() <= Some(&Duration::from_millis(200)));
    }
}
