//! Reads and writes over a moving pool of keys: the parts of transactions and of kafka's
//! operations.
//!
//! Keys are contended on purpose: of the keys in use each is chosen twice as often as
//! the one before it. Every key gets the values 1, 2, 3, ..., so no value is
//! written twice, and after a given number of them a fresh key takes its place,
//! so that histories of one key stay short.
//!
//! Source: the generator of Elle 0.2.2 (`elle.txn/wr-txns`), with exponential key choice.

use crate::config::RunArgs;
use crate::seed::Draw;

/// A read of a key, or a write of a value to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MicroOp {
    /// The key.
    pub key: i64,
    /// The value written; `None` for a read.
    pub write: Option<i64>,
}

/// A key in use.
struct Active {
    key: i64,
    next_value: i64,
}

/// The generator; see the module.
pub(super) struct MicroOps {
    active: Vec<Active>,
    max_writes: i64,
}

impl MicroOps {
    /// Over `--key-count` keys at a time, with `--max-writes-per-key` writes each.
    ///
    /// # Errors
    /// If either is zero.
    pub(super) fn new(args: &RunArgs) -> Result<MicroOps, String> {
        if args.key_count == 0 || args.max_writes_per_key == 0 {
            return Err("--key-count and --max-writes-per-key must be at least 1".into());
        }
        let keys = i64::try_from(args.key_count).map_err(|_| "--key-count is too large")?;
        let max_writes = i64::try_from(args.max_writes_per_key)
            .map_err(|_| "--max-writes-per-key is too large")?;
        let active = (0..keys).map(|key| Active { key, next_value: 1 }).collect();
        Ok(MicroOps { active, max_writes })
    }

    /// The next micro-operation.
    pub(super) fn next(&mut self, draw: &mut Draw) -> MicroOp {
        loop {
            let reads = draw.chance(0.5);
            let slot = self.slot(draw);
            let Active { key, next_value } = self.active[slot];
            if reads {
                return MicroOp { key, write: None };
            }
            if next_value <= self.max_writes {
                self.active[slot].next_value += 1;
                return MicroOp { key, write: Some(next_value) };
            }
            let largest = self.active.iter().map(|a| a.key).max().unwrap_or(key);
            self.active[slot] = Active { key: largest + 1, next_value: 1 };
        }
    }

    /// The position of a key: with n keys, i is drawn with probability 2^i / (2^n - 1).
    fn slot(&self, draw: &mut Draw) -> usize {
        // The number of leading zeros of a random word is geometric, and one that does not fit is
        // drawn again, which leaves the ratios as they are.
        loop {
            let from_the_end = draw.word().leading_zeros() as usize;
            if from_the_end < self.active.len() {
                return self.active.len() - 1 - from_the_end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::config;
    use super::*;
    use crate::seed::Seed;

    fn draw(flags: &str, count: usize) -> Vec<MicroOp> {
        let mut ops = MicroOps::new(&config(flags).args).unwrap();
        let mut draw = Seed(3).stream("generator", 0);
        (0..count).map(|_| ops.next(&mut draw)).collect()
    }

    #[test]
    fn each_key_is_written_1_2_3_up_to_the_limit_and_replaced() {
        let mut written: BTreeMap<i64, i64> = BTreeMap::new();
        let mut retired = 0;
        for op in draw("--key-count 3 --max-writes-per-key 4", 2000) {
            let Some(value) = op.write else { continue };
            let last = written.entry(op.key).or_default();
            assert_eq!(value, *last + 1, "key {}", op.key);
            *last = value;
            retired += usize::from(value == 4);
        }
        assert_eq!(written.values().max(), Some(&4));
        let keys: Vec<i64> = written.keys().copied().collect();
        let largest = *keys.last().unwrap();
        assert!(retired > 200 && largest > 200, "keys do not rotate: {largest}");
        let unfinished = written.values().filter(|n| **n < 4).count();
        assert!(unfinished <= 3, "only keys in use may be unfinished, not {unfinished}");
    }

    #[test]
    fn later_keys_are_twice_as_likely_and_half_of_all_are_reads() {
        let ops = draw("--key-count 4 --max-writes-per-key 100000", 15_000);
        for (key, expected) in [(0, 1000), (1, 2000), (2, 4000), (3, 8000)] {
            let seen = ops.iter().filter(|op| op.key == key).count();
            assert!(seen.abs_diff(expected) < expected / 7, "key {key}: {seen}");
        }
        let reads = ops.iter().filter(|op| op.write.is_none()).count();
        assert!(reads.abs_diff(7500) < 300, "{reads} reads");
    }

    #[test]
    fn nothing_to_choose_from_is_refused() {
        for flags in ["--key-count 0", "--max-writes-per-key 0"] {
            assert!(MicroOps::new(&config(flags).args).is_err());
        }
        assert!(draw("--key-count 1", 10).iter().all(|op| op.key == 0));
    }
}
