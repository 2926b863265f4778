//! Opening the storage of a node, once `init` has said who the node is.

use async_trait::async_trait;

use crate::message::NodeId;
use crate::storage::{Recovered, Storage, StorageError, Write};

/// Where a node's storage comes from.
#[async_trait]
pub trait Opener: Send {
    /// Opens the storage of the node `id` and reads everything in it.
    ///
    /// # Errors
    /// If it cannot be opened, or holds what cannot be trusted. The node stops.
    async fn open(&mut self, id: &NodeId) -> Result<(Box<dyn Storage>, Recovered), StorageError>;
}

/// Memory as storage. Everything counts as durable at once, because nothing
/// survives: a node that restarts without a data directory has lost all it knew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volatile;

#[async_trait]
impl Opener for Volatile {
    async fn open(&mut self, _: &NodeId) -> Result<(Box<dyn Storage>, Recovered), StorageError> {
        Ok((Box::new(Volatile), Recovered::default()))
    }
}

#[async_trait]
impl Storage for Volatile {
    async fn commit(&mut self, _: Vec<Write>) -> Result<(), StorageError> {
        Ok(())
    }
}
