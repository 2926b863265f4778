//! The end of a turn: the core's wishes become effects.

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::coverage::{self, Mark};
use seaworthy::raft::{Index, RaftId, Ready, SnapshotMeta};

use super::record::{self, Before, Checkpoint, Draft, Written};
use super::wire::Parcel;
use super::{Effect, Event, Frozen, Machine, Node};

impl Node {
    pub(super) fn end_turn(&mut self) {
        self.notice_leader();
        self.effects.extend(self.raft.take_received().into_iter().map(Effect::Store));
        let mut outbox: BTreeMap<RaftId, Parcel> = BTreeMap::new();
        let due = self.due_commands();
        if self.raft.is_leader() {
            self.inbox.extend(due);
        } else if let Some(leader) = self.raft.leader().filter(|_| !due.is_empty()) {
            outbox.entry(leader).or_default().commands = due;
        }
        let questions = self.due_questions();
        if self.raft.is_leader() {
            self.leases.take(self.me, questions);
        } else if let Some(leader) = self.raft.leader().filter(|_| !questions.is_empty()) {
            outbox.entry(leader).or_default().lease_questions = questions;
        }
        if let Some(heard) = self.heard {
            self.raft.learn_commit(heard);
            self.heard = self.heard.filter(|id| id.index > self.raft.status().commit);
        }
        // A follower that is needed for a quorum may need a state first, and none is encoded while the
        // machine is ahead of the commit index.
        self.raft.learn_commit_as_leader(self.begun);
        loop {
            self.notice_reign();
            self.propose();
            self.propose_ends();
            self.confirm_reads();
            self.answer_questions();
            self.steer();
            let ready = self.raft.ready();
            if ready.is_empty() {
                break;
            }
            self.carry_out(ready, &mut outbox);
        }
        if std::mem::take(&mut self.standing_changed) {
            let ticket = self.next_ticket();
            let record = record::encode_record(None, Some(&self.standing));
            self.effects.push(Effect::Persist(ticket, record));
        }
        for (to, id) in std::mem::take(&mut self.hints) {
            outbox.entry(to).or_default().committed = Some(id);
        }
        for (to, told) in std::mem::take(&mut self.told) {
            outbox.entry(to).or_default().lease_answers = told;
        }
        for (to, parcel) in outbox.into_iter().filter(|(_, parcel)| !parcel.is_empty()) {
            let (class, bytes) = parcel.encode();
            self.effects.push(Effect::Send(to, class, bytes));
        }
        self.set_check();
        self.notice_leader();
        self.end_waits();
        self.tell_members();
        self.hand_over();
        self.freeze();
        self.finish_stop();
        self.finish_leaving();
    }

    fn carry_out(&mut self, ready: Ready, outbox: &mut BTreeMap<RaftId, Parcel>) {
        if let Some(snapshot) = &ready.restore {
            self.restore(snapshot);
        }
        if let Some(persist) = &ready.persist {
            let ticket = self.next_ticket();
            self.tickets.push_back((persist.id, ticket));
            self.plant_unflushed();
            let effect = match persist.snapshot {
                // It replaces everything, and `to_restore` holds its other parts.
                Some(_) => {
                    // The mark is gone with everything else.
                    self.draft = None;
                    Effect::Checkpoint(ticket, Checkpoint::now(&self.raft, &self.standing))
                }
                None => {
                    let changed = std::mem::take(&mut self.standing_changed);
                    let standing = changed.then_some(&self.standing);
                    Effect::Persist(ticket, record::encode_record(Some(persist), standing))
                }
            };
            self.effects.push(effect);
        }
        for message in ready.messages {
            outbox.entry(message.to).or_default().raft.push(message);
        }
        ready.pieces.into_iter().for_each(|piece| self.send_piece(piece));
        let mut promises: BTreeMap<RaftId, Parcel> = BTreeMap::new();
        for message in ready.messages_after {
            promises.entry(message.to).or_default().raft.push(message);
        }
        for (to, parcel) in promises {
            let (class, bytes) = parcel.encode();
            self.effects.push(Effect::SendAfter(self.last_ticket, to, class, bytes));
        }
        for entry in &ready.committed {
            self.apply(entry);
        }
        for read in &ready.reads {
            for token in self.client.confirmed(read.context) {
                self.show(token);
            }
            self.confirmed_leases(read.context);
        }
        for context in ready.dropped_reads {
            self.client.dropped(context);
            self.leases.dropped(context);
        }
    }

    /// After a change of leader everything that waits goes to the new one.
    fn notice_leader(&mut self) {
        let led = (self.raft.term(), self.raft.leader());
        if led == self.led {
            return;
        }
        self.proposed.clear();
        if led.1 != self.led.1 {
            self.effects.push(Effect::Event(Event::Leader(led.0, led.1)));
        }
        self.led = led;
        if led.1.is_some() {
            self.client.resend(self.now);
            self.leases.resend(self.now);
        }
    }

