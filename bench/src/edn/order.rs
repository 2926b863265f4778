//! Equality and a total order over all values.
//!
//! Equality is Clojure's `=`: the order of a map or set does not count, a list equals the
//! vector of the same elements, `1` equals `1N` but not `1.0`, `0.0` equals `-0.0`. The order
//! exists so that checkers can sort whatever a node answers, and use it as a key; between types it
//! follows the order of the ranks below.
//!
//! A NaN equals itself, as it does for the checkers of Jepsen that judge a file: Clojure's EDN
//! reader has one object for every `##NaN` (`EdnReader.specials`), and `=` finds an object equal to
//! itself before it looks at numbers (`Util.equiv`). Only numbers computed apart from each other
//! would differ there, and a history holds none: JSON, which nodes speak, has no NaN.

use std::cmp::Ordering;

use super::Edn;

impl PartialEq for Edn {
    fn eq(&self, other: &Edn) -> bool {
        match (self, other) {
            (Edn::Keyword(a), Edn::Keyword(b)) | (Edn::Str(a), Edn::Str(b)) => a == b,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Edn {}

impl PartialOrd for Edn {
    fn partial_cmp(&self, other: &Edn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Edn {
    fn cmp(&self, other: &Edn) -> Ordering {
        match (self, other) {
            (Edn::Int(a), Edn::Int(b)) => a.cmp(b),
            (Edn::Bool(a), Edn::Bool(b)) => a.cmp(b),
            (Edn::Char(a), Edn::Char(b)) => a.cmp(b),
            (Edn::Str(a), Edn::Str(b))
            | (Edn::Keyword(a), Edn::Keyword(b))
            | (Edn::Symbol(a), Edn::Symbol(b)) => a.cmp(b),
            (Edn::List(a) | Edn::Vector(a), Edn::List(b) | Edn::Vector(b)) => {
                // Clojure compares vectors by length first.
                a.len().cmp(&b.len()).then_with(|| a.cmp(b))
            }
            (Edn::Set(a), Edn::Set(b)) => {
                a.len().cmp(&b.len()).then_with(|| sorted(a).cmp(&sorted(b)))
            }
            (Edn::Map(a), Edn::Map(b)) => {
                a.len().cmp(&b.len()).then_with(|| sorted(a).cmp(&sorted(b)))
            }
            (Edn::Tagged(a), Edn::Tagged(b)) => a.cmp(b),
            _ => match (Decimal::of(self), Decimal::of(other)) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => rank(self).cmp(&rank(other)),
            },
        }
    }
}

fn sorted<T: Ord>(items: &[T]) -> Vec<&T> {
    let mut refs: Vec<&T> = items.iter().collect();
    refs.sort();
    refs
}

fn rank(value: &Edn) -> u8 {
    match value {
        Edn::Nil => 0,
        Edn::Bool(_) => 1,
        Edn::Int(_) | Edn::BigInt(_) | Edn::Float(_) | Edn::Decimal(_) | Edn::Ratio(..) => 2,
        Edn::Char(_) => 3,
        Edn::Str(_) => 4,
        Edn::Keyword(_) => 5,
        Edn::Symbol(_) => 6,
        Edn::List(_) | Edn::Vector(_) => 7,
        Edn::Set(_) => 8,
        Edn::Map(_) => 9,
        Edn::Tagged(..) => 10,
    }
}

/// A number by its decimal digits, to compare integers of any size with floats
/// without rounding either.
struct Decimal {
    /// -1 below zero, 1 for the rest; NaN comes last as 2.
    sign: i8,
    whole: String,
    fraction: String,
    /// Of two numbers with the same digits the integer comes first: `1`, `1M` and `1.0`
    /// differ.
    kind: Kind,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Integer,
    Ratio,
    Decimal,
    Float,
}

/// Digits behind the point by which two ratios of 64-bit numbers are told apart: they
/// differ by at least 2^-128.
const RATIO_DIGITS: usize = 45;

impl Decimal {
    fn of(value: &Edn) -> Option<Decimal> {
        let (text, kind) = match value {
            Edn::Int(i) => (i.to_string(), Kind::Integer),
            Edn::BigInt(digits) => (digits.clone(), Kind::Integer),
            Edn::Ratio(over, under) => (expand(*over, *under), Kind::Ratio),
            Edn::Decimal(digits) => {
                // Clojure's `=` finds 1.50M and 1.5M equal.
                let plain = digits.contains('.').then(|| digits.trim_end_matches('0'));
                (plain.unwrap_or(digits).to_owned(), Kind::Decimal)
            }
            // Longer than the digits of any finite float, so infinities are outermost.
            Edn::Float(x) if x.is_infinite() => {
                (format!("{}{}", if *x < 0.0 { "-" } else { "" }, "9".repeat(400)), Kind::Float)
            }
            // The sum has no sign where it is zero.
            Edn::Float(x) => ((x + 0.0).to_string(), Kind::Float),
            _ => return None,
        };
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let sign = match text.as_bytes().first() {
            Some(b'-') => -1,
            Some(b'N') => 2,
            _ => 1,
        };
        Some(Decimal { sign, whole: whole.to_owned(), fraction: fraction.to_owned(), kind })
    }

    fn cmp(&self, other: &Decimal) -> Ordering {
        let size = || {
            let whole = |d: &Decimal| (d.whole.len(), d.whole.clone());
            whole(self).cmp(&whole(other)).then_with(|| self.fraction.cmp(&other.fraction))
        };
        let magnitude = || if self.sign < 0 { size().reverse() } else { size() };
        let kind = || self.kind.cmp(&other.kind);
        self.sign.cmp(&other.sign).then_with(magnitude).then_with(kind)
    }
}

/// The decimal digits of a ratio, cut off after [`RATIO_DIGITS`].
fn expand(over: i64, under: u64) -> String {
    let (sign, under) = (if over < 0 { "-" } else { "" }, u128::from(under));
    let magnitude = u128::from(over.unsigned_abs());
    let mut rest = magnitude % under;
    let mut text = format!("{sign}{}.", magnitude / under);
    for _ in 0..RATIO_DIGITS {
        if rest == 0 {
            break;
        }
        rest *= 10;
        text.push_str(&(rest / under).to_string());
        rest %= under;
    }
    text
}
