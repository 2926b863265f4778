//! Counters: in the end every node agrees on a sum that can be explained.
//!
//! Adds that happened count, those that failed do not, and each of those in doubt may or may
//! not: the acceptable sums are all sums of subsets of these, on top of the certain ones.
//! Only reads flagged `:final?` are judged; in between a counter may lag.
//!
//! Stricter than Maelstrom's: without any final read the verdict is unknown,
//! since nothing was compared. Source: Maelstrom's pn-counter workload.

use std::collections::BTreeMap;

use super::{Finding, Outcome, Verdict, operations_that_repeat, quote};
use crate::edn::Edn;
use crate::history::{Op, OpType, Pair};

/// The widest range of sums that is enumerated: two megabytes of bits.
const MAX_WIDTH: i128 = 1 << 24;

/// How many ranges of acceptable sums a result shows.
const SHOWN: usize = 1000;

/// Judges the final reads.
pub fn check(history: &[Op]) -> Outcome {
    let operations = match operations_that_repeat(history, &["add", "read"], "add") {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    match Sums::of(&operations).and_then(|sums| Ok((sums, final_reads(&operations)?))) {
        Ok((sums, reads)) => judge(&sums, &reads),
        Err(why) => Outcome::unknown(why),
    }
}

fn judge(sums: &Sums, reads: &[(&Op, i128)]) -> Outcome {
    let acceptable = sums.acceptable();
    let is_wrong = |sum: i128| match &acceptable {
        Some(acceptable) => !acceptable.contains(sum),
        // A sum that no subset can reach is wrong even if the subsets are too many to list.
        None => sum < sums.lowest || sum > sums.highest,
    };
    let errors: Vec<Edn> =
        reads.iter().filter(|(_, sum)| is_wrong(*sum)).map(|(op, _)| op.to_record()).collect();
    let verdict = if !errors.is_empty() {
        Verdict::Invalid
    } else if reads.is_empty() || acceptable.is_none() {
        Verdict::Unknown
    } else {
        Verdict::Valid
    };
    let ranges = match &acceptable {
        Some(acceptable) => acceptable.ranges(),
        None => vec![(sums.lowest, sums.highest)],
    };
    let range = |(lo, hi): &(i128, i128)| Edn::Vector(vec![int(*lo), int(*hi)]);
    let acceptable_ranges = Edn::list(ranges.iter().take(SHOWN).map(range));
    let wrong = errors.first().map(|first| match first.get("value") {
        Some(read) => format!("read {read} where {} was possible", quote(&acceptable_ranges)),
        None => quote(first),
    });
    let mut outcome = Outcome::new(
        verdict,
        [
            ("errors", if errors.is_empty() { Edn::Nil } else { Edn::List(errors) }),
            ("final-reads", Edn::list(reads.iter().map(|(op, _)| op.value.clone()))),
            ("acceptable", acceptable_ranges),
        ],
    )
    .with(wrong.map(Finding::new));
    if acceptable.is_none() {
        outcome.push_error("the possible sums span too wide a range to enumerate");
    } else if reads.is_empty() {
        outcome.push_error(
            "no read marked :final? succeeded, so nothing was compared (history.edn has the mark, \
             history.txt and jepsen.log do not)",
        );
    }
    outcome
}

/// The final reads that succeeded, with the sums that they saw.
fn final_reads<'a>(operations: &[Pair<'a>]) -> Result<Vec<(&'a Op, i128)>, String> {
    let reads = operations.iter().filter(|pair| &*pair.invoke.f == "read" && pair.is_ok());
    let last = reads
        .filter_map(|pair| pair.completion.filter(|op| op.is_final || pair.invoke.is_final))
        .map(|op| Ok((op, integer(op)?)));
    let mut last: Vec<_> = last.collect::<Result<_, String>>()?;
    last.sort_by_key(|(op, _)| op.index);
    Ok(last)
}

/// The value of an operation, which must be an integer.
fn integer(op: &Op) -> Result<i128, String> {
    let number = match &op.value {
        Edn::Int(i) => Some(i128::from(*i)),
        // Sums of 64-bit numbers stay far below this bound, so clamping changes no verdict.
        Edn::BigInt(digits) if digits.starts_with('-') => Some(digits.parse().unwrap_or(i128::MIN)),
        Edn::BigInt(digits) => Some(digits.parse().unwrap_or(i128::MAX)),
        _ => None,
    };
    number.ok_or_else(|| format!("operation {} has the value {}, no integer", op.index, op.value))
}

fn int(i: i128) -> Edn {
    i64::try_from(i).map_or_else(|_| Edn::BigInt(i.to_string()), Edn::Int)
}