    /// Has a snapshot made when the log has grown enough. The state is handed out as a clone
    /// that costs nothing; encoding it is another thread's work.
    fn freeze(&mut self) {
        if self.freezing {
            return;
        }
        let is_wanted = self.wants_encoded && self.has_space_for_state();
        if self.tree.is_some() && !is_wanted {
            return self.go_on_from_tree();
        }
        let threshold = self.options.snapshot_bytes.max(self.snapshot_size);
        let index = self.raft.status().applied;
        let is_due = is_wanted || self.applied_bytes >= threshold || self.snapshot_makes_space();
        // Guard: the state may be that of a later entry.
        let is_ahead = self.began_with(index.next());
        if !is_due || !self.is_news(index) || is_ahead {
            return;
        }
        (self.freezing, self.wants_encoded, self.applied_bytes) = (true, false, 0);
        // The log goes on meanwhile, and no record behind the mark is written again.
        self.draft = Some(Draft::new(&self.raft, index, &self.standing));
        self.effects.push(Effect::Mark);
        let frozen = Frozen { index, machine: self.machine.clone() };
        self.effects.push(Effect::Freeze(Box::new(frozen)));
    }

    /// Makes the snapshot the beginning of the log, here and on disk.
    pub(super) fn written(&mut self, written: Written) {
        if !self.is_in_tree(written) {
            return;
        }
        self.freezing = false;
        let written = self.plant_ahead(written);
        // One that came from the leader meanwhile may be newer.
        if !self.is_news(written.index) {
            return;
        }
        if matches!(self.newest_snapshot(), Before::Tree(_)) && self.tree.is_some() {
            coverage::hit(Mark::TreeEncoded);
        }
        let Written { index, len_bytes, checksum } = written;
        self.snapshot_size = len_bytes;
        self.begin_log(index, (len_bytes, checksum));
        self.send_encoded();
    }

    /// Whether an encoded state of everything up to an entry is better than the latest snapshot.
    fn is_news(&self, index: Index) -> bool {
        match self.newest_snapshot() {
            Before::Tree(newest) => index >= newest,
            newest => index > newest.index(),
        }
    }

    /// Has the log go on from the state of everything up to an entry.
    pub(super) fn begin_log(&mut self, index: Index, (len_bytes, checksum): (u64, u32)) {
        let keep = self.kept_entries();
        let dropped = self.raft.compact_keeping(index, len_bytes, checksum, keep);
        self.effects.push(Effect::Discard(Box::new(dropped)));
        self.space.log_bytes = self.applied_bytes;
        let ticket = self.next_ticket();
        let checkpoint = match self.draft.take().filter(|draft| draft.index == index) {
            Some(draft) => {
                coverage::hit(Mark::LogKept);
                let snapshot = self.raft.snapshot().cloned().expect("it has just been made");
                draft.finish(snapshot)
            }
            None => Checkpoint::now(&self.raft, &self.standing),
        };
        self.effects.push(Effect::Checkpoint(ticket, checkpoint));
    }

    /// A snapshot of another server is on disk, and takes the place of the log, if it is still
    /// needed.
    pub(super) fn arrived(&mut self, snapshot: &SnapshotMeta, state: Option<Box<Machine>>) {
        let was_known = self.raft.snapshot() == Some(snapshot);
        self.raft.arrived(snapshot, state.is_some());
        // Unless the log has grown beyond it, it is restored in this turn.
        let is_taken = !was_known && self.raft.snapshot() == Some(snapshot);
        let unwanted = match is_taken {
            true => std::mem::replace(&mut self.arrived, state),
            false => state,
        };
        self.effects.extend(unwanted.map(|state| Effect::Discard(state)));
    }

    /// A snapshot that another server is in the middle of is gone.
    pub(super) fn lost(&mut self, snapshot: &SnapshotMeta) {
        // Pieces of the latest snapshot count as lost on the way, and are asked for again. A tree has a
        // later state, which is encoded to take the place of the lost one.
        if self.raft.snapshot() != Some(snapshot) {
            self.raft.snapshot_lost(snapshot);
        } else if self.tree.is_some() {
            self.want_encoded();
        }
    }

    /// Ends once another server leads, or would by now.
    fn finish_stop(&mut self) {
        let Some(since) = self.stopping else { return };
        let patience = Duration::from_millis(self.options.election_timeout_ms);
        if !self.raft.is_leader() || self.now - since >= patience {
            self.stopping = None;
            self.effects.push(Effect::Stopped);
        }
    }
}
