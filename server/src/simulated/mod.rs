//! The same server as a node of the bench's simulation: `seaworthy explore -w kv-server`.
//!
//! As `engine`, `peer` and `data_dir` are to a real server, this is to a simulated one: it
//! carries out the effects of the pure [`Node`] with messages, timers and records of the node
//! contract. A parcel brings the introduction of its sender along, where real servers
//! introduce themselves once a connection.
//!
//! `disk` is the data directory, and plays the operator who puts back the wrong one; `places` tells
//! which server runs on which node; `states` has the states beside its log, `trees` and `forest` the trees below its
//! machine; `standing` knows how it stands with the others; `request` has the clients' requests, `lease` those about leases, `members` those that change the members, each step of them a
//! `next`; `wire` the messages between servers.

mod disk;
mod forest;
mod lease;
mod members;
mod next;
mod places;
mod request;
mod standing;
mod states;
mod trees;
mod watch;
mod wire;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{ErrorCode, Message, NodeId, Request as Asker, RpcError};
use seaworthy::node::{Context, Event, Ticket as Written, Token as Timer, Workload};
use seaworthy::raft::RaftId;
use seaworthy::storage::Recovered;

use crate::node::shelf::Shelf;
use crate::node::{
    Effect, Event as Told, Input, Member, Node, Options, Reply, Start, Ticket, Token, Verdict,
    state_before,
};
use disk::{Disk, Record};
use forest::has_tree;
use members::Changing;
use next::Next;
use places::place_of;
use request::Asked;
use states::{DECODED, ENCODED, States};
use trees::{BASED, Writer};
use wire::{Parcel, Refused};

pub use disk::Ledger;

/// The node's own deadline.
const DUE: Timer = Timer(0);
/// The operator has read why a server ended.
const REMEDY: Timer = Timer(2);
/// A watch has waited long enough.
const PROGRESS: Timer = Timer(3);
/// A server without a leader introduces itself.
const INTRODUCE: Timer = Timer(4);
/// How often it does.
const INTRODUCTION: Duration = Duration::from_millis(500);
/// How long reading takes, in milliseconds.
const REMEDY_MS: u64 = 500;
/// Batches for trees are small.
const BATCH_BYTES: u64 = 3000;
const BATCH_MS: u64 = 150;
/// All servers of a simulation are of one founding.
const FOUNDING: u64 = 1;

/// A server in the simulation.
pub struct SimulatedServer {
    options: Options,
    ledger: Arc<Mutex<Ledger>>,
    state: State,
    /// The server that was removed from the cluster: the operator does not start it again, but another
    /// one in its place.
    left: Option<RaftId>,
}

enum State {
    New,
    /// It may not introduce itself before its life is counted on disk.
    Starting(Box<Running>, Written),
    Running(Box<Running>),
    /// It was refused or removed, and does nothing more. Messages may be on their way that wait for its
    /// last writes, so no other server takes its place before those are durable, and have been seen to be.
    Ending(Box<Running>, String),
    /// It could not start.
    Ended(String),
}

struct Running {
    node: Node,
    nodes: Vec<NodeId>,
    ledger: Arc<Mutex<Ledger>>,
    disk: Disk,
    /// The disk's name for each ticket, and the node's.
    tickets: VecDeque<(Written, Ticket)>,
    asked: BTreeMap<Token, (Asker, Asked)>,
    next_token: u64,
    states: States,
    trees: Option<Writer>,
    /// Lives of members that this server knows of, and its disk not yet.
    knows: VecDeque<(Written, BTreeMap<RaftId, u64>)>,
    watches: watch::Watches,
}

impl SimulatedServer {
    /// A server that will start with these options. All servers of a run share a ledger.
    pub fn new(options: Options, ledger: Arc<Mutex<Ledger>>) -> SimulatedServer {
        let options = Options { batch_bytes: BATCH_BYTES, batch_ms: BATCH_MS, ..options };
        SimulatedServer { options, ledger, state: State::New, left: None }
    }