/// The sums that the adds can have come to.
struct Sums {
    /// The sum of the adds that happened.
    definite: i128,
    /// How often each delta is in doubt.
    doubtful: BTreeMap<i128, usize>,
    lowest: i128,
    highest: i128,
}

impl Sums {
    fn of(operations: &[Pair<'_>]) -> Result<Sums, String> {
        let mut definite: i128 = 0;
        let mut doubtful: BTreeMap<i128, usize> = BTreeMap::new();
        let (mut below, mut above): (i128, i128) = (0, 0);
        for pair in operations.iter().filter(|pair| &*pair.invoke.f == "add") {
            let delta = integer(pair.invoke)?;
            match pair.outcome() {
                OpType::Ok => definite = definite.saturating_add(delta),
                OpType::Info if delta != 0 => {
                    *doubtful.entry(delta).or_default() += 1;
                    below = below.saturating_add(delta.min(0));
                    above = above.saturating_add(delta.max(0));
                }
                _ => {}
            }
        }
        let (lowest, highest) = (definite.saturating_add(below), definite.saturating_add(above));
        Ok(Sums { definite, doubtful, lowest, highest })
    }

    /// All possible sums, or none if their range is too wide.
    fn acceptable(&self) -> Option<Acceptable> {
        let width = self.highest.checked_sub(self.lowest)?.checked_add(1)?;
        if width > MAX_WIDTH {
            return None;
        }
        let mut sums = Acceptable::only(self.definite, self.lowest, usize::try_from(width).ok()?);
        for (&delta, &count) in &self.doubtful {
            // Any number of `count` equal deltas is a sum of some of 1, 2, 4 ... and a
            // rest: a million crashed adds of 3 cost twenty shifts.
            let (mut left, mut step) = (count, 1);
            while left > 0 {
                let take = step.min(left);
                sums.also_with(delta.checked_mul(i128::try_from(take).ok()?)?);
                left -= take;
                step *= 2;
            }
        }
        Some(sums)
    }
}

/// A set of sums: bit `n` stands for `base + n`.
struct Acceptable {
    base: i128,
    width: usize,
    words: Vec<u64>,
}

impl Acceptable {
    fn only(sum: i128, base: i128, width: usize) -> Acceptable {
        let mut set = Acceptable { base, width, words: vec![0; width.div_ceil(64)] };
        if let Some((word, bit)) = set.place(sum) {
            set.words[word] |= bit;
        }
        set
    }

    fn place(&self, sum: i128) -> Option<(usize, u64)> {
        let offset = usize::try_from(sum.checked_sub(self.base)?).ok()?;
        (offset < self.width).then(|| (offset / 64, 1 << (offset % 64)))
    }

    fn contains(&self, sum: i128) -> bool {
        self.place(sum).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }

    /// Adds to every sum the same sum with `delta` on top.
    ///
    /// No sum leaves the range, since the range was made from all deltas.
    fn also_with(&mut self, delta: i128) {
        let by = usize::try_from(delta.unsigned_abs()).unwrap_or(usize::MAX);
        let (words, bits) = (by / 64, by % 64);
        let len = self.words.len();
        let old = |set: &[u64], at: Option<usize>| at.and_then(|n| set.get(n)).map_or(0, |w| *w);
        // Each word is computed from words that this direction has not overwritten yet.
        for n in 0..len {
            let (to, shifted) = if delta >= 0 {
                let to = len - 1 - n;
                let from = to.checked_sub(words);
                let low = from.and_then(|from| from.checked_sub(1));
                let carried = old(&self.words, low).checked_shr(64 - bits as u32).unwrap_or(0);
                (to, old(&self.words, from) << bits | carried)
            } else {
                let from = n.checked_add(words);
                let high = from.and_then(|from| from.checked_add(1));
                let carried = old(&self.words, high).checked_shl(64 - bits as u32).unwrap_or(0);
                (n, old(&self.words, from) >> bits | carried)
            };
            self.words[to] |= shifted;
        }
    }

    /// The sums as inclusive ranges, in order.
    fn ranges(&self) -> Vec<(i128, i128)> {
        let mut ranges: Vec<(i128, i128)> = Vec::new();
        let is_set = |n: &usize| self.words[n / 64] & (1 << (n % 64)) != 0;
        for sum in (0..self.width).filter(is_set).map(|n| self.base + n as i128) {
            match ranges.last_mut() {
                Some((_, hi)) if *hi + 1 == sum => *hi = sum,
                _ => ranges.push((sum, sum)),
            }
        }
        ranges
    }
}
