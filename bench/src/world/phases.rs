//! The course of a test: init, preparation, operations, recovery, last operations.

use std::time::Duration;

use seaworthy::message::Packet;
use serde_json::json;

use super::{Event, World};
use crate::backend::{Cluster, NodeFault};
use crate::load::answer::Answer;
use crate::load::{Invocation, Next};
use crate::world::nemesis::{Act, Deed};
use crate::world::script::Course;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nodes start and are told who they are.
    Init,
    /// Nodes get what the workload prepares.
    Prepare,
    /// Operations at the given rate, under the nemesis.
    Main,
    /// Operations at the given rate, without any fault.
    Quiet,
    /// No new operations; open ones complete or time out.
    Drain,
    /// Healed, and left alone.
    Recover,
    /// The last operations.
    Last,
    /// Over.
    Over,
}

/// How long it may take to answer what a workload prepares (`topology`), a request like any
/// other.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client of the bench's own still exists after it got its answer. In Maelstrom
/// its closing and a node's next line race; a second `init_ok` at once is heard there as
/// often as not.
const LINGER: Duration = Duration::from_millis(100);
/// How long a healed cluster is left alone before the last operations.
const RECOVERY: Duration = Duration::from_secs(10);

/// How far behind its schedule the generator may be and still make up for it.
const CATCH_UP: Duration = Duration::from_millis(100);

impl<C: Cluster> World<C> {
    /// Starts all nodes and sends each its `init`.
    pub fn begin(&mut self) {
        for node in 0..self.config.nodes.len() {
            self.start_node(node);
        }
        self.settle();
    }

    pub(super) fn start_node(&mut self, node: usize) {
        if self.lifecycle.is_running(node) {
            return;
        }
        let waiting = self.lifecycle.started(node, self.now);
        self.with_cluster(|c, now, out| c.start(now, node, out));
        let body = json!({
            "type": "init",
            "node_id": self.config.nodes[node],
            "node_ids": self.config.nodes,
            "msg_id": 1,
        });
        self.ask_node(node, body.to_string(), "init_ok");
        // The init enters the queue first, then what was sent while the node was down.
        self.route_all();
        for flight in waiting {
            self.queue.push(self.now, Event::Deliver(Box::new(flight)));
        }
    }

    /// Sends a request of the bench's own to a node and waits for the answer.
    fn ask_node(&mut self, node: usize, body: String, expected: &'static str) {
        let src = self.clients.new_address();
        let dest = self.config.nodes[node].clone();
        let attempt = self.lifecycle.expect(src.clone(), node, expected);
        self.queue.push(self.now + self.patience(expected), Event::Deadline(attempt));
        self.outgoing.push_back(Packet { src, dest, body });
    }

    /// A message to the client of the bench's own request; its number was 1.
    pub(super) fn answered(&mut self, packet: &Packet) {
        let answer = match Answer::parse(&packet.body) {
            Ok(answer) if answer.answers(1) => answer,
            Ok(answer) => return self.note_stray(packet, answer.astray(1)),
            Err(e) => return self.note_stray(packet, Some(format!("a message: {e}"))),
        };
        let Some(expected) = self.lifecycle.answered(&packet.dest) else { return };
        self.clients.close(&packet.dest, self.now + LINGER);
        let reason = if let Some(error) = answer.refusal() {
            format!("it answered with the error {} {}", error.name, error.text)
        } else if expected.kind == "init_ok" && answer.kind().as_deref() == Some("init_ok") {
            // Of this answer Maelstrom looks at nothing but the type.
            return;
        } else {
            match answer.expect(expected.kind, &[]) {
                Ok(()) => return,
                Err(reason) => reason,
            }
        };
        self.blame(expected.node, NodeFault::NoInit { reason });
    }

    pub(super) fn miss_deadline(&mut self, attempt: u64) {
        if let Some(expected) = self.lifecycle.missed(attempt) {
            let seconds = self.patience(expected.kind).as_secs_f64();
            let why = self.why_unheard(expected.node);
            let reason = format!("no {} within {seconds} s{why}", expected.kind);
            self.blame(expected.node, NodeFault::NoInit { reason });
        }
    }

