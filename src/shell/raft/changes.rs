//! The changes of membership that a leader deals with, and its answers (see `membership`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::machine::Answer;
use crate::message::{ErrorCode, RpcError};
use crate::raft::{Config, Index, RaftId, Term};
use crate::time::Time;

/// The target of a change: `add` are to be voters, and `remove` no members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Goal {
    #[serde(rename = "a", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) add: BTreeSet<RaftId>,
    #[serde(rename = "r", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) remove: BTreeSet<RaftId>,
}

/// The identity of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asker {
    /// The node that asks.
    pub(super) node: RaftId,
    /// Its number for the request.
    pub(super) tag: u64,
}

/// The changes that this node has dealt with as the leader of `term`.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) term: Term,
    pub(super) current: Option<Current>,
    /// The answers of this term. A request that comes again gets its answer again.
    pub(super) answered: BTreeMap<Asker, Verdict>,
    /// Answers on their way.
    pub(super) unsent: Vec<Asker>,
}

/// How a request has ended.
pub(super) type Verdict = Result<(), &'static str>;

/// The change that is under way.
pub(super) struct Current {
    pub(super) goal: Goal,
    pub(super) askers: Vec<Asker>,
    /// The nodes that it has made learners.
    pub(super) taught: BTreeSet<RaftId>,
    /// This leader has appended a configuration for it.
    pub(super) has_appended: bool,
    /// Why it is being undone, if it is.
    pub(super) given_up: Option<&'static str>,
    /// The read by which the leader makes sure that it still leads.
    pub(super) check: Option<Check>,
    pub(super) since: Time,
    /// The progress of the learners when one of them last got on, and that moment.
    pub(super) got: (Vec<Index>, Time),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Asked(u64),
    Passed,
}

/// The answer to a client whose change is done.
#[derive(Serialize)]
struct Done {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// A verdict about a request, from the leader of `term`.
#[derive(Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) term: Term,
    /// Why it is refused; nothing if it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
}

/// Returns the answer for a client whose change, sent in the terms `sent_in`, a leader has answered
/// with `answer`; `None` if another answer decides.
pub(super) fn translate(done: &'static str, sent_in: &[Term], answer: &Answer) -> Option<Answer> {
    let told: Told = serde_json::from_str(answer.as_str()).ok()?;
    match told.refused {
        // Guard: the leader of a later term, too, has a copy, or will have one, and may carry it
        // out after the client has heard that it is done. The answer of that leader is final: no
        // earlier leader can commit anything any more.
        None if sent_in.last().is_some_and(|newest| told.term < *newest) => None,
        None => Some(Answer::new(&Done { kind: done })),
        // Guard: the leader of another term may have taken up another copy.
        Some(why) if sent_in.len() > 1 => {
            let text = format!("the outcome is not known; one leader said: {why}");
            Some(Answer::error(&RpcError::new(ErrorCode::TIMEOUT, text)))
        }
        Some(why) => Some(Answer::error(&RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why))),
    }
}

impl Changes {
    /// A leader of another term knows nothing of earlier changes.
    pub(super) fn enter(&mut self, term: Term) {
        if self.term != term {
            *self = Changes { term, ..Changes::default() };
        }
    }

    pub(super) fn answer(&mut self, askers: impl IntoIterator<Item = Asker>, verdict: Verdict) {
        for asker in askers {
            self.answered.entry(asker).or_insert(verdict);
            self.unsent.push(asker);
        }
    }

    /// Ends the current change.
    pub(super) fn end(&mut self, verdict: Verdict) {
        if let Some(current) = self.current.take() {
            self.answer(current.askers, verdict);
        }
    }

    /// The read `context` was confirmed.
    pub(super) fn checked(&mut self, context: u64) {
        if let Some(current) = &mut self.current
            && current.check == Some(Check::Asked(context))
        {
            current.check = Some(Check::Passed);
        }
    }
}

impl Current {
    pub(super) fn new(goal: Goal, asker: Asker, now: Time) -> Current {
        Current {
            goal,
            askers: vec![asker],
            taught: BTreeSet::new(),
            has_appended: false,
            given_up: None,
            check: None,
            since: now,
            got: (Vec::new(), now),
        }
    }

    /// Whether `goal` takes back everything that this change is about to do, and nothing of
    /// it is done in `config`, the last one in the log.
    pub(super) fn is_cancelled_by(&self, goal: &Goal, config: &Config) -> bool {
        let is_about_to_add = !config.is_joint() && self.goal.add.is_disjoint(&config.voters);
        is_about_to_add && !self.goal.add.is_empty() && goal.remove.is_superset(&self.goal.add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type and the code of the answer to a client.
    fn told(sent_in: &[u64], term: u64, refused: Option<&str>) -> Option<(String, Option<u64>)> {
        let sent_in: Vec<Term> = sent_in.iter().map(|term| Term(*term)).collect();
        let told = Told { term: Term(term), refused: refused.map(str::to_owned) };
        let answer = translate("add_member_ok", &sent_in, &Answer::new(&told))?;
        let body: serde_json::Value = serde_json::from_str(answer.as_str()).unwrap();
        Some((body["type"].as_str().unwrap().to_owned(), body["code"].as_u64()))
    }

    #[test]
    fn only_the_leader_of_the_newest_term_says_that_a_change_is_done() {
        let done = Some(("add_member_ok".to_owned(), None));
        assert_eq!(told(&[2], 2, None), done);
        assert_eq!(told(&[2, 3], 2, None), None, "the other copy may be carried out later");
        assert_eq!(told(&[2, 3], 3, None), done);
    }

    #[test]
    fn a_refusal_is_definite_if_there_was_one_term() {
        let error = |code| Some(("error".to_owned(), Some(code)));
        assert_eq!(told(&[2], 2, Some("another change")), error(11));
        assert_eq!(told(&[2, 3], 2, Some("another change")), error(0));
        assert_eq!(told(&[2, 3], 3, Some("another change")), error(0));
    }
}
