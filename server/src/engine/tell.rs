//! One line an event, for people.

#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use seaworthy::raft::RaftId;

use crate::metrics::Metrics;
use crate::node::{Event, Member};

/// The memory that the lines of one server need.
pub(super) struct Teller {
    metrics: Arc<Metrics>,
    /// The names of all servers that were ever heard of.
    names: BTreeMap<RaftId, String>,
    leaderless_since: Option<Instant>,
}

impl Teller {
    pub(super) fn new(metrics: Arc<Metrics>, members: &BTreeMap<RaftId, Member>) -> Teller {
        let leaderless_since = Some(Instant::now());
        let mut teller = Teller { metrics, names: BTreeMap::new(), leaderless_since };
        teller.learn(members);
        teller
    }

    /// Learns the names of servers.
    pub(super) fn learn(&mut self, members: &BTreeMap<RaftId, Member>) {
        let names = members.iter().map(|(id, member)| (*id, member.name.clone()));
        self.names.extend(names.filter(|(_, name)| !name.is_empty()));
    }

    /// Writes one line an event for people.
    pub(super) fn tell(&mut self, event: &Event) {
        let name = |id: &RaftId| match self.names.get(id) {
            Some(name) => name.clone(),
            None => format!("{:016x}", id.0),
        };
        match event {
            Event::Leader(term, Some(leader)) => {
                self.metrics.leader_changes.fetch_add(1, Ordering::Relaxed);
                if let Some(since) = self.leaderless_since.take() {
                    self.metrics.slow.elected(since.elapsed());
                }
                tracing::info!("{} leads in term {term}", name(leader));
            }
            Event::Leader(term, None) => {
                self.leaderless_since = Some(Instant::now());
                tracing::info!("no leader is known in term {term}");
            }
            Event::Cluster(id) => tracing::info!("this is cluster {id:016x}"),
            Event::Joined(id, member) => {
                let (life, urls) = (member.life, member.client_urls.join(" "));
                self.names.insert(*id, member.name.clone());
                tracing::info!("{} takes part in life {life}, clients at {urls}", member.name);
            }
            Event::Changed(change) => tracing::info!("{}", change.told(&name(&change.id()))),
            Event::Left(id, name) => tracing::info!("{name} ({:016x}) is no member any more", id.0),
            Event::Configured(voters, learners) => {
                let list = |ids: &BTreeSet<RaftId>| ids.iter().map(name).collect::<Vec<_>>();
                let (voters, learners) = (list(voters).join(" "), list(learners).join(" "));
                match learners.as_str() {
                    "" => tracing::info!("voters are {voters}"),
                    learners => tracing::info!("voters are {voters}; {learners} receive the log"),
                }
            }
            Event::Readmitted => tracing::warn!("this server has caught up, and counts again"),
            Event::Restored(index) => {
                tracing::info!("took a snapshot of everything up to entry {index}");
            }
            Event::Superseded(_) => unreachable!("it ends the engine"),
        }
    }
}
