//! A gossip engine as part of a node: messages, the timer, durability.
//!
//! A workload owns a [`Replicated`]: a lattice value that it changes with
//! [`Replicated::add`], reads with [`Replicated::state`], and that every node ends up
//! agreeing on. The workload passes every event to [`Replicated::handle`] first.
//!
//! Durability is one rule: *nothing leaves this node before everything that it knows
//! is on stable storage*: not an acknowledgement to a client, not an answer to
//! a read, not a message to a peer. So no element can be seen and then be lost, nothing
//! that was exposed can be forgotten by its author, and no acknowledgement to a peer
//! is ahead of the disk. With group commit that costs one flush for everything that
//! happened in a turn.
//!
//! The log is bounded by checkpoints: one is written when the records since the last
//! take more room than it did. Deliberately missing: deltas in checkpoints; a peer
//! that lacks something older is sent the state.

mod identity;
mod planted;

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::gossip::{Author, Boot, Engine, Lattice, Message, Options, Output, Rank, Snapshot};
use crate::message::{self, NodeId, Request, RpcError};
use crate::node::{Context, Event, Payload, Ticket, Token};
use crate::storage::Log;
use crate::time::Time;
use identity::{Claim, Identity, Stored, Verdict};

/// The engine's timer, in the scope of the workload that owns it.
const TIMER: Token = Token(0);
/// Ends the wait of reads for the first word of another node.
const READS: Token = Token(1);
/// How long a read waits for that.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);
/// Records of fewer bytes than this are not worth a checkpoint.
const MIN_LOG_BYTES: usize = 256 << 10;

/// A replicated value.
pub struct Replicated<L> {
    /// The type of the messages between the replicas.
    kind: &'static str,
    config: Options,
    running: Option<Running<L>>,
    /// The last record, until it is durable.
    pending: Option<Ticket>,
    /// Reads that came before another node echoed this one; none are held afterwards.
    reads: Option<Vec<message::Message>>,
    /// When the timer goes off, if it is set.
    timer_at: Option<Time>,
    log_bytes: usize,
    checkpoint_bytes: usize,
}

struct Running<L> {
    engine: Engine<L>,
    identity: Identity,
    /// The identity that storage was told.
    stored: Stored,
    /// All nodes, by rank.
    nodes: Vec<NodeId>,
    ranks: BTreeMap<NodeId, Rank>,
}

#[derive(Serialize)]
struct Envelope<'a, L> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    message: &'a Message<L>,
    /// The sender's cluster.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    claim: Option<Claim>,
}

/// The part of an envelope that is not the engine's.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "i", default)]
    claim: Option<Claim>,
}

/// How a record begins that holds the identity.
const IDENTITY: &[u8] = br#"{"i":"#;

/// Everything at one moment.
#[derive(Serialize)]
struct Checkpoint<L> {
    #[serde(flatten)]
    engine: Snapshot<L>,
    #[serde(flatten)]
    identity: Stored,
}

impl<L: Lattice + Serialize + DeserializeOwned> Replicated<L> {
    /// A value that is not there before [`Replicated::start`]. `kind` is the type of
    /// the messages between its replicas.
    pub fn new(kind: &'static str, config: Options) -> Replicated<L> {
        Replicated {
            kind,
            config,
            running: None,
            pending: None,
            reads: Some(Vec::new()),
            timer_at: None,
            log_bytes: 0,
            checkpoint_bytes: 0,
        }
    }