    /// Begins a life on the stored log; on the server's own directory, put back, if that is none.
    fn start(&mut self, cx: &mut Context<'_>, recovered: Option<Recovered>) {
        let nodes = cx.node_ids().to_vec();
        let place = place(cx);
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, cluster) = ledger.invitations.server(place);
        let (mut disk, log) = match recovered {
            Some(mut recovered) => {
                let log = recovered.take(disk::STREAM);
                disk::open(cx, log, &mut ledger, id, nodes.len())
            }
            None => disk::reopen(cx, &mut ledger, id),
        };
        let member = |name: &NodeId| {
            let name = name.to_string();
            Member { peer_urls: vec![name.clone()], name, ..Member::default() }
        };
        let founders = nodes.iter().enumerate();
        let founders = founders.map(|(i, name)| (RaftId(i as u64 + 1), member(name))).collect();
        let member = Member { incarnation: disk.incarnation, ..member(cx.id()) };
        let nonces = [cx.rng().next_u64(), cx.rng().next_u64()];
        let options = self.options;
        let (shelf, state) = Shelf::open(&log);
        let (before, key) =
            (state_before(&log).expect("this version wrote it"), (id, disk.incarnation));
        if disk.is_doubtful {
            ledger.forest.put_aside(key, before);
        }
        let tree = has_tree(id).then(|| ledger.forest.open(key, before, &shelf));
        let writer = tree.as_ref().map(|_| Writer::new(self.ledger.clone(), id, disk.incarnation));
        let start = Start { id, founders, member, options, nonces, cluster, log, state, tree };
        let (node, first) = match Node::start(start) {
            Ok(started) => started,
            Err(why) => {
                self.state = State::Ended(why.to_string());
                return;
            }
        };
        ledger.begin(id, node.member().life, node.member().nonce);
        let counted = disk.persist(cx, Record::Life(first));
        let running = Running {
            node,
            nodes,
            ledger: Arc::clone(&self.ledger),
            disk,
            tickets: VecDeque::new(),
            asked: BTreeMap::new(),
            next_token: 0,
            states: States::new(shelf),
            trees: writer,
            knows: VecDeque::new(),
            watches: watch::Watches::default(),
        };
        self.state = State::Starting(Box::new(running), counted);
        cx.set_timer(INTRODUCE, INTRODUCTION);
    }

    fn durable(&mut self, cx: &mut Context<'_>, written: Written) {
        if let State::Starting(_, counted) = &self.state
            && *counted <= written
            && let State::Starting(running, _) = std::mem::replace(&mut self.state, State::New)
        {
            self.state = State::Running(running);
        }
        match &mut self.state {
            State::Running(running) | State::Ending(running, _) => running.durable(cx, written),
            State::New | State::Starting(..) | State::Ended(_) => {}
        }
    }

    fn take(&mut self, cx: &mut Context<'_>, message: &Message) {
        match (&mut self.state, message.body.kind.as_str()) {
            (State::Running(running), wire::PARCEL) => running.parcel(cx, message),
            (State::Running(running), wire::REFUSED) => {
                let refused = Refused::read(&message.body);
                let mine = refused.filter(|refused| refused.nonce == running.node.member().nonce);
                if let Some(refused) = mine {
                    self.left = refused.has_left.then(|| running.node.id()).or(self.left);
                    self.end(cx, refused.why);
                }
            }
            (State::Running(running), _) => running.ask(cx, message),
            (_, wire::PARCEL | wire::REFUSED) => {}
            (State::Ending(_, why) | State::Ended(why), _) => {
                unavailable(cx, &message.request(), why)
            }
            _ => unavailable(cx, &message.request(), "it starts"),
        }
    }

    /// The operator starts a server again that has ended, or another one in its place.
    fn remedy(&mut self, cx: &mut Context<'_>) {
        let wanted = self.wanted(cx);
        let is_flushed =
            matches!(&self.state, State::Ending(running, _) if running.disk.is_flushed());
        match self.left == Some(wanted) || !is_flushed {
            true => cx.set_timer(REMEDY, Duration::from_millis(REMEDY_MS)),
            false => self.start(cx, None),
        }
    }

    /// The server that is to run on this node.
    fn wanted(&self, cx: &Context<'_>) -> RaftId {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.invitations.server(place(cx)).0
    }

    /// The operator ends a server that has left where another one is to run on its node, and starts that
    /// one at once.
    fn make_room(&mut self, cx: &mut Context<'_>) {
        let wanted = self.wanted(cx);
        match &self.state {
            State::Running(running) if running.node.id() != wanted => {
                self.left = Some(running.node.id());
                self.end(cx, "another server is to run here".to_owned());
            }
            State::Ending(running, _)
                if running.disk.is_flushed() && self.left.is_some_and(|left| left != wanted) =>
            {
                self.start(cx, None);
            }
            _ => {}
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, why: String) {
        self.state = match std::mem::replace(&mut self.state, State::New) {
            State::Running(running) => State::Ending(running, why),
            _ => State::Ended(why),
        };
        cx.set_timer(REMEDY, Duration::from_millis(REMEDY_MS));
    }
}

