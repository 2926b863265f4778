//! The one thread that a node lives in: it waits, steps, flushes and carries out.
//!
//! Everything that has arrived is handled in one turn, and made durable with one flush, while the
//! loop goes on: groups grow with the load. Each request brings the place for its answer.

// The engine is the shell of the pure node: clock and threads are its business.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seaworthy::raft::{Command, Index, RaftId};
use seaworthy::storage::{Storage, StorageError, Write, WriteData};
use seaworthy::time::Time;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;
use crate::node::{
    Class, Effect, Event, Failure, Hello, Input, Member, Node, Refusal, Reply, Request, Ticket,
    Token, Verdict, Written,
};
use crate::slow::Kind;
use crate::states::Beside;
use crate::watch::Watches;

/// How many requests and parcels may wait for the node.
const QUEUE: usize = 8192;
/// How many are handled in one turn.
const TURN: usize = 1024;
/// A flush that takes longer is worth a line in the log.
const SLOW_FLUSH: Duration = Duration::from_millis(100);
/// The stream of the storage that holds the log.
pub const STREAM: &str = "raft";

/// Where parcels for other servers go. It never blocks: a parcel that does not fit is dropped.
pub trait Outbox: Send + 'static {
    /// Takes a parcel.
    fn send(&mut self, to: RaftId, class: Class, bytes: Vec<u8>);
    /// Learns who the others are from now on, and how they are reached.
    fn set_members(&mut self, members: &BTreeMap<RaftId, Member>);
}

/// The messages to the node's thread.
enum Arrival {
    Request(Request, oneshot::Sender<Reply>, Instant),
    Input(Input),
    Hello(Box<Hello>, oneshot::Sender<Result<(), Refusal>>),
    /// The server has to end.
    End(Ended),
}

/// The way to a running node. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    queue: mpsc::Sender<Arrival>,
    /// The engine's counters.
    pub metrics: Arc<Metrics>,
    /// Those who want to hear of every change.
    pub watches: Arc<Watches>,
    /// The identity of the cluster; 0 until it is known.
    cluster: Arc<AtomicU64>,
}

/// How an engine ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// The disk failed: nothing that depended on it was acknowledged.
    Disk(StorageError),
    /// The cluster does not accept this server.
    Refused(String),
    /// This server was removed from the cluster.
    Removed,
}

impl Handle {
    /// The identity of the cluster; 0 until its log has decided on one.
    pub fn cluster_id(&self) -> u64 {
        self.cluster.load(Ordering::Relaxed)
    }

    /// Asks the node, and waits for its answer.
    pub async fn ask(&self, request: Request) -> Reply {
        let (answer, answered) = oneshot::channel();
        let gone = Reply::Failed(Failure::Stopping);
        let (kind, began) = (Kind::of(&request), Instant::now());
        let reply = match self.queue.send(Arrival::Request(request, answer, began)).await {
            Ok(()) => answered.await.unwrap_or(gone),
            Err(_) => gone,
        };
        self.metrics.slow.answered(kind, began);
        reply
    }

    /// Hands a parcel of another server to the node, and waits if that is busy.
    pub async fn parcel(&self, from: RaftId, bytes: Vec<u8>) {
        self.metrics.peer_received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let _ = self.queue.send(Arrival::Input(Input::Parcel(from, bytes))).await;
    }

    /// Tells the node how much space is left on a disk that is full; `None` if it is not.
    pub async fn space(&self, left: Option<u64>) {
        let _ = self.queue.send(Arrival::Input(Input::Space(left))).await;
    }

