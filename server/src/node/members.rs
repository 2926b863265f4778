//! Who is a member: the replicated decisions.
//!
//! The log holds the members that are *wanted*. The leader has the core's configuration follow
//! them (`steer`), one change of it at a time, until both are the same; so a leader that dies in the
//! middle of a change leaves the rest of it to the next one.
//!
//! A change is decided when it is applied, from the replicated state and from the few facts that only a
//! leader knows, which it writes into the entry ([`Seen`]). So every server decides the same. Conditions,
//! their order and their names are etcd's (`etcdserver/server.go`, `membership/cluster.go`).
//!
//! A wanted voter that never took part is no voter of the core: it receives the log as a learner, and
//! votes when it has caught up. So an addition costs no quorum, where etcd counts the new
//! member from the first moment.

use std::collections::BTreeSet;

use seaworthy::raft::quorum::majority;
use seaworthy::raft::{Config, RaftId};
use serde::{Deserialize, Serialize};

use super::machine::{Machine, Member};
use super::roles::{NotChanged, Roles};

/// A change of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A new member.
    Add {
        /// Its id: one that no member ever had.
        id: RaftId,
        /// Where other servers will reach it.
        peer_urls: Vec<String>,
        /// It is to receive the log only.
        is_learner: bool,
    },
    /// A member leaves, for ever.
    Remove(RaftId),
    /// A member is reached elsewhere.
    Update {
        /// Which one.
        id: RaftId,
        /// Where other servers reach it.
        peer_urls: Vec<String>,
    },
    /// A learner becomes a voter.
    Promote(RaftId),
}

impl Change {
    /// The member that is changed.
    pub fn id(&self) -> RaftId {
        match self {
            Change::Add { id, .. } | Change::Update { id, .. } => *id,
            Change::Remove(id) | Change::Promote(id) => *id,
        }
    }

    /// The change as people read it, of the member of this name.
    pub fn told(&self, name: &str) -> String {
        match self {
            Change::Add { peer_urls, is_learner, .. } => {
                let kind = if *is_learner { "learner" } else { "member" };
                format!("{name} was added as a {kind}, at {}", peer_urls.join(" "))
            }
            Change::Remove(_) => format!("{name} is to leave"),
            Change::Update { peer_urls, .. } => {
                format!("{name} is reached at {} from now on", peer_urls.join(" "))
            }
            Change::Promote(_) => format!("{name} is to vote"),
        }
    }
}

/// The members, as an answer shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// The members, those that are to leave excluded, and whether each is a learner.
    pub members: Vec<(RaftId, Member, bool)>,
}

/// The leader's knowledge when it appended a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Members that were heard within an election timeout.
    pub(super) active: BTreeSet<RaftId>,
    /// Members whose log is close to the leader's.
    pub(super) in_sync: BTreeSet<RaftId>,
}

/// A change as it stands in the log; without a leader's knowledge, on its way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proposal {
    pub(super) change: Change,
    pub(super) seen: Option<Seen>,
}

/// The first byte of a proposal; commands of the store begin with others.
const TAG: u8 = 0x80;

impl Proposal {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![TAG]).expect("plain data")
    }

    /// `None` if it is a command of the store.
    pub(super) fn decode(command: &[u8]) -> Option<Proposal> {
        let body = command.strip_prefix(&[TAG])?;
        Some(postcard::from_bytes(body).expect("the log holds a change of a later version"))
    }
}

/// How many learners there may be, as in etcd 3.4.
const MAX_LEARNERS: usize = 1;

impl Machine {
    /// The members that vote, or will when they have caught up.
    pub(super) fn voters(&self) -> impl Iterator<Item = (RaftId, &Member)> {
        let Roles { learners, leaving, .. } = &self.roles;
        let members = self.members.iter().map(|(id, member)| (*id, member));
        members.filter(|(id, _)| !learners.contains(id) && !leaving.contains(id))
    }

    /// Whether this is a member, and stays one.
    pub(super) fn is_member(&self, id: RaftId) -> bool {
        self.members.contains_key(&id) && !self.roles.leaving.contains(&id)
    }

