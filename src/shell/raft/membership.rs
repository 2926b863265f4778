//! Members come and go: requests to add and to remove nodes, one or several at once.
//!
//! A node that is to be added first learns (it gets the log and decides nothing), and
//! becomes a voter when it has caught up, so that no commit waits for it. All voters that a
//! change adds and removes change together, in one joint phase. The client that asked is
//! answered when the cluster has the new configuration.
//!
//! # The promise of an answer
//!
//! A request may reach several leaders, and each of them more than once. So it has an identity, its
//! node and that node's number for it, and every copy carries the term in which it was sent: only
//! the leader of that term, of which there is one, takes it up. A change that this leader has
//! refused it refuses again, whatever has changed since. A node whose request was sent in a single
//! term therefore believes a refusal, and passes it on as definite; one that has sent it in two
//! terms says that the outcome is not known.
//!
//! An `ok` means that the configuration was in force at some moment between request and
//! answer: because the leader has committed it itself, or because it has made sure,
//! like for a read, that it still leads. And it means that the request has no effect later: a node
//! that has sent copies in several terms believes only the leader of the last one, which gives the
//! same answer to each copy, and after which no earlier leader can commit anything.
//!
//! # One change at a time
//!
//! A request for the change that is under way joins it, a different one is refused. As long as the
//! nodes that a change adds are only learning, a request to remove them cancels it; and
//! if one of them is not heard or does not get on, the leader gives up by itself and
//! removes them again. A change in its joint phase can only be completed, by the present
//! leader.

use std::time::Duration;

use serde::Deserialize;

use super::changes::{Asker, Check, Current, Goal, Told, Verdict};
use super::machine::{Answer, StateMachine};
use super::pending::Ask;
use super::state::{Reader, Replica, Started, Wanted, raft_id};
use crate::message::{ErrorCode, Message, NodeId, RpcError};
use crate::node::Context;
use crate::raft::{Change, ChangeError, Index, RaftId, Term};
use crate::time::Time;

/// How many entries a learner may lack when it becomes a voter.
const CLOSE: u64 = 64;
/// How long a node that is to be added may be silent until the leader gives up.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it may be heard and get nowhere.
const STANDSTILL: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Named {
    node_id: NodeId,
}

#[derive(Deserialize)]
struct Lists {
    #[serde(default)]
    add: Vec<NodeId>,
    #[serde(default)]
    remove: Vec<NodeId>,
}

/// The requests for changes, and the types of their answers.
pub(super) fn answer_to(kind: &str) -> Option<&'static str> {
    match kind {
        "add_member" => Some("add_member_ok"),
        "remove_member" => Some("remove_member_ok"),
        "change_members" => Some("change_members_ok"),
        _ => None,
    }
}

fn parse(message: &Message, ids: &[NodeId]) -> Result<Goal, RpcError> {
    let number = |id: &NodeId| {
        let text = || format!("there is no node {id}");
        raft_id(ids, id).ok_or_else(|| RpcError::new(ErrorCode::NODE_NOT_FOUND, text()))
    };
    let lists = match message.body.kind.as_str() {
        "change_members" => message.body.parse::<Lists>()?,
        kind => {
            let one = vec![message.body.parse::<Named>()?.node_id];
            match kind {
                "add_member" => Lists { add: one, remove: Vec::new() },
                _ => Lists { add: Vec::new(), remove: one },
            }
        }
    };
    let goal = Goal {
        add: lists.add.iter().map(number).collect::<Result<_, _>>()?,
        remove: lists.remove.iter().map(number).collect::<Result<_, _>>()?,
    };
    if goal.add.is_empty() && goal.remove.is_empty() || !goal.add.is_disjoint(&goal.remove) {
        let text = "a change adds or removes nodes, and none of them both";
        return Err(RpcError::new(ErrorCode::MALFORMED_REQUEST, text));
    }
    Ok(goal)
}

impl<S: StateMachine> Replica<S> {
    /// A client asks for a change, which is answered with `done` if it succeeds.
    pub(super) fn request_change(
        &mut self,
        cx: &mut Context<'_>,
        message: &Message,
        done: &'static str,
    ) {
        let request = message.request();
        if self.refuse_outsider(cx, &request) {
            return;
        }
        let Some(started) = &self.started else { return };
        match parse(message, &started.ids) {
            Err(error) => cx.error(&request, &error),
            Ok(goal) => self.ask(cx, request, Ask::Change { done, goal, sent_in: Vec::new() }),
        }
    }

    /// Takes the current change one step further, and answers the requests that are decided.
    pub(super) fn settle_changes(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        started.advance(cx.now());
        for asker in std::mem::take(&mut started.changes.unsent) {
            let Some(started) = &self.started else { return };
            let Some(verdict) = started.changes.answered.get(&asker) else { continue };
            let refused = verdict.err().map(str::to_owned);
            let told = Told { term: started.changes.term, refused };
            self.result(cx, asker.node, asker.tag, Answer::new(&told));
        }
    }
}

