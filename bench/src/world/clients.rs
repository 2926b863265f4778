//! The clients: workers, their processes, and the history they write.
//!
//! A worker is a thread of the test. It runs as a process; when an operation ends
//! as `info` the process is retired, since that operation may still take effect,
//! and the worker goes on as process + concurrency. Whether it keeps its connection is
//! the load's affair; if not, it closes the old one when it begins its next operation,
//! as Jepsen's interpreter does.

use std::time::Duration;

use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;

use crate::config::RunConfig;
use crate::edn::Edn;
use crate::history::{History, Op, OpType, Process};
use crate::load::client::{Answer, Completion, Reply, Step, proceed};
use crate::load::{Ask, Client, Connection, Invocation, Load, Next};

use super::addresses::{Addresses, Standing};
use crate::seed::Draw;

/// One thread of the test.
struct Worker {
    process: u64,
    node: usize,
    address: NodeId,
    client: Box<dyn Client>,
    next_msg_id: u64,
    open: Option<Open>,
    /// Whether the connection is replaced before the next operation.
    reconnects: bool,
}

impl Worker {
    /// Whether it could begin an operation while this node is not to be asked.
    fn is_free(&self, spared: Option<usize>) -> bool {
        self.open.is_none() && spared != Some(self.node)
    }
}

/// An operation in progress.
struct Open {
    op: Invocation,
    /// The request that is out.
    msg_id: u64,
}

/// Identifies a request that may time out: the worker, its process, and `msg_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    worker: usize,
    process: u64,
    msg_id: u64,
}

/// A request that goes out, and when to give up on it.
pub struct Outgoing {
    /// The request.
    pub packet: Packet,
    /// Names it in the timeout.
    pub id: RequestId,
}

/// All workers of a run.
pub struct Clients {
    workers: Vec<Worker>,
    load: Box<dyn Load>,
    nodes: Vec<NodeId>,
    draw: Draw,
    addresses: Addresses,
    /// When the test began, on the world's clock.
    origin: Time,
    history: History,
    /// The node that is not to be asked.
    spared: Option<usize>,
    /// The workers that are free, and the process of each, when the generator was last asked.
    free: Vec<usize>,
    processes: Vec<u64>,
    /// How long a client waits for a reply.
    pub timeout: Duration,
}

impl Clients {
    /// Workers spread over the nodes, not connected yet.
    pub fn new(config: &RunConfig, load: Box<dyn Load>) -> Clients {
        Clients {
            workers: Vec::new(),
            nodes: config.nodes.clone(),
            draw: config.seed.stream("generator", 0),
            addresses: Addresses::default(),
            origin: Time::ZERO,
            history: History::new(),
            spared: None,
            free: Vec::new(),
            processes: Vec::new(),
            timeout: load.patience(),
            load,
        }
    }

    /// A new client address.
    pub fn new_address(&mut self) -> NodeId {
        self.addresses.open()
    }

    /// A client of the bench itself closes its connection.
    pub(super) fn close(&mut self, address: &NodeId, at: Time) {
        self.addresses.close(address, at);
    }

    /// Whether there is a client with this address.
    pub(super) fn standing(&self, address: &NodeId, now: Time) -> Standing {
        self.addresses.standing(address, now)
    }

    /// Returns when this client sent the request that a message answers, if it gave it up.
    pub(super) fn given_up(&self, address: &NodeId, body: &str) -> Option<Time> {
        self.addresses.given_up(address, &Answer::parse(body).ok()?)
    }

    /// Connects `concurrency` workers; the test begins.
    pub fn begin(&mut self, now: Time, concurrency: usize) {
        self.origin = now;
        for index in 0..concurrency {
            let (address, client) = (self.new_address(), self.load.client());
            let node = index % self.nodes.len();
            let process = index as u64;
            self.workers.push(Worker {
                process,
                node,
                address,
                client,
                next_msg_id: 1,
                open: None,
                reconnects: false,
            });
        }
    }

    /// Returns the requests that the load wants to send to the nodes before the test begins.
    pub fn preparation(&self) -> Vec<(usize, String, &'static str)> {
        self.load.preparation()
    }

    /// Whether the test ends with a recovery and last operations.
    pub fn has_last_phase(&self) -> bool {
        self.load.has_last_phase()
    }

    /// When the test began.
    pub fn origin(&self) -> Time {
        self.origin
    }

    /// Whether no operation is open.
    pub fn idle(&self) -> bool {
        self.workers.iter().all(|w| w.open.is_none())
    }

    /// The history so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The history, at the end.
    pub fn into_history(self) -> History {
        self.history
    }

    /// Asks the generator for the next operation.
    pub fn ask(&mut self, now: Time, last: bool) -> Next {
        let Clients { workers, spared, free, processes, draw, .. } = self;
        free.clear();
        free.extend((0..workers.len()).filter(|index| workers[*index].is_free(*spared)));
        if free.is_empty() {
            return Next::Pending;
        }
        processes.clear();
        processes.extend(workers.iter().map(|worker| worker.process));
        let now = Time::ZERO + (now - self.origin);
        let mut ask = Ask { free, processes, now, draw };
        if last { self.load.next_last(&mut ask) } else { self.load.next(&mut ask) }
    }

    /// A wait of the generator's stagger: uniform, with mean `1 / rate` seconds.
    pub fn stagger(&mut self, rate: f64) -> Duration {
        Duration::from_secs_f64(2.0 * self.draw.unit() / rate)
    }