    /// What a node may have done instead of answering, as the end of a sentence.
    fn why_unheard(&self, node: usize) -> String {
        if let Some(hint) = self.hints.iter().find(|hint| hint.node == self.config.nodes[node]) {
            return format!("; it {}", hint.text);
        }
        let Some(printed) = self.cluster.printed(node) else { return String::new() };
        match printed.unfinished {
            Some(rest) => format!(
                "; its stdout ends in a line that has no end. A message ends with a newline, and \
                 is flushed; {} bytes came, the last of them: {rest}",
                printed.bytes
            ),
            None if printed.bytes == 0 => "; not a byte came on its stdout. If it printed an \
                 answer, that waits in its own buffer: flush stdout after each message"
                .to_owned(),
            None => format!("; {} bytes came on its stdout, but no answer", printed.bytes),
        }
    }

    /// A node is mute: nobody waits for it any more, and a test that has not
    /// begun never will.
    pub(super) fn give_up_on(&mut self, node: usize) {
        self.lifecycle.forget(node);
        if matches!(self.phase, Phase::Init | Phase::Prepare) {
            self.phase = Phase::Over;
        }
    }

    /// Moves on if what the phase waits for has come.
    pub(super) fn check_phase(&mut self) {
        match self.phase {
            Phase::Init if self.lifecycle.all_answered() => {
                self.phase = Phase::Prepare;
                for (node, mut body, expected) in self.clients.preparation() {
                    body.pop();
                    body.push_str(",\"msg_id\":1}");
                    self.ask_node(node, body, expected);
                }
                self.settle();
            }
            Phase::Prepare if self.lifecycle.all_answered() => self.begin_test(),
            Phase::Drain if self.clients.idle() => self.end_phase(),
            _ => {}
        }
    }

    fn begin_test(&mut self) {
        self.phase = Phase::Main;
        self.clients.begin(self.now, self.config.concurrency);
        self.next_op_at = self.now;
        if matches!(self.course, Course::Scripted(_)) {
            self.schedule_script();
        } else {
            for flow in 0..self.nemesis.flows() {
                let delay = self.nemesis.first_delay(flow);
                self.queue.push(self.now + delay, Event::Nemesis(flow));
            }
        }
        let end = self.now + self.config.time_limit;
        self.queue.push(end, Event::PhaseEnd(Phase::Main));
        self.generate();
        self.settle();
    }

    /// Moves on from a phase whose time is up or whose work is done.
    pub(super) fn end_phase(&mut self) {
        match self.phase {
            Phase::Main if !self.config.quiet_phase.is_zero() => {
                self.phase = Phase::Quiet;
                self.heal();
                self.network.calm();
                self.cluster.calm();
                self.begin_lasting_fault();
                // A fault is over when the last message is that it delayed: one of a
                // leader that is none any more still silences whoever hears it.
                let quiet_from = self.now.max(self.network.last_arrival());
                self.quiet_from = Some(quiet_from);
                let end = quiet_from + self.config.quiet_phase;
                self.queue.push(end, Event::PhaseEnd(Phase::Quiet));
                self.generate();
            }
            Phase::Main | Phase::Quiet => {
                self.end_lasting_fault();
                if self.phase == Phase::Main && self.clients.has_last_phase() {
                    // Healing comes right at the end of the operations, as in
                    // Maelstrom; the recovery is counted once the open ones are done.
                    self.heal();
                }
                self.phase = Phase::Drain;
                self.check_phase();
            }
            Phase::Drain if self.clients.has_last_phase() => {
                self.phase = Phase::Recover;
                self.queue.push(self.now + RECOVERY, Event::PhaseEnd(Phase::Recover));
            }
            Phase::Recover => {
                self.phase = Phase::Last;
                self.next_op_at = self.now;
                self.generate();
            }
            Phase::Drain | Phase::Last => self.phase = Phase::Over,
            Phase::Init | Phase::Prepare | Phase::Over => {}
        }
    }

    /// A flow of the nemesis acts, and is due again later.
    pub(super) fn act(&mut self, flow: usize) {
        if self.phase != Phase::Main {
            return;
        }
        let deed = self.nemesis.next(flow);
        if self.course == Course::Recorded {
            self.write_down_act(&deed.act);
        }
        self.carry_out(deed);
        let delay = self.nemesis.delay(flow);
        self.queue.push(self.now + delay, Event::Nemesis(flow));
    }

    fn heal(&mut self) {
        let deeds = match &self.course {
            Course::Scripted(script) => script.last_acts(),
            Course::Drawn | Course::Recorded => self.nemesis.last_acts(),
        };
        deeds.into_iter().for_each(|deed| self.carry_out(deed));
    }

