//! The members of the cluster: the configurations of joint consensus.
//!
//! A change of voters goes through a *joint* configuration, in which elections and
//! commitment need a majority of the old voters **and** a majority of the new ones
//! (Raft paper §6, thesis §4.3). At no moment can two disjoint majorities decide.
//! Every change of voters does so here, a single server's too: the thesis' shortcut
//! for one server at a time saves an entry and has a history of being wrong.
//!
//! Learners receive the log and are never asked for anything (thesis §4.2.1). A
//! change that touches only learners changes no quorum and needs no joint phase.
//! A voter that is to become a learner stays a voter of the old half until the
//! joint phase ends.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::RaftId;
use crate::planted::guard;

/// A configuration. Joint while `outgoing` is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The voters; in a joint configuration, the new ones.
    pub voters: BTreeSet<RaftId>,
    /// In a joint configuration, the old voters.
    pub outgoing: BTreeSet<RaftId>,
    /// Servers that receive the log but do not vote.
    pub learners: BTreeSet<RaftId>,
}

/// One step of a change of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Make this server a voter; promotes a learner.
    AddVoter(RaftId),
    /// Make this server a learner; demotes a voter.
    AddLearner(RaftId),
    /// Remove this server.
    Remove(RaftId),
}

impl Config {
    /// A configuration of these voters and no learners.
    pub fn of_voters(voters: impl IntoIterator<Item = RaftId>) -> Config {
        Config { voters: voters.into_iter().collect(), ..Config::default() }
    }

    /// Whether two sets of voters must agree.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `id` votes, in either half.
    pub fn is_voter(&self, id: RaftId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether `id` takes part in any role.
    pub fn contains(&self, id: RaftId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Every server that takes part, each once, in order.
    pub fn members(&self) -> BTreeSet<RaftId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// How many places there are in all sets together.
    pub fn len(&self) -> usize {
        self.voters.len() + self.outgoing.len() + self.learners.len()
    }

    /// Whether it has no members: the configuration of a server that waits to be added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The configuration that `changes` lead to: joint if they touch voters.
    ///
    /// # Errors
    /// If this configuration is joint already, if no voter would be left, or
    /// if the changes change nothing.
    pub fn change(&self, changes: &[Change]) -> Result<Config, &'static str> {
        if self.is_joint() {
            return Err("a change is in progress");
        }
        let mut new = self.clone();
        for change in changes {
            let (Change::AddVoter(id) | Change::AddLearner(id) | Change::Remove(id)) = *change;
            new.voters.remove(&id);
            new.learners.remove(&id);
            match change {
                Change::AddVoter(_) => new.voters.insert(id),
                Change::AddLearner(_) => new.learners.insert(id),
                Change::Remove(_) => true,
            };
        }
        if new.voters.is_empty() {
            return Err("no voter would be left");
        }
        if new == *self {
            return Err("the change changes nothing");
        }
        // Guard: a change of voters goes through a joint phase.
        if !guard!(new.voters == self.voters, EarlyChange) {
            new.outgoing = self.voters.clone();
        }
        Ok(new)
    }

    /// The configuration after the joint one: the old voters have nothing more to say.
    pub fn leave_joint(&self) -> Config {
        assert!(self.is_joint(), "only a joint configuration can be left");
        Config { outgoing: BTreeSet::new(), ..self.clone() }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, set: &BTreeSet<RaftId>| {
            set.iter().enumerate().try_for_each(|(i, id)| match i {
                0 => write!(f, "{id}"),
                _ => write!(f, " {id}"),
            })
        };
        f.write_str("(")?;
        list(f, &self.voters)?;
        f.write_str(")")?;
        if self.is_joint() {
            f.write_str("&&(")?;
            list(f, &self.outgoing)?;
            f.write_str(")")?;
        }
        if !self.learners.is_empty() {
            f.write_str(" learners (")?;
            list(f, &self.learners)?;
            f.write_str(")")?;
        }
        Ok(())
    }
}
