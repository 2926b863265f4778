//! Machines that run replicas, and clients, on a network: to cut links, kill nodes, lose disks.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::message::{Message, Packet};
use crate::node::{Context, Effect, Event, Input, Node, Ticket, Workload};
use crate::raft::{Raft, Status};
use crate::shell::raft::{Answer, Options, Replica, StateMachine};
use crate::storage::{CrashModel, MemoryStorage, Unsynced};
use crate::testing::{Flight, Network, Weather};
use crate::time::Time;

/// A list that commands are appended to, so that a command that happens twice is seen twice.
#[derive(Default)]
pub(super) struct List(Vec<Value>);

impl StateMachine for List {
    const HAS_IDLE_COMMANDS: bool = true;

    /// A command may ask to change nothing while the list has a certain length.
    fn idle_answer(&self, command: &RawValue) -> Option<Answer> {
        let value: Value = serde_json::from_str(command.get()).unwrap();
        let idle = value["unless_len"].as_u64() == Some(self.0.len() as u64);
        idle.then(|| Answer::new(&json!({"type": "idle"})))
    }

    fn apply(&mut self, command: &RawValue) -> Answer {
        let value: Value = serde_json::from_str(command.get()).unwrap();
        // A command may ask for an answer of so many bytes.
        let padding = value["answer"].as_u64().map(|bytes| "x".repeat(bytes as usize));
        self.0.push(value);
        let mut answer = json!({"type": "append_ok", "len": self.0.len()});
        padding.into_iter().for_each(|padding| answer["padding"] = json!(padding));
        Answer::new(&answer)
    }

    fn query(&self, _: &RawValue) -> Answer {
        Answer::new(&json!({"type": "read_ok", "list": self.0}))
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = serde_json::from_slice(snapshot).map_err(|e| e.to_string())?;
        Ok(())
    }
}

struct ListNode(Replica<List>);

impl Workload for ListNode {
    fn engine(&self) -> Option<&dyn Any> {
        self.0.raft().map(|raft| raft as &dyn Any)
    }

    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Some(message) = self.0.handle(cx, event) else { return };
        let value = |name| message.body.field(name).map(ToOwned::to_owned);
        match message.body.kind.as_str() {
            "append" => self.0.submit(cx, message.request(), value("value").unwrap()),
            "read" => self.0.query(cx, message.request(), RawValue::NULL.to_owned()),
            other => panic!("no client sends {other}"),
        }
    }
}

/// One machine: a process that may be down, and a disk that survives it.
#[derive(Default)]
struct Machine {
    node: Option<Node>,
    disk: MemoryStorage,
    /// The disk takes writes and makes nothing durable.
    is_stalled: bool,
    durable: Option<Ticket>,
    lives: u64,
}

/// The index of a node, or none for a client.
type Address = Option<usize>;

/// A cluster and its clients.
pub(super) struct Net {
    pub(super) options: Options,
    /// The members at the beginning, if not all.
    pub(super) initial: Option<Vec<&'static str>>,
    /// Nodes are addresses, and all clients together are another one.
    pub(super) network: Network<Address, Packet>,
    now: Time,
    machines: Vec<Machine>,
    /// How many messages between nodes were sent.
    pub(super) messages: u64,
    /// The bytes of their bodies, and of the longest.
    pub(super) bytes: usize,
    pub(super) longest: usize,
    /// Receivers skip longer messages.
    pub(super) max_line_bytes: usize,
    asked: u64,
    /// When each request was answered, and how.
    replies: BTreeMap<u64, (Time, Value)>,
}

impl Net {
    /// A cluster of `size` nodes that has elected n0.
    pub(super) fn new(size: usize, latency_ms: u64) -> Net {
        let mut net = Net::stopped(size, latency_ms);
        net.boot();
        net
    }

    /// The same, switched off.
    pub(super) fn stopped(size: usize, latency_ms: u64) -> Net {
        Net {
            options: Options::default(),
            initial: None,
            network: Network::new(Weather::fair(latency_ms), 1),
            now: Time::ZERO,
            machines: (0..size).map(|_| Machine::default()).collect(),
            messages: 0,
            bytes: 0,
            longest: 0,
            max_line_bytes: usize::MAX,
            asked: 0,
            replies: BTreeMap::new(),
        }
    }

