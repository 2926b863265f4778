//! White-box checks: the invariants of a Raft cluster, at every moment.
//!
//! The checkers see histories of clients; most bugs of a consensus core need several rare events
//! more until a client sees them. So in the simulation the cores are looked at after every input
//! that a node handles. The checks are Figure 3 of the Raft paper (election safety, log matching,
//! leader completeness, state machine safety), and the foundations of the proofs: terms, votes and
//! commit indices do not go back, nothing that was acknowledged is lost in a crash, no vote and no
//! request for votes leaves before it is durable, a leader was elected by a quorum of the
//! configuration in force and counts only its own term's entries and only such quorums,
//! configurations take effect as they are appended, one joint phase at a time, a snapshot holds the
//! one at its last entry, and only a server whose disk forgot something abstains.
//!
//! It is cheap enough to stay on: only the node that has stepped is looked at, and of its log only
//! the new entries. By log matching a log whose last entry has not changed has not changed at all.
//!
//! Deliberately missing: the state machines themselves, which the checkers judge; and
//! clusters without disks, of which none of this can be demanded.

mod ballot;
mod demand;
mod log;
mod node;

use std::collections::{BTreeMap, BTreeSet};

use seaworthy::message::Packet;
use seaworthy::node::Node;
use seaworthy::raft::{Config, Index, LogId, Raft, RaftId, RoleName, Status, Term};
use seaworthy::shell::raft::promises;

use crate::backend::Members;
use crate::backend::sim::Inspect;
use ballot::Ballots;
use demand::{Check, demand, is_quorum};
use log::Logs;
use node::{Marks, Seen};

/// Everything that was seen of a cluster so far.
#[derive(Default)]
pub struct RaftInvariants {
    leaders: BTreeMap<Term, RaftId>,
    ballots: Ballots,
    logs: Logs,
    nodes: BTreeMap<RaftId, Seen>,
    /// Whose core runs in the node of an index.
    owners: BTreeMap<usize, RaftId>,
    /// Those whose disk ever forgot durable data.
    rolled_back: BTreeSet<RaftId>,
    /// Where the last configuration stands that was committed and taken note of.
    config_at: Option<Index>,
    /// Configurations that are not handed out yet.
    new_members: Vec<Members>,
}

impl Inspect for RaftInvariants {
    fn stepped(&mut self, index: usize, node: &Node) -> Result<(), String> {
        let Some(raft) = node.engine::<Raft>() else { return Ok(()) };
        let status = raft.status();
        self.owners.insert(index, status.id);
        let (at, config) = raft.configuration();
        if self.config_at.is_none() && at == Index::ZERO && !config.is_empty() {
            self.config_at = Some(at);
            self.new_members.push(members(config));
        }
        // One that has kept its promises and is not counted may be the one that a quorum lacks.
        demand(!raft.is_abstaining() || self.rolled_back.contains(&status.id), || {
            format!("{} abstains, and its disk has lost nothing", status.id)
        })?;
        let seen = self.nodes.entry(status.id).or_default();
        if !seen.has_changed(&status, raft.durable_hard_state()) && status.role != RoleName::Leader
        {
            return Ok(());
        }
        // Taken out, so that the others can be looked at meanwhile.
        let mut seen = std::mem::take(seen);
        let result = self.check(&mut seen, raft, &status);
        self.nodes.insert(status.id, seen);
        result
    }

    fn left(&mut self, index: usize, packet: &Packet) -> Result<(), String> {
        let Some((id, seen)) = self.owners.get(&index).and_then(|id| self.nodes.get_key_value(id))
        else {
            return Ok(());
        };
        for promise in promises(&packet.body) {
            let term = promise.term;
            demand(seen.has_promised(term), || {
                let src = &packet.src;
                format!("{src} gave away its vote in term {term} before that was durable (§5.2)")
            })?;
            self.ballots.left(*id, packet, promise);
        }
        Ok(())
    }

    fn new_members(&mut self) -> Vec<Members> {
        std::mem::take(&mut self.new_members)
    }

    fn killed(&mut self, index: usize) {
        if let Some(seen) = self.owners.get(&index).and_then(|id| self.nodes.get_mut(id)) {
            seen.die();
        }
    }

    fn rolled_back(&mut self, index: usize) {
        let Some(id) = self.owners.get(&index) else { return };
        self.rolled_back.insert(*id);
        if let Some(seen) = self.nodes.get_mut(id) {
            seen.forget();
        }
    }
}

impl RaftInvariants {
    fn check(&mut self, seen: &mut Seen, raft: &Raft, status: &Status) -> Check {
        let before = seen.marks();
        seen.check_hard_state(status, raft.durable_hard_state())?;
        self.ballots.note(status.id, seen.promised());
        seen.check_indices(status)?;
        seen.take_in_log(raft, status, &mut self.logs)?;
        seen.check_configuration(raft)?;
        self.logs.note_beginning(raft);
        seen.remember(raft, status);
        let leads = status.role == RoleName::Leader;
        if leads {
            self.check_leader(seen, &before, status)?;
        }
        if status.commit > before.commit {
            self.check_commit(seen, &before, status)?;
        }
        self.logs.check_snapshot(raft)?;
        if leads { self.check_acknowledgements(raft, status) } else { Ok(()) }
    }

