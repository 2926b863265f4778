//! The promises in a message between replicas, for white-box checks of messages that leave a node
//! before its disk holds their promises.

use serde::Deserialize;

use super::body::{Body, CoreMessage, RequestVote, Vote};
use crate::raft::Term;

/// A vote or a candidacy. A server that forgets it in a crash could give the same term
/// away twice, so it must be durable before it leaves (§5.2, Figure 2: persistent state
/// is updated before responding).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The term whose vote is given away.
    pub term: Term,
    /// Whether the sender keeps the vote for itself; else the addressee has it.
    pub is_candidacy: bool,
}

/// The messages of the core in a body; everything else in it is skipped.
#[derive(Deserialize)]
struct Core {
    #[serde(rename = "m", default)]
    raft: Vec<CoreMessage>,
}

/// How votes that are granted, and requests for them, begin on the wire; so that other
/// bodies, which are nearly all, are not parsed.
const PREFIXES: [&str; 2] = [r#""V":[false,true"#, r#""v":[false"#];

/// The promises in the text of a message body; none in one that is not a replica's.
pub fn promises(body: &str) -> Vec<Promise> {
    if !PREFIXES.iter().any(|prefix| body.contains(prefix)) {
        return Vec::new();
    }
    let Ok(core) = serde_json::from_str::<Core>(body) else { return Vec::new() };
    let promise = |CoreMessage { term, body }| match body {
        Body::Vote(Vote { pre: false, granted: true }) => {
            Some(Promise { term, is_candidacy: false })
        }
        Body::RequestVote(RequestVote { pre: false, .. }) => {
            Some(Promise { term, is_candidacy: true })
        }
        _ => None,
    };
    core.raft.into_iter().filter_map(promise).collect()
}

#[cfg(test)]
mod tests {
    use super::super::body::pack;
    use super::super::wire::Bundle;
    use super::*;
    use crate::raft::{LogId, Message, MessageKind, RaftId};

    fn body(kind: MessageKind) -> String {
        let message = Message { from: RaftId(1), to: RaftId(2), term: Term(7), kind };
        let bundle = Bundle { raft: vec![pack(&message)], ..Bundle::default() };
        serde_json::to_string(&bundle).unwrap()
    }

    #[test]
    fn votes_and_candidacies_are_found_on_the_wire_and_nothing_else_is() {
        let last = LogId::default();
        let ask = |pre| MessageKind::RequestVote { pre, transfer: false, last };
        let vote = |pre, granted| MessageKind::Vote { pre, granted };
        let found = |is_candidacy| vec![Promise { term: Term(7), is_candidacy }];
        assert_eq!(promises(&body(ask(false))), found(true));
        assert_eq!(promises(&body(vote(false, true))), found(false));
        for kind in [ask(true), vote(true, true), vote(false, false), MessageKind::TimeoutNow] {
            assert_eq!(promises(&body(kind)), []);
        }
    }
}