    /// Starts all nodes and waits until they have a leader and sessions.
    pub(super) fn boot(&mut self) {
        (0..self.machines.len()).for_each(|node| self.start(node));
        self.run_ms(2000);
        let first = self.ask(0, json!({"type": "read"}));
        self.run_ms(1000);
        assert_eq!(self.answer(first)["type"], "read_ok", "no leader was elected");
    }

    pub(super) fn start(&mut self, node: usize) {
        let names: Vec<String> = (0..self.machines.len()).map(|n| format!("n{n}")).collect();
        let mut body = json!({"type": "init", "msg_id": 0, "node_id": names[node]});
        body["node_ids"] = json!(names);
        if let Some(initial) = &self.initial {
            body["initial_member_ids"] = json!(initial);
        }
        let workload = ListNode(Replica::new("list:raft", List::default(), self.options.clone()));
        let machine = &mut self.machines[node];
        machine.lives += 1;
        let seed = machine.lives * 100 + node as u64;
        machine.node = Some(Node::new(Box::new(workload), seed));
        self.deliver(node, &client_packet(node, &body));
    }

    /// Kills a node; its messages still arrive, and writes that its disk had not made durable are
    /// lost.
    pub(super) fn kill(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.node = None;
        machine.is_stalled = false;
        machine.durable = None;
        let model = CrashModel { unsynced: Unsynced::Lost, tear_percent: 0 };
        machine.disk.crash(&mut Pcg64Mcg::seed_from_u64(0), model);
    }

    /// Lets a node's disk make nothing durable until the node is killed.
    pub(super) fn stall_disk(&mut self, node: usize) {
        self.machines[node].is_stalled = true;
    }

    /// Kills a node and empties its disk.
    pub(super) fn wipe(&mut self, node: usize) {
        self.kill(node);
        self.machines[node].disk = MemoryStorage::default();
    }

    /// Takes durable records from the disk of a node that is down; how many.
    pub(super) fn roll_back(&mut self, node: usize, seed: u64) -> u64 {
        self.machines[node].disk.roll_back(&mut Pcg64Mcg::seed_from_u64(seed))
    }

    /// Cuts a node off from all others, or, with `false`, joins it again.
    pub(super) fn isolate(&mut self, node: usize, cut: bool) {
        for other in (0..self.machines.len()).filter(|o| *o != node) {
            self.cut_link(node, other, cut);
            self.cut_link(other, node, cut);
        }
    }

    /// Cuts one direction, or, with `false`, joins it again.
    pub(super) fn cut_link(&mut self, from: usize, to: usize, cut: bool) {
        match cut {
            true => self.network.cut(Some(from), Some(to)),
            false => self.network.mend(Some(from), Some(to)),
        }
    }

    /// Sends a client's request to a node, at once. Returns its number.
    pub(super) fn ask(&mut self, node: usize, mut body: Value) -> u64 {
        self.asked += 1;
        body["msg_id"] = json!(self.asked);
        self.launch(client_packet(node, &body));
        self.asked
    }

    /// Sends a request and waits for the answer, which must come within a second.
    pub(super) fn call(&mut self, node: usize, body: Value) -> Value {
        let request = self.ask(node, body);
        self.run_ms(1000);
        self.answer(request)
    }

    /// The answer to a request.
    pub(super) fn answer(&self, request: u64) -> Value {
        let answer = self.replies.get(&request);
        answer.unwrap_or_else(|| panic!("request {request} was not answered")).1.clone()
    }

    /// The answer to a request, if there was one.
    pub(super) fn peek(&self, request: u64) -> Option<Value> {
        self.replies.get(&request).map(|(_, answer)| answer.clone())
    }

    /// How the core of a node stands, if it runs.
    pub(super) fn status(&self, node: usize) -> Option<Status> {
        Some(self.machines[node].node.as_ref()?.engine::<Raft>()?.status())
    }

