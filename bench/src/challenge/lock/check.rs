//! Mutual exclusion, by the lists that holders read and wrote.
//!
//! An acknowledged `add` of the element E read the list B before it wrote B and E. If holders
//! exclude each other, then all lists that were read under one lock are prefixes of one list, and
//! E stands in it directly behind B. Two acknowledged additions that read the same list
//! were in the critical section together, and one of them is lost. So the history is that of a
//! list that is appended to in one step, and it is linearizable exactly if
//!
//! * all lists that were read are prefixes of the longest, and each acknowledged element stands
//!   behind the list that was read before it;
//! * an operation that began after another had ended saw at least as much;
//! * an element was read only after its addition had begun, and never if it certainly failed.
//!
//! Besides, fencing tokens rise along the list: a holder that writes behind one with a higher
//! token was in its critical section all the while that the other was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::check::{Finding, Outcome, Verdict, operations};
use crate::edn::Edn;
use crate::history::{Op, OpType, Pair};

/// An operation and its observation.
#[derive(Clone, Debug)]
struct Sight<'a> {
    /// The places in the history of its invocation and completion.
    from: usize,
    until: usize,
    invoke: &'a Op,
    /// The list that it read.
    list: Vec<i64>,
    /// The element that it wrote behind it, and its token.
    added: Option<i64>,
    token: Option<i64>,
}

impl Sight<'_> {
    /// How many elements the list certainly had afterwards.
    fn least_after(&self) -> usize {
        self.list.len() + usize::from(self.added.is_some())
    }

    fn tell(&self) -> String {
        let Sight { invoke, list, added, token, .. } = self;
        let from_s = invoke.time as f64 / 1e9;
        let token = token.map_or(String::new(), |token| format!(" with token {token}"));
        match added {
            Some(element) => format!(
                "operation {} ({from_s:.3} s, {:?}) added {element} to {list:?}{token}",
                invoke.index, invoke.process
            ),
            None => format!("operation {} ({from_s:.3} s) read {list:?}", invoke.index),
        }
    }
}

/// The evidence about one lock.
#[derive(Default)]
struct Known<'a> {
    sights: Vec<Sight<'a>>,
    /// Elements whose addition began, by the place in the history; those that certainly failed.
    begun: BTreeMap<i64, usize>,
    failed: BTreeSet<i64>,
}

/// A violation: its kind, and how it is told.
type Broken = (&'static str, String);

/// Judges a history of `add` and `read`.
pub(super) fn check(history: &[Op]) -> Outcome {
    let pairs = match operations(history, &["add", "read"]) {
        Ok(pairs) => pairs,
        Err(outcome) => return outcome,
    };
    let mut locks: BTreeMap<i64, Known<'_>> = BTreeMap::new();
    for pair in &pairs {
        if note(pair, &mut locks).is_none() {
            return Outcome::unknown(format!("operation {} is malformed", pair.invoke.index));
        }
    }
    let broken: Vec<(i64, Broken)> = locks
        .iter_mut()
        .flat_map(|(lock, known)| judge(known).into_iter().map(|broken| (*lock, broken)))
        .collect();
    let acknowledged = || {
        let sights = locks.values().flat_map(|known| &known.sights);
        sights.filter(|sight| sight.added.is_some()).count()
    };
    let verdict = if broken.is_empty() { Verdict::Valid } else { Verdict::Invalid };
    let told =
        |(lock, (kind, text)): &(i64, Broken)| Edn::str(format!("lock {lock}: {kind}: {text}"));
    let details = [
        ("lock-count", Edn::from(locks.len())),
        ("acknowledged-count", Edn::from(acknowledged())),
        ("error-count", Edn::from(broken.len())),
        ("errors", Edn::vector(broken.iter().take(8).map(told))),
    ];
    let mut outcome = Outcome::new(verdict, details);
    if let Some((lock, (kind, text))) = broken.first() {
        outcome.findings.push(Finding::new(format!("lock {lock}: {kind}")).of_kind(*kind));
        outcome.story = Some(story(*lock, kind, text));
    }
    outcome
}

/// Notes an operation; none if it is malformed.
fn note<'a>(pair: &Pair<'a>, locks: &mut BTreeMap<i64, Known<'a>>) -> Option<()> {
    let invoke = pair.invoke;
    let lock = invoke.value.as_seq()?.first()?.as_int()?;
    let known = locks.entry(lock).or_default();
    let mut added = None;
    if invoke.f == "add" {
        let element = invoke.value.as_seq()?.get(1)?.as_int()?;
        known.begun.insert(element, invoke.index);
        if pair.outcome() == OpType::Fail {
            known.failed.insert(element);
        }
        added = Some(element);
    }
    let Some(completion) = pair.completion.filter(|op| op.kind == OpType::Ok) else {
        return Some(());
    };
    let extra = |name: &str| completion.extra.iter().find(|(n, _)| n == name).map(|(_, v)| v);
    let list = match added {
        Some(_) => extra("before")?,
        None => completion.value.as_seq()?.get(1)?,
    };
    let list = match list {
        Edn::Nil => Vec::new(),
        list => list.as_seq()?.iter().map(Edn::as_int).collect::<Option<_>>()?,
    };
    let token = extra("token").and_then(Edn::as_int);
    let (from, until) = (invoke.index, completion.index);
    known.sights.push(Sight { from, until, invoke, list, added, token });
    Some(())
}

