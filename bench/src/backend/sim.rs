//! The simulated backend: the same nodes, in-process, on virtual time.
//!
//! A simulated machine is a [`Node`], a disk that can lose writes that were not synced, and a clock
//! that may run fast or slow. It imitates the real driver: a write during an fsync waits for the
//! next one, a message marked `SendAfter` waits for its ticket, and a paused node's input piles up.

use std::collections::VecDeque;
use std::time::Duration;

use seaworthy::message::{Message, Packet};
use seaworthy::node::{Effect, Input, Node, Ticket, Workload};
use seaworthy::raft::Raft;
use seaworthy::storage::{CrashModel, MemoryStorage, Position, StorageError, Unsynced};
use seaworthy::time::Time;

use super::guard::guard;
use super::loss::Loss;
use super::{Cluster, Members, NodeFault, Outbox, Output};
use crate::config::{CALM_FACTOR, RunConfig};
use crate::seed::{Draw, Moment, Seed};

/// Builds the workload of one node; called at each start.
pub type Factory = Box<dyn Fn() -> Box<dyn Workload + Send>>;

/// Looks into nodes, and names broken invariants.
pub trait Inspect {
    /// `node`, whose index is `index`, has just handled one input.
    ///
    /// # Errors
    /// Which invariant is broken.
    fn stepped(&mut self, index: usize, node: &Node) -> Result<(), String>;

    /// A message has left the node of this index. Everything durable by then has been shown to
    /// [`Inspect::stepped`].
    ///
    /// # Errors
    /// Which invariant is broken.
    fn left(&mut self, index: usize, packet: &Packet) -> Result<(), String>;

    /// The members that were committed since the last call; none where there are none.
    fn new_members(&mut self) -> Vec<Members> {
        Vec::new()
    }

    /// The node of this index was killed.
    fn killed(&mut self, index: usize);

    /// The disk of the node of this index, which was just killed, forgot durable data.
    fn rolled_back(&mut self, _index: usize) {}
}

/// Something that looks into nodes during a run.
pub type Inspector = Box<dyn Inspect>;

/// A cluster of simulated machines.
pub struct SimCluster {
    factory: Factory,
    machines: Vec<Machine>,
    disks: DiskModel,
    max_skew: f64,
    watch: Watch,
}

/// Who looks into nodes, and the first thing found.
#[derive(Default)]
struct Watch {
    inspector: Option<Inspector>,
    violation: Option<String>,
}

/// How the disks of a run behave.
#[derive(Clone, Copy, Debug)]
struct DiskModel {
    /// Without a disk everything is durable at once and gone at a kill.
    present: bool,
    fsync_mean_ms: f64,
    /// The longest one; bounded in the quiet phase alone.
    fsync_max_ms: f64,
    torn_writes: f64,
    roll_back: f64,
}

struct Machine {
    node: Option<Node>,
    storage: MemoryStorage,
    seed: Seed,
    /// Of the last thing that was drawn for.
    moment: Option<Moment>,
    clock: Clock,
    paused: bool,
    /// Whether its last life ended in a panic that no kill has cleared away.
    panicked: bool,
    loss: Loss,
    inbox: VecDeque<Packet>,
    /// Held back until their ticket is durable, tickets ascending per insertion.
    held: Vec<(Ticket, Packet)>,
    durable: Ticket,
    /// The newest ticket written to the disk's cache, and where it is there.
    written: (Ticket, Position),
    /// The fsync in progress: when it ends, and the position up to which it makes the log durable.
    fsync: Option<(Time, Ticket, Position)>,
    /// The earliest wake that was asked for and has not come.
    wake_at: Option<Time>,
    lives: u64,
    log: Vec<String>,
}

/// A node's own clock against the world's: started at boot, running at a rate.
#[derive(Clone, Copy, Debug)]
struct Clock {
    boot: Time,
    rate: f64,
}

impl Clock {
    fn local(self, now: Time) -> Time {
        let world = (now - self.boot).as_nanos() as f64;
        if self.rate == 1.0 { Time::ZERO + (now - self.boot) } else { scaled(world * self.rate) }
    }

