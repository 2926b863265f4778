//! From the findings of checkers to a verdict: the one place where it is decided.
//!
//! A checker reports violations as [`Finding`]s, beside the result map that is Jepsen's. The
//! verdict, the sentence that people read first, the class of the failure with its exit status,
//! and the [`Symptom`] that a shrinker holds on to all follow from the findings, in [`decide`].

use std::collections::BTreeSet;

use crate::edn::{Edn, printable};

/// The conclusion of a checker. Ordered by priority: the worst of several wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nothing wrong was found.
    Valid,
    /// The history does not tell.
    Unknown,
    /// A guarantee was broken.
    Invalid,
}

impl Verdict {
    /// How Jepsen writes it: `true`, `:unknown`, `false`.
    pub fn to_edn(self) -> Edn {
        match self {
            Verdict::Valid => Edn::Bool(true),
            Verdict::Unknown => Edn::keyword("unknown"),
            Verdict::Invalid => Edn::Bool(false),
        }
    }
}

/// How a run failed, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A node panicked.
    Crash,
    /// A white-box invariant broke.
    Invariant,
    /// A node broke the protocol.
    Protocol,
    /// The clients saw an anomaly.
    Safety,
    /// All faults were over, and still there were no answers.
    Progress,
    /// The checkers could not tell.
    Unknown,
}

impl Class {
    /// Its name in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Class::Crash => "crash",
            Class::Invariant => "invariant",
            Class::Protocol => "protocol",
            Class::Safety => "safety",
            Class::Progress => "progress",
            Class::Unknown => "unknown",
        }
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Class> {
        use Class::{Crash, Invariant, Progress, Protocol, Safety, Unknown};
        let all = [Crash, Invariant, Protocol, Safety, Progress, Unknown];
        all.into_iter().find(|class| class.name() == name)
    }
}

/// Something that is wrong, or that keeps a checker from telling.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Where: the part of the results that holds the evidence; empty until the part has a name.
    pub part: String,
    /// The verdict that the finding alone would lead to.
    pub verdict: Verdict,
    /// The class of the failure.
    pub class: Class,
    /// The failure, by names that stay the same in a smaller run: `lost`, `:G1c`.
    pub kinds: Vec<String>,
    /// The failure in a few words, with values and numbers.
    pub text: String,
}

impl Finding {
    /// A broken guarantee, in a few words.
    pub fn new(text: impl Into<String>) -> Finding {
        let (part, kinds) = (String::new(), Vec::new());
        Finding { part, verdict: Verdict::Invalid, class: Class::Safety, kinds, text: text.into() }
    }

    /// `count` values of the kind `what`, of which the first are named.
    pub fn counted<'e>(
        what: &str,
        count: usize,
        values: impl IntoIterator<Item = &'e Edn>,
    ) -> Option<Finding> {
        let text = || format!("{count} {what}: {}", named(values));
        (count > 0).then(|| Finding::new(text()).of_kind(what))
    }

    /// Anomalies by their types, `what` being the word for them.
    pub fn listed(what: &str, types: &[Edn]) -> Option<Finding> {
        let text = || format!("{what} {}", named(types));
        (!types.is_empty()).then(|| Finding::new(text()))
    }

    /// The anomalies of these types.
    pub fn anomalies(types: &[Edn]) -> Option<Finding> {
        let kinds = types.iter().map(ToString::to_string).collect();
        Finding::listed("anomalies", types).map(|finding| Finding { kinds, ..finding })
    }

    /// The same, of this kind.
    #[must_use]
    pub fn of_kind(mut self, kind: impl Into<String>) -> Finding {
        self.kinds.push(kind.into());
        self
    }

    /// The same, of this class.
    #[must_use]
    pub fn of_class(self, class: Class) -> Finding {
        Finding { class, ..self }
    }

    /// Returns the names that this failure shares with another one like it.
    fn names(&self) -> Vec<String> {
        let in_part = |kind: &String| format!("{} {kind}", self.part);
        match self.class {
            Class::Safety if !self.kinds.is_empty() => self.kinds.iter().map(in_part).collect(),
            Class::Safety | Class::Unknown => vec![self.part.clone()],
            Class::Crash | Class::Invariant | Class::Protocol | Class::Progress => {
                self.kinds.clone()
            }
        }
    }
}

/// The traits that a failure shares with another of its kind.
///
/// Shrinking must not slide from one bug to another: a run that lost a write and one that merely
/// did not answer in time are different stories. A symptom survives while everything else is taken
/// from a failing run: the class of the failure, and in it the names of the findings (the anomaly,
/// the invariant, the place of the panic), without the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symptom {
    /// The most telling class of all that was found.
    pub class: Class,
    /// The names of the failures that were found in that class.
    pub kinds: BTreeSet<String>,
}

impl Symptom {
    /// Whether `other` fails for one of the same reasons.
    pub fn is_shown_by(&self, other: Option<&Symptom>) -> bool {
        other.is_some_and(|o| o.class == self.class && !self.kinds.is_disjoint(&o.kinds))
    }
}

/// The verdict on all findings together.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The verdict: the worst of all.
    pub verdict: Verdict,
    /// How it fails, if it does; the class tells the exit status.
    pub symptom: Option<Symptom>,
    /// Why, in a few words; empty if nothing is wrong.
    pub why: String,
}

/// Decides on the findings of all checkers.
pub fn decide(findings: &[Finding]) -> Decision {
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Valid);
    let Some(class) = findings.iter().map(|finding| finding.class).min() else {
        return Decision { verdict, symptom: None, why: String::new() };
    };
    let telling = || findings.iter().filter(|finding| finding.class == class);
    let why = match class {
        // A fault of a node explains the rest.
        Class::Crash | Class::Invariant | Class::Protocol => {
            telling().next().map(|finding| finding.text.clone()).unwrap_or_default()
        }
        Class::Safety | Class::Progress | Class::Unknown => reasons(findings).join("; "),
    };
    let kinds = telling().flat_map(Finding::names).collect();
    Decision { verdict, symptom: Some(Symptom { class, kinds }), why }
}

/// One line for each part that found something: its name and all that it found.
pub fn reasons(findings: &[Finding]) -> Vec<String> {
    let parts = findings.chunk_by(|a, b| a.part == b.part);
    let tell = |part: &[Finding]| {
        let texts: Vec<&str> = part.iter().map(|finding| finding.text.as_str()).collect();
        let text = texts.join("; ");
        // An outcome that is not a part of another says it itself.
        if part[0].part.is_empty() { text } else { format!("{}: {text}", part[0].part) }
    };
    parts.map(tell).collect()
}

/// How much of a value is quoted, in characters.
const QUOTE: usize = 80;

/// How many of several values are named.
const NAMED: usize = 4;

/// The first few of some values.
fn named<'e>(values: impl IntoIterator<Item = &'e Edn>) -> String {
    let mut text: Vec<String> = values.into_iter().take(NAMED + 1).map(quote).collect();
    if text.len() > NAMED {
        text[NAMED] = "...".to_owned();
    }
    text.join(" ")
}

/// A value on one line, shortened.
pub fn quote(value: &Edn) -> String {
    let text = printable(&value.to_string());
    match text.char_indices().nth(QUOTE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
