//! Whether the cluster told the truth about changes of its members.
//!
//! The members are seen from inside (see `invariant`): every configuration, in the order in which
//! they were committed, and when each was first known to be. The answers about them are seen from
//! outside. Two things must hold:
//!
//! * After an `ok` there was a moment between request and answer at which the cluster had the
//!   members that were asked for.
//! * A voter that came or went had been asked for: by a request that was sent before and
//!   was neither refused for certain nor answered earlier. A definite error for a change
//!   that takes effect leaves it without such a request.

use std::collections::BTreeSet;

use seaworthy::time::Time;

use crate::backend::Members;

/// Why a change is a lie.
const UNASKED: &str = "each request for it had been refused for certain, or answered before";

/// A request for a change, and its answer.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The nodes that are to be voters, by index.
    pub(super) add: BTreeSet<usize>,
    /// Those that are to be no members.
    pub(super) remove: BTreeSet<usize>,
    pub(super) sent: Time,
    pub(super) answer: Option<(Time, Answer)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ok,
    /// A definite error.
    Refused,
    /// An error that promises nothing.
    Unknown,
}

impl Request {
    fn is_met_by(&self, members: &Members) -> bool {
        self.add.is_subset(&members.voters) && self.remove.is_disjoint(&members.all)
    }

    /// Whether it may have an effect at `at`.
    fn may_act(&self, at: Time) -> bool {
        let answered = match self.answer {
            Some((_, Answer::Refused)) => return false,
            Some((when, Answer::Ok)) => when < at,
            Some((_, Answer::Unknown)) | None => false,
        };
        self.sent <= at && !answered
    }
}

/// Returns the answers that are not true. `seen` are the members in the order in which they were
/// committed, each with the moment from which it was known; the first are those of the
/// beginning. Without any nothing can be said.
pub(super) fn lies(requests: &[Request], seen: &[(Time, Members)]) -> Vec<String> {
    let mut lies = Vec::new();
    if seen.is_empty() {
        return lies;
    }
    for request in requests {
        let Some((answered, Answer::Ok)) = request.answer else { continue };
        let was_so = seen.iter().enumerate().any(|(place, (from, members))| {
            let until = seen.get(place + 1).map(|(next, _)| *next);
            let overlaps = *from <= answered && until.is_none_or(|until| until >= request.sent);
            overlaps && request.is_met_by(members)
        });
        if !was_so {
            let Request { add, remove, sent, .. } = request;
            lies.push(format!(
                "ok at {answered} for add {add:?} remove {remove:?} of {sent}: never so"
            ));
        }
    }
    for pair in seen.windows(2) {
        let ((_, old), (at, new)) = (&pair[0], &pair[1]);
        let asked = |wants: &dyn Fn(&Request) -> bool| {
            requests.iter().any(|request| wants(request) && request.may_act(*at))
        };
        for node in new.voters.difference(&old.voters) {
            if !asked(&|r| r.add.contains(node)) {
                lies.push(format!("n{node} was added at {at}: {UNASKED}"));
            }
        }
        for node in old.voters.difference(&new.all) {
            if !asked(&|r| r.remove.contains(node)) {
                lies.push(format!("n{node} was removed at {at}: {UNASKED}"));
            }
        }
    }
    lies
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn members(voters: &[usize]) -> Members {
        let voters: BTreeSet<usize> = voters.iter().copied().collect();
        Members { all: voters.clone(), voters }
    }

    fn remove(node: usize, sent: u64, answer: Option<(u64, Answer)>) -> Request {
        let answer = answer.map(|(when, answer)| (at(when), answer));
        Request { add: BTreeSet::new(), remove: BTreeSet::from([node]), sent: at(sent), answer }
    }

    /// n2 is removed at 20.
    fn told(requests: &[Request]) -> usize {
        lies(requests, &[(at(0), members(&[0, 1, 2])), (at(20), members(&[0, 1]))]).len()
    }

    #[test]
    fn a_change_needs_somebody_who_was_not_refused() {
        assert_eq!(told(&[remove(2, 10, Some((30, Answer::Ok)))]), 0);
        assert_eq!(told(&[remove(2, 10, Some((30, Answer::Unknown)))]), 0);
        assert_eq!(told(&[remove(2, 10, None)]), 0);
        assert_eq!(told(&[remove(2, 10, Some((30, Answer::Refused)))]), 1);
        assert_eq!(told(&[remove(2, 25, None)]), 1, "asked for too late");
        let refused = remove(2, 10, Some((12, Answer::Refused)));
        assert_eq!(told(&[refused, remove(2, 11, None)]), 0, "another request asked for it, too");
    }

    #[test]
    fn an_ok_needs_a_moment_at_which_it_is_so() {
        let removed = remove(2, 1, None);
        assert_eq!(told(&[removed.clone(), remove(1, 10, Some((30, Answer::Ok)))]), 1);
        assert_eq!(told(&[removed.clone(), remove(2, 10, Some((15, Answer::Ok)))]), 1);
        let mut add = remove(2, 10, Some((30, Answer::Ok)));
        std::mem::swap(&mut add.add, &mut add.remove);
        assert_eq!(told(&[removed.clone(), add.clone()]), 0, "until 20 it was a member");
        add.sent = at(21);
        assert_eq!(told(&[removed, add]), 1);
    }
}
