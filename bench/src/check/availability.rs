//! Which part of the operations must succeed.

use std::str::FromStr;

use super::{Finding, Outcome, Verdict};
use crate::edn::Edn;
use crate::history::{Op, OpType};

/// The demand of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Availability {
    /// Every operation succeeds.
    Total,
    /// At least this fraction of the operations does, from 0 to 1.
    Fraction(f64),
}

impl FromStr for Availability {
    type Err = String;

    fn from_str(text: &str) -> Result<Availability, String> {
        match (text, text.parse::<f64>()) {
            ("total", _) => Ok(Availability::Total),
            (_, Ok(part)) if (0.0..=1.0).contains(&part) => Ok(Availability::Fraction(part)),
            _ => Err(format!("{text} is neither `total` nor a fraction from 0 to 1")),
        }
    }
}

/// Compares successes with invocations.
pub fn check(history: &[Op], demand: Option<Availability>) -> Outcome {
    let count = |kind| history.iter().filter(|op| op.is_client() && op.kind == kind).count();
    let (invoked, ok) = (count(OpType::Invoke), count(OpType::Ok));
    let fraction = if invoked == 0 { 1.0 } else { ok as f64 / invoked as f64 };
    let met = match demand {
        None => true,
        // Whole numbers: a fraction rounds to 1 when one of a hundred million failed.
        Some(Availability::Total) => ok == invoked,
        Some(Availability::Fraction(part)) => fraction >= part,
    };
    let verdict = if met { Verdict::Valid } else { Verdict::Invalid };
    let fraction = Edn::float32(fraction as f32);
    let text = format!("the fraction {fraction} of the operations succeeded");
    Outcome::new(verdict, [("ok-fraction", fraction)]).with([Finding::new(text)])
}
