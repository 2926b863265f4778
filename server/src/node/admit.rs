//! Whether another server is who it says, and may be listened to.
//!
//! Servers introduce themselves on each connection, in both directions. Nothing of a server that is
//! refused is handled: no vote, no entry, no acknowledgement. So a server that lost its disk cannot
//! break the promises it no longer knows of.

use seaworthy::raft::{Payload, RaftId};
use serde::{Deserialize, Serialize};

use super::Node;
use super::apply::{Beginning, beginning, refusal};
use super::envelope::Envelope;
use super::lineage::Lineage;
use super::machine::Member;
use crate::planted::guard;

/// How a server introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// How its cluster was founded: a hash of the founders and their token.
    pub founding: u64,
    /// The identity of its cluster; 0 if it does not know it yet.
    pub cluster: u64,
    /// Who it is.
    pub from: RaftId,
    /// Whom it wants to talk to.
    pub to: RaftId,
    /// Its name and addresses, its data and its life.
    pub member: Member,
    /// The lives that its data directory has seen.
    pub lineage: Lineage,
}

/// Why a server is not listened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For the people who run the server that is refused: both sides, and the remedy.
    pub why: String,
    /// Whether the server that is refused may come back.
    pub verdict: Verdict,
}

/// How final a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It may be listened to later.
    NotNow,
    /// It can never take part as it is, and should stop.
    Never,
    /// It was removed from the cluster.
    Removed,
}

impl Node {
    /// Decides whether the sender of `hello` is listened to, and remembers its life.
    ///
    /// # Errors
    /// [`Refusal`], for the sender.
    pub fn admit(&mut self, founding: u64, hello: &Hello) -> Result<(), Refusal> {
        let refuse = |why, verdict| Err(Refusal { why, verdict });
        let (me, they) = (&self.member.name, &hello.member.name);
        let own = self.cluster().unwrap_or(0);
        let both_known = own != 0 && hello.cluster != 0;
        let is_foreign = match both_known {
            true => own != hello.cluster,
            false => founding != hello.founding,
        };
        if is_foreign {
            return refuse(foreign(me, own, founding, they, hello), Verdict::NotNow);
        }
        if hello.to != self.me {
            let wanted = self.machine.members.get(&hello.to).map_or("another", |m| &m.name);
            return refuse(format!("this address reaches {me}, and not {wanted}"), Verdict::NotNow);
        }
        if self.has_left(hello.from) {
            let why = format!("{they} was removed from cluster {own:016x}");
            return refuse(why, Verdict::Removed);
        }
        // A server that knows the cluster's identity has been a member of it. This one's log does not
        // tell of its addition yet: it may be a founder's that never took part.
        let is_newer = hello.cluster != 0 && !self.machine.members.contains_key(&hello.from);
        // Guard: other data, or older data, than it took part with: it has lost its promises.
        if !is_newer
            && let Beginning::Refused(why) =
                beginning(&self.machine, hello.from, &hello.member, &hello.lineage)
        {
            return refuse(why, Verdict::Never);
        }
        if let Some(why) = self.newer_in_log(hello) {
            return refuse(why, Verdict::Never);
        }
        // Guard: of two processes that live on copies of one directory, one is listened to.
        if let Some(known) = self.contacts.get(&hello.from)
            && !guard!(guard!(!self.is_second(hello, known), TrustEmptied), TrustOlder)
        {
            let why = format!(
                "another process has already introduced itself as {they}, in life {} of its data \
                 directory, and this one lives in life {}: the directory was copied. Stop one \
                 of them, and give each server a directory of its own",
                known.member.life, hello.member.life
            );
            return refuse(why, Verdict::Never);
        }
        // It may have moved since the log was written.
        self.members_changed |= self.contacts.get(&hello.from) != Some(hello);
        self.contacts.insert(hello.from, hello.clone());
        Ok(())
    }

    /// Whether the sender is another process than `known`, and not the one to listen to. Of two
    /// that live on copies of one directory that is the one whose life came out of the other's;
    /// else the one that the log has accepted; and else the one that came first.
    fn is_second(&self, hello: &Hello, known: &Hello) -> bool {
        let life = hello.member.life();
        let is_accepted = self.machine.members.get(&hello.from).map(Member::life) == Some(life);
        let is_ancestor = known.lineage.follows(life);
        !hello.lineage.follows(known.member.life()) && (is_ancestor || !is_accepted)
    }

    /// A life in the log that makes the sender's one of the past, and why. After a restart the
    /// log knows of lives that no state does, until the commit index is heard.
    fn newer_in_log(&self, hello: &Hello) -> Option<String> {
        let applied = self.raft.status().applied;
        let unapplied = self.raft.entries().rev().take_while(|entry| entry.id.index > applied);
        unapplied.into_iter().find_map(|entry| {
            let Payload::Command(command) = &entry.payload else { return None };
            match Envelope::decode(command.as_bytes()) {
                Some(Envelope::Open(open)) if open.id == hello.from => {
                    refusal(&open.member, &hello.member, &hello.lineage)
                }
                _ => None,
            }
        })
    }
}

fn foreign(me: &str, own: u64, founding: u64, they: &str, hello: &Hello) -> String {
    let id = |cluster: u64, founding: u64| match cluster {
        0 => format!("a cluster without an identity yet, founded as {founding:016x}"),
        cluster => format!("cluster {cluster:016x}, founded as {founding:016x}"),
    };
    format!(
        "{me} is of {}, and {they} is of {}: neither listens to the other. Give {they} the data \
         directory that it used in this cluster, and the same --initial-cluster and \
         --initial-cluster-token as all others; or, if the address is wrong, correct it",
        id(own, founding),
        id(hello.cluster, hello.founding)
    )
}

/// How each server that was admitted introduced itself last.
pub(super) type Contacts = std::collections::BTreeMap<RaftId, Hello>;
