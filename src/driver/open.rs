//! Opening the storage of a node, once `init` has given the node its id.

use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;

use crate::message::NodeId;
use crate::storage::{FileStorage, Owner, Recovered, Storage, StorageError, Write};

/// Where a node's storage comes from.
#[async_trait]
pub trait Opener: Send {
    /// Opens the storage of the node `id` and reads everything in it.
    ///
    /// # Errors
    /// If it cannot be opened, or its content cannot be trusted. The node stops.
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

/// A directory in which every node has one of its own, named by its id.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The nodes' storage below `root`, which is made when a node first needs it.
    pub fn new(root: impl Into<PathBuf>) -> DataDir {
        DataDir { root: root.into() }
    }
}

#[async_trait]
impl Opener for DataDir {
    async fn open(&mut self, id: &NodeId) -> Result<(Box<dyn Storage>, Recovered), StorageError> {
        if !is_file_name(id.as_str()) {
            let reason = format!("the node id {:?} cannot be the name of a directory", id.as_str());
            return Err(StorageError { place: self.root.display().to_string(), reason });
        }
        // This blocks the loop, which has nothing else to do before it is over.
        let owner = Owner {
            node: id.as_str().to_owned(),
            fresh: super::entropy(),
            beside: self.root.join(format!("{}.durable", id.as_str())),
        };
        let (storage, recovered) = FileStorage::open_owned(self.root.join(id.as_str()), &owner)?;
        Ok((Box::new(storage), recovered))
    }
}

/// A database in which every node has a schema of its own, named by its id.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug)]
pub struct Database {
    url: crate::storage::postgres::PostgresUrl,
}

#[cfg(feature = "postgres")]
impl Database {
    /// The nodes' storage in the database that `url` names.
    pub fn new(url: crate::storage::postgres::PostgresUrl) -> Database {
        Database { url }
    }
}

#[cfg(feature = "postgres")]
#[async_trait]
impl Opener for Database {
    async fn open(&mut self, id: &NodeId) -> Result<(Box<dyn Storage>, Recovered), StorageError> {
        use crate::storage::postgres::{Owner, PostgresStorage};
        let url = self.url.of_node(id.as_str());
        let url = url.map_err(|reason| StorageError { place: self.url.place(), reason })?;
        let owner = Owner {
            node: id.as_str().to_owned(),
            cluster: String::new(),
            fresh: super::entropy(),
            about: "{}".to_owned(),
            describe: record_as_json,
        };
        let opened = PostgresStorage::open(&url, &owner).await?;
        Ok((Box::new(opened.storage), opened.recovered))
    }
}

/// Engines of nodes write JSON, which needs no translation; what follows the JSON of a checkpoint
/// does.
#[cfg(feature = "postgres")]
fn record_as_json(bytes: &[u8]) -> Option<String> {
    let json: &serde_json::value::RawValue = serde_json::from_slice(bytes).ok()?;
    Some(json.get().to_owned())
}

/// Whether a name stays in the directory it is joined to. Ids come from outside.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    first == Some(Component::Normal(name.as_ref())) && components.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_out_of_the_data_directory() {
        for good in ["n0", "node-1.example", "...", "ünï"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", "/", "/etc", "a/b", "../n0", "n0/", "n0/.", "./n0"] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }
}