    /// Changes the members, unless the change would cost the quorum, or makes no sense.
    pub(super) fn change(&mut self, change: &Change, seen: &Seen) -> Result<(), NotChanged> {
        match change {
            Change::Add { id, peer_urls, is_learner } => {
                self.check_addition(*is_learner, seen)?;
                self.add(*id, peer_urls, *is_learner)
            }
            Change::Remove(id) => {
                self.check_removal(*id, seen)?;
                if !self.is_member(*id) {
                    return Err(NotChanged::NotFound);
                }
                self.roles.leaving.insert(*id);
                self.let_go();
                Ok(())
            }
            Change::Update { id, peer_urls } => {
                if !self.is_member(*id) {
                    return Err(NotChanged::NotFound);
                }
                self.check_addresses(*id, peer_urls)?;
                let member = self.members.get_mut(id).ok_or(NotChanged::NotFound)?;
                member.peer_urls = peer_urls.clone();
                Ok(())
            }
            Change::Promote(id) => {
                self.check_promotion(*id, seen)?;
                self.roles.learners.remove(id);
                Ok(())
            }
        }
    }

    fn add(
        &mut self,
        id: RaftId,
        peer_urls: &[String],
        is_learner: bool,
    ) -> Result<(), NotChanged> {
        if self.members.contains_key(&id) || self.roles.removed.contains(&id) {
            return Err(NotChanged::Exists);
        }
        self.check_addresses(id, peer_urls)?;
        if is_learner && self.roles.learners.len() >= MAX_LEARNERS {
            return Err(NotChanged::TooManyLearners);
        }
        self.members.insert(id, Member { peer_urls: peer_urls.to_vec(), ..Member::default() });
        if is_learner {
            self.roles.learners.insert(id);
        }
        Ok(())
    }

    /// How many voters there are besides `without`, and how many of them ever took part.
    fn count(&self, without: Option<RaftId>) -> (usize, usize) {
        let others = self.voters().filter(|(id, _)| Some(*id) != without);
        others.fold((0, 0), |(all, started), (_, member)| {
            (all + 1, started + usize::from(member.has_started()))
        })
    }

    fn check_addition(&self, is_learner: bool, seen: &Seen) -> Result<(), NotChanged> {
        let (voters, started) = self.count(None);
        let (all, quorum) = (voters + 1, majority(voters + 1));
        // A lost member may be added anew to the one that is left.
        let is_restored = started == 1 && all == 2;
        if !is_learner && !is_restored && started < quorum {
            return Err(NotChanged::NotEnoughStarted);
        }
        let is_active = |(id, _): (RaftId, _)| seen.active.contains(&id);
        if self.voters().all(is_active) { Ok(()) } else { Err(NotChanged::Unhealthy) }
    }

    /// Guard: those that stay are a quorum of those that stay.
    fn check_removal(&self, id: RaftId, seen: &Seen) -> Result<(), NotChanged> {
        if self.roles.learners.contains(&id) {
            return Ok(());
        }
        let (staying, started) = self.count(Some(id));
        let quorum = majority(staying);
        if started < quorum {
            return Err(NotChanged::NotEnoughStarted);
        }
        if !seen.active.contains(&id) {
            return Ok(());
        }
        let active = self.voters().filter(|(other, _)| seen.active.contains(other)).count();
        if active.saturating_sub(1) < quorum { Err(NotChanged::Unhealthy) } else { Ok(()) }
    }

    fn check_promotion(&self, id: RaftId, seen: &Seen) -> Result<(), NotChanged> {
        let is_learner = self.roles.learners.contains(&id) && self.is_member(id);
        if is_learner && !seen.in_sync.contains(&id) {
            return Err(NotChanged::NotInSync);
        }
        let (voters, started) = self.count(None);
        if started + 1 < majority(voters + 1) {
            return Err(NotChanged::NotEnoughStarted);
        }
        match (self.is_member(id), is_learner) {
            (false, _) => Err(NotChanged::NotFound),
            (true, false) => Err(NotChanged::NoLearner),
            (true, true) => Ok(()),
        }
    }

    fn check_addresses(&self, id: RaftId, peer_urls: &[String]) -> Result<(), NotChanged> {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let mut taken = others.flat_map(|(_, member)| &member.peer_urls);
        match taken.any(|url| peer_urls.contains(url)) {
            true => Err(NotChanged::AddressTaken),
            false => Ok(()),
        }
    }

    /// Takes note of the core's configuration. Returns those that have left.
    pub(super) fn configure(&mut self, config: &Config) -> Vec<(RaftId, Member)> {
        self.roles.configured = config.members();
        self.let_go()
    }

    /// Forgets the members that are to leave, and of which the configuration knows nothing more.
    fn let_go(&mut self) -> Vec<(RaftId, Member)> {
        let Roles { leaving, configured, .. } = &self.roles;
        let gone: Vec<RaftId> = leaving.difference(configured).copied().collect();
        let mut left = Vec::new();
        for id in gone {
            self.roles.leaving.remove(&id);
            self.roles.learners.remove(&id);
            self.roles.removed.insert(id);
            left.extend(self.members.remove(&id).map(|member| (id, member)));
        }
        left
    }
}