    pub(super) fn carry_out(&mut self, deed: Deed) {
        self.acts += 1;
        self.clients.record_nemesis(self.now, deed.f, deed.asked);
        match deed.act {
            Act::Partition(grudge) => self.network.partition(grudge),
            Act::Heal => self.network.partition(Default::default()),
            Act::CutOneWay(links) => self.network.cut_one_way(links),
            Act::HealOneWay => self.network.cut_one_way(Default::default()),
            Act::Slow(factor) => self.network.slow(f64::from(factor)),
            Act::Fast => self.network.slow(1.0),
            Act::RemoveMember(node) => self.request_removal(node),
            Act::RestoreMembers => self.restore_members(),
            Act::Stall(links) => self.network.stall(links),
            Act::Release => self.release_stalled(),
            Act::Drain(node) => self.drain(node),
            Act::Replace => self.replace_drained(),
            Act::Kill(nodes) => {
                for node in nodes {
                    self.lifecycle.killed(node);
                    self.with_cluster(|c, now, _| c.kill(now, node));
                }
            }
            Act::Start => (0..self.config.nodes.len()).for_each(|node| self.start_node(node)),
            Act::Pause(nodes) => {
                for node in nodes {
                    self.lifecycle.paused(node);
                    self.with_cluster(|c, now, _| c.pause(now, node));
                }
            }
            Act::Resume => {
                for node in 0..self.config.nodes.len() {
                    for attempt in self.lifecycle.resumed(node, self.now) {
                        let deadline = self.now + self.config.init_timeout;
                        self.queue.push(deadline, Event::Deadline(attempt));
                    }
                    self.with_cluster(|c, now, out| c.resume(now, node, out));
                }
            }
        }
        self.clients.record_nemesis(self.now, deed.f, deed.done);
    }

    /// What waited arrives, in order.
    fn release_stalled(&mut self) {
        self.network.stall(Default::default());
        for flight in std::mem::take(&mut self.stalled) {
            self.queue.push(self.now, Event::Deliver(Box::new(flight)));
        }
    }

    /// How long the bench waits for an answer of this type.
    fn patience(&self, kind: &str) -> Duration {
        if kind == "init_ok" { self.config.init_timeout } else { PREPARE_TIMEOUT }
    }

    /// Issues operations as long as the generator has some that are due.
    pub(super) fn generate(&mut self) {
        let last = match self.phase {
            Phase::Main | Phase::Quiet => false,
            Phase::Last => true,
            _ => return,
        };
        if !last && matches!(self.course, Course::Scripted(_)) {
            return self.generate_by_script();
        }
        if !last && self.config.args.rate == 0.0 {
            // Only time and the nemesis pass.
            return;
        }
        loop {
            if self.now < self.next_op_at {
                return self.generate_later(self.next_op_at);
            }
            match self.clients.ask(self.now, last) {
                Next::Pending => return,
                Next::Sleep(until) => {
                    let at = self.clients.origin() + (until - seaworthy::time::Time::ZERO);
                    return self.generate_later(at.max(self.now));
                }
                Next::Done => {
                    if !last || self.clients.idle() {
                        self.end_phase();
                    }
                    return;
                }
                Next::Invoke(worker, op) => {
                    if !last {
                        let pause = self.clients.stagger(self.config.args.rate);
                        // Catches up on small delays of the real clock, not on long ones.
                        let late = (self.now - self.next_op_at) > CATCH_UP;
                        let from = if late { self.now } else { self.next_op_at };
                        self.next_op_at = from + pause;
                    }
                    if !last && self.course == Course::Recorded {
                        self.write_down_op(worker, &op);
                    }
                    self.issue(worker, op);
                }
            }
        }
    }

    /// A worker begins an operation.
    pub(super) fn issue(&mut self, worker: usize, op: Invocation) {
        if let Some(out) = self.clients.invoke(self.now, worker, op) {
            self.outgoing.push_back(out.packet);
            let at = self.now + self.clients.timeout;
            self.queue.push(at, Event::Timeout(out.id));
        }
    }

    pub(super) fn generate_later(&mut self, at: seaworthy::time::Time) {
        if self.generate_at.is_none_or(|queued| at < queued) {
            self.generate_at = Some(at);
            self.queue.push(at, Event::Generate(at));
        }
    }
}