    /// Asks the node whether a server may be listened to.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn admit(&self, hello: Hello) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        let _ = self.queue.send(Arrival::Hello(Box::new(hello), answer)).await;
        let stopping = Refusal { why: "this server stops".to_owned(), verdict: Verdict::NotNow };
        answered.await.unwrap_or(Err(stopping))
    }

    /// Tells the node that others will never accept it as it is: the engine ends.
    pub async fn refused(&self, who: &str, refusal: Refusal) {
        let ended = match refusal.verdict {
            Verdict::NotNow => return,
            Verdict::Never => Ended::Refused(format!("{who} refuses it: {}", refusal.why)),
            Verdict::Removed => Ended::Removed,
        };
        let _ = self.queue.send(Arrival::End(ended)).await;
    }

    /// Tells the node that nothing can be made durable any more: the engine ends.
    pub async fn storage_lost(&self, error: StorageError) {
        let _ = self.queue.send(Arrival::End(Ended::Disk(error))).await;
    }

    /// Asks the node to stop; the engine ends soon after.
    pub async fn stop(&self) {
        let _ = self.queue.send(Arrival::Input(Input::Stop)).await;
    }
}

/// The parts that an engine is started with.
pub struct Setup<O> {
    /// The server.
    pub node: Node,
    /// Its log.
    pub storage: Box<dyn Storage>,
    /// The states beside the log.
    pub states: Arc<dyn Beside>,
    /// The way to the others.
    pub outbox: O,
    /// How the cluster was founded.
    pub founding: u64,
}

/// A place for a node that is not started yet; the handle works already.
pub struct Seat {
    handle: Handle,
    arrivals: mpsc::Receiver<Arrival>,
}

/// Makes the way to a node before the node is there, for those that it will need.
pub fn prepare() -> (Handle, Seat) {
    let (queue, arrivals) = mpsc::channel(QUEUE);
    let (metrics, watches, cluster) = (Arc::default(), Arc::default(), Arc::default());
    let handle = Handle { queue, metrics, watches, cluster };
    (handle.clone(), Seat { handle, arrivals })
}

impl Seat {
    /// Starts the thread of a node. The answer comes when it ends.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start<O: Outbox>(self, setup: Setup<O>) -> std::io::Result<oneshot::Receiver<Ended>> {
        let Setup { node, storage, states, outbox, founding } = setup;
        let (ended, end) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let names = node.machine().members.iter().map(|(id, m)| (*id, m.name.clone())).collect();
        let state = node.raft().snapshot().map(|snapshot| snapshot.data.clone());
        let engine = Engine {
            node,
            outbox,
            founding,
            leaderless_since: Some(Instant::now()),
            names,
            metrics: self.handle.metrics.clone(),
            watches: self.handle.watches.clone(),
            cluster: self.handle.cluster.clone(),
            start: Instant::now(),
            disk: Disk::new(storage, states, state),
            waiting: BTreeMap::new(),
            next_token: 0,
            held: BTreeMap::new(),
            sender: self.handle.queue,
            ended: None,
        };
        std::thread::Builder::new().name("node".into()).spawn(move || {
            let _ = ended.send(runtime.block_on(engine.run(self.arrivals)));
        })?;
        Ok(end)
    }
}

struct Engine<O> {
    node: Node,
    outbox: O,
    founding: u64,
    leaderless_since: Option<Instant>,
    names: BTreeMap<RaftId, String>,
    metrics: Arc<Metrics>,
    watches: Arc<Watches>,
    cluster: Arc<AtomicU64>,
    start: Instant,
    disk: Disk,
    waiting: BTreeMap<Token, oneshot::Sender<Reply>>,
    next_token: u64,
    held: BTreeMap<Ticket, Vec<(RaftId, Class, Vec<u8>)>>,
    sender: mpsc::Sender<Arrival>,
    ended: Option<Ended>,
}

type Flush = Pin<Box<dyn Future<Output = (Box<dyn Storage>, Result<(), StorageError>)> + Send>>;

/// Group commit: the records that wait for the disk, and the one flush that is under way.
struct Disk {
    idle: Option<Box<dyn Storage>>,
    flush: Option<(Ticket, Instant, Flush)>,
    group: Vec<Write>,
    last: Ticket,
    durable: Ticket,
    states: Arc<dyn Beside>,
    /// A state that has to be on disk before the group is.
    state: Option<Written>,
    /// The state that the log goes on from, held so that another thread is the last to let it go.
    kept: Option<Command>,
}