    /// Begins with the stored log.
    ///
    /// # Panics
    /// If storage holds something that this program never wrote: to go on without it would be to
    /// lose acknowledged operations.
    pub fn start(&mut self, cx: &mut Context<'_>, log: Log) {
        if let Some(why) = log.lost {
            // A delta that was acknowledged here and not sent yet is on no other node.
            return cx.refuse(format!(
                "what this node acknowledged is missing: {why}. Give it the directory as it \
                 was; or remove directory and record to let it join without one, which \
                 gives up what it alone had"
            ));
        }
        let (nodes, ranks) = rank_nodes(cx);
        let count = u16::try_from(nodes.len()).expect("a cluster has fewer than 65536 nodes");
        let boot = Boot::from_random(cx.rng().next_u64());
        let rank = ranks[cx.id()];
        let mut engine = Engine::new(rank, count, boot, &self.config);
        let mut stored = Stored::default();
        if let Some(bytes) = &log.checkpoint {
            self.checkpoint_bytes = bytes.len();
            engine.restore(decode(bytes));
            stored = decode(bytes);
        }
        for record in &log.records {
            self.log_bytes += record.len();
            if record.starts_with(IDENTITY) {
                stored = decode(record);
            } else {
                engine.replay(decode(record));
            }
        }
        engine.start(cx.now());
        let identity = Identity::new(rank, nodes.len(), stored, cx.rng().next_u64());
        self.running = Some(Running { engine, identity, stored, nodes, ranks });
        cx.set_timer(READS, JOIN_PATIENCE);
        self.carry_out(cx);
    }

    /// Takes the engine's events; hands back the workload's.
    ///
    /// A `read` is handed back once another node has echoed this one, or after two seconds: a
    /// node that has just been restarted may have forgotten values that the others know, and
    /// should not answer from an empty memory if it can help it.
    pub fn handle(&mut self, cx: &mut Context<'_>, event: Event) -> Vec<Event> {
        let mut rest = Vec::new();
        match event {
            Event::Message(message) if message.body.kind == self.kind => {
                self.receive(cx, &message);
            }
            Event::Message(read) if read.body.kind == "read" && self.reads.is_some() => {
                self.reads.get_or_insert_default().push(read);
            }
            Event::Timer(TIMER) => {
                self.timer_at = None;
                let now = cx.now();
                self.run(cx, |running| running.engine.tick(now));
            }
            Event::Timer(READS) => rest.extend(self.release_reads()),
            Event::Durable(ticket) => self.pending = self.pending.filter(|last| *last > ticket),
            event => rest.push(event),
        }
        if self.running.as_ref().is_some_and(|running| !running.engine.is_joining()) {
            rest.extend(self.release_reads());
        }
        rest
    }

    fn release_reads(&mut self) -> impl Iterator<Item = Event> + use<L> {
        self.reads.take().into_iter().flatten().map(Event::Message)
    }

    /// The value as this node knows it.
    ///
    /// # Panics
    /// Before [`Replicated::start`].
    pub fn state(&self) -> &L {
        self.running().engine.state()
    }

    /// This node's name as an author of deltas; new in every incarnation.
    ///
    /// # Panics
    /// Before [`Replicated::start`].
    pub fn author(&self) -> Author {
        self.running().engine.author()
    }

    /// Joins `delta` into the value, and has it told to the others.
    pub fn add(&mut self, cx: &mut Context<'_>, delta: L) {
        let now = cx.now();
        self.run(cx, |running| running.engine.add(now, delta));
    }

    /// Answers a client once everything that this node knows is durable.
    pub fn reply(&self, cx: &mut Context<'_>, request: &Request, payload: &impl Payload) {
        match planted::awaited(self.pending) {
            Some(ticket) => cx.reply_after(ticket, request, payload),
            None => cx.reply(request, payload),
        }
    }

    /// Tells the engine the neighbours of every node; it uses them if its overlay
    /// is [`Overlay::Topology`](crate::gossip::Overlay::Topology).
    pub fn set_topology(&mut self, cx: &mut Context<'_>, edges: &BTreeMap<NodeId, Vec<NodeId>>) {
        let now = cx.now();
        self.run(cx, |running| {
            let rank = |node: &NodeId| running.ranks.get(node).copied();
            let of = |node| edges.get(node).into_iter().flatten().filter_map(rank).collect();
            let edges: Vec<Vec<Rank>> = running.nodes.iter().map(of).collect();
            running.engine.set_topology(now, &edges);
        });
    }