fn judge(known: &mut Known<'_>) -> Vec<Broken> {
    // Short lists first; reads of a list come before the addition to it.
    known.sights.sort_by_key(|sight| (sight.list.len(), sight.added.is_some(), sight.from));
    let mut broken = exclusion(&known.sights);
    broken.extend(real_time(&known.sights));
    broken.extend(origins(known));
    broken
}

/// Additions that were in the critical section together, and lists that fit no single list.
fn exclusion(sights: &[Sight<'_>]) -> Vec<Broken> {
    let mut broken: Vec<Broken> = Vec::new();
    // The list so far, and the additions to it in order.
    let mut whole: Vec<i64> = Vec::new();
    let mut last: Option<&Sight<'_>> = None;
    let mut highest: Option<&Sight<'_>> = None;
    for sight in sights {
        let begins = sight.list.starts_with(&whole);
        if !begins {
            // The list of an addition that others have not seen.
            let other = last.map_or(String::new(), Sight::tell);
            let both = last.is_some_and(|last| sight.added.is_some() && last.list == sight.list);
            let kind = if both { "two holders at a time" } else { "lost update" };
            broken.push((kind, format!("{other}; {}", sight.tell())));
        }
        whole.clone_from(&sight.list);
        if let Some(element) = sight.added {
            whole.push(element);
            if let Some(higher) = highest.filter(|higher| higher.token > sight.token) {
                let text = format!("{}; behind it {}", higher.tell(), sight.tell());
                broken.push(("a deposed holder wrote", text));
            }
            highest =
                if sight.token > highest.and_then(|h| h.token) { Some(sight) } else { highest };
        }
        last = Some(sight);
    }
    broken
}

/// Operations that saw less than was there before they began.
fn real_time(sights: &[Sight<'_>]) -> Vec<Broken> {
    let mut ended: Vec<&Sight<'_>> = sights.iter().collect();
    ended.sort_by_key(|sight| sight.until);
    let mut begun: Vec<&Sight<'_>> = sights.iter().collect();
    begun.sort_by_key(|sight| sight.from);
    let mut ended = ended.into_iter().peekable();
    let mut most: Option<&Sight<'_>> = None;
    let mut broken = Vec::new();
    for sight in begun {
        while let Some(other) = ended.next_if(|other| other.until < sight.from) {
            if most.is_none_or(|most| other.least_after() > most.least_after()) {
                most = Some(other);
            }
        }
        if let Some(most) = most.filter(|most| most.least_after() > sight.list.len()) {
            let text = format!("{}, and later {}", most.tell(), sight.tell());
            broken.push(("an acknowledged element is not read", text));
        }
    }
    broken
}

/// Elements that were read before their addition began, or though it failed, or twice.
fn origins(known: &Known<'_>) -> Vec<Broken> {
    let mut broken = Vec::new();
    for sight in &known.sights {
        let mut seen = BTreeSet::new();
        let wrong = sight.list.iter().find(|element| {
            let begun = known.begun.get(element).is_some_and(|from| *from < sight.until);
            !seen.insert(**element) || !begun || known.failed.contains(element)
        });
        if let Some(element) = wrong {
            let text = format!("{element} in {}", sight.tell());
            broken.push(("an element without an addition", text));
        }
    }
    broken
}

fn story(lock: i64, kind: &str, text: &str) -> String {
    let mut story = format!("Lock {lock}: {kind}.\n");
    for line in text.split("; ") {
        let _ = writeln!(story, "  {line}");
    }
    story + "An acknowledged addition must find every earlier one in the list that it reads."
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;
    use crate::seed::{Draw, Seed};

    /// Events of one lock: `process type f element list token`, a line each.
    fn judged(events: &[(u64, &str, &str, &str)]) -> Outcome {
        let event = |(process, kind, f, rest): &(u64, &str, &str, &str)| {
            format!("{{:process {process}, :type :{kind}, :f :{f}, {rest}}}\n")
        };
        check(&from_text(&events.iter().map(event).collect::<String>()).unwrap())
    }

    fn added(
        process: u64,
        element: i64,
        before: &str,
        token: i64,
    ) -> [(u64, &'static str, &'static str, String); 2] {
        let value = format!(":value [0 {element}]");
        let done = format!("{value}, :before {before}, :token {token}");
        [(process, "invoke", "add", value), (process, "ok", "add", done)]
    }

    fn verdict_of(
        parts: &[[(u64, &'static str, &'static str, String); 2]],
        together: bool,
    ) -> Outcome {
        let mut events = Vec::new();
        if together {
            events.extend(parts.iter().map(|part| &part[0]));
            events.extend(parts.iter().map(|part| &part[1]));
        } else {
            events.extend(parts.iter().flatten());
        }
        let events: Vec<_> =
            events.iter().map(|(p, k, f, rest)| (*p, *k, *f, rest.as_str())).collect();
        judged(&events)
    }

    #[test]
    fn holders_that_follow_each_other_are_valid() {
        let all = [added(0, 1, "[]", 5), added(1, 2, "[1]", 7), added(0, 3, "[1 2]", 9)];
        assert_eq!(verdict_of(&all, false).verdict, Verdict::Valid);
        assert_eq!(
            verdict_of(&[added(0, 1, "[]", 5), added(1, 2, "[1]", 7)], true).verdict,
            Verdict::Valid
        );
    }

    #[test]
    fn holders_in_the_critical_section_together_are_found_and_told() {
        let outcome = verdict_of(&[added(0, 1, "[]", 5), added(1, 2, "[]", 7)], true);
        assert_eq!(outcome.verdict, Verdict::Invalid);
        let story = outcome.story.unwrap();
        assert!(
            story.contains("two holders at a time") && story.contains("with token 7"),
            "{story}"
        );
    }

    #[test]
    fn a_holder_that_writes_behind_its_successor_is_found_though_nothing_is_lost() {
        let outcome = verdict_of(&[added(0, 1, "[]", 9), added(1, 2, "[1]", 7)], true);
        assert!(outcome.story.unwrap().contains("a deposed holder wrote"));
    }

    #[test]
    fn lists_that_forget_or_invent_are_found() {
        let one =
            [(0, "invoke", "add", ":value [0 1]"), (0, "ok", "add", ":value [0 1], :before nil")];
        for (list, kind) in [
            ("[]", "an acknowledged element is not read"),
            ("[1 1]", "an element without an addition"),
            ("[1 8]", "an element without an addition"),
        ] {
            let value = format!(":value [0 {list}]");
            let mut events = one.to_vec();
            events.extend([(1, "invoke", "read", ":value [0]"), (1, "ok", "read", value.as_str())]);
            let outcome = judged(&events);
            assert_eq!(outcome.verdict, Verdict::Invalid, "{list}");
            assert!(outcome.get("errors").unwrap().to_string().contains(kind), "{list}");
        }
        let failed = [(0, "invoke", "add", ":value [0 1]"), (0, "fail", "add", ":value [0 1]")];
        let mut events = failed.to_vec();
        events.extend([(1, "invoke", "read", ":value [0]"), (1, "ok", "read", ":value [0 [1]]")]);
        assert_eq!(judged(&events).verdict, Verdict::Invalid);
    }

    /// A small operation for the referee: its interval and its observation.
    #[derive(Clone, Debug)]
    struct Small {
        from: usize,
        until: usize,
        added: Option<i64>,
        /// None if its outcome is open.
        list: Option<Vec<i64>>,
    }

    /// Whether some order explains everything, by trying all.
    fn is_explained(ops: &[Small], taken: &mut Vec<bool>, state: &mut Vec<i64>) -> bool {
        if (0..ops.len()).all(|i| taken[i] || ops[i].list.is_none()) {
            return true;
        }
        for i in 0..ops.len() {
            let waits = |j: usize| !taken[j] && ops[j].list.is_some() && ops[j].until < ops[i].from;
            if taken[i]
                || (0..ops.len()).any(waits)
                || ops[i].list.as_ref().is_some_and(|l| l != state)
            {
                continue;
            }
            taken[i] = true;
            state.extend(ops[i].added);
            if is_explained(ops, taken, state) {
                return true;
            }
            if ops[i].added.is_some() {
                state.pop();
            }
            taken[i] = false;
        }
        false
    }

    fn drawn(draw: &mut Draw) -> Vec<Small> {
        let count = 2 + draw.below(4);
        let mut moments: Vec<usize> = (0..2 * count).collect();
        draw.shuffle(&mut moments);
        let mut pool = Vec::new();
        (0..count)
            .map(|i| {
                let (a, b) = (moments[2 * i], moments[2 * i + 1]);
                let added = draw.chance(0.7).then_some(i as i64);
                let mut list: Vec<i64> = pool.clone();
                list.truncate(draw.below(list.len() + 2));
                if let Some(element) = added
                    && draw.chance(0.8)
                {
                    pool.push(element);
                }
                let list = (added.is_none() || draw.chance(0.8)).then_some(list);
                Small { from: a.min(b), until: a.max(b), added, list }
            })
            .collect()
    }

    #[test]
    fn verdicts_equal_those_of_trying_all_orders() {
        let mut draw = Seed(16).stream("lock", 0);
        let mut counts = [0; 2];
        for _ in 0..20_000 {
            let ops = drawn(&mut draw);
            let mut events: Vec<(usize, String)> = Vec::new();
            for (process, op) in ops.iter().enumerate() {
                let (f, value) = match op.added {
                    Some(element) => ("add", format!("[0 {element}]")),
                    None => ("read", "[0]".to_owned()),
                };
                let invoke =
                    format!("{{:process {process}, :type :invoke, :f :{f}, :value {value}}}");
                events.push((op.from, invoke));
                let done = match (&op.list, op.added) {
                    (None, _) => format!(":type :info, :value {value}"),
                    (Some(list), Some(_)) => {
                        format!(":type :ok, :value {value}, :before {}", edn(list))
                    }
                    (Some(list), None) => format!(":type :ok, :value [0 {}]", edn(list)),
                };
                events.push((op.until, format!("{{:process {process}, :f :{f}, {done}}}")));
            }
            events.sort();
            let text: String = events.into_iter().map(|(_, event)| event + "\n").collect();
            let ours = check(&from_text(&text).unwrap()).verdict == Verdict::Valid;
            let theirs = is_explained(&ops, &mut vec![false; ops.len()], &mut Vec::new());
            assert_eq!(ours, theirs, "{text}");
            counts[usize::from(ours)] += 1;
        }
        assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
    }

    fn edn(list: &[i64]) -> String {
        format!("{list:?}").replace(',', "")
    }
}
