//! Members come and go: requests to add and to remove nodes.
//!
//! A node that is to be added first learns (it gets the log and decides nothing), and
//! becomes a voter when it has caught up, so that nobody waits for it. Both steps, and
//! the joint phase of the second, are the leader's affair; whoever asked is answered
//! when the cluster has the new configuration. One change at a time; a second one is
//! refused while the first is under way.

use serde::{Deserialize, Serialize};

use super::{Answer, Replica, Started, StateMachine};
use crate::message::{ErrorCode, Message, NodeId, RpcError};
use crate::node::Context;
use crate::raft::{Change, ChangeError, RaftId, Term};

/// How many entries a learner may lack when it becomes a voter.
const CLOSE: u64 = 64;

/// The change that this leader carries out, and refusals on their way.
#[derive(Default)]
pub(super) struct Changes {
    current: Option<Current>,
    refused: Vec<(RaftId, u64, &'static str)>,
}

struct Current {
    origin: RaftId,
    name: u64,
    add: bool,
    id: RaftId,
    term: Term,
}

#[derive(Deserialize)]
struct Named {
    node_id: NodeId,
}

#[derive(Serialize)]
struct Done {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<S: StateMachine> Replica<S> {
    /// A client asks to add or remove a node.
    pub(super) fn request_change(&mut self, cx: &mut Context<'_>, message: &Message, add: bool) {
        let request = message.request();
        if self.refuse_outsider(cx, &request) {
            return;
        }
        let Some(started) = &self.started else { return };
        match message.body.parse::<Named>() {
            Err(error) => cx.error(&request, &error),
            Ok(Named { node_id }) => match super::raft_id(&started.ids, &node_id) {
                Some(id) => self.ask_change(cx, request, add, id),
                None => {
                    let text = format!("there is no node {node_id}");
                    cx.error(&request, &RpcError::new(ErrorCode::NODE_NOT_FOUND, text));
                }
            },
        }
    }

    /// Takes the current change one step further, and answers what is decided.
    pub(super) fn settle_changes(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        for (origin, name, why) in std::mem::take(&mut started.changes.refused) {
            let error = RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why);
            self.result(cx, origin, name, Answer::error(&error));
        }
        let Some(started) = &mut self.started else { return };
        let Some(current) = &started.changes.current else { return };
        let (origin, name, add) = (current.origin, current.name, current.add);
        if started.raft.term() != current.term || started.is_settled(current) {
            // In another term somebody else goes on, or nobody; the asker gets no answer.
            let settled = started.is_settled(current);
            started.changes.current = None;
            if settled {
                let kind = if add { "add_member_ok" } else { "remove_member_ok" };
                self.result(cx, origin, name, Answer::new(&Done { kind }));
            }
            return;
        }
        started.promote();
    }
}

impl Started {
    /// Begins a change, if none is under way.
    pub(super) fn change(&mut self, origin: RaftId, name: u64, add: bool, id: RaftId) {
        let term = self.raft.term();
        let current = Current { origin, name, add, id, term };
        if self.changes.current.is_some() {
            return self.changes.refused.push((origin, name, "another change is under way"));
        }
        if !self.is_settled(&current) {
            let is_learner = self.raft.configuration().1.learners.contains(&id);
            let begun = match (add, is_learner) {
                (true, true) => Ok(()),
                (true, false) => self.raft.propose_change(&[Change::AddLearner(id)]).map(drop),
                (false, _) => self.raft.propose_change(&[Change::Remove(id)]).map(drop),
            };
            if let Err(error) = begun {
                return self.changes.refused.push((origin, name, explain(error)));
            }
        }
        self.changes.current = Some(current);
    }

    /// Whether the cluster has the configuration that was asked for.
    fn is_settled(&self, current: &Current) -> bool {
        let (index, config) = self.raft.configuration();
        let is_there = match current.add {
            true => config.voters.contains(&current.id),
            false => !config.contains(current.id),
        };
        is_there && !config.is_joint() && index <= self.raft.status().commit
    }

    /// Makes the learner that was added a voter, once it has caught up.
    fn promote(&mut self) {
        let Some(Current { add: true, id, .. }) = &self.changes.current else { return };
        let id = *id;
        let commit = self.raft.status().commit;
        let is_learner = self.raft.configuration().1.learners.contains(&id);
        let matched = self.raft.progress().find(|(peer, _)| *peer == id).map(|(_, p)| p.matched);
        if is_learner && matched.is_some_and(|m| m + CLOSE >= commit && m.0 > 0) {
            // Refused while the learner's own entry is not committed; then it is tried
            // again in the next turn.
            let begun = self.raft.propose_change(&[Change::AddVoter(id)]);
            tracing::debug!(%id, ?begun, "a learner has caught up");
        }
    }
}

fn explain(error: ChangeError) -> &'static str {
    match error {
        ChangeError::Propose(_) => "this node leads no more",
        ChangeError::TooEarly => "the leader is new; ask again",
        ChangeError::InProgress => "another change is under way",
        ChangeError::Invalid(why) => why,
    }
}