    /// Election safety and leader completeness (Figure 3).
    fn check_leader(&mut self, seen: &Seen, before: &Marks, status: &Status) -> Check {
        let term = status.hard_state.term;
        let leader = *self.leaders.entry(term).or_insert(status.id);
        demand(leader == status.id, || {
            format!("election safety: {leader} and {} both lead in term {term}", status.id)
        })?;
        if before.led_in == Some(term) {
            return Ok(());
        }
        demand(seen.has_promised(term), || {
            format!("{leader} leads in term {term}, which its disk does not know (§5.2)")
        })?;
        if let Some((_, config)) = &before.config {
            self.ballots.check_election(leader, term, config)?;
        }
        self.logs.check_complete(status, |index| seen.id(index))
    }

    /// An entry that is committed here is committed everywhere, and was committed by a quorum.
    fn check_commit(&mut self, seen: &Seen, before: &Marks, status: &Status) -> Check {
        let leads = status.role == RoleName::Leader;
        // The commit that ends a leader's time may end its leadership in the same turn.
        let led_in = before.led_in.or(leads.then_some(status.hard_state.term));
        if status.commit > self.logs.committed() {
            let Some(term) = led_in else {
                let (id, commit) = (status.id, status.commit);
                return Err(format!("{id} committed {commit}, which no leader has committed"));
            };
            let last = seen.id(status.commit).unwrap_or_default();
            demand(last.term == term, || {
                format!("{} committed {last} by counting, in term {term} (§5.4.2)", status.id)
            })?;
            self.check_quorum(status.id, seen, before, last)?;
        }
        let term = led_in.unwrap_or(status.hard_state.term);
        seen.check_committed(before.commit, term, status, &mut self.logs)?;
        self.note_members(seen, status);
        Ok(())
    }

    /// Takes note of the configurations that are newly committed. A joint one is only on
    /// the way to the next.
    fn note_members(&mut self, seen: &Seen, status: &Status) {
        while let Some(at) = seen.config_after(self.config_at.unwrap_or(Index::ZERO)) {
            if at.index > status.commit {
                break;
            }
            self.config_at = Some(at.index);
            let config = self.logs.config(at).filter(|config| !config.is_joint());
            self.new_members.extend(config.map(|config| members(&config)));
        }
    }

    /// Whether the entry `last`, and so all before it, is where it must be.
    fn check_quorum(&self, leader: RaftId, seen: &Seen, before: &Marks, last: LogId) -> Check {
        let demand_quorum = |config: &Config, id: LogId| {
            let holds = |voter: RaftId| match voter == leader {
                true => seen.holds(id),
                false => self.nodes.get(&voter).is_some_and(|seen| seen.holds(id)),
            };
            demand(is_quorum(config, holds), || {
                format!("{leader} committed {id} without a quorum of {config}")
            })
        };
        // The configuration in force decides, also about the entries before it (§6). A leader may
        // have appended the next one in the same turn, once a quorum of the earlier held that.
        let Some((mut at, mut config)) = before.config.clone() else { return Ok(()) };
        while let Some(next) = seen.config_after(at) {
            if at > before.commit
                && let Some(id) = seen.id(at)
            {
                demand_quorum(&config, id)?;
            }
            let Some(later) = self.logs.config(next) else { break };
            if demand_quorum(&config, last).is_ok() {
                return Ok(());
            }
            (at, config) = (next.index, later);
        }
        demand_quorum(&config, last)
    }

    /// Demands that entries which a leader counts as acknowledged are durable at their server.
    fn check_acknowledgements(&self, raft: &Raft, status: &Status) -> Check {
        let term = status.hard_state.term;
        for (id, progress) in raft.progress() {
            let Some(peer) = self.nodes.get(&id) else { continue };
            // In a later term it may have been told to take something back.
            if peer.term() != term {
                continue;
            }
            demand(peer.acknowledged() >= progress.matched, || {
                let (durable, matched) = (peer.acknowledged(), progress.matched);
                format!("{id} acknowledged {matched}, but only {durable} is durable")
            })?;
        }
        Ok(())
    }
}

/// The servers of a configuration, by the index of their nodes.
fn members(config: &Config) -> Members {
    // The bits above tell how often a node came back as another server (`seaworthy_server::simulated`).
    let index = |id: &RaftId| usize::from(id.0 as u16).wrapping_sub(1);
    Members {
        voters: config.voters.iter().map(index).collect(),
        all: config.members().iter().map(index).collect(),
    }
}
