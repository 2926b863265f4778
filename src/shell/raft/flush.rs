//! The end of a turn: the core's wishes become effects.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::body::pack;
use super::machine::StateMachine;
use super::record;
use super::standing::Standing;
use super::state::{BATCH, FLUSH, RAFT, Replica, Started};
use super::wire::{BUNDLE_BYTES, Bundle};
use crate::node::{Context, Ticket};
use crate::raft::{Index, Persist, RaftId, Ready, Term};
use crate::time::Time;

/// A bundle as a message body.
#[derive(Serialize)]
struct BundleBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    bundle: &'a Bundle,
}

impl<S: StateMachine> Replica<S> {
    /// Ends the turn when everything that has arrived is handled.
    pub(super) fn flush_soon(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        if !started.flushing {
            started.flushing = true;
            cx.set_timer(FLUSH, Duration::ZERO);
        }
    }

    /// Carries out everything the core wants, and sends the messages that wait.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        self.adapt(cx.now());
        loop {
            self.send_requests(cx);
            self.settle_changes(cx);
            self.begin_batch(cx);
            let Some(ready) = self.ready() else { break };
            self.carry_out(cx, ready);
        }
        // Usually it went along with entries of the core.
        if std::mem::take(&mut self.standing_changed) {
            cx.persist(record::encode_standing(self.standing));
        }
        self.compact(cx);
        self.send(cx);
        let Some(started) = &mut self.started else { return };
        started.flushing = false;
        // Often enough to notice that the network has become faster.
        let ticks = started.raft.ticks_until_due().clamp(1, self.options.election_timeout_ms);
        cx.set_timer(RAFT, Duration::from_millis(ticks));
    }

    fn ready(&mut self) -> Option<Ready> {
        let ready = self.started.as_mut()?.raft.ready();
        (!ready.is_empty()).then_some(ready)
    }

    /// Proposes the commands that have come in, at once or after the batch delay.
    fn begin_batch(&mut self, cx: &mut Context<'_>) {
        let delay = Duration::from_millis(self.options.batch_delay_ms);
        let Some(started) = &self.started else { return };
        if started.batch.is_empty() {
            return;
        }
        if delay.is_zero() {
            self.propose_batch(cx);
        } else {
            cx.set_timer_if_unset(BATCH, delay);
        }
    }

    fn carry_out(&mut self, cx: &mut Context<'_>, ready: Ready) {
        if let Some(snapshot) = &ready.restore {
            let shelf = self.started.as_ref().map(|started| &started.shelf);
            let data = shelf.and_then(|shelf| shelf.get(snapshot)).expect("it has arrived").clone();
            self.restore(data.as_bytes());
            self.recall(cx);
        }
        let Some(started) = &mut self.started else { return };
        if let Some(persist) = &ready.persist {
            let changed = std::mem::take(&mut self.standing_changed);
            let ticket = started.persist(cx, persist, self.standing, changed);
            started.last_ticket = Some(ticket);
            started.tickets.push_back((persist.id, ticket));
        }
        for message in &ready.messages {
            started.outbox.entry(message.to).or_default().raft.push(pack(message));
        }
        for message in ready.pieces.into_iter().filter_map(|piece| started.shelf.message(piece)) {
            started.outbox.entry(message.to).or_default().raft.push(pack(&message));
        }
        if !ready.messages_after.is_empty() {
            let mut promises: BTreeMap<RaftId, Bundle> = BTreeMap::new();
            for message in &ready.messages_after {
                promises.entry(message.to).or_default().raft.push(pack(message));
            }
            let ticket = started.last_ticket.expect("what waits, waits for a write");
            self.send_bundles(cx, promises, Some(ticket));
        }
        for entry in &ready.committed {
            self.apply(cx, entry);
        }
        for read in &ready.reads {
            self.serve_read(cx, read);
        }
        for context in &ready.dropped_reads {
            self.drop_read(*context);
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &mut self.started else { return };
        let outbox = std::mem::take(&mut started.outbox);
        self.send_bundles(cx, outbox, None);
    }

    fn send_bundles(
        &mut self,
        cx: &mut Context<'_>,
        bundles: BTreeMap<RaftId, Bundle>,
        after: Option<Ticket>,
    ) {
        let Some(started) = &mut self.started else { return };
        let bundles = bundles.into_iter().filter(|(_, p)| !p.is_empty());
        let split =
            |(to, p): (RaftId, Bundle)| p.split(BUNDLE_BYTES).into_iter().map(move |p| (to, p));
        for (to, mut bundle) in bundles.flat_map(split) {
            bundle.cluster = self.standing.cluster;
            let is_known = self.known.contains(&to) || started.logged.contains(&to);
            bundle.new = bundle.cluster.is_some() && !is_known;
            // Guard: the voucher of a server that abstains does not count.
            let abstains = started.raft.is_abstaining();
            bundle.term = if abstains { Term::ZERO } else { started.raft.term() };
            bundle.clocks = started.timing.send(to, cx.now());
            let place = usize::try_from(to.0).unwrap_or(usize::MAX).wrapping_sub(1);
            let Some(dest) = started.ids.get(place).cloned() else { continue };
            let body = BundleBody { kind: self.kind, bundle: &bundle };
            match after {
                Some(ticket) => cx.send_after(ticket, &dest, &body),
                None => cx.send(&dest, &body),
            }
        }
    }

    /// Makes a snapshot when the log has grown by as much as the last one was large, so
    /// that snapshots cost a constant share of the work; and by up to half as much again,
    /// each replica at another place: a node stands still meanwhile, and not all at once.
    fn compact(&mut self, cx: &mut Context<'_>) {
        let Some(started) = &self.started else { return };
        let threshold = self.options.compact_bytes.max(started.snapshot_bytes);
        let last = started.raft.snapshot().map_or(0, |snapshot| snapshot.last.index.0);
        let threshold = threshold + spread(started.id, last) % (threshold / 2 + 1);
        let applied = started.raft.status().applied;
        if started.applied_bytes < threshold || applied == Index::ZERO {
            return;
        }
        let data = self.snapshot();
        let Some(started) = &mut self.started else { return };
        started.applied_bytes = 0;
        started.snapshot_bytes = data.len() as u64;
        started.shelf.compact(&mut started.raft, applied, data.into());
        cx.checkpoint(started.checkpoint(self.standing));
    }

    /// Fits the core's timeouts to the network.
    fn adapt(&mut self, now: Time) {
        let usual = (self.options.election_timeout_ms, self.options.heartbeat_ms);
        let Some(started) = &mut self.started else { return };
        let rtt_ms = started.timing.rtt_ms(now);
        let heartbeat = usual.1.max(rtt_ms / 2);
        // An election is two round trips, and a lost heartbeat is not a reason for one.
        let election = usual.0.max(2 * rtt_ms + 2 * heartbeat);
        started.raft.set_timing(election, heartbeat);
    }
}

/// A number that looks random, and is another one for each replica and each snapshot.
fn spread(own: RaftId, last: u64) -> u64 {
    // The finalizer of SplitMix64 (Steele, Lea, Flood, 2014).
    let x = (own.0 << 48) ^ last ^ 0x9e37_79b9_7f4a_7c15;
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Started {
    fn persist(
        &mut self,
        cx: &mut Context<'_>,
        persist: &Persist,
        standing: Standing,
        changed: bool,
    ) -> Ticket {
        if persist.snapshot.is_some() {
            // A snapshot replaces everything before it, so the whole state is written.
            self.applied_bytes = 0;
            return cx.checkpoint(self.checkpoint(standing));
        }
        cx.persist(record::encode_record(persist, changed.then_some(standing)))
    }
}