    /// The index of a node's latest snapshot; zero without one.
    pub(super) fn snapshot_at(&self, node: usize) -> u64 {
        let raft = self.machines[node].node.as_ref().and_then(Node::engine::<Raft>);
        raft.and_then(|raft| raft.snapshot()).map_or(0, |snapshot| snapshot.last.index.0)
    }

    /// When a request was answered, if it was.
    pub(super) fn answered_at(&self, request: u64) -> Option<Time> {
        self.replies.get(&request).map(|(at, _)| *at)
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// The core's state on a node that runs.
    pub(super) fn raft(&self, node: usize) -> &Raft {
        let node = self.machines[node].node.as_ref().expect("it runs");
        node.engine().expect("it has started")
    }

    /// How many records a node's disk holds besides its checkpoint.
    pub(super) fn disk_records(&mut self, node: usize) -> usize {
        let mut recovered = self.machines[node].disk.recover();
        recovered.take(crate::node::DEFAULT_STREAM).records.len()
    }

    /// Lets time pass.
    pub(super) fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let flight = self.network.next();
            let deadline = |m: &Machine| m.node.as_ref().and_then(Node::next_deadline);
            let timer = self.machines.iter().filter_map(deadline).min();
            let Some(next) = [flight, timer].into_iter().flatten().min() else { break };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            // Messages that arrive at this moment come before the timers of this moment.
            if flight.is_some_and(|at| at <= self.now) {
                if let Some(flight) = self.network.arrived(self.now) {
                    self.arrive(&flight);
                }
            } else {
                for node in 0..self.machines.len() {
                    if deadline(&self.machines[node]).is_some_and(|at| at <= self.now) {
                        self.step(node, Input::Tick);
                    }
                }
            }
        }
        self.now = end;
    }

    fn arrive(&mut self, Flight { to, message: packet, .. }: &Flight<Address, Packet>) {
        let Some(to) = *to else {
            let message = Message::from_packet(packet.clone()).unwrap();
            let body: Value = serde_json::from_str(&packet.body).unwrap();
            if let Some(number) = message.body.in_reply_to.filter(|n| *n > 0) {
                let earlier = self.replies.insert(number, (self.now, body));
                assert!(earlier.is_none(), "request {number} was answered twice");
            }
            return;
        };
        self.deliver(to, packet);
    }

    fn deliver(&mut self, node: usize, packet: &Packet) {
        if self.machines[node].node.is_some() {
            let message = Message::from_packet(packet.clone()).unwrap();
            self.step(node, Input::Message(message));
        }
    }

    fn step(&mut self, index: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let machine = &mut self.machines[index];
            let mut effects = Vec::new();
            machine.node.as_mut().unwrap().step(self.now, input, &mut effects);
            for effect in effects {
                let machine = &mut self.machines[index];
                match effect {
                    Effect::Open(_) => inputs.push_back(Input::Recovered(machine.disk.recover())),
                    Effect::Persist(ticket, write) => {
                        machine.disk.stage(write).unwrap();
                        if !machine.is_stalled {
                            machine.disk.sync().unwrap();
                            machine.durable = Some(ticket);
                            inputs.push_back(Input::Durable(ticket));
                        }
                    }
                    Effect::SendAfter(ticket, _) if machine.durable < Some(ticket) => {}
                    Effect::Send(packet) | Effect::SendAfter(_, packet) => self.launch(packet),
                }
            }
        }
    }

    fn launch(&mut self, packet: Packet) {
        let (from, to) = (node_index(packet.src.as_str()), node_index(packet.dest.as_str()));
        if from.is_none() || to.is_none() {
            return self.network.arrive_at(self.now, from, to, packet);
        }
        self.messages += 1;
        self.bytes += packet.body.len();
        self.longest = self.longest.max(packet.body.len());
        if packet.body.len() <= self.max_line_bytes {
            self.network.send(self.now, from, to, packet);
        }
    }
}

fn client_packet(node: usize, body: &Value) -> Packet {
    Packet { src: "c1".into(), dest: format!("n{node}").as_str().into(), body: body.to_string() }
}

fn node_index(name: &str) -> Option<usize> {
    name.strip_prefix('n').and_then(|digits| digits.parse().ok())
}
