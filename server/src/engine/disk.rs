//! Group commit: the records that wait for the disk, and the one flush that is under way.

#![allow(clippy::disallowed_methods)]

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seaworthy::storage::{Storage, StorageError, Write, WriteData};

use crate::metrics::Metrics;
use crate::node::{Before, Checkpoint, Replaces, Ticket};
use crate::states::Beside;

/// The stream of the storage that holds the log.
pub const STREAM: &str = "raft";
/// A flush that takes longer is worth a line in the log.
const SLOW_FLUSH: Duration = Duration::from_millis(100);

type Flush = Pin<Box<dyn Future<Output = (Box<dyn Storage>, Result<(), StorageError>)> + Send>>;

/// Group commit: the records that wait for the disk, and the one flush that is under way.
pub(super) struct Disk {
    idle: Option<Box<dyn Storage>>,
    flush: Option<(Ticket, Instant, Flush)>,
    group: Vec<Item>,
    last: Ticket,
    durable: Ticket,
    states: Arc<dyn Beside>,
}

/// A write that waits.
enum Item {
    Record(Vec<u8>),
    Mark,
    /// To encode it takes long, so a thread of the flush does it.
    Beginning(Checkpoint),
}

impl Item {
    fn encode(self) -> Write {
        let data = match self {
            Item::Record(record) => WriteData::Record(record),
            Item::Mark => WriteData::Mark,
            Item::Beginning(checkpoint) => match checkpoint.replaces {
                Replaces::Everything => WriteData::Checkpoint(checkpoint.encode()),
                Replaces::UpToMark => WriteData::CheckpointAtMark(checkpoint.encode()),
            },
        };
        Write { stream: STREAM, data }
    }

    /// Where the state before the log is, if this item is the beginning of a log.
    fn before(&self) -> Option<Before> {
        match self {
            Item::Beginning(checkpoint) => Some(checkpoint.before),
            Item::Record(_) | Item::Mark => None,
        }
    }
}

impl Disk {
    pub(super) fn new(storage: Box<dyn Storage>, states: Arc<dyn Beside>) -> Disk {
        let (idle, group) = (Some(storage), Vec::new());
        let (last, durable) = (Ticket(0), Ticket(0));
        Disk { idle, flush: None, group, last, durable, states }
    }

    /// Whether everything up to a ticket is durable.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        ticket <= self.durable
    }

    /// Adds the beginning of a log to the group.
    pub(super) fn begin_log(&mut self, ticket: Ticket, checkpoint: Checkpoint) {
        self.push(ticket, Item::Beginning(checkpoint));
    }

    /// Marks this place of the log.
    pub(super) fn mark(&mut self) {
        self.group.push(Item::Mark);
    }

    /// Adds a record to the group.
    pub(super) fn add(&mut self, ticket: Ticket, record: Vec<u8>) {
        self.push(ticket, Item::Record(record));
    }

    fn push(&mut self, ticket: Ticket, item: Item) {
        assert!(ticket > self.last, "tickets are issued in order");
        self.last = ticket;
        self.group.push(item);
    }

    /// Begins to flush the group of writes, unless a flush is under way.
    pub(super) fn begin(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let Some(mut storage) = self.idle.take() else { return };
        let (group, states) = (std::mem::take(&mut self.group), self.states.clone());
        let flush = Box::pin(async move {
            let result = match group.iter().filter_map(Item::before).next_back() {
                None => storage.commit(group.into_iter().map(Item::encode).collect()).await,
                Some(before) => commit_checkpoint(&mut *storage, group, states, before).await,
            };
            (storage, result)
        });
        self.flush = Some((self.last, Instant::now(), flush));
    }

    /// Waits for the flush that is under way; for ever if there is none.
    pub(super) async fn flushed(&mut self, metrics: &Metrics) -> Result<Ticket, StorageError> {
        let Some((ticket, began, flush)) = &mut self.flush else { return pending().await };
        let (storage, result) = flush.await;
        let (ticket, took) = (*ticket, began.elapsed());
        self.flush = None;
        result?;
        metrics.fsync.observe(took);
        metrics.slow.flushed(took);
        if took > SLOW_FLUSH {
            tracing::warn!(took_ms = took.as_millis() as u64, "the disk is slow");
        }
        self.idle = Some(storage);
        self.durable = ticket;
        Ok(ticket)
    }
}

/// Commits a group with a checkpoint, whose state comes first.
async fn commit_checkpoint(
    storage: &mut dyn Storage,
    group: Vec<Item>,
    states: Arc<dyn Beside>,
    before: Before,
) -> Result<(), StorageError> {
    let beside = states.clone();
    let stopped = |e| StorageError { place: "the states".to_owned(), reason: format!("{e}") };
    let prepare = move || {
        if let Before::Beside(written) = before {
            beside.adopt(written.index)?;
        }
        Ok::<_, StorageError>(group.into_iter().map(Item::encode).collect())
    };
    let writes = tokio::task::spawn_blocking(prepare).await.map_err(stopped)??;
    storage.commit(writes).await?;
    std::thread::spawn(move || states.remove_older(before.index(), false));
    Ok(())
}