impl Started {
    /// Takes up a copy of a request that was sent in `term`.
    pub(super) fn change(&mut self, now: Time, asker: Asker, term: Term, goal: Goal) {
        // Guard: only the leader of that term, which remembers its refusals.
        if !self.raft.is_leader() || self.raft.term() != term {
            return;
        }
        let changes = &mut self.changes;
        changes.enter(term);
        if changes.answered.contains_key(&asker) {
            return changes.unsent.push(asker);
        }
        let Some(current) = &mut changes.current else {
            changes.current = Some(Current::new(goal, asker, now));
            return;
        };
        if current.askers.contains(&asker) {
            return;
        }
        if current.goal == goal && current.given_up.is_none() {
            current.askers.push(asker);
        } else if current.is_cancelled_by(&goal, self.raft.configuration().1) {
            changes.end(Err("the change was cancelled: the nodes are to be removed"));
            changes.current = Some(Current::new(goal, asker, now));
        } else {
            changes.answer([asker], Err("another change is under way"));
        }
    }

    /// Takes the next step of the current change.
    fn advance(&mut self, now: Time) {
        // In another term the nodes that asked ask again.
        self.changes.enter(self.raft.term());
        let Some(mut current) = self.changes.current.take() else { return };
        let verdict = self.step_change(&mut current, now);
        self.changes.current = Some(current);
        if let Some(verdict) = verdict {
            self.changes.end(verdict);
        }
    }

    fn step_change(&mut self, current: &mut Current, now: Time) -> Option<Verdict> {
        let (index, config) = self.raft.configuration();
        if index > self.raft.status().commit || config.is_joint() {
            return None;
        }
        let config = config.clone();
        let goal = &current.goal;
        let is_settled = goal.add.is_subset(&config.voters)
            && !goal.remove.iter().any(|id| config.contains(*id));
        if is_settled {
            // Guard: another leader may have changed the members again.
            return (current.has_appended || self.still_leads(current)).then_some(Ok(()));
        }
        if !self.raft.is_leader() {
            return None;
        }
        if let Some(why) = current.given_up {
            let gone = current.taught.intersection(&config.learners).map(|id| Change::Remove(*id));
            let gone: Vec<Change> = gone.collect();
            return if gone.is_empty() { Some(Err(why)) } else { self.begin(current, &gone) };
        }
        let new: Vec<RaftId> =
            goal.add.iter().copied().filter(|id| !config.contains(*id)).collect();
        if !new.is_empty() {
            current.taught.extend(&new);
            let changes: Vec<Change> = new.into_iter().map(Change::AddLearner).collect();
            return self.begin(current, &changes);
        }
        let learners: Vec<RaftId> = goal.add.intersection(&config.learners).copied().collect();
        if !learners.iter().all(|id| self.has_caught_up(*id)) {
            current.given_up = self.hopeless(current, &learners, now);
            return None;
        }
        let leave = goal.remove.iter().copied().filter(|id| config.contains(*id));
        let changes: Vec<Change> =
            learners.into_iter().map(Change::AddVoter).chain(leave.map(Change::Remove)).collect();
        self.begin(current, &changes)
    }

    /// Appends a configuration, if that is possible already.
    fn begin(&mut self, current: &mut Current, changes: &[Change]) -> Option<Verdict> {
        let why = match self.raft.propose_change(changes) {
            Ok(_) => {
                current.has_appended = true;
                return None;
            }
            // Tried again in the next turn.
            Err(ChangeError::Propose(_) | ChangeError::TooEarly | ChangeError::InProgress) => {
                return None;
            }
            Err(ChangeError::Invalid(why)) => why,
            // Perhaps for a moment, perhaps for ever: other changes must not wait for it.
            Err(ChangeError::Abstaining) => "a majority would need a node that abstains",
        };
        if current.taught.is_empty() {
            return Some(Err(why));
        }
        current.given_up = Some(why);
        None
    }

    /// Whether a read has confirmed that this node led when it looked.
    fn still_leads(&mut self, current: &mut Current) -> bool {
        if current.check.is_none() {
            let context = self.next_read;
            let reader = Reader { origin: self.id, tag: 0, wanted: Wanted::Leadership };
            let taken = self.read(reader, self.id, Term::ZERO);
            current.check = taken.then_some(Check::Asked(context));
        }
        current.check == Some(Check::Passed)
    }

    fn matched(&self, id: RaftId) -> Index {
        let progress = self.raft.progress().find(|(peer, _)| *peer == id);
        progress.map_or(Index::ZERO, |(_, progress)| progress.matched)
    }

    fn has_caught_up(&self, learner: RaftId) -> bool {
        let matched = self.matched(learner);
        matched > Index::ZERO && matched + CLOSE >= self.raft.status().commit
    }

    /// Why the learners will not catch up, if that is so.
    fn hopeless(
        &self,
        current: &mut Current,
        learners: &[RaftId],
        now: Time,
    ) -> Option<&'static str> {
        let progress: Vec<Index> = learners.iter().map(|id| self.matched(*id)).collect();
        if progress != current.got.0 {
            current.got = (progress, now);
        }
        let heard = |id: &RaftId| self.timing.heard(*id).unwrap_or_default().max(current.since);
        if learners.iter().any(|id| now - heard(id) >= SILENCE) {
            Some("a node that was to be added cannot be reached")
        } else if now - current.got.1 >= STANDSTILL {
            Some("a node that was to be added does not catch up")
        } else {
            None
        }
    }
}
