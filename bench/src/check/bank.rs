//! Banks: money moves between accounts, and no read sees it on the way.
//!
//! Clients transfer from one account to another and read all balances at once. Under snapshot
//! isolation every read adds up to the same total. Names and shapes are those of
//! `jepsen.tests.bank`, the defaults too: eight accounts, 0 to 7, that hold 100 in all.
//!
//! Stricter than Jepsen's: without any read that succeeded the verdict is unknown, since nothing
//! was compared. Deliberately missing: the picture of the totals over time.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Outcome, Verdict, operations};
use crate::edn::Edn;
use crate::history::{Op, Pair};

/// Knowledge about the accounts.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The accounts of a bank, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "0,1,2,3,4,5,6,7")]
    pub accounts: Vec<String>,
    /// The sum of all accounts of a bank.
    #[arg(long, value_name = "AMOUNT", default_value_t = 100, allow_negative_numbers = true)]
    pub total_amount: i64,
    /// Accounts of a bank may be overdrawn.
    #[arg(long)]
    pub negative_balances: bool,
}

impl Default for Options {
    fn default() -> Options {
        let accounts = (0..8).map(|n| n.to_string()).collect();
        Options { accounts, total_amount: 100, negative_balances: false }
    }
}

/// The fault of a read.
enum BadRead {
    UnexpectedKey(Vec<Edn>),
    NilBalance(Vec<(Edn, Edn)>),
    WrongTotal(i128),
    NegativeValue(Vec<i128>),
}

/// A read that is wrong.
struct Error<'a> {
    wrong: BadRead,
    op: &'a Op,
}

/// Judges the reads.
pub fn check(history: &[Op], options: &Options) -> Outcome {
    let operations = match operations(history, &["read", "transfer"]) {
        Ok(operations) => operations,
        Err(outcome) => return outcome,
    };
    match judge(&operations, options) {
        Ok(outcome) => outcome,
        Err(why) => Outcome::unknown(why),
    }
}

fn judge(operations: &[Pair<'_>], options: &Options) -> Result<Outcome, String> {
    let accounts: BTreeSet<&str> = options.accounts.iter().map(|name| name.trim()).collect();
    let reads = operations.iter().filter(|pair| pair.invoke.f == "read" && pair.is_ok());
    let mut reads: Vec<&Op> = reads.filter_map(|pair| pair.completion).collect();
    reads.sort_by_key(|op| op.index);
    let mut errors: BTreeMap<&str, Vec<Error<'_>>> = BTreeMap::new();
    for op in &reads {
        if let Some(wrong) = wrong(op, &accounts, options)? {
            errors.entry(wrong.name()).or_default().push(Error { wrong, op });
        }
    }
    let verdict = match (errors.is_empty(), reads.is_empty()) {
        (false, _) => Verdict::Invalid,
        (true, true) => Verdict::Unknown,
        (true, false) => Verdict::Valid,
    };
    let first = errors.values().filter_map(|all| all.first()).min_by_key(|error| error.op.index);
    let count = errors.values().map(Vec::len).sum::<usize>();
    let finding = first.map(|first| {
        let kind = Edn::keyword(first.wrong.name());
        format!("{count} of {} reads are wrong, the first {kind}", reads.len())
    });
    let by_type = errors.iter().map(|(name, all)| (Edn::keyword(name), tell(all, options)));
    let mut outcome = Outcome::new(
        verdict,
        [
            ("read-count", Edn::from(reads.len())),
            ("error-count", Edn::from(count)),
            ("first-error", first.map_or(Edn::Nil, Error::to_edn)),
            ("errors", Edn::Map(by_type.collect())),
        ],
    )
    .with(finding.map(Finding::new));
    if verdict == Verdict::Unknown {
        outcome.push_error("no read succeeded, so nothing was compared");
    }
    Ok(outcome)
}

/// Jepsen's order of questions; only the first fault of a read counts.
fn wrong(op: &Op, accounts: &BTreeSet<&str>, options: &Options) -> Result<Option<BadRead>, String> {
    let balances = match &op.value {
        Edn::Nil => &[],
        value => value.entries().ok_or_else(|| {
            format!("read {} is ok with {value}, which is not a map of balances", op.index)
        })?,
    };
    // From JSON the accounts come back as keywords, whatever they were.
    let is_account = |key: &Edn| match (key.as_text(), key.as_int()) {
        (Some(text), _) => accounts.contains(text),
        (None, Some(number)) => accounts.contains(number.to_string().as_str()),
        (None, None) => accounts.contains(key.to_string().as_str()),
    };
    let strange = balances.iter().map(|(key, _)| key).filter(|key| !is_account(key));
    let strange: Vec<Edn> = strange.cloned().collect();
    if !strange.is_empty() {
        return Ok(Some(BadRead::UnexpectedKey(strange)));
    }
    let nils: Vec<_> = balances.iter().filter(|(_, balance)| balance.is_nil()).cloned().collect();
    if !nils.is_empty() {
        return Ok(Some(BadRead::NilBalance(nils)));
    }
    let amount = |(_, balance): &(Edn, Edn)| {
        balance.as_int().map(i128::from).ok_or_else(|| {
            format!("read {} is ok with the balance {balance}, not an integer", op.index)
        })
    };
    let amounts: Vec<i128> = balances.iter().map(amount).collect::<Result<_, _>>()?;
    let total = amounts.iter().sum();
    if total != i128::from(options.total_amount) {
        return Ok(Some(BadRead::WrongTotal(total)));
    }
    let negative: Vec<i128> = amounts.into_iter().filter(|amount| *amount < 0).collect();
    let is_wrong = !options.negative_balances && !negative.is_empty();
    Ok(is_wrong.then_some(BadRead::NegativeValue(negative)))
}

impl BadRead {
    fn name(&self) -> &'static str {
        match self {
            BadRead::UnexpectedKey(_) => "unexpected-key",
            BadRead::NilBalance(_) => "nil-balance",
            BadRead::WrongTotal(_) => "wrong-total",
            BadRead::NegativeValue(_) => "negative-value",
        }
    }

    /// Larger numbers are worse; only those of one type are compared.
    fn badness(&self, options: &Options) -> i128 {
        match self {
            BadRead::UnexpectedKey(keys) => keys.len() as i128,
            BadRead::NilBalance(nils) => nils.len() as i128,
            BadRead::WrongTotal(total) => (total - i128::from(options.total_amount)).abs(),
            BadRead::NegativeValue(amounts) => -amounts.iter().sum::<i128>(),
        }
    }

    fn total(&self) -> Option<i128> {
        match self {
            BadRead::WrongTotal(total) => Some(*total),
            _ => None,
        }
    }
}

