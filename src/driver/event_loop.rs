//! The loop: wait, step, commit, send.

use std::future::pending;
use std::io;

use tokio::time::{Duration, Instant};

use super::commit::Committer;
use super::open::Opener;
use super::transport::{Arrival, DriverError, Transport};
use crate::message::Packet;
use crate::node::{Effect, Input, Node, Ticket};
use crate::storage::StorageError;
use crate::time::Time;

/// How many groups one turn commits if every flush ends at once. Bounded, so that a
/// node that writes whenever a write is durable cannot shut out its input.
const MAX_GROUPS_PER_TURN: usize = 8;

/// Runs `node` until its input ends: then the loop handles the rest of the input, commits
/// and sends everything that waits for the disk, and returns. It returns early, and
/// without an error as well, if the reader of the node's output has closed it.
///
/// # Errors
/// [`DriverError::Storage`] if storage cannot be opened or fails;
/// [`DriverError::Transport`] if input or output fail in any other way.
pub async fn run(
    node: Node,
    transport: impl Transport,
    opener: impl Opener,
) -> Result<(), DriverError> {
    let event_loop = EventLoop {
        node,
        transport,
        opener,
        clock: Clock { start: Instant::now() },
        storage: None,
        inbox: Vec::new(),
        effects: Vec::new(),
        outbox: Vec::new(),
    };
    match event_loop.run().await {
        Err(DriverError::Transport(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
            tracing::info!("the reader of the output has closed it");
            Ok(())
        }
        result => result,
    }
}

/// The node's clock: real time since the start of the loop.
struct Clock {
    start: Instant,
}

impl Clock {
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Waits until `deadline`; for ever if there is none.
    async fn reaches(&self, deadline: Option<Time>) {
        let delay = deadline.map(|at| Duration::from_nanos(at.as_nanos()));
        match delay.and_then(|delay| self.start.checked_add(delay)) {
            // tokio's timers count whole milliseconds and round up, which would delay a
            // timer without delay.
            Some(at) if at <= Instant::now() => {}
            Some(at) => tokio::time::sleep_until(at).await,
            None => pending().await,
        }
    }
}

/// The end of the wait between two turns.
enum Woken {
    Arrivals(usize),
    Deadline,
    Flushed(Ticket),
}

struct EventLoop<T, O> {
    node: Node,
    transport: T,
    opener: O,
    clock: Clock,
    /// None until `init` has said whose storage to open.
    storage: Option<Committer>,
    // The three are only kept to use their memory again; between turns they are empty.
    inbox: Vec<Arrival>,
    effects: Vec<Effect>,
    outbox: Vec<Packet>,
}

impl<T: Transport, O: Opener> EventLoop<T, O> {
    async fn run(mut self) -> Result<(), DriverError> {
        loop {
            match self.wait().await? {
                Woken::Arrivals(0) => return self.finish().await,
                Woken::Arrivals(_) => self.step_arrivals(),
                Woken::Deadline => self.step(Input::Tick),
                Woken::Flushed(ticket) => self.durable(ticket),
            }
            self.carry_out().await?;
        }
    }

    /// Waits for the first of input, a deadline, and the end of a flush.
    async fn wait(&mut self) -> Result<Woken, DriverError> {
        let full = self.storage.as_ref().is_some_and(Committer::is_full);
        let deadline = self.node.next_deadline();
        // Unbiased on purpose: none of the three can starve another.
        tokio::select! {
            arrived = self.transport.receive(&mut self.inbox), if !full => {
                Ok(Woken::Arrivals(arrived.map_err(DriverError::Transport)?))
            }
            () = self.clock.reaches(deadline) => Ok(Woken::Deadline),
            ticket = flushed(&mut self.storage) => Ok(Woken::Flushed(ticket?)),
        }
    }

    fn step(&mut self, input: Input) {
        self.node.step(self.clock.now(), input, &mut self.effects);
    }

    fn step_arrivals(&mut self) {
        // One reading of the clock for all: they were all here when the turn began.
        let now = self.clock.now();
        for arrival in self.inbox.drain(..) {
            let input = arrival.map_or_else(Input::Malformed, Input::Message);
            self.node.step(now, input, &mut self.effects);
        }
        self.step_due();
    }

    /// Lets timers go off that are due already, without the detour of a sleep.
    fn step_due(&mut self) {
        let now = self.clock.now();
        if self.node.next_deadline().is_some_and(|at| at <= now) {
            self.node.step(now, Input::Tick, &mut self.effects);
        }
    }

    fn durable(&mut self, ticket: Ticket) {
        self.step(Input::Durable(ticket));
        self.step_due();
        if let Some(storage) = &mut self.storage {
            storage.release(&mut self.outbox);
        }
    }

    /// Carries out the effects of a turn: starts the flush, then sends.
    async fn carry_out(&mut self) -> Result<(), DriverError> {
        self.sort_effects().await?;
        for _ in 0..MAX_GROUPS_PER_TURN {
            let Some(storage) = &mut self.storage else { break };
            storage.start();
            let Some(outcome) = storage.finished().await else { break };
            self.durable(outcome?);
            self.sort_effects().await?;
        }
        // If the bound was reached, the rest is flushed while the loop waits.
        if let Some(storage) = &mut self.storage {
            storage.start();
        }
        if self.outbox.is_empty() {
            return Ok(());
        }
        self.transport.send(&mut self.outbox).await.map_err(DriverError::Transport)?;
        assert!(self.outbox.is_empty(), "a transport sends everything");
        Ok(())
    }

    /// Puts every effect where it waits for its time.
    async fn sort_effects(&mut self) -> Result<(), DriverError> {
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            let mut opening = None;
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send(packet) => self.outbox.push(packet),
                    Effect::SendAfter(ticket, packet) => {
                        let free = self.committer().hold(ticket, packet);
                        self.outbox.extend(free);
                    }
                    Effect::Persist(ticket, write) => self.committer().persist(ticket, write),
                    Effect::Open(id) => opening = Some(id),
                }
            }
            self.effects = effects;
            if let Some(id) = opening {
                let (storage, recovered) = match self.opener.open(&id).await {
                    Ok(opened) => opened,
                    Err(error) => return Err(self.refuse(error).await),
                };
                self.storage = Some(Committer::new(storage));
                self.step(Input::Recovered(recovered));
                self.step_due();
            }
        }
        Ok(())
    }

    /// Answers `init` with the reason why this node does not start.
    async fn refuse(&mut self, error: StorageError) -> DriverError {
        self.step(Input::Unopened(error.to_string()));
        for effect in self.effects.drain(..) {
            if let Effect::Send(packet) = effect {
                self.outbox.push(packet);
            }
        }
        // If the reader is gone, the error is still printed on stderr.
        if self.transport.send(&mut self.outbox).await.is_err() {
            tracing::warn!("the reason could not be sent");
        }
        DriverError::Storage(error)
    }

    fn committer(&mut self) -> &mut Committer {
        self.storage.as_mut().expect("a node persists nothing before it has asked for storage")
    }

    /// Ends the loop after the input: timers are over, but effects are still carried out.
    async fn finish(mut self) -> Result<(), DriverError> {
        self.step_arrivals();
        self.carry_out().await?;
        while self.storage.as_ref().is_some_and(|storage| !storage.is_idle()) {
            let ticket = flushed(&mut self.storage).await?;
            self.durable(ticket);
            self.carry_out().await?;
        }
        Ok(())
    }
}

/// Waits for the flush that is under way, if any.
async fn flushed(storage: &mut Option<Committer>) -> Result<Ticket, StorageError> {
    match storage {
        Some(storage) => storage.flushed().await,
        None => pending().await,
    }
}