    /// The first world time at which the node's clock shows at least `local`.
    fn world(self, local: Time) -> Time {
        let since_boot = if self.rate == 1.0 {
            local
        } else {
            // One more nanosecond, so that rounding never wakes a node too early
            // and it does not spin.
            scaled(local.as_nanos() as f64 / self.rate) + Duration::from_nanos(1)
        };
        self.boot + (since_boot - Time::ZERO)
    }
}

fn scaled(nanos: f64) -> Time {
    Time::from_nanos(nanos as u64)
}

impl SimCluster {
    /// The machines of a run, switched off.
    pub fn new(config: &RunConfig, factory: Factory) -> SimCluster {
        let machine = |_| Machine {
            node: None,
            storage: MemoryStorage::default(),
            seed: config.seed,
            moment: None,
            clock: Clock { boot: Time::ZERO, rate: 1.0 },
            paused: false,
            panicked: false,
            loss: Loss::None,
            inbox: VecDeque::new(),
            held: Vec::new(),
            durable: Ticket(0),
            written: (Ticket(0), Position::default()),
            fsync: None,
            wake_at: None,
            lives: 0,
            log: Vec::new(),
        };
        let chaos = &config.args.chaos;
        SimCluster {
            factory,
            machines: (0..config.nodes.len()).map(machine).collect(),
            disks: DiskModel {
                present: !chaos.no_disk,
                fsync_mean_ms: chaos.fsync,
                fsync_max_ms: f64::INFINITY,
                torn_writes: chaos.torn_writes,
                roll_back: chaos.roll_back,
            },
            max_skew: chaos.clock_skew,
            watch: Watch::default(),
        }
    }

    /// Has `inspector` look at each node after every input it handles.
    pub fn inspect(&mut self, inspector: Inspector) {
        self.watch.inspector = Some(inspector);
    }

    fn step(&mut self, now: Time, index: usize, input: Input, out: &mut Outbox) {
        let disks = self.disks;
        self.machines[index].step(now, input, disks, index, out, &mut self.watch);
    }
}

impl SimCluster {
    /// Whether the disk of this node may lose something that was durable: only one of a
    /// Raft group, which can be told by the others, and only while these are a quorum that
    /// has lost nothing.
    fn may_roll_back(&mut self, node: usize) -> bool {
        if self.disks.roll_back <= 0.0 {
            return false;
        }
        let machines = self.machines.iter().enumerate();
        let others = machines.filter(|(i, machine)| *i != node && machine.loss != Loss::None);
        let has_raft =
            self.machines[node].node.as_ref().is_some_and(|n| n.engine::<Raft>().is_some());
        has_raft && others.count() + 1 < self.machines.len().div_ceil(2)
    }
}

impl Watch {
    fn look(&mut self, index: usize, node: &Node) {
        let Some(inspector) = &mut self.inspector else { return };
        if self.violation.is_none() {
            self.violation = inspector.stepped(index, node).err();
        }
    }

    /// Looks at the messages among `acts`, which have just left the node.
    fn look_at_mail(&mut self, index: usize, outputs: &[(usize, Output)]) {
        let Some(inspector) = &mut self.inspector else { return };
        for (_, output) in outputs {
            if let (Output::Send(packet), None) = (output, &self.violation) {
                self.violation = inspector.left(index, packet).err();
            }
        }
    }
}

impl Cluster for SimCluster {
    fn start(&mut self, now: Time, node: usize, _out: &mut Outbox) {
        let machine = &mut self.machines[node];
        assert!(machine.node.is_none(), "n{node} runs already");
        let mut draw = machine.draw(now, node);
        let skew = self.max_skew * (2.0 * draw.unit() - 1.0);
        machine.clock = Clock { boot: now, rate: 1.0 + skew };
        machine.node = Some(Node::new((self.factory)(), draw.word()));
        machine.lives += 1;
        machine.note(now, "started");
    }

    fn deliver(&mut self, now: Time, node: usize, _id: u64, packet: Packet, out: &mut Outbox) {
        let machine = &mut self.machines[node];
        if machine.paused {
            machine.inbox.push_back(packet);
        } else {
            self.step(now, node, open(packet), out);
        }
    }