impl Error<'_> {
    fn to_edn(&self) -> Edn {
        let (key, value) = match &self.wrong {
            BadRead::UnexpectedKey(keys) => ("unexpected", Edn::List(keys.clone())),
            BadRead::NilBalance(nils) => ("nils", Edn::Map(nils.clone())),
            BadRead::WrongTotal(total) => ("total", int(*total)),
            BadRead::NegativeValue(amounts) => {
                ("negative", Edn::List(amounts.iter().map(|amount| int(*amount)).collect()))
            }
        };
        let name = Edn::keyword(self.wrong.name());
        Edn::map([("type", name), (key, value), ("op", self.op.to_record())])
    }
}

/// The errors of one type: how many, and the most telling of them.
fn tell(errors: &[Error<'_>], options: &Options) -> Edn {
    let edn = |error: Option<&Error<'_>>| error.map_or(Edn::Nil, Error::to_edn);
    // Of equally bad ones the first, which `max_by_key` would give only backwards.
    let worst = errors.iter().rev().max_by_key(|error| error.wrong.badness(options));
    let mut told = vec![
        (Edn::keyword("count"), Edn::from(errors.len())),
        (Edn::keyword("first"), edn(errors.first())),
        (Edn::keyword("worst"), edn(worst)),
        (Edn::keyword("last"), edn(errors.last())),
    ];
    if errors.iter().any(|error| error.wrong.total().is_some()) {
        let lowest = errors.iter().min_by_key(|error| error.wrong.total());
        let highest = errors.iter().rev().max_by_key(|error| error.wrong.total());
        told.push((Edn::keyword("lowest"), edn(lowest)));
        told.push((Edn::keyword("highest"), edn(highest)));
    }
    Edn::Map(told)
}

fn int(i: i128) -> Edn {
    i64::try_from(i).map_or_else(|_| Edn::BigInt(i.to_string()), Edn::Int)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    /// A bank of two accounts that holds 10, whose reads are these.
    fn judged(reads: &[&str], negative_balances: bool) -> Edn {
        let accounts = vec!["0".to_owned(), "b".to_owned()];
        let options = Options { accounts, total_amount: 10, negative_balances };
        let op = |read: &&str| {
            "{:process 0, :type :invoke, :f :read, :value nil}\n".to_owned()
                + &format!("{{:process 0, :type :ok, :f :read, :value {read}}}\n")
        };
        let text: String = reads.iter().map(op).collect();
        check(&from_text(&text).unwrap(), &options).to_edn()
    }

    #[test]
    fn every_read_adds_up() {
        let outcome = judged(&["{0 4, :b 6}", "{0N 10, \"b\" 0}"], false);
        assert_eq!(
            outcome.to_string(),
            "{:valid? true, :read-count 2, :error-count 0, :first-error nil, :errors {}}"
        );
        assert_eq!(judged(&[], false).get("valid?"), Some(&Edn::keyword("unknown")));
        assert_eq!(judged(&["7"], false).get("valid?"), Some(&Edn::keyword("unknown")));
        assert_eq!(judged(&["{0 1.5}"], false).get("valid?"), Some(&Edn::keyword("unknown")));
    }

    #[test]
    fn faults_have_jepsens_names() {
        for (read, name) in [
            ("{0 4, :b 5}", "wrong-total"),
            ("nil", "wrong-total"),
            ("{0 11, :b -1}", "negative-value"),
            ("{0 10, :b nil}", "nil-balance"),
            ("{0 4, :b 3, :c 3}", "unexpected-key"),
        ] {
            let outcome = judged(&["{0 4, :b 6}", read], false);
            assert_eq!(outcome.get("valid?"), Some(&Edn::Bool(false)), "{read}");
            let told = outcome.get("errors").and_then(|errors| errors.get(name));
            assert_eq!(told.and_then(|told| told.get("count")), Some(&Edn::Int(1)), "{read}");
            let first = outcome.get("first-error").unwrap();
            assert_eq!(first.get("type"), Some(&Edn::keyword(name)));
            assert_eq!(first.get("op").and_then(|op| op.get("index")), Some(&Edn::Int(3)));
        }
        assert_eq!(judged(&["{0 11, :b -1}"], true).get("valid?"), Some(&Edn::Bool(true)));
    }

    #[test]
    fn the_worst_the_lowest_and_the_highest_are_shown() {
        let outcome = judged(&["{0 4, :b 7}", "{0 1}", "{0 12}", "{0 18}", "{0 2}"], false);
        let told = outcome.get("errors").unwrap().get("wrong-total").unwrap();
        let total = |key: &str| told.get(key).unwrap().get("total").and_then(Edn::as_int);
        let keys = ["first", "worst", "last", "lowest", "highest"];
        assert_eq!(keys.map(total), [11, 1, 2, 1, 18].map(Some));
    }
}
