//! Requests that change the members, in the words of the bench: `add_member`, `remove_member`, and
//! `change_members` for several at once.
//!
//! A node that is added anew is another server: it gets an id of its own ([`super::places`]), and an
//! empty directory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use seaworthy::message::{Body, ErrorCode, NodeId, RpcError};
use seaworthy::raft::RaftId;
use serde_json::json;

use super::Ledger;
use super::next::{Next, field, refuse};
use super::places::place_of;
use crate::node::{Change, Node, Reply, Request};

/// A request to change the members, as far as it has come.
#[derive(Debug)]
pub(super) struct Changing {
    kind: String,
    add: Vec<usize>,
    remove: Vec<usize>,
    /// The nodes that are still to be changed, and whether each is to be a member.
    steps: VecDeque<(usize, bool)>,
    asked: Option<Change>,
    /// Something was changed, or may have been.
    has_begun: bool,
}

impl Changing {
    /// Reads a request. `None` if it is about something else.
    ///
    /// # Errors
    /// If it lacks a field, or names a node that does not exist.
    pub(super) fn begin(
        body: &Body,
        nodes: &[NodeId],
    ) -> Result<Option<(Changing, Request)>, RpcError> {
        let wrong = || refuse(ErrorCode::MALFORMED_REQUEST, "no such node");
        let place = |name: &serde_json::Value| {
            nodes.iter().position(|node| name == node.as_str()).ok_or_else(wrong)
        };
        let list = |name| {
            let names = field(body, name)?;
            names.as_array().ok_or_else(wrong)?.iter().map(place).collect::<Result<Vec<_>, _>>()
        };
        let (add, remove) = match body.kind.as_str() {
            "add_member" => (vec![place(&field(body, "node_id")?)?], vec![]),
            "remove_member" => (vec![], vec![place(&field(body, "node_id")?)?]),
            "change_members" => (list("add")?, list("remove")?),
            _ => return Ok(None),
        };
        let steps = add.iter().map(|node| (*node, true));
        let steps = steps.chain(remove.iter().map(|node| (*node, false))).collect();
        let kind = body.kind.to_string();
        let changing = Changing { kind, add, remove, steps, asked: None, has_begun: false };
        // This server must know everything from before the request.
        Ok(Some((changing, Request::Read)))
    }

    /// Takes the node's answer.
    pub(super) fn proceed(
        &mut self,
        reply: &Reply,
        node: &Node,
        ledger: &Mutex<Ledger>,
        nodes: &[NodeId],
    ) -> Next {
        let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.asked.take(), reply) {
            (None, Reply::State(..)) => {}
            (Some(_), Reply::Members(_, Ok(_))) => self.has_begun = true,
            (Some(_), Reply::Members(_, Err(why))) => {
                return self.fail(ErrorCode::ABORT, &format!("{why:?}"));
            }
            (asked, reply) => {
                self.has_begun |= asked.is_some();
                let code = ErrorCode::TEMPORARILY_UNAVAILABLE;
                return self.fail(code, &format!("answered {reply:?}"));
            }
        }
        Changing::invite_added(node, &mut ledger);
        if let Some(id) = Changing::outrun(node, &ledger) {
            return self.request(Change::Remove(id));
        }
        while let Some((place, is_wanted)) = self.steps.pop_front() {
            let roles = &node.machine().roles;
            let members = node.machine().members.iter();
            let mut here = members.filter(|(id, _)| place_of(**id) == place);
            let known = here.find(|(id, _)| !roles.leaving.contains(id));
            let change = match (known, is_wanted) {
                (Some((id, _)), false) => Change::Remove(*id),
                (None, true) => {
                    let id = ledger.invitations.next_id(place);
                    let peer_urls = vec![nodes[place].to_string()];
                    Change::Add { id, peer_urls, is_learner: false }
                }
                (Some(_), true) | (None, false) => continue,
            };
            return self.request(change);
        }
        match self.is_met(node) {
            true => Next::Answer(json!({ "type": format!("{}_ok", self.kind) })),
            // Those that were added vote when they have caught up.
            false => Next::Refuse(refuse(ErrorCode::CRASH, "it takes longer")),
        }
    }

    /// Has each added server started that never took part, by this request or by an earlier one whose
    /// answer was lost: while it is missing there may be no quorum for another addition.
    fn invite_added(node: &Node, ledger: &mut Ledger) {
        for id in Changing::missing(node) {
            ledger.invite(id, node.cluster().unwrap_or(0));
        }
    }

    /// A member that never takes part: its addition was under way for so long that another server was
    /// started in its place meanwhile.
    fn outrun(node: &Node, ledger: &Ledger) -> Option<RaftId> {
        Changing::missing(node).find(|id| *id < ledger.invitations.server(place_of(*id)).0)
    }

    /// The members that have not taken part yet, and are to stay.
    fn missing(node: &Node) -> impl Iterator<Item = RaftId> {
        let machine = node.machine();
        let added = machine.members.iter().filter(|(_, member)| !member.has_started());
        added.map(|(id, _)| *id).filter(|id| !machine.roles.leaving.contains(id))
    }

    fn request(&mut self, change: Change) -> Next {
        self.asked = Some(change.clone());
        Next::Ask(Request::Change(change))
    }

    /// A promise that nothing happened is only made where nothing can have.
    fn fail(&self, code: ErrorCode, text: &str) -> Next {
        let code = if self.has_begun { ErrorCode::CRASH } else { code };
        Next::Refuse(refuse(code, text))
    }

    fn is_met(&self, node: &Node) -> bool {
        let (index, config) = node.raft().configuration();
        let is_decided = index <= node.raft().status().applied && !config.is_joint();
        let votes = |place: &usize| config.voters.iter().any(|id| place_of(*id) == *place);
        let is_gone = |place: &usize| !config.members().iter().any(|id| place_of(*id) == *place);
        is_decided && self.add.iter().all(votes) && self.remove.iter().all(is_gone)
    }
}
