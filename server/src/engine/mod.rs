//! The one thread that a node lives in: it waits, steps, flushes and carries out.
//!
//! Everything that has arrived is handled in one turn, and made durable with one flush, while the
//! loop goes on: groups grow with the load. Each request brings the place for its answer.
//! `disk` has the log, and `shelf` the threads for states, which can be large.

// The engine is the shell of the pure node: clock and threads are its business.
#![allow(clippy::disallowed_methods)]

mod disk;
mod handle;
mod shelf;
mod tell;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seaworthy::raft::RaftId;
use seaworthy::storage::Storage;
use seaworthy::time::Time;
use tokio::sync::{mpsc, oneshot};

use self::disk::Disk;
pub use self::disk::STREAM;
use self::handle::{Arrival, Asker};
pub use self::handle::{Ended, Handle, Seat, prepare};
use self::shelf::Shelf;
use self::tell::Teller;
use crate::metrics::Metrics;
use crate::node::{Class, Effect, Event, Input, Member, Node, Reply, Ticket, Token};
use crate::states::Beside;
use crate::trees::Trees;
use crate::watch::Watches;

/// How many are handled in one turn.
const TURN: usize = 1024;

/// Where parcels for other servers go. It never blocks: a parcel that does not fit is dropped.
pub trait Outbox: Send + 'static {
    /// Takes a parcel.
    fn send(&mut self, to: RaftId, class: Class, bytes: Vec<u8>);
    /// Learns who the others are from now on, and how they are reached.
    fn set_members(&mut self, members: &BTreeMap<RaftId, Member>);
}

/// The parts that an engine is started with.
pub struct Setup<O> {
    /// The server.
    pub node: Node,
    /// Its log.
    pub storage: Box<dyn Storage>,
    /// The states beside the log.
    pub states: Arc<dyn Beside>,
    /// The trees below its machine, if it is not in memory.
    pub trees: Option<Arc<Trees>>,
    /// The way to the others.
    pub outbox: O,
    /// How the cluster was founded.
    pub founding: u64,
}

impl Seat {
    /// Starts the thread of a node. The answer comes when it ends.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub fn start<O: Outbox>(self, setup: Setup<O>) -> std::io::Result<oneshot::Receiver<Ended>> {
        let Setup { node, storage, states, trees, outbox, founding } = setup;
        let (ended, end) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let metrics = self.handle.metrics.clone();
        let teller = Teller::new(metrics.clone(), &node.machine().members);
        let shelf = Shelf::start(states.clone(), trees, self.handle.queue.clone())?;
        let engine = Engine {
            node,
            outbox,
            founding,
            teller,
            metrics,
            watches: self.handle.watches.clone(),
            cluster: self.handle.cluster.clone(),
            start: Instant::now(),
            turn: Instant::now(),
            disk: Disk::new(storage, states),
            shelf,
            waiting: BTreeMap::new(),
            next_token: 0,
            held: BTreeMap::new(),
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
    teller: Teller,
    metrics: Arc<Metrics>,
    watches: Arc<Watches>,
    cluster: Arc<AtomicU64>,
    start: Instant,
    /// When the turn began that is under way.
    turn: Instant,
    disk: Disk,
    shelf: Shelf,
    waiting: BTreeMap<Token, Asker>,
    next_token: u64,
    held: BTreeMap<Ticket, Vec<(RaftId, Class, Vec<u8>)>>,
    ended: Option<Ended>,
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
            let now = self.begin_turn();
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

    fn begin_turn(&mut self) -> Time {
        self.turn = Instant::now();
        Time::ZERO + self.turn.duration_since(self.start)
    }

    fn take(&mut self, now: Time, arrival: Arrival) {
        match arrival {
            Arrival::Request(request, asker, sent) => {
                self.metrics.slow.queued(sent.elapsed());
                let token = Token(self.next_token);
                self.next_token += 1;
                if let Some(stages) = &asker.stages {
                    stages.take();
                }
                self.waiting.insert(token, asker);
                self.node.step(now, Input::Request(token, request));
            }
            Arrival::Input(input) => self.node.step(now, input),
            Arrival::Hello(hello, answer) => {
                let _ = answer.send(self.node.admit(self.founding, &hello));
            }
            Arrival::Send(to, class, bytes) => self.send(to, class, bytes),
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
                Effect::Persist(ticket, record) => self.disk.add(ticket, record),
                Effect::Mark => self.disk.mark(),
                Effect::Checkpoint(ticket, checkpoint) => self.disk.begin_log(ticket, checkpoint),
                Effect::Send(to, class, bytes) => self.send(to, class, bytes),
                Effect::SendAfter(ticket, to, class, bytes) if self.disk.has(ticket) => {
                    self.send(to, class, bytes);
                }
                Effect::SendAfter(ticket, to, class, bytes) => {
                    self.held.entry(ticket).or_default().push((to, class, bytes));
                }
                Effect::Reply(token, reply) => self.reply(token, reply),
                Effect::Freeze(frozen) => self.shelf.write(frozen),
                Effect::Batch(batch) => self.shelf.batch(batch),
                Effect::Piece(piece) => self.shelf.send(piece),
                Effect::Store(received) => self.shelf.receive(received),
                Effect::Discard(state) => drop(std::thread::spawn(move || drop(state))),
                Effect::Event(Event::Superseded(why)) => return Some(Ended::Refused(why)),
                Effect::Event(event) => self.teller.tell(&event),
                Effect::Members(members) => {
                    self.teller.learn(&members);
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
        if let Some(Asker { answer, stages }) = self.waiting.remove(&token) {
            if let Some(stages) = stages {
                stages.answer(self.turn);
            }
            let _ = answer.send(reply);
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