    fn wake(&mut self, now: Time, node: usize, out: &mut Outbox) {
        let disks = self.disks;
        let machine = &mut self.machines[node];
        if machine.wake_at.is_some_and(|at| at <= now) {
            machine.wake_at = None;
        }
        machine.finish_fsync(now, disks, node, out, &mut self.watch);
        if machine.node.is_some() && !machine.paused {
            self.step(now, node, Input::Tick, out);
        }
    }

    fn kill(&mut self, now: Time, node: usize) {
        let tear_percent = (self.disks.torn_writes * 100.0) as u8;
        let model = CrashModel { unsynced: Unsynced::Prefix, tear_percent };
        let may_roll_back = self.may_roll_back(node);
        let machine = &mut self.machines[node];
        if machine.node.take().is_none() && !std::mem::take(&mut machine.panicked) {
            return;
        }
        if let Some(inspector) = &mut self.watch.inspector {
            inspector.killed(node);
        }
        if self.disks.present {
            let mut draw = machine.draw(now, node);
            machine.storage.crash(draw.rng(), model);
            if may_roll_back
                && draw.chance(self.disks.roll_back)
                && machine.storage.roll_back(draw.rng()) > 0
            {
                machine.loss = Loss::Abstains;
                machine.note(now, "rolled back");
                if let Some(inspector) = &mut self.watch.inspector {
                    inspector.rolled_back(node);
                }
            }
        } else {
            machine.storage = MemoryStorage::default();
        }
        machine.loss.killed();
        machine.paused = false;
        machine.inbox.clear();
        machine.held.clear();
        machine.fsync = None;
        machine.wake_at = None;
        machine.durable = Ticket(0);
        machine.written = (Ticket(0), Position::default());
        machine.note(now, "killed");
    }

    fn wipe(&mut self, node: usize) {
        self.machines[node].storage = MemoryStorage::default();
    }

    fn pause(&mut self, now: Time, node: usize) {
        let machine = &mut self.machines[node];
        machine.paused = machine.node.is_some();
        machine.note(now, "paused");
    }

    fn resume(&mut self, now: Time, node: usize, out: &mut Outbox) {
        if !std::mem::take(&mut self.machines[node].paused) {
            return;
        }
        self.machines[node].note(now, "resumed");
        self.wake(now, node, out);
        while let Some(packet) = self.machines[node].inbox.pop_front() {
            self.step(now, node, open(packet), out);
        }
    }

    fn mute(&mut self, node: usize) {
        self.machines[node].log.push("muted".into());
    }

    fn calm(&mut self) {
        self.disks.fsync_max_ms = CALM_FACTOR * self.disks.fsync_mean_ms;
    }

    fn violation(&self) -> Option<String> {
        self.watch.violation.clone()
    }

    fn new_members(&mut self) -> Vec<Members> {
        self.watch.inspector.as_mut().map(|inspector| inspector.new_members()).unwrap_or_default()
    }

    fn last_lines(&self, node: usize) -> Vec<String> {
        self.machines[node].log.clone()
    }
}

fn open(packet: Packet) -> Input {
    match Message::from_packet(packet) {
        Ok(message) => Input::Message(message),
        Err(malformed) => Input::Malformed(malformed),
    }
}