    /// Whether this worker could begin an operation.
    pub fn is_free(&self, worker: usize) -> bool {
        self.workers.get(worker).is_some_and(|worker| worker.is_free(self.spared))
    }

    /// From now on no operation begins at this node.
    pub fn spare(&mut self, node: Option<usize>) {
        self.spared = node;
    }

    /// A worker begins an operation.
    pub fn invoke(&mut self, now: Time, worker: usize, op: Invocation) -> Option<Outgoing> {
        assert!(self.workers[worker].open.is_none(), "worker {worker} is busy");
        if std::mem::take(&mut self.workers[worker].reconnects) {
            self.reconnect(now, worker);
        }
        self.record(now, worker, OpType::Invoke, &op, op.value.clone(), None);
        let step = self.workers[worker].client.invoke(&op);
        self.workers[worker].open = Some(Open { op, msg_id: 0 });
        self.follow(now, worker, step)
    }

    /// A message for a client has come. Late replies and those to clients that are
    /// gone end here.
    ///
    /// # Errors
    /// Why it was taken for no answer, if that is a mistake of the node.
    pub fn receive(&mut self, now: Time, packet: &Packet) -> Result<Option<Outgoing>, String> {
        let Some(worker) = self.workers.iter().position(|w| w.address == packet.dest) else {
            return Ok(None);
        };
        let answer = Answer::parse(&packet.body).map_err(|e| format!("a message: {e}"))?;
        let open = self.workers[worker].open.as_ref();
        if open.is_none_or(|open| !answer.answers(open.msg_id)) {
            return answer.astray(self.workers[worker].next_msg_id - 1).map_or(Ok(None), Err);
        }
        Ok(match answer.refusal() {
            Some(error) => self.conclude(now, worker, &Reply::Error(&error)),
            None => self.conclude(now, worker, &Reply::Body(&answer)),
        })
    }

    /// A request's time is up.
    pub fn time_out(&mut self, now: Time, id: RequestId) -> Option<Outgoing> {
        let worker = &self.workers[id.worker];
        let waits = worker.open.as_ref().is_some_and(|o| o.msg_id == id.msg_id);
        if worker.process != id.process || !waits {
            return None;
        }
        self.addresses.gives_up(&worker.address, id.msg_id);
        self.conclude(now, id.worker, &Reply::Timeout)
    }

    /// Adds an event of the nemesis to the history.
    pub fn record_nemesis(&mut self, now: Time, f: &str, value: Edn) {
        let op = Invocation::new(f, Edn::Nil);
        self.push(now, Process::Nemesis, OpType::Info, &op, value, None);
    }

    fn conclude(&mut self, now: Time, worker: usize, reply: &Reply<'_>) -> Option<Outgoing> {
        let slot = &mut self.workers[worker];
        let open = slot.open.as_ref().expect("only open operations get replies");
        let step = proceed(&mut *slot.client, &open.op, reply);
        self.follow(now, worker, step)
    }

    fn follow(&mut self, now: Time, worker: usize, step: Step) -> Option<Outgoing> {
        match step {
            Step::Request(body) => Some(self.request(now, worker, body)),
            Step::Complete(completion) => {
                self.complete(now, worker, completion);
                None
            }
        }
    }

    fn request(&mut self, now: Time, index: usize, mut body: String) -> Outgoing {
        let worker = &mut self.workers[index];
        self.addresses.asks(&worker.address, now);
        let msg_id = worker.next_msg_id;
        worker.next_msg_id += 1;
        worker.open.as_mut().expect("a request belongs to an operation").msg_id = msg_id;
        body.pop();
        body.push_str(",\"msg_id\":");
        body.push_str(itoa::Buffer::new().format(msg_id));
        body.push('}');
        let (src, dest) = (worker.address.clone(), self.nodes[worker.node].clone());
        let id = RequestId { worker: index, process: worker.process, msg_id };
        Outgoing { packet: Packet { src, dest, body }, id }
    }

    fn complete(&mut self, now: Time, index: usize, completion: Completion) {
        let open = self.workers[index].open.take().expect("only open operations complete");
        self.load.completed(index, &open.op, &completion);
        let Completion { kind, value, error, extra } = completion;
        self.record(now, index, kind, &open.op, value, error);
        self.history.last_mut().expect("it was recorded").extra.extend(extra);
        if kind == OpType::Info {
            self.workers[index].process += self.workers.len() as u64;
            self.workers[index].reconnects = self.load.after_info() == Connection::Closed;
        }
    }

    fn reconnect(&mut self, now: Time, index: usize) {
        let address = self.new_address();
        let worker = &mut self.workers[index];
        self.addresses.close(&worker.address, now);
        worker.address = address;
        worker.client = self.load.client();
        worker.next_msg_id = 1;
    }

    fn record(
        &mut self,
        now: Time,
        worker: usize,
        kind: OpType,
        op: &Invocation,
        value: Edn,
        error: Option<Edn>,
    ) {
        let process = Process::Client(self.workers[worker].process);
        self.push(now, process, kind, op, value, error);
    }

    fn push(
        &mut self,
        now: Time,
        process: Process,
        kind: OpType,
        op: &Invocation,
        value: Edn,
        error: Option<Edn>,
    ) {
        let time = i64::try_from((now - self.origin).as_nanos()).expect("292 years are enough");
        self.history.push(Op {
            index: self.history.len(),
            time,
            kind,
            process,
            f: op.f.clone(),
            value,
            error,
            is_final: op.is_final,
            extra: op.extra.clone(),
        });
    }
}