    fn receive(&mut self, cx: &mut Context<'_>, message: &message::Message) {
        let from = self.running().ranks.get(&message.src).copied();
        let parsed: Result<Message<L>, RpcError> = message.body.parse();
        match (from, parsed) {
            (Some(from), Ok(parsed)) => {
                let claim = message.body.parse::<Claims>().ok().and_then(|claims| claims.claim);
                if !self.admits(cx, from, &message.src, parsed.boot, claim) {
                    return;
                }
                let now = cx.now();
                self.run(cx, |running| running.engine.receive(now, from, parsed));
            }
            (None, _) => tracing::warn!(src = %message.src, "dropped gossip of a stranger"),
            (_, Err(error)) => tracing::warn!(src = %message.src, %error, "dropped bad gossip"),
        }
    }

    /// Whether a message is to be believed: not one of another cluster.
    fn admits(
        &mut self,
        cx: &Context<'_>,
        from: Rank,
        name: &NodeId,
        boot: Boot,
        claim: Option<Claim>,
    ) -> bool {
        let running = self.running.as_mut().expect("the first event is the start");
        match running.identity.take(from, boot, claim) {
            Verdict::Take => true,
            Verdict::Drop => false,
            Verdict::Refuse(theirs, is_news) => {
                if is_news {
                    let (id, own) = (cx.id(), running.identity.own());
                    tracing::error!(
                        "{id} is of cluster {own}, and {name} of cluster {theirs}: neither listens \
                         to the other. Give each node the data directory that it used in this \
                         cluster"
                    );
                }
                false
            }
        }
    }

    fn running(&self) -> &Running<L> {
        self.running.as_ref().expect("the first event is the start")
    }

    fn run(&mut self, cx: &mut Context<'_>, act: impl FnOnce(&mut Running<L>)) {
        act(self.running.as_mut().expect("the first event is the start"));
        self.carry_out(cx);
    }

    fn carry_out(&mut self, cx: &mut Context<'_>) {
        let running = self.running.as_mut().expect("the first event is the start");
        // Guard: the draw of this node is on its disk before another hears of it.
        let identity = running.identity.to_store();
        if running.nodes.len() > 1 && identity != running.stored {
            running.stored = identity;
            let record = encode(&identity);
            self.log_bytes += record.len();
            self.pending = Some(cx.persist(record));
        }
        for output in running.engine.take_outputs() {
            match output {
                Output::Persist(record) => {
                    let record = encode(&record);
                    self.log_bytes += record.len();
                    self.pending = Some(cx.persist(record));
                }
                Output::Send(to, message) => {
                    let claim = running.identity.claim(running.engine.is_proved(to));
                    let envelope = Envelope { kind: self.kind, message: &message, claim };
                    let to = &running.nodes[to.index()];
                    match self.pending {
                        Some(ticket) => cx.send_after(ticket, to, &envelope),
                        None => cx.send(to, &envelope),
                    }
                }
            }
        }
        if self.log_bytes > self.checkpoint_bytes.max(MIN_LOG_BYTES) {
            let engine = running.engine.snapshot();
            let state = encode(&Checkpoint { engine, identity: running.stored });
            (self.checkpoint_bytes, self.log_bytes) = (state.len(), 0);
            self.pending = Some(cx.checkpoint(state));
        }
        self.set_timer(cx);
    }

    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let wake_at = self.running().engine.wake_at();
        if wake_at == self.timer_at {
            return;
        }
        self.timer_at = wake_at;
        match wake_at {
            Some(at) => cx.set_timer(TIMER, at - cx.now()),
            None => cx.cancel_timer(TIMER),
        }
    }
}

/// All nodes in the order in which they may be the hub: `n2` before `n10`, and the
/// same on every node, however `init` listed them.
fn rank_nodes(cx: &Context<'_>) -> (Vec<NodeId>, BTreeMap<NodeId, Rank>) {
    let mut nodes: Vec<NodeId> = cx.peers().cloned().collect();
    nodes.push(cx.id().clone());
    nodes.sort_by(|a, b| (a.as_str().len(), a).cmp(&(b.as_str().len(), b)));
    nodes.dedup();
    let ranks = (0..).map(Rank);
    let ranks = nodes.iter().cloned().zip(ranks).collect();
    (nodes, ranks)
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records are plain data")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(e) => panic!("storage holds a record that is not ours: {e}"),
    }
}