/// The place of this node in the list of all.
fn place(cx: &Context<'_>) -> usize {
    cx.node_ids().iter().position(|name| name == cx.id()).expect("init lists this node")
}

fn unavailable(cx: &mut Context<'_>, asker: &Asker, why: &str) {
    cx.error(asker, &RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, why));
}

impl Workload for SimulatedServer {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        self.make_room(cx);
        match event {
            Event::Start(recovered) => self.start(cx, Some(recovered)),
            Event::Timer(REMEDY) if matches!(self.state, State::Ending(..)) => self.remedy(cx),
            Event::Timer(INTRODUCE) => {
                cx.set_timer(INTRODUCE, INTRODUCTION);
                if let State::Running(running) = &self.state {
                    running.introduce(cx);
                }
            }
            Event::Message(message) => self.take(cx, &message),
            Event::Durable(written) => self.durable(cx, written),
            Event::Timer(timer @ (ENCODED | DECODED)) => {
                if let State::Running(running) = &mut self.state {
                    for input in running.states.ripe(timer) {
                        running.node.step(cx.now(), input);
                    }
                }
            }
            Event::Timer(BASED) => {
                if let State::Running(running) = &mut self.state {
                    for input in running.trees.iter_mut().flat_map(Writer::ripe) {
                        running.node.step(cx.now(), input);
                    }
                }
            }
            Event::Timer(_) | Event::Reply { .. } => {}
        }
        if let State::Running(running) = &mut self.state
            && let Err(why) = running.end_turn(cx, &self.ledger)
        {
            self.left = running.has_left().then(|| running.node.id()).or(self.left);
            self.end(cx, why);
        }
    }

    /// The core; that of a server with an emptied directory or an older copy only once it was
    /// accepted, for until then nothing can be demanded of it.
    fn engine(&self) -> Option<&dyn Any> {
        let (State::Running(running) | State::Ending(running, ..)) = &self.state else {
            return None;
        };
        running.is_counted().then(|| running.node.raft() as &dyn Any)
    }
}

impl Running {
    fn durable(&mut self, cx: &mut Context<'_>, written: Written) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        self.disk.durable(written, self.node.id(), &mut ledger);
        while let Some((_, lives)) = self.knows.pop_front_if(|(at, _)| *at <= written) {
            ledger.knows(self.node.id(), lives);
        }
        let mut last = None;
        while let Some((_, ticket)) = self.tickets.pop_front_if(|(at, _)| *at <= written) {
            last = Some(ticket);
        }
        if let Some(ticket) = last {
            self.node.step(cx.now(), Input::Durable(ticket));
        }
    }

