//! How far apart nodes are: a mean latency for each link of its own.
//!
//! With one mean for all links, every node measures the same round trips, and a fault between nodes
//! that measure different ones cannot be seen. `--latency-spread S` draws for each pair of nodes a
//! factor between 1 and S, by one of four geographies:
//!
//! * *sites*: nodes are in one of three places; it is far from one place to another;
//! * *outskirts*: some nodes are far from all others;
//! * *scattered*: each link is as long as it is;
//! * *detours*: all links are short but a few.
//!
//! A link is as long in one direction as in the other. Its draw depends on the
//! seed and its two nodes only: a run from which a node is taken away keeps the other links.

use crate::seed::{Draw, Seed};

/// The lengths of a run's links.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    seed: Seed,
    spread: f64,
    geography: Geography,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Geography {
    Sites,
    Outskirts,
    Scattered,
    Detours,
}

/// How many places the nodes of [`Geography::Sites`] are in.
const SITES: usize = 3;
/// How likely a node is far from the others, and how likely a link is a detour.
const FAR: f64 = 0.25;

impl Links {
    /// Links of which the longest are up to `spread` times as long as the shortest; all are
    /// the same if that is 1.
    pub fn new(seed: Seed, spread: f64) -> Links {
        let geographies =
            [Geography::Sites, Geography::Outskirts, Geography::Scattered, Geography::Detours];
        let geography = *seed.stream("links", 0).pick(&geographies);
        Links { seed, spread, geography }
    }

    /// How many times the mean latency a message between these two nodes takes on average.
    pub fn length(&self, a: usize, b: usize) -> f64 {
        if self.spread <= 1.0 || a == b {
            return 1.0;
        }
        let near = |is_near: bool, pair: (usize, usize)| if is_near { 1.0 } else { self.far(pair) };
        match self.geography {
            Geography::Sites => {
                let (a, b) = (self.site(a), self.site(b));
                near(a == b, (a, b))
            }
            Geography::Outskirts => self.distance(a).max(self.distance(b)),
            Geography::Scattered => near(false, (a, b)),
            Geography::Detours => near(!self.pair("detour", (a, b)).chance(FAR), (a, b)),
        }
    }

    /// The numbers of a pair, in whichever order it is named.
    fn pair(&self, name: &str, (a, b): (usize, usize)) -> Draw {
        self.seed.stream(name, (a.min(b) as u64) << 32 | a.max(b) as u64)
    }

    fn far(&self, pair: (usize, usize)) -> f64 {
        self.factor(&mut self.pair("link", pair))
    }

    fn site(&self, node: usize) -> usize {
        self.seed.stream("site", node as u64).below(SITES)
    }

    fn distance(&self, node: usize) -> f64 {
        let draw = &mut self.seed.stream("distance", node as u64);
        if draw.chance(FAR) { self.factor(draw) } else { 1.0 }
    }

    /// Short and long factors are as likely: the logarithm is uniform.
    fn factor(&self, draw: &mut Draw) -> f64 {
        self.spread.powf(draw.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_as_long_in_both_directions_and_within_bounds() {
        let (mut shortest, mut longest) = (f64::MAX, 0.0_f64);
        for seed in 0..200 {
            let links = Links::new(Seed(seed), 50.0);
            for a in 0..5 {
                for b in 0..5 {
                    let length = links.length(a, b);
                    assert_eq!(length, links.length(b, a));
                    assert!((1.0..=50.0).contains(&length));
                    (shortest, longest) = (shortest.min(length), longest.max(length));
                }
            }
            let plain = Links::new(Seed(seed), 1.0);
            assert!((0..5).all(|node| plain.length(0, node) == 1.0));
        }
        assert!(shortest == 1.0 && longest > 40.0, "from {shortest} to {longest}");
    }

    #[test]
    fn every_geography_has_short_and_long_links() {
        for wanted in
            [Geography::Sites, Geography::Outskirts, Geography::Scattered, Geography::Detours]
        {
            let all = (0..400).map(|seed| Links::new(Seed(seed), 50.0));
            let runs: Vec<Links> = all.filter(|links| links.geography == wanted).collect();
            assert!(runs.len() > 50, "{wanted:?} is rare");
            let mixed = runs.iter().filter(|links| {
                let lengths = || (0..5).flat_map(|a| (0..a).map(move |b| links.length(a, b)));
                lengths().any(|length| length < 3.0) && lengths().any(|length| length > 15.0)
            });
            // A quarter of the outskirts' clusters of five nodes has no far node.
            assert!(mixed.count() * 4 > runs.len(), "{wanted:?} hardly mixes");
        }
    }
}
