//! The end of leases.
//!
//! A lease ends once, at a moment G that no client sees. Each operation that was answered says
//! something about it, and leaves open at which moment of its time it was carried out:
//!
//! * a grant, a renewal with time left, a read of both keys, a revocation: the lease lived at some
//!   moment, so G is behind the moment at which the operation began;
//! * a renewal without time, a read of neither key, a revocation that found nothing or was
//!   acknowledged: G lies before the moment at which the operation ended;
//! * a grant or renewal of T seconds: G is at least T seconds behind the moment at which it began,
//!   unless a revocation was under way at G.
//!
//! A history is valid if each lease has such a G, if no read ever saw one key of two, and if all
//! leases are gone in the end. Only leases whose grant was acknowledged are judged, and operations
//! that began after that.

use std::collections::BTreeMap;

use crate::check::{Finding, Outcome, Verdict, operations};
use crate::edn::Edn;
use crate::history::{Op, OpType, Pair};

/// Nanoseconds of a second, and how long after its time a lease may be there in the end, when the
/// last fault has been over for ten seconds.
const SECOND: i64 = 1_000_000_000;
const LINGERS: i64 = 4 * SECOND;
/// The operations.
const FS: [&str; 5] = ["grant", "renew", "read", "revoke", "survivors"];

/// A moment of the history and the operation that it is known from.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: i64,
    index: usize,
}

/// The evidence about the end of one lease.
#[derive(Clone, Debug, Default)]
struct Lease {
    /// The grant was acknowledged here.
    granted: Option<i64>,
    /// It lived after this, and not before that any more.
    lived: Option<Moment>,
    gone: Option<Moment>,
    /// It had the right to live until then.
    due: Option<Moment>,
    /// Revocations, from when until when.
    revoked: Vec<(i64, i64)>,
    /// The last moment at which something that may have renewed it was under way, and the longest
    /// time of the lease.
    touched: i64,
    longest: i64,
}

