//! The course of a test: init, preparation, operations, recovery, last operations.

use std::time::Duration;

use super::acts::Freed;
use super::event::{Event, Phase};
use super::nemesis::{Act, FaultEvent, tell};
use super::script::{Course, PlannedOp};
use super::state::World;
use crate::backend::{Cluster, Outbox};
use crate::load::{Invocation, Next};

/// How long a healed cluster is left alone before the last operations.
const RECOVERY: Duration = Duration::from_secs(10);

/// How far behind its schedule the generator may be and still make up for it.
const CATCH_UP: Duration = Duration::from_millis(100);

impl<C: Cluster> World<C> {
    /// Starts all nodes and sends each its `init`.
    pub fn begin(&mut self) {
        self.expose();
        for node in 0..self.config.nodes.len() {
            self.start_node(node);
        }
        self.settle();
    }

    /// Moves on if the event that the phase waits for has come.
    fn check_phase(&mut self) {
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
        } else if !self.config.time_limit.is_zero() {
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

    /// The time of a phase is up. A quiet phase goes on while nodes return to the members: each change
    /// gives the cluster the length of the phase once more for the next. Nodes return one after
    /// another, over a slow network in seconds each, and every one is to be asked as a member. A
    /// cluster that stops changing before all have returned, or never stops, is judged as it then stands.
    pub(super) fn phase_due(&mut self, phase: Phase) {
        if phase != self.phase {
            return;
        }
        let (nodes, length) = (self.config.nodes.len(), self.config.quiet_phase);
        let latest = self.quiet_from.map(|from| from + length * (1 + nodes as u32));
        let changed = self.membership.changed_with_nodes_missing(nodes);
        match changed.map(|changed| changed + length).min(latest) {
            Some(end) if phase == Phase::Quiet && end > self.now => {
                self.queue.push(end, Event::PhaseEnd(Phase::Quiet));
            }
            _ => self.end_phase(),
        }
    }

    /// Moves on from a phase whose time is up or whose work is done.
    pub(super) fn end_phase(&mut self) {
        match self.phase {
            Phase::Main if !self.config.quiet_phase.is_zero() => {
                self.phase = Phase::Quiet;
                self.heal();
                self.network.calm();
                self.cluster.calm();
                self.expose();
                if let Some(act) = self.draw_lasting_fault() {
                    self.carry_out(tell(act, &self.config.nodes));
                }
                // A fault is over when the last message is that it delayed: one of a
                // deposed leader still silences the followers that hear it.
                let quiet_from = self.now.max(self.network.last_arrival());
                self.quiet_from = Some(quiet_from);
                let end = quiet_from + self.config.quiet_phase;
                self.queue.push(end, Event::PhaseEnd(Phase::Quiet));
                self.generate();
            }
            Phase::Main | Phase::Quiet => {
                if !self.outage.lasting.is_empty() {
                    self.carry_out(tell(Act::HealOneWay, &[]));
                    self.carry_out(tell(Act::Start, &[]));
                }
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
        let event = self.nemesis.next(flow);
        if self.course == Course::Recorded {
            self.write_down_act(&event.act);
        }
        self.carry_out(event);
        let delay = self.nemesis.delay(flow);
        self.queue.push(self.now + delay, Event::Nemesis(flow));
    }

    fn heal(&mut self) {
        let events = match &self.course {
            Course::Scripted(script) => script.last_acts(),
            Course::Drawn | Course::Recorded => self.nemesis.last_acts(),
        };
        events.into_iter().for_each(|event| self.carry_out(event));
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
        // A limit of 0 is over as it begins.
        let is_over = self.phase == Phase::Main && self.config.time_limit.is_zero();
        if !last && (is_over || self.config.args.rate == 0.0) {
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
    fn issue(&mut self, worker: usize, op: Invocation) {
        if let Some(out) = self.clients.invoke(self.now, worker, op) {
            self.outgoing.push_back(out.packet);
            let at = self.now + self.clients.timeout;
            self.queue.push(at, Event::Timeout(out.id));
        }
    }

    fn generate_later(&mut self, at: seaworthy::time::Time) {
        if self.generate_at.is_none_or(|queued| at < queued) {
            self.generate_at = Some(at);
            self.queue.push(at, Event::Generate(at));
        }
    }

    /// Routes everything that was sent, and looks at the nodes.
    pub(super) fn settle(&mut self) {
        self.route_all();
        self.journal.follow(self.now, self.clients.history());
        if self.violation.is_none() {
            self.violation = self.cluster.violation();
        }
        for members in self.cluster.new_members() {
            self.membership.note(self.now, members);
            self.restore_missing();
        }
        self.check_phase();
    }

    /// Carries out an act of the nemesis, and notes it in the history before and after.
    fn carry_out(&mut self, event: FaultEvent) {
        self.acts += 1;
        self.clients.record_nemesis(self.now, event.f, event.asked);
        let freed = self.take_effect(event.act);
        self.expose();
        if freed == Freed::Clients {
            self.generate();
        }
        self.clients.record_nemesis(self.now, event.f, event.done);
    }

    /// Tells the nodes' backend the present state of the network between them.
    fn expose(&mut self) {
        let nodes = self.config.nodes.len();
        let mut out = Outbox::default();
        self.cluster.expose(&|| self.network.weather(nodes), &mut out);
        self.absorb(out);
    }

    fn schedule_script(&mut self) {
        let Course::Scripted(script) = &self.course else { return };
        for (index, (at, _)) in script.acts.iter().enumerate() {
            self.queue.push(self.now + *at, Event::Scripted(index));
        }
    }

    /// An act of the script is due. If its time has been cut off, it does not happen: the
    /// quiet phase has no faults.
    pub(super) fn act_by_script(&mut self, index: usize) {
        if self.phase != Phase::Main {
            return;
        }
        let Course::Scripted(script) = &self.course else { return };
        let event = tell(script.acts[index].1.clone(), &self.config.nodes);
        self.carry_out(event);
    }

    /// Issues the operations of the script that are due and whose workers are free.
    fn generate_by_script(&mut self) {
        let since = self.now - self.clients.origin();
        let mut index = 0;
        loop {
            let Course::Scripted(script) = &mut self.course else { return };
            match script.ops.get(index) {
                None => return,
                Some(op) if op.at > since => {
                    let at = self.clients.origin() + op.at;
                    return self.generate_later(at);
                }
                Some(op) if !self.clients.is_free(op.worker) => index += 1,
                Some(_) => {
                    let planned = script.ops.remove(index);
                    self.issue(planned.worker, planned.op);
                }
            }
        }
    }

    fn write_down_act(&mut self, act: &Act) {
        let at = self.now - self.clients.origin();
        self.written.acts.push((at, act.clone()));
    }

    fn write_down_op(&mut self, worker: usize, op: &Invocation) {
        let at = self.now - self.clients.origin();
        self.written.ops.push(PlannedOp { at, worker, op: op.clone() });
    }
}
