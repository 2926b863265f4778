//! The votes by which leaders were elected.

use std::collections::BTreeMap;

use seaworthy::message::{NodeId, Packet};
use seaworthy::raft::{Config, HardState, RaftId, Term};
use seaworthy::shell::raft::Promise;

use super::demand::{Check, demand, is_quorum};

/// The votes of all servers, as far as they are durable.
#[derive(Default)]
pub(super) struct Ballots {
    /// The servers by the names under which they stood for election.
    names: BTreeMap<NodeId, RaftId>,
    /// By term and voter, the candidate.
    votes: BTreeMap<Term, BTreeMap<RaftId, RaftId>>,
}

impl Ballots {
    /// Notes the vote that is on a server's disk. The first in a term counts: a server whose
    /// disk was rolled back writes down that its vote is spent, and not for whom it was.
    pub(super) fn note(&mut self, voter: RaftId, durable: HardState) {
        if let Some(candidate) = durable.vote {
            self.votes.entry(durable.term).or_default().entry(voter).or_insert(candidate);
        }
    }

    /// Notes a vote that has left. It is durable, or a vote in a later term is; in that
    /// case no disk ever held it by itself.
    pub(super) fn left(&mut self, voter: RaftId, packet: &Packet, promise: Promise) {
        if promise.is_candidacy {
            self.names.insert(packet.src.clone(), voter);
        }
        let name = if promise.is_candidacy { &packet.src } else { &packet.dest };
        if let Some(candidate) = self.names.get(name) {
            let votes = self.votes.entry(promise.term).or_default();
            votes.entry(voter).or_insert(*candidate);
        }
    }

    /// A leader has the votes of a quorum of its configuration, of both halves if that is
    /// joint (§6), and the votes are durable.
    pub(super) fn check_election(&self, leader: RaftId, term: Term, config: &Config) -> Check {
        let votes = self.votes.get(&term);
        let elects = |voter| votes.and_then(|votes| votes.get(&voter)) == Some(&leader);
        demand(is_quorum(config, elects), || {
            format!("{leader} leads in term {term} without the votes of a quorum of {config}")
        })
    }
}