/// A violation: its kind, and how it is told.
type Broken = (&'static str, String);

/// Judges a history of leases.
pub(super) fn check(history: &[Op]) -> Outcome {
    let pairs = match operations(history, &FS) {
        Ok(pairs) => pairs,
        Err(outcome) => return outcome,
    };
    let mut leases: BTreeMap<i64, Lease> = BTreeMap::new();
    let mut broken = Vec::new();
    let (grants, others): (Vec<_>, Vec<_>) =
        pairs.iter().partition(|pair| pair.invoke.f == "grant");
    for pair in grants.into_iter().chain(others) {
        match note(pair, &mut leases) {
            None => {
                return Outcome::unknown(format!("operation {} is malformed", pair.invoke.index));
            }
            Some(Some(torn)) => broken.push(torn),
            Some(None) => {}
        }
    }
    broken.extend(leases.iter().filter_map(|(lease, known)| judge(*lease, known)));
    for pair in &pairs {
        broken.extend(survivors(pair, &leases));
    }
    let granted = leases.values().filter(|lease| lease.granted.is_some()).count();
    let gone = leases.values().filter(|lease| lease.gone.is_some()).count();
    let verdict = if broken.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    let shown = broken.iter().take(8).map(|(_, text)| Edn::str(text));
    let details = [
        ("lease-count", Edn::from(granted)),
        ("gone-count", Edn::from(gone)),
        ("error-count", Edn::from(broken.len())),
        ("errors", Edn::vector(shown)),
    ];
    let mut outcome = Outcome::new(verdict, details);
    if let Some((kind, text)) = broken.first() {
        outcome.findings.push(Finding::new(text).of_kind(*kind));
        outcome.story = Some(format!("Leases: {kind}.\n  {text}"));
    }
    outcome
}

/// Notes an operation; the violation that it shows by itself. None if it is malformed.
fn note(pair: &Pair<'_>, leases: &mut BTreeMap<i64, Lease>) -> Option<Option<Broken>> {
    let (invoke, f) = (pair.invoke, pair.invoke.f.as_str());
    if f == "survivors" {
        return Some(None);
    }
    let number = invoke.value.as_seq()?.first()?.as_int()?;
    let lease = leases.entry(number).or_default();
    let ended = pair.completion.filter(|op| op.kind != OpType::Info);
    let until = ended.map_or(i64::MAX, |op| op.time);
    if matches!(f, "grant" | "renew") {
        // A request whose client gave up may be carried out a little later, and not for ever.
        lease.touched = lease.touched.max(pair.completion.map_or(invoke.time, |op| op.time));
    }
    let ok = ended.filter(|op| op.kind == OpType::Ok);
    if f == "grant" {
        let asked = invoke.value.as_seq()?.get(1).and_then(Edn::as_int);
        lease.longest = asked.unwrap_or_default();
        lease.granted = ok.map(|op| op.time);
    } else if lease.granted.is_none_or(|granted| granted > invoke.time) {
        return Some(None);
    }
    let Some(ok) = ok else {
        if f == "revoke" && ended.is_none() {
            lease.revoked.push((invoke.time, until));
        }
        return Some(None);
    };
    let name = if f == "read" { "keys" } else { "ttl" };
    let said = ok.extra.iter().find(|(known, _)| known == name)?.1.as_int()?;
    if f == "revoke" && said > 0 {
        lease.revoked.push((invoke.time, until));
    }
    let (from, until) = (
        Moment { at: invoke.time, index: invoke.index },
        Moment { at: ok.time, index: invoke.index },
    );
    if f == "read" && said == 1 {
        let index = invoke.index;
        let text = format!("operation {index} read one of the two keys of lease {number}");
        return Some(Some(("torn keys", text)));
    }
    let is_there = said > 0;
    if is_there && lease.lived.is_none_or(|lived| lived.at < from.at) {
        lease.lived = Some(from);
    }
    if (!is_there || f == "revoke") && lease.gone.is_none_or(|gone| gone.at > until.at) {
        lease.gone = Some(until);
    }
    if matches!(f, "grant" | "renew") && is_there {
        let due = Moment { at: from.at + said * SECOND, ..from };
        if lease.due.is_none_or(|known| known.at < due.at) {
            lease.due = Some(due);
        }
        lease.longest = lease.longest.max(said);
    }
    Some(None)
}

/// The violation in the life of a lease.
fn judge(number: i64, lease: &Lease) -> Option<Broken> {
    let (lived, gone) = (lease.lived?, lease.gone?);
    if lived.at > gone.at {
        let text = format!(
            "lease {number} was gone at {} (operation {}), and there again at {} (operation {})",
            seconds(gone.at),
            gone.index,
            seconds(lived.at),
            lived.index
        );
        return Some(("came back", text));
    }
    let due = lease.due.filter(|due| due.at > gone.at)?;
    let is_revoked = |(from, until): &(i64, i64)| *from <= gone.at && *until >= lived.at;
    if lease.revoked.iter().any(is_revoked) {
        return None;
    }
    let text = format!(
        "lease {number} had the right to live until {} (operation {}), and was gone at {} \
         (operation {}), {:.3} s early",
        seconds(due.at),
        due.index,
        seconds(gone.at),
        gone.index,
        (due.at - gone.at) as f64 / SECOND as f64
    );
    Some(("expired early", text))
}

/// The lease that is there long after its time, at the end.
fn survivors(pair: &Pair<'_>, leases: &BTreeMap<i64, Lease>) -> Option<Broken> {
    let ok = pair.completion.filter(|op| op.f == "survivors" && op.kind == OpType::Ok)?;
    let left = ok.value.as_seq()?.iter().filter_map(Edn::as_int);
    let mut lingering = left.filter_map(|number| Some((number, leases.get(&number)?)));
    let (number, lease) = lingering.find(|(_, lease)| {
        pair.invoke.time > lease.touched + lease.longest.max(1) * SECOND + LINGERS
    })?;
    let text = format!(
        "the keys of lease {number}, last renewed at {} for {} s, are there at {}",
        seconds(lease.touched),
        lease.longest,
        seconds(pair.invoke.time)
    );
    Some(("never expired", text))
}

fn seconds(nanos: i64) -> String {
    format!("{:.3} s", nanos as f64 / SECOND as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;
    use crate::seed::Seed;

    /// `from until f kind rest` in seconds; each operation has a process of its own.
    fn judged(ops: &[(i64, i64, &str, &str, &str)]) -> Outcome {
        let mut events = Vec::new();
        for (process, (from, until, f, kind, said)) in ops.iter().enumerate() {
            let head = format!("{{:process {process}, :f :{f}, :value [1]");
            events.push((*from, 1, format!("{head}, :type :invoke, :time {}}}\n", from * SECOND)));
            events.push((
                *until,
                0,
                format!("{head}, :type :{kind}, {said} :time {}}}\n", until * SECOND),
            ));
        }
        // At the same moment one ends before another begins, unless it has no duration.
        events.sort_by_key(|(at, ends, _)| (*at, *ends));
        let text: String = events.into_iter().map(|(_, _, event)| event).collect();
        check(&from_text(&text).unwrap())
    }

    const GRANT: (i64, i64, &str, &str, &str) = (0, 1, "grant", "ok", ":ttl 3");

    #[test]
    fn leases_that_end_in_time_are_valid() {
        for ops in [
            vec![GRANT, (2, 3, "read", "ok", ":keys 2"), (4, 5, "read", "ok", ":keys 0")],
            vec![GRANT, (2, 3, "renew", "ok", ":ttl 3"), (5, 7, "read", "ok", ":keys 0")],
            vec![GRANT, (2, 3, "revoke", "ok", ":ttl 3"), (3, 4, "read", "ok", ":keys 0")],
            vec![GRANT, (2, 3, "revoke", "info", ""), (10, 11, "read", "ok", ":keys 2")],
        ] {
            assert_eq!(judged(&ops).verdict, Verdict::Valid, "{ops:?}");
        }
    }

    #[test]
    fn each_broken_promise_is_found() {
        for (ops, kind) in [
            (vec![GRANT, (1, 2, "read", "ok", ":keys 0")], "expired early"),
            (
                vec![GRANT, (2, 3, "renew", "ok", ":ttl 3"), (3, 4, "renew", "ok", ":ttl 0")],
                "expired early",
            ),
            (
                vec![GRANT, (4, 5, "read", "ok", ":keys 0"), (6, 7, "read", "ok", ":keys 2")],
                "came back",
            ),
            (
                vec![GRANT, (2, 3, "revoke", "ok", ":ttl 3"), (4, 5, "renew", "ok", ":ttl 3")],
                "came back",
            ),
            (vec![GRANT, (2, 3, "read", "ok", ":keys 1")], "torn keys"),
        ] {
            let outcome = judged(&ops);
            assert_eq!(outcome.verdict, Verdict::Invalid, "{ops:?}");
            assert!(outcome.story.unwrap().contains(kind), "{ops:?}");
        }
    }

    #[test]
    fn a_lease_that_is_there_in_the_end_is_found() {
        let left = |at: i64| {
            let text = format!(
                "{{:process 0, :type :invoke, :f :grant, :value [1 3], :time 0}}
                 {{:process 0, :type :ok, :f :grant, :value [1 3], :ttl 3, :time 1}}
                 {{:process 1, :type :invoke, :f :survivors, :time {at}}}
                 {{:process 1, :type :ok, :f :survivors, :value [1], :time {at}}}",
                at = at * SECOND
            );
            check(&from_text(&text).unwrap()).verdict
        };
        assert_eq!((left(6), left(8)), (Verdict::Valid, Verdict::Invalid));
    }

    /// Tries every end on a grid of half seconds.
    fn has_an_end(ops: &[(i64, i64, &str, &str, &str)]) -> bool {
        (0..60).any(|end| {
            let is_revoked = ops.iter().any(|(from, until, f, kind, said)| {
                let until = if *kind == "info" { i64::MAX } else { 2 * until };
                let is_done = *f == "revoke" && !said.ends_with('0');
                is_done && (2 * from..=until).contains(&end)
            });
            ops.iter().filter(|op| op.3 == "ok").all(|(from, until, f, _, said)| {
                let lives = !said.ends_with('0');
                let lived = !lives || 2 * from <= end;
                let gone = (lives && *f != "revoke") || end <= 2 * until;
                let ttl = if *f == "grant" || (*f == "renew" && lives) { 3 } else { 0 };
                lived && gone && (ttl == 0 || end >= 2 * (from + ttl) || is_revoked)
            })
        })
    }

    #[test]
    fn verdicts_equal_those_of_trying_all_ends() {
        let mut draw = Seed(16).stream("lease", 0);
        let mut counts = [0; 2];
        let kinds = [
            ("read", "ok", ":keys 2"),
            ("read", "ok", ":keys 0"),
            ("renew", "ok", ":ttl 3"),
            ("renew", "ok", ":ttl 0"),
            ("revoke", "ok", ":ttl 3"),
            ("revoke", "ok", ":ttl 0"),
            ("revoke", "info", ""),
            ("renew", "info", ""),
        ];
        for _ in 0..20_000 {
            let mut ops = vec![GRANT];
            for _ in 0..1 + draw.below(4) {
                let (f, kind, said) = *draw.pick(&kinds);
                let from = 1 + draw.below(9) as i64;
                ops.push((from, from + 1 + draw.below(3) as i64, f, kind, said));
            }
            let ours = judged(&ops).verdict == Verdict::Valid;
            assert_eq!(ours, has_an_end(&ops), "{ops:?}");
            counts[usize::from(ours)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 1000), "{counts:?}");
    }
}
