//! The outcome of a checker: a verdict, its result map, and its findings.

use super::finding::{Class, Decision, Finding, Verdict, decide, quote};
use crate::edn::{Edn, printable};
use crate::history::{Ending, Op, Pair, pairs};

/// A verdict and the result map that explains it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The conclusion.
    pub verdict: Verdict,
    /// The result map without its `:valid?`, as entries in Jepsen's key names.
    pub details: Vec<(Edn, Edn)>,
    /// The violations, as [`decide`] takes them.
    pub findings: Vec<Finding>,
    /// The violation in plain text, on one screen, where a checker can tell it.
    pub story: Option<String>,
    /// The findings that the reference does not look for, with a verdict of their own.
    pub stricter: Option<Box<Outcome>>,
}

impl Outcome {
    /// The outcome of a composition without the part called `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Outcome {
        self.details.retain(|(key, _)| *key != Edn::keyword(name));
        self.findings.retain(|finding| finding.part != name);
        self.verdict = self.decide().verdict;
        self
    }

    /// An outcome with details under keyword names.
    pub fn new<const N: usize>(verdict: Verdict, details: [(&str, Edn); N]) -> Outcome {
        let details = details.into_iter().map(|(k, v)| (Edn::keyword(k), v)).collect();
        Outcome { verdict, details, findings: Vec::new(), story: None, stricter: None }
    }

    /// The history cannot be judged, for a reason.
    pub fn unknown(why: impl std::fmt::Display) -> Outcome {
        let mut outcome = Outcome::new(Verdict::Unknown, []);
        outcome.push_error(Edn::str(why.to_string()));
        outcome
    }

    /// A guarantee was broken, for a reason.
    pub fn invalid(why: impl std::fmt::Display) -> Outcome {
        let mut outcome = Outcome::new(Verdict::Invalid, []);
        outcome.push_error(Edn::str(why.to_string()));
        outcome
    }

    /// The same, with these findings.
    #[must_use]
    pub fn with(mut self, findings: impl IntoIterator<Item = Finding>) -> Outcome {
        self.findings.extend(findings);
        self
    }

    /// Adds an error, which is told before everything else.
    pub fn push_error(&mut self, error: impl Into<Edn>) {
        let error = error.into();
        let text = error.as_text().map_or_else(|| quote(&error), printable);
        self.findings.insert(0, Finding { verdict: self.verdict, ..Finding::new(text) });
        self.push("error", error);
    }

    /// Adds a detail under a keyword name.
    pub fn push(&mut self, name: &str, value: impl Into<Edn>) {
        self.details.push((Edn::keyword(name), value.into()));
    }

    /// The detail under a keyword name.
    pub fn get(&self, name: &str) -> Option<&Edn> {
        let is_it = |key: &Edn| matches!(key, Edn::Keyword(k) if k == name);
        self.details.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }

    /// The result map as Jepsen writes it, `:valid?` first.
    pub fn to_edn(&self) -> Edn {
        let mut entries = vec![(Edn::keyword("valid?"), self.verdict.to_edn())];
        entries.extend(self.details.iter().cloned());
        Edn::Map(entries)
    }

    /// Adds a part under its name. A part that is not valid always has a finding.
    pub fn add(&mut self, name: &str, mut part: Outcome) {
        let (map, verdict) = (part.to_edn(), part.verdict);
        if verdict != Verdict::Valid && part.findings.is_empty() {
            part.findings.push(Finding::new(quote(&map)));
        }
        if verdict != Verdict::Valid {
            self.findings.extend(part.findings.into_iter().map(|finding| {
                let is_unknown = verdict == Verdict::Unknown;
                let class = if is_unknown { Class::Unknown } else { finding.class };
                Finding { part: name.to_owned(), verdict, class, ..finding }
            }));
        }
        self.verdict = self.verdict.max(verdict);
        self.details.push((Edn::keyword(name), map));
    }

    /// Adds that the history is not the whole of a run, if so: nothing follows from that nothing
    /// was found in it.
    pub fn add_ending(&mut self, ending: Ending) {
        if let Some(why) = ending.complaint() {
            self.add("ending", Outcome::unknown(why));
        }
    }

    /// Adds a part that was written down earlier, of which only the map is left.
    pub fn add_stored(&mut self, name: &str, map: &Edn) {
        let verdict = match map.get("valid?") {
            Some(Edn::Bool(false)) => Verdict::Invalid,
            Some(Edn::Keyword(_)) => Verdict::Unknown,
            _ => Verdict::Valid,
        };
        let entries = map.entries().unwrap_or_default().iter();
        let details = entries.filter(|(key, _)| *key != Edn::keyword("valid?")).cloned().collect();
        self.add(name, Outcome { details, ..Outcome::new(verdict, []) });
        // In the order in which it was written.
        self.details.pop();
        self.details.push((Edn::keyword(name), map.clone()));
    }

    /// Decides on the verdict of all findings together.
    pub fn decide(&self) -> Decision {
        decide(&self.findings)
    }
}

/// The client operations of a history, if every one of them is one of those of
/// the workload: a history of another workload must not pass by being ignored.
///
/// # Errors
/// The outcome `unknown`, with the reason why the history was not judged.
pub(crate) fn operations<'a>(history: &'a [Op], fs: &[&str]) -> Result<Vec<Pair<'a>>, Outcome> {
    let pairs = pairs(history).map_err(Outcome::unknown)?;
    match pairs.iter().find(|pair| !fs.contains(&&*pair.invoke.f)) {
        None => Ok(pairs),
        Some(pair) => {
            let (index, f) = (pair.invoke.index, &pair.invoke.f);
            Err(Outcome::unknown(format!(
                "operation {index} is :{f}, which this workload does not have"
            )))
        }
    }
}

/// The same, where completions of the operations `f` repeat the value that was asked for: an answer
/// about something else says nothing of what was asked.
///
/// # Errors
/// The outcome `unknown`, with the reason why the history was not judged.
pub(crate) fn operations_that_repeat<'a>(
    history: &'a [Op],
    fs: &[&str],
    f: &str,
) -> Result<Vec<Pair<'a>>, Outcome> {
    let pairs = operations(history, fs)?;
    let is_other = |pair: &&Pair<'_>| {
        let is_ok = |op: &&Op| pair.is_ok() && op.value != Edn::Nil;
        let told = pair.completion.filter(is_ok).map(|op| &op.value);
        &*pair.invoke.f == f && told.is_some_and(|told| *told != pair.invoke.value)
    };
    match pairs.iter().find(is_other) {
        None => Ok(pairs),
        Some(Pair { invoke, .. }) => Err(Outcome::unknown(format!(
            "operation {}: :{f} of {} completed with another value",
            invoke.index, invoke.value
        ))),
    }
}