impl Disk {
    fn new(storage: Box<dyn Storage>, states: Arc<dyn Beside>, kept: Option<Command>) -> Disk {
        let (idle, group) = (Some(storage), Vec::new());
        let (last, durable) = (Ticket(0), Ticket(0));
        Disk { idle, flush: None, group, last, durable, states, state: None, kept }
    }

    fn add(&mut self, ticket: Ticket, data: WriteData) {
        assert!(ticket > self.last, "tickets are issued in order");
        self.last = ticket;
        self.group.push(Write { stream: STREAM, data });
    }

    /// Begins to flush the group of writes, unless a flush is under way.
    fn begin(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let Some(mut storage) = self.idle.take() else { return };
        let writes = std::mem::take(&mut self.group);
        let state = self.state.take().filter(|written| written.index > Index::ZERO);
        let states = self.states.clone();
        let old = match &state {
            Some(written) => self.kept.replace(written.state.clone()),
            None => None,
        };
        let flush = Box::pin(async move {
            let result = match state {
                None => storage.commit(writes).await,
                Some(state) => commit_checkpoint(&mut *storage, writes, states, state, old).await,
            };
            (storage, result)
        });
        self.flush = Some((self.last, Instant::now(), flush));
    }

    /// Waits for the flush that is under way; for ever if there is none.
    async fn flushed(&mut self, metrics: &Metrics) -> Result<Ticket, StorageError> {
        let Some((ticket, began, flush)) = &mut self.flush else { return pending().await };
        let (storage, result) = flush.await;
        let (ticket, took) = (*ticket, began.elapsed());
        self.flush = None;
        result?;
        metrics.fsync.observe(took);
        metrics.slow.flushed(took);
        if took > SLOW_FLUSH {
            tracing::warn!(took_ms = took.as_millis() as u64, "the disk is slow");
        }
        self.idle = Some(storage);
        self.durable = ticket;
        Ok(ticket)
    }
}

/// Commits a group with a checkpoint, whose state comes first.
async fn commit_checkpoint(
    storage: &mut dyn Storage,
    writes: Vec<Write>,
    states: Arc<dyn Beside>,
    written: Written,
    old: Option<Command>,
) -> Result<(), StorageError> {
    let index = written.index;
    let beside = states.clone();
    let work = move || beside.write(index, written.state.as_bytes());
    let stopped = |e| StorageError { place: "the states".to_owned(), reason: format!("{e}") };
    tokio::task::spawn_blocking(work).await.map_err(stopped)??;
    storage.commit(writes).await?;
    std::thread::spawn(move || {
        states.remove_older(index, false);
        drop(old);
    });
    Ok(())
}

enum Woken {
    Arrivals,
    Deadline,
    Durable(Ticket),
}

