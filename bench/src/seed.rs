//! One number determines everything.
//!
//! Each concern of a run (network, nemesis, generator, every node's own random
//! numbers) draws from a stream of its own, so that one more draw in the network
//! does not reshuffle the kills, and removing one fault leaves the others alone.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy::time::Time;

/// The seed of a run, from which every stream of random numbers is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream of the concern called `name`, its `index`-th instance.
    pub fn stream(self, name: &str, index: u64) -> Draw {
        // FNV-1a: any fixed mixing does; the generator scrambles it further.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let bytes = name.bytes().chain(index.to_le_bytes()).chain(self.0.to_le_bytes());
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Draw(Pcg64Mcg::seed_from_u64(hash))
    }

    /// The few draws that decide on one message from `src` to `dest`.
    pub fn message(self, src: u32, dest: u32, moment: Moment) -> Draw {
        self.draw(u64::from(src) << 32 | u64::from(dest), moment)
    }

    /// The few draws that decide on one thing that happens to a machine.
    pub fn machine(self, index: u32, moment: Moment) -> Draw {
        // No link is called that: its first half would be a node's number too.
        self.draw(u64::from(u32::MAX) << 32 | u64::from(index), moment)
    }

    fn draw(self, subject: u64, moment: Moment) -> Draw {
        let mut state = self.0;
        for word in [subject, moment.window, moment.count] {
            state = mix(state ^ word);
        }
        // An MCG keeps its low bits: the state has to be odd and mixed already.
        let high = u128::from(mix(state));
        Draw(Pcg64Mcg::new(high << 64 | u128::from(state)))
    }
}

/// Which of the things that happen to one subject in one short span of time this is.
///
/// Its draws depend on nothing that happened earlier: a shrinker can take away
/// the first half of a run, and the messages and disks of the second behave as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    window: u64,
    count: u64,
}

impl Moment {
    /// Short against the pauses between heartbeats, long against the shift of a message by a change
    /// elsewhere.
    const NANOS: u64 = 10_000_000;

    /// The one after `last` of the same subject, which is now.
    pub fn after(last: Option<Moment>, now: Time) -> Moment {
        let window = now.as_nanos() / Moment::NANOS;
        let count = last.filter(|last| last.window == window).map_or(0, |last| last.count + 1);
        Moment { window, count }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A stream of random numbers with the draws the bench needs.
#[derive(Clone, Debug)]
pub struct Draw(Pcg64Mcg);

impl Draw {
    /// Uniform in `0..n`.
    ///
    /// # Panics
    /// If `n` is zero: there is nothing to choose from.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "choosing from nothing");
        // Widening multiplication; its bias is below 2^-32 for the sizes used here.
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = usize::try_from(high - low + 1).expect("low is not above high");
        low + self.below(span) as i64
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `p`. Draws nothing if `p` is zero, so that a fault
    /// that is switched off costs no number.
    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.unit() < p
    }

    /// Exponentially distributed with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// One of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A whole random word: the seed of something else.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The generator itself, for code that wants one.
    pub fn rng(&mut self) -> &mut Pcg64Mcg {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_and_independent() {
        let draws = |name, index| {
            let mut s = Seed(7).stream(name, index);
            (0..4).map(|_| s.word()).collect::<Vec<_>>()
        };
        assert_eq!(draws("net", 0), draws("net", 0));
        assert_ne!(draws("net", 0), draws("net", 1));
        assert_ne!(draws("net", 0), draws("nemesis", 0));
    }

    #[test]
    fn draws_stay_in_range() {
        let mut s = Seed(1).stream("x", 0);
        for _ in 0..1000 {
            assert!(s.below(3) < 3);
            assert!((-5..=4).contains(&s.between(-5, 4)));
            assert!((0.0..1.0).contains(&s.unit()));
            assert!(s.exponential(5.0) >= 0.0);
        }
    }
}
