//! The first question of a server that was added to a cluster: who is it there, and who are the others?
//!
//! It asks at the peers' port, as it knows no other address of them, and no id yet. The answer
//! tells nothing that clients could not read.

// Waiting for an answer is a shell's business.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use seaworthy::raft::RaftId;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Shared, Welcome, dial, frame};
use crate::node::{Class, Hello, Lineage, Member, Reply, Request};
use crate::tls::Tls;

/// The id of a server that does not know its own.
pub(super) const NEWCOMER: RaftId = RaftId(0);
const PATIENCE: Duration = Duration::from_secs(3);

/// The facts about a cluster that a new member starts with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// The identity of the cluster; 0 if its log has not decided yet.
    pub cluster: u64,
    /// The token of its founding.
    pub token: String,
    /// Who founded it, with the addresses of then.
    pub founders: BTreeMap<String, Vec<String>>,
    /// The members, as far as the asked one knows them.
    pub members: BTreeMap<RaftId, Member>,
}

impl Shared {
    pub(super) async fn introduction(&self) -> Introduction {
        let members = match self.node.ask(Request::Inspect).await {
            Reply::View(view) => view.members,
            _ => BTreeMap::new(),
        };
        Introduction {
            cluster: self.node.cluster_id(),
            token: self.myself.token.clone(),
            founders: self.myself.founders.clone(),
            members,
        }
    }
}

/// Asks the member that is reached at `url` about its cluster.
///
/// # Errors
/// If it does not answer, or not with an introduction.
pub async fn ask(tls: Option<&Tls>, url: &str) -> io::Result<Introduction> {
    let (member, lineage) = (Member::default(), Lineage::default());
    let hello = Hello { founding: 0, cluster: 0, from: NEWCOMER, to: NEWCOMER, member, lineage };
    let greeted = timeout(PATIENCE, dial::greet(tls, url, &hello, Class::Control)).await;
    match greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?.1 {
        Welcome::Introduced(introduction) => Ok(introduction),
        Welcome::Yes(_) => Err(frame::damaged("it answers another question")),
        Welcome::No(_, refusal) => Err(io::Error::other(refusal.why)),
    }
}