impl Machine {
    fn step(
        &mut self,
        now: Time,
        input: Input,
        disks: DiskModel,
        index: usize,
        out: &mut Outbox,
        watch: &mut Watch,
    ) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        let before = out.outputs.len();
        while let Some(input) = inputs.pop_front() {
            // One that panicked runs no more, whatever the world believes.
            let Some(node) = self.node.as_mut() else { return };
            let local = self.clock.local(now);
            if let Err(message) = guard(|| node.step(local, input, &mut effects)) {
                (self.node, self.panicked) = (None, true);
                self.note(now, "panicked");
                return out.outputs.push((index, Output::Fault(NodeFault::Panicked { message })));
            }
            watch.look(index, node);
            for effect in effects.drain(..) {
                if let Some(answer) = self.carry_out(effect, disks, index, out) {
                    inputs.push_back(answer);
                }
            }
            if let Some(answer) = self.start_fsync(now, disks, index, out) {
                inputs.push_back(answer);
            }
        }
        watch.look_at_mail(index, &out.outputs[before..]);
        self.loss.stepped(self.node.as_ref(), self.written.0, self.durable);
        self.ask_for_wake(now, index, out);
    }

    /// The numbers that decide on this machine's luck now.
    fn draw(&mut self, now: Time, index: usize) -> Draw {
        let moment = Moment::after(self.moment, now);
        self.moment = Some(moment);
        self.seed.machine(index as u32, moment)
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        disks: DiskModel,
        index: usize,
        out: &mut Outbox,
    ) -> Option<Input> {
        match effect {
            Effect::Open(_) => return Some(Input::Recovered(self.storage.recover())),
            Effect::Send(packet) => out.outputs.push((index, Output::Send(packet))),
            Effect::SendAfter(ticket, packet) if ticket <= self.durable => {
                out.outputs.push((index, Output::Send(packet)));
            }
            Effect::SendAfter(ticket, packet) => self.held.push((ticket, packet)),
            Effect::Persist(ticket, write) => {
                self.written.0 = ticket;
                if disks.present {
                    match self.storage.stage(write) {
                        Ok(position) => self.written.1 = position,
                        Err(error) => self.fail(&error, index, out),
                    }
                }
            }
        }
        None
    }

    /// Begins to make everything written so far durable, unless an fsync runs.
    /// One that takes no time is over at once and yields the node's next input.
    fn start_fsync(
        &mut self,
        now: Time,
        disks: DiskModel,
        index: usize,
        out: &mut Outbox,
    ) -> Option<Input> {
        let (ticket, position) = self.written;
        if self.fsync.is_some() || ticket == self.durable {
            return None;
        }
        if !disks.present || disks.fsync_mean_ms <= 0.0 {
            return Some(self.become_durable(ticket, position, index, out));
        }
        let ms = self.draw(now, index).exponential(disks.fsync_mean_ms).min(disks.fsync_max_ms);
        let end = now + Duration::from_secs_f64(ms / 1000.0);
        self.fsync = Some((end, ticket, position));
        None
    }

    fn become_durable(
        &mut self,
        ticket: Ticket,
        position: Position,
        index: usize,
        out: &mut Outbox,
    ) -> Input {
        if let Err(error) = self.storage.sync_to(position) {
            self.fail(&error, index, out);
        }
        self.durable = ticket;
        self.loss.durable(ticket);
        let held = std::mem::take(&mut self.held);
        let (free, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|(t, _)| *t <= ticket);
        self.held = held;
        out.outputs.extend(free.into_iter().map(|(_, packet)| (index, Output::Send(packet))));
        Input::Durable(ticket)
    }

    /// Ends an fsync that is due. That of a paused node ends when it resumes: to
    /// the node it is the same, and a kill in between loses more.
    fn finish_fsync(
        &mut self,
        now: Time,
        disks: DiskModel,
        index: usize,
        out: &mut Outbox,
        watch: &mut Watch,
    ) {
        let Some((end, ticket, position)) = self.fsync else { return };
        if end > now || self.node.is_none() {
            return;
        }
        if self.paused {
            return;
        }
        self.fsync = None;
        let before = out.outputs.len();
        let input = self.become_durable(ticket, position, index, out);
        let released = before..out.outputs.len();
        self.step(now, input, disks, index, out, watch);
        watch.look_at_mail(index, &out.outputs[released]);
    }

    fn ask_for_wake(&mut self, now: Time, index: usize, out: &mut Outbox) {
        let timer = self.node.as_ref().and_then(Node::next_deadline);
        let timer = timer.map(|local| self.clock.world(local));
        let disk = self.fsync.map(|(end, ..)| end);
        let Some(next) = [timer, disk].into_iter().flatten().min() else { return };
        let next = next.max(now);
        if self.wake_at.is_none_or(|at| next < at) {
            self.wake_at = Some(next);
            out.wakes.push((index, next));
        }
    }

    /// The disk failed: a real node would stop with this message.
    fn fail(&self, error: &StorageError, index: usize, out: &mut Outbox) {
        let status = format!("storage failed: {error}");
        out.outputs.push((index, Output::Fault(NodeFault::Exited { status })));
    }

    fn note(&mut self, now: Time, what: &str) {
        self.log.push(format!("{now} {what} (life {})", self.lives));
    }
}
