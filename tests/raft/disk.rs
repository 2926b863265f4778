//! A disk for one server: writes are queued, become durable in order, and those that
//! have not are lost in a crash.

use std::collections::VecDeque;

use seaworthy::raft::{Command, LogId, Message, Persist, PersistId, Ready, Restored, SnapshotMeta};

/// A write that a server asked for, and the messages that leave when it is durable.
enum Write {
    Persist(Persist),
    Checkpoint(Restored),
}

/// A server's stable storage.
#[derive(Default)]
pub(crate) struct Disk {
    durable: Restored,
    /// The bytes of snapshots: those that `durable` does not name count for nothing.
    states: Vec<(SnapshotMeta, Command)>,
    queue: VecDeque<(Write, Vec<Message>)>,
}

impl Disk {
    /// The content that a server that starts now finds.
    pub(crate) fn restored(&self) -> Restored {
        self.durable.clone()
    }

    /// Keeps the bytes of a snapshot.
    pub(crate) fn keep(&mut self, snapshot: &SnapshotMeta, data: Command) {
        self.states.push((snapshot.clone(), data));
    }

    /// The bytes of the snapshot of [`Disk::restored`].
    pub(crate) fn state(&self) -> Option<(SnapshotMeta, Command)> {
        let wanted = self.durable.snapshot.as_ref()?;
        let found = self.states.iter().find(|(snapshot, _)| snapshot == wanted);
        Some(found.expect("a state is kept before the log names it").clone())
    }

    /// Takes the writes of a turn. Returns the messages that need not wait.
    pub(crate) fn take(&mut self, ready: &mut Ready) -> Vec<Message> {
        let mut free = std::mem::take(&mut ready.messages);
        let after = std::mem::take(&mut ready.messages_after);
        if let Some(persist) = ready.persist.take() {
            self.queue.push_back((Write::Persist(persist), after));
        } else if let Some((_, waiting)) = self.queue.back_mut() {
            waiting.extend(after);
        } else {
            free.extend(after);
        }
        free
    }

    /// Queues a state that replaces everything.
    pub(crate) fn checkpoint(&mut self, state: Restored) {
        self.queue.push_back((Write::Checkpoint(state), Vec::new()));
    }

    /// Makes the oldest queued write durable. Returns its name, if it is one that the
    /// server wants to hear of, and the messages that waited for it.
    pub(crate) fn flush_one(&mut self) -> Option<(Option<PersistId>, Vec<Message>)> {
        let (write, after) = self.queue.pop_front()?;
        let id = match write {
            Write::Checkpoint(state) => {
                self.durable = state;
                None
            }
            Write::Persist(persist) => {
                self.apply(&persist);
                Some(persist.id)
            }
        };
        Some((id, after))
    }

    /// Loses all writes that are not durable.
    pub(crate) fn crash(&mut self) {
        self.queue.clear();
    }

    /// Whether writes are queued.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    fn apply(&mut self, persist: &Persist) {
        let durable = &mut self.durable;
        if let Some(hard_state) = persist.hard_state {
            durable.hard_state = hard_state;
        }
        if let Some(snapshot) = &persist.snapshot {
            durable.base = snapshot.last;
            durable.base_config = Some(snapshot.config.clone());
            durable.snapshot = Some(snapshot.clone());
            durable.entries.clear();
        }
        if let Some(first) = persist.entries.first() {
            durable.entries.retain(|e| e.id.index < first.id.index);
            durable.entries.extend(persist.entries.iter().cloned());
        }
    }

    /// Whether the entry would survive a crash, in the log or in the snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let in_snapshot = self.durable.snapshot.as_ref().is_some_and(|s| s.last.index >= id.index);
        in_snapshot || self.durable.base == id || self.durable.entries.iter().any(|e| e.id == id)
    }

    /// The last entry that would survive a crash.
    pub(crate) fn last(&self) -> LogId {
        self.durable.entries.last().map_or(self.durable.base, |e| e.id)
    }
}