impl<O: Outbox> Engine<O> {
    async fn run(mut self, mut arrivals: mpsc::Receiver<Arrival>) -> Ended {
        let mut batch = Vec::with_capacity(TURN);
        loop {
            let woken = tokio::select! {
                // Unbiased on purpose: none of the three can starve another.
                _ = arrivals.recv_many(&mut batch, TURN) => Woken::Arrivals,
                () = reaches(self.start, self.node.deadline()) => Woken::Deadline,
                flushed = self.disk.flushed(&self.metrics) => match flushed {
                    Ok(ticket) => Woken::Durable(ticket),
                    Err(error) => return Ended::Disk(error),
                },
            };
            let now = self.now();
            match woken {
                Woken::Arrivals => {
                    for arrival in batch.drain(..) {
                        self.take(now, arrival);
                    }
                }
                Woken::Deadline => {}
                Woken::Durable(ticket) => self.durable(now, ticket),
            }
            let mut effects = Vec::new();
            self.node.flush(now, &mut effects);
            let cluster = self.node.cluster().unwrap_or(0);
            self.cluster.store(cluster, Ordering::Relaxed);
            self.metrics.note_store(self.node.machine().store.size_bytes());
            // Before the answers: who was answered and watches then is not told of it.
            self.watches.publish(&self.node);
            if let Some(end) = self.carry_out(effects) {
                return end;
            }
            if let Some(ended) = self.ended.take() {
                return ended;
            }
            self.disk.begin();
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    fn take(&mut self, now: Time, arrival: Arrival) {
        match arrival {
            Arrival::Request(request, answer, sent) => {
                self.metrics.slow.queued(sent.elapsed());
                let token = Token(self.next_token);
                self.next_token += 1;
                self.waiting.insert(token, answer);
                self.node.step(now, Input::Request(token, request));
            }
            Arrival::Input(input) => self.node.step(now, input),
            Arrival::Hello(hello, answer) => {
                let _ = answer.send(self.node.admit(self.founding, &hello));
            }
            Arrival::End(ended) => self.ended = Some(ended),
        }
    }

    fn durable(&mut self, now: Time, ticket: Ticket) {
        while let Some(first) = self.held.first_entry().filter(|e| *e.key() <= ticket) {
            for (to, class, bytes) in first.remove() {
                self.send(to, class, bytes);
            }
        }
        self.node.step(now, Input::Durable(ticket));
    }

    fn send(&mut self, to: RaftId, class: Class, bytes: Vec<u8>) {
        self.metrics.peer_sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.outbox.send(to, class, bytes);
    }

    /// Carries out the effects of a turn; the answer is how the engine ends, if it does.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Ended> {
        for effect in effects {
            match effect {
                Effect::Persist(ticket, record) => self.disk.add(ticket, WriteData::Record(record)),
                Effect::Checkpoint(ticket, checkpoint) => {
                    self.disk.state = Some(checkpoint.written);
                    self.disk.add(ticket, WriteData::Checkpoint(checkpoint.tail));
                }
                Effect::Send(to, class, bytes) => self.send(to, class, bytes),
                Effect::SendAfter(ticket, to, class, bytes) if ticket <= self.disk.durable => {
                    self.send(to, class, bytes);
                }
                Effect::SendAfter(ticket, to, class, bytes) => {
                    self.held.entry(ticket).or_default().push((to, class, bytes));
                }
                Effect::Reply(token, reply) => self.reply(token, reply),
                Effect::Freeze(frozen) => {
                    let (sender, states) = (self.sender.clone(), self.disk.states.clone());
                    // A thread of its own: to let the state go can take as long as encoding it.
                    std::thread::spawn(move || {
                        let written = frozen.write();
                        let state = written.state.as_bytes();
                        let arrival = match states.write_if_it_fits(written.index, state) {
                            Ok(true) => Arrival::Input(Input::Written(written)),
                            Ok(false) => Arrival::Input(Input::Unwritten),
                            Err(error) => Arrival::End(Ended::Disk(error)),
                        };
                        let _ = sender.blocking_send(arrival);
                    });
                }
                Effect::Event(Event::Superseded(why)) => return Some(Ended::Refused(why)),
                Effect::Event(event) => self.tell(&event),
                Effect::Members(members) => {
                    let names = members.iter().map(|(id, member)| (*id, member.name.clone()));
                    self.names.extend(names.filter(|(_, name)| !name.is_empty()));
                    self.outbox.set_members(&members);
                }
                Effect::Removed => return Some(Ended::Removed),
                Effect::Stopped => return Some(Ended::Stopped),
            }
        }
        None
    }

    fn reply(&mut self, token: Token, reply: Reply) {
        if matches!(reply, Reply::Failed(_)) {
            self.metrics.proposals_failed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(waiting) = self.waiting.remove(&token) {
            let _ = waiting.send(reply);
        }
    }

    /// Writes one line an event for people.
    fn tell(&mut self, event: &Event) {
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

async fn reaches(start: Instant, deadline: Time) {
    match start.checked_add(Duration::from_nanos(deadline.as_nanos())) {
        // tokio's timers round up to whole milliseconds; a deadline in the past must not wait.
        Some(at) if at <= Instant::now() => {}
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}
