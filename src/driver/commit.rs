//! Group commit: records and messages that wait for the disk, and the flush under way.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::message::Packet;
use crate::node::Ticket;
use crate::storage::{Storage, StorageError, Write};

/// No more input is read while records and held messages of this many bytes wait
/// for the disk.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// The cost of a held message or a record besides its text, in bytes; a guess that keeps a
/// flood of tiny ones bounded too.
const OVERHEAD_BYTES: usize = 128;

type Flush = Pin<Box<dyn Future<Output = (Box<dyn Storage>, Result<(), StorageError>)> + Send>>;

/// A node's storage, the writes for its next group, and the messages that wait.
pub(super) struct Committer {
    /// The storage, unless a flush has borrowed it.
    idle: Option<Box<dyn Storage>>,
    flush: Option<(Ticket, Flush)>,
    group: Vec<Write>,
    /// The last ticket that was asked for, and the last that is durable.
    last: Ticket,
    durable: Ticket,
    held: BTreeMap<Ticket, Vec<Packet>>,
    waiting_bytes: usize,
    flushing_bytes: usize,
}

impl Committer {
    pub(super) fn new(storage: Box<dyn Storage>) -> Committer {
        Committer {
            idle: Some(storage),
            flush: None,
            group: Vec::new(),
            last: Ticket(0),
            durable: Ticket(0),
            held: BTreeMap::new(),
            waiting_bytes: 0,
            flushing_bytes: 0,
        }
    }

    /// Adds a write to the next group.
    pub(super) fn persist(&mut self, ticket: Ticket, write: Write) {
        assert!(ticket > self.last, "tickets are issued in order");
        self.last = ticket;
        self.waiting_bytes += write.data.len_bytes() + OVERHEAD_BYTES;
        self.group.push(write);
    }

    /// Holds `packet` back until `ticket` is durable, or hands it back if it is.
    pub(super) fn hold(&mut self, ticket: Ticket, packet: Packet) -> Option<Packet> {
        assert!(ticket <= self.last, "a message waits for a record that was never written");
        if ticket <= self.durable {
            return Some(packet);
        }
        self.waiting_bytes += packet.body.len() + OVERHEAD_BYTES;
        self.held.entry(ticket).or_default().push(packet);
        None
    }

    /// Whether so much waits for the disk that no more should be taken on.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes + self.flushing_bytes > MAX_WAITING_BYTES
    }

    /// Whether nothing waits for the disk.
    pub(super) fn is_idle(&self) -> bool {
        self.flush.is_none() && self.group.is_empty()
    }

    /// Begins the flush of the next group, unless a flush is under way.
    pub(super) fn start(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let Some(mut storage) = self.idle.take() else { return };
        let writes = std::mem::take(&mut self.group);
        self.flushing_bytes = std::mem::take(&mut self.waiting_bytes);
        let flush = Box::pin(async move {
            let result = storage.commit(writes).await;
            (storage, result)
        });
        self.flush = Some((self.last, flush));
    }

    /// Returns the outcome of the flush if it is already known. A new flush begins
    /// when it is polled for the first time.
    pub(super) async fn finished(&mut self) -> Option<Result<Ticket, StorageError>> {
        poll_fn(|cx| match self.flush.as_mut() {
            None => Poll::Ready(None),
            Some((_, flush)) => match flush.as_mut().poll(cx) {
                Poll::Pending => Poll::Ready(None),
                Poll::Ready(outcome) => Poll::Ready(Some(self.end(outcome))),
            },
        })
        .await
    }

    /// Waits for the flush that is under way; never returns without one.
    pub(super) async fn flushed(&mut self) -> Result<Ticket, StorageError> {
        poll_fn(|cx| match self.flush.as_mut() {
            None => Poll::Pending,
            Some((_, flush)) => flush.as_mut().poll(cx).map(|outcome| self.end(outcome)),
        })
        .await
    }

    /// Moves the messages that may leave now to `outbox`.
    pub(super) fn release(&mut self, outbox: &mut Vec<Packet>) {
        while let Some(first) = self.held.first_entry().filter(|e| *e.key() <= self.durable) {
            outbox.append(&mut first.remove());
        }
    }

    fn end(
        &mut self,
        (storage, result): (Box<dyn Storage>, Result<(), StorageError>),
    ) -> Result<Ticket, StorageError> {
        let (ticket, _) = self.flush.take().expect("only a flush that is under way can end");
        result?;
        self.idle = Some(storage);
        self.durable = ticket;
        self.flushing_bytes = 0;
        Ok(ticket)
    }
}