    fn parcel(&mut self, cx: &mut Context<'_>, message: &Message) {
        let Some(parcel) = Parcel::read(&message.body) else { return };
        match self.node.admit(FOUNDING, &parcel.hello) {
            Ok(()) => {
                let from = parcel.hello.from;
                self.node.step(cx.now(), Input::Parcel(from, parcel.bytes));
            }
            Err(refusal) if refusal.verdict != Verdict::NotNow => {
                let nonce = parcel.hello.member.nonce;
                let has_left = refusal.verdict == Verdict::Removed;
                cx.send(&message.src, &Refused::packed(nonce, has_left, refusal.why));
            }
            Err(_) => {}
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, message: &Message) {
        let asker = message.request();
        if message.body.kind == watch::WATCH {
            let (now, store) = (cx.now(), &self.node.machine().store);
            match self.watches.ask(now, asker.clone(), &message.body, store) {
                Ok(()) => cx.set_timer_if_unset(PROGRESS, watch::PATIENCE),
                Err(error) => cx.error(&asker, &error),
            }
            return;
        }
        match Changing::begin(&message.body, &self.nodes) {
            Ok(None) => {}
            Ok(Some((changing, request))) => {
                return self.wait(cx, asker, Asked::Members(changing), request);
            }
            Err(error) => return cx.error(&asker, &error),
        }
        match Asked::begin(&message.body, cx.now()) {
            Ok((asked, request)) => self.wait(cx, asker, asked, request),
            Err(error) => cx.error(&asker, &error),
        }
    }

    fn wait(
        &mut self,
        cx: &mut Context<'_>,
        asker: Asker,
        asked: Asked,
        request: crate::node::Request,
    ) {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.asked.insert(token, (asker, asked));
        self.node.step(cx.now(), Input::Request(token, request));
    }

    fn answer(&mut self, cx: &mut Context<'_>, token: Token, reply: Reply) {
        let Some((asker, mut asked)) = self.asked.remove(&token) else { return };
        let next = match &mut asked {
            Asked::Members(changing) => {
                changing.proceed(&reply, &self.node, &self.ledger, &self.nodes)
            }
            Asked::Hash if matches!(reply, Reply::State(..)) => request::hash(&self.node),
            asked => asked.proceed(cx.now(), reply),
        };
        match next {
            Next::Ask(request) => self.wait(cx, asker, asked, request),
            Next::Answer(body) => cx.reply(&asker, &body),
            Next::Refuse(error) => cx.error(&asker, &error),
        }
    }

    /// Carries out the effects of a turn.
    ///
    /// # Errors
    /// Why the server has to end.
    fn end_turn(&mut self, cx: &mut Context<'_>, ledger: &Mutex<Ledger>) -> Result<(), String> {
        loop {
            let mut effects = Vec::new();
            self.node.flush(cx.now(), &mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.carry_out(cx, effect)?;
            }
        }
        self.note_lives(cx, ledger);
        self.tell_watches(cx);
        cx.set_timer(DUE, self.node.deadline() - cx.now());
        Ok(())
    }

    /// Answers watches. The hub does not look in every turn, and by itself after a while.
    fn tell_watches(&mut self, cx: &mut Context<'_>) {
        let store = self.node.machine().store.clone();
        if !cx.rng().next_u64().is_multiple_of(3) {
            self.watches.look(&store);
        }
        self.watches.serve(cx, &store);
        if self.watches.are_waiting() {
            cx.set_timer_if_unset(PROGRESS, watch::PATIENCE / 4);
        }
    }

    fn carry_out(&mut self, cx: &mut Context<'_>, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Persist(ticket, bytes) => {
                let written = self.disk.persist(cx, Record::Node(bytes));
                self.tickets.push_back((written, ticket));
            }
            Effect::Mark => self.disk.mark(cx),
            Effect::Checkpoint(ticket, checkpoint) => {
                let replaces = checkpoint.replaces;
                let written =
                    self.disk.checkpoint(cx, replaces, self.states.checkpoint(checkpoint));
                self.tickets.push_back((written, ticket));
            }
            Effect::Send(to, _, bytes) => self.send(cx, None, to, bytes),
            Effect::SendAfter(ticket, to, _, bytes) => {
                let waiting = self.tickets.iter().find(|(_, own)| *own >= ticket);
                self.send(cx, waiting.map(|(written, _)| *written), to, bytes);
            }
            Effect::Reply(token, reply) => self.answer(cx, token, reply),
            Effect::Freeze(frozen) => self.states.freeze(cx, frozen),
            Effect::Piece(piece) => match self.states.piece(piece) {
                Ok((to, _, bytes)) => self.send(cx, None, to, bytes),
                Err(lost) => self.node.step(cx.now(), lost),
            },
            Effect::Batch(batch) => {
                self.trees.as_mut().expect("it has a tree").begin(cx, batch);
            }
            Effect::Store(received) => {
                let mut tree = self.trees.as_ref().map(Writer::plant);
                let inputs = self.states.store(cx, &received, tree.as_mut());
                if let (Some(trees), Some(tree)) = (&self.trees, tree) {
                    trees.keep(tree);
                }
                for input in inputs {
                    self.node.step(cx.now(), input);
                }
            }
            Effect::Discard(_) => {}
            Effect::Event(Told::Superseded(why)) => return Err(why),
            Effect::Event(_) | Effect::Members(_) => {}
            Effect::Removed => return Err("it was removed".to_owned()),
            Effect::Stopped => return Err("it was stopped".to_owned()),
        }
        Ok(())
    }

    fn send(&self, cx: &mut Context<'_>, after: Option<Written>, to: RaftId, bytes: Vec<u8>) {
        let Some(name) = self.nodes.get(place_of(to)) else { return };
        let parcel = Parcel::packed(&self.node, FOUNDING, to, bytes);
        let parcel = if self.is_counted() { parcel } else { parcel.without_votes() };
        match after {
            Some(written) => cx.send_after(written, name, &parcel),
            None => cx.send(name, &parcel),
        }
    }

    /// Writes down which lives of the members are known here.
    fn note_lives(&mut self, cx: &mut Context<'_>, ledger: &Mutex<Ledger>) {
        let members = self.node.machine().members.iter();
        let lives: BTreeMap<RaftId, u64> = members.map(|(id, m)| (*id, m.life)).collect();
        if lives != self.disk.lives {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, member) in &self.node.machine().members {
                ledger.accept(*id, member.nonce);
            }
            let written = self.disk.persist(cx, Record::Lives(lives.clone()));
            self.knows.push_back((written, lives));
        }
    }
}
