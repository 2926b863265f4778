//! The store in a schema of a PostgreSQL database.
//!
//! The identity that a data directory has in a file stands in the table `node`. States are written
//! beside the log by sessions of their own, in pieces.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow};
use seaworthy::raft::Index;
use seaworthy::storage::StorageError;
use seaworthy::storage::postgres::{Owner, PostgresBeside, PostgresStorage, PostgresUrl};
use tokio::runtime::Handle;

use super::Store;
use super::describe::describe;
use crate::data_dir::{Identity, check, state_of};
use crate::engine::STREAM;
use crate::node::Written;
use crate::states::{Beside, Sink, Source, Trouble};

/// Opens the schema that `url` names. It belongs to the cluster with this token in the flags.
pub(super) async fn open(
    url: &PostgresUrl,
    wanted: &Identity,
    token: &str,
) -> anyhow::Result<Store> {
    let fresh = getrandom::u64()?.max(1);
    let wished = Identity { incarnation: format!("{fresh:016x}"), ..wanted.clone() };
    let owner = Owner {
        node: wanted.name.clone(),
        cluster: token.to_owned(),
        fresh,
        about: serde_json::to_string(&wished)?,
        describe,
    };
    let opened = PostgresStorage::open(url, &owner).await;
    let opened = opened.with_context(|| format!("cannot use the store of {}", wanted.name))?;
    let (place, mut recovered) = (url.place(), opened.recovered);
    let identity: Identity = serde_json::from_str(&opened.about)
        .with_context(|| format!("{place}: the identity in the table node does not parse"))?;
    check(&place, &identity, wanted)?;
    let beside = PostgresBeside::new(url.clone(), wanted.name.clone());
    let states = Arc::new(PostgresStates::new(beside));
    let (log, own) = (recovered.take(STREAM), states.clone());
    let read = move || state_of(&log, &*own).map(|state| (log, state));
    let (log, state) = tokio::task::spawn_blocking(read).await.map_err(|e| anyhow!("{e}"))??;
    Ok(Store {
        place,
        identity,
        is_new: opened.is_new,
        lost: Some(Box::pin(opened.storage.lost())),
        storage: Box::new(opened.storage),
        states,
        log,
        state,
        tree: None,
        space: None,
    })
}

/// A state that came from another server, and is not named by the log.
type Waiting = Arc<Mutex<Option<(Index, Vec<u8>)>>>;

/// States in the database. Called on threads that may block. Each is whole in memory while it is
/// written, received or sent.
#[derive(Debug)]
pub(super) struct PostgresStates {
    beside: PostgresBeside,
    runtime: Handle,
    /// One that came from another server, and is not named by the log.
    received: Waiting,
}

impl PostgresStates {
    /// To be called in a runtime.
    pub(super) fn new(beside: PostgresBeside) -> PostgresStates {
        PostgresStates { beside, runtime: Handle::current(), received: Arc::default() }
    }

    fn begin(&self, index: Index, is_received: bool) -> Box<dyn Sink> {
        let (beside, runtime, bytes) = (self.beside.clone(), self.runtime.clone(), Vec::new());
        let received = is_received.then(|| self.received.clone());
        Box::new(RowSink { beside, runtime, received, index, bytes })
    }

    fn received(&self) -> MutexGuard<'_, Option<(Index, Vec<u8>)>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beside for PostgresStates {
    fn create(&self, index: Index) -> Result<Box<dyn Sink>, Trouble> {
        Ok(self.begin(index, false))
    }

    fn receive(&self, index: Index) -> Result<Box<dyn Sink>, Trouble> {
        Ok(self.begin(index, true))
    }

    fn adopt(&self, index: Index) -> Result<(), StorageError> {
        let received = self.received().take_if(|(received, _)| *received <= index);
        match received.filter(|(received, _)| *received == index) {
            Some((_, bytes)) => self.runtime.block_on(self.beside.write(index.0, &bytes)),
            None => Ok(()),
        }
    }

    fn open(&self, index: Index) -> Result<Box<dyn Source>, StorageError> {
        let received = self.received().as_ref().filter(|(own, _)| *own == index).cloned();
        let bytes = match received {
            Some((_, bytes)) => bytes,
            None => self.runtime.block_on(self.beside.read(index.0))?,
        };
        Ok(Box::new(RowSource { written: name(index, &bytes), bytes }))
    }

    fn make_room(&self) -> bool {
        false
    }

    fn remove_older(&self, index: Index, unfinished: bool) {
        if let Err(e) = self.runtime.block_on(self.beside.remove_older(index.0, unfinished)) {
            // They are left for the next time.
            tracing::warn!("{e}");
        }
    }
}

fn name(index: Index, bytes: &[u8]) -> Written {
    Written { index, len_bytes: bytes.len() as u64, checksum: crc32fast::hash(bytes) }
}

struct RowSink {
    beside: PostgresBeside,
    runtime: Handle,
    /// Where it waits to be adopted, if it comes from another server.
    received: Option<Waiting>,
    index: Index,
    bytes: Vec<u8>,
}

impl Sink for RowSink {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written, Trouble> {
        let RowSink { beside, runtime, received, index, bytes } = *self;
        let written = name(index, &bytes);
        match received {
            Some(waiting) => {
                *waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some((index, bytes));
            }
            None => runtime.block_on(beside.write(index.0, &bytes)).map_err(Trouble::Failed)?,
        }
        Ok(written)
    }
}

struct RowSource {
    written: Written,
    bytes: Vec<u8>,
}

impl Source for RowSource {
    fn written(&self) -> Written {
        self.written
    }

    fn place(&self) -> String {
        format!("state {} in the database", self.written.index.0)
    }

    fn read_at(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = start.checked_add(len).and_then(|end| self.bytes.get(start..end));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
