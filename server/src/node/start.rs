//! The beginning of a life: from the stored log to a running server.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seaworthy::raft::{Config, Index, Options as RaftOptions, Payload, Raft, RaftId, Restored};
use seaworthy::storage::Log;
use seaworthy::time::Time;

use super::based::Tree;
use super::envelope::Open;
use super::lease::Leases;
use super::lineage::Lineage;
use super::machine::{Machine, Member};
use super::record::{self, Before, Standing};
use super::waiting::Client;
use super::{Node, Options, Ticket, planted};
use crate::kv::{Base, Store};

/// The facts that a node is told when it starts.
#[derive(Debug)]
pub struct Start {
    /// Who it is.
    pub id: RaftId,
    /// The servers that began the cluster; without this one if it was added later.
    pub founders: BTreeMap<RaftId, Member>,
    /// How it is reached, and the incarnation of its data. Its life is counted here.
    pub member: Member,
    /// Times and limits.
    pub options: Options,
    /// Fresh random numbers: for this life, and for the cluster, if it has no identity.
    pub nonces: [u64; 2],
    /// The cluster that this server was added to; `None` if it is one of the founders.
    pub cluster: Option<u64>,
    /// The log as storage held it.
    pub log: Log,
    /// The state that the checkpoint of the log names, or a later one, and the last entry in it: see
    /// [`state_before`](super::state_before).
    pub state: Option<(Index, Box<Machine>)>,
    /// The tree below the machine, in the place of `state`: with that state or a later one, or empty, if the
    /// log goes on from none.
    pub tree: Option<Arc<dyn Base>>,
}

/// Why a node does not start.
#[derive(Debug, PartialEq, Eq)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Node {
    /// Brings a server to life. The bytes are the record that counts this life: to be made
    /// durable before anything else, and before the server introduces itself, or its next
    /// life could have the same number.
    ///
    /// # Errors
    /// If the log was written by another version; or if something durable is missing, and
    /// the other servers are no quorum that could bring it back.
    pub fn start(start: Start) -> Result<(Node, Vec<u8>), StartError> {
        let Start { id, founders, mut member, options, nonces: [nonce, cluster], log, .. } = start;
        let (restored, mut standing) = record::decode(&log).map_err(StartError)?;
        standing.abstains |= log.lost.is_some();
        member.life = standing.lineage.begin(nonce).number;
        member.nonce = nonce;
        standing.cluster = standing.cluster.or(start.cluster);
        let config = Config::of_voters(founders.keys().copied());
        if standing.abstains && newest(&restored, &config).voters.len() < 3 {
            let why = log.lost.unwrap_or_else(|| "it had lost data before".to_owned());
            return Err(StartError(alone(&why)));
        }
        let before = Before::of(restored.snapshot.as_ref());
        let (begun, mut machine, tree) = match start.tree {
            Some(base) => over(base, before.index(), founders).map_err(StartError)?,
            None => match (before, start.state) {
                (_, Some((index, state))) if index >= before.index() => (index, *state, None),
                (Before::Nothing, _) => (Index::ZERO, Machine::genesis(founders), None),
                _ => return Err(StartError(MISSING.to_owned())),
            },
        };
        machine.sessions = planted::restarted(machine.sessions, Machine::no_sessions());
        let size = restored.snapshot.as_ref().map_or(0, |snapshot| snapshot.len_bytes);
        let raft = Raft::new(id, config, nonce, raft_options(&options, &standing), restored);
        let open = Open { id, member: member.clone(), lineage: standing.lineage.clone(), cluster }
            .encode();
        let mut node = Node {
            me: id,
            member,
            options,
            raft,
            machine,
            begun,
            tree,
            client: Client::new(open, nonce),
            leases: Leases::new(nonce),
            told: BTreeMap::new(),
            applied_term: Default::default(),
            now: Time::ZERO,
            ticked_ms: 0,
            inbox: VecDeque::new(),
            proposed: BTreeSet::new(),
            hints: BTreeMap::new(),
            heard: None,
            led: Default::default(),
            last_ticket: Ticket(0),
            tickets: VecDeque::new(),
            applied_bytes: 0,
            snapshot_size: size,
            freezing: false,
            draft: None,
            wants_encoded: false,
            arrived: None,
            space: Default::default(),
            standing,
            standing_changed: false,
            stopping: None,
            settling: Vec::new(),
            members_changed: true,
            left_at: None,
            contacts: Default::default(),
            effects: Vec::new(),
        };
        // The tree is not used any more, but the log needs it until another state stands beside the log.
        node.wants_encoded = node.tree.is_none() && matches!(before, Before::Tree(_));
        node.hurry_alone();
        // A tree that is ahead of the log may know it alone.
        node.standing.cluster = node.standing.cluster.or(node.machine.cluster);
        let first = record::encode_record(None, Some(&node.standing));
        Ok((node, first))
    }

    /// A server without others need not wait for a leader to show up.
    fn hurry_alone(&mut self) {
        let (_, config) = self.raft.configuration();
        if config.voters.len() == 1 && config.voters.contains(&self.me) && !config.is_joint() {
            self.raft.tick(2 * self.options.election_timeout_ms);
        }
    }

    /// How this server presents itself.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// The lives that its data directory has seen.
    pub fn lineage(&self) -> &Lineage {
        &self.standing.lineage
    }
}

const MISSING: &str = "the state that the log goes on from is missing";

/// The machine over a tree, and how far that is: at least as far as `first`, where the log begins.
fn over(
    base: Arc<dyn Base>,
    first: Index,
    founders: BTreeMap<RaftId, Member>,
) -> Result<(Index, Machine, Option<Tree>), String> {
    let tree = Tree::begin(&*base, Time::ZERO);
    let (index, machine) = match Machine::over(&base)? {
        Some((index, machine)) if index >= first => (index, machine),
        None if first == Index::ZERO => {
            let store = Store::over(base).ok_or(MISSING)?;
            (Index::ZERO, Machine { store, ..Machine::genesis(founders) })
        }
        _ => return Err(MISSING.to_owned()),
    };
    Ok((index, machine, Some(tree)))
}

/// The configuration in force at the end of a stored log that began with `initial`.
fn newest<'a>(restored: &'a Restored, initial: &'a Config) -> &'a Config {
    let mut entries = restored.entries.iter().rev();
    let last = entries.find_map(|entry| match &entry.payload {
        Payload::Config(config) => Some(&**config),
        _ => None,
    });
    last.or(restored.base_config.as_deref()).unwrap_or(initial)
}

fn raft_options(options: &Options, standing: &Standing) -> RaftOptions {
    RaftOptions {
        election_timeout_ticks: options.election_timeout_ms,
        heartbeat_ticks: options.heartbeat_ms,
        max_append_bytes: options.max_append_bytes,
        snapshot_chunk_bytes: options.max_append_bytes.min(128 << 10),
        max_inflight_bytes: 16 << 20,
        max_uncommitted_bytes: 64 << 20,
        keep_entries: options.keep_entries,
        abstain: standing.abstains,
        ..RaftOptions::default()
    }
}

fn alone(why: &str) -> String {
    format!(
        "what this server acknowledged is missing, and without it the others are no quorum \
         that could bring it back: {why}. Give it the data directory as it was, or begin a \
         new cluster with empty data directories"
    )
}
