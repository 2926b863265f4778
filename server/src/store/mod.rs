//! Where log, term, vote and snapshots are kept: files in a data directory, or PostgreSQL.
//!
//! A [`Store`] is either of them, opened: the node and its engine know no difference. `files` are
//! `crate::data_dir` and `crate::states`; `postgres` is a schema of a database, in which the
//! identity stands too, so that a server with it needs no directory.

#[cfg(feature = "postgres")]
mod describe;
#[cfg(feature = "postgres")]
pub mod offline;
#[cfg(feature = "postgres")]
mod postgres;

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "postgres")]
use seaworthy::storage::postgres::PostgresOffline;
use seaworthy::storage::{Log, Storage, StorageError};

use crate::data_dir::{self, Begun, DataDir, Identity, number};
use crate::kv::Base;
use crate::space::Space;
use crate::states::Beside;
use crate::trees::{self, Trees};

/// Ends when nothing can be written any more, with the reason.
pub type Lost = Pin<Box<dyn Future<Output = StorageError> + Send>>;

/// A store that was opened. Whatever keeps others out of it is held as long as `storage` is there.
pub struct Store {
    /// Where it is, for people.
    pub place: String,
    /// Whose it is.
    pub identity: Identity,
    /// Whether it was made now.
    pub is_new: bool,
    /// The log, for writing.
    pub storage: Box<dyn Storage>,
    /// The states beside the log.
    pub states: Arc<dyn Beside>,
    /// The log as it was found.
    pub log: Log,
    /// The state that the log goes on from, or a later one. `None` if the log begins with the first entry, or
    /// the state is in a tree.
    pub state: Option<Begun>,
    /// The tree that has that state or a later one, and a view of it.
    pub tree: Option<(Arc<Trees>, Arc<dyn Base>)>,
    /// The space on its disk; none if the disk is another program's business.
    pub space: Option<Space>,
    /// The loss of the store while nothing is written; none if only a write can notice it.
    pub lost: Option<Lost>,
}

/// The kind of store, and where it is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// In the data directory.
    Files,
    /// In a database.
    #[cfg(feature = "postgres")]
    Postgres(Box<seaworthy::storage::postgres::PostgresUrl>),
}

impl Kind {
    /// Reads `--store`.
    ///
    /// # Errors
    /// A sentence about the value.
    pub fn parse(text: &str) -> Result<Kind, String> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        match text {
            "file" => Ok(Kind::Files),
            #[cfg(feature = "postgres")]
            url if is_url => {
                let url = seaworthy::storage::postgres::PostgresUrl::parse(url)?;
                Ok(Kind::Postgres(Box::new(url)))
            }
            _ if is_url => {
                Err("this program was built without the cargo feature postgres".to_owned())
            }
            // It may hold a password, so it is not repeated.
            _ => Err("a store is \"file\", or a URL that begins with postgres://".to_owned()),
        }
    }
}

impl Store {
    /// The store's random number.
    ///
    /// # Errors
    /// If it was edited.
    pub fn incarnation(&self) -> anyhow::Result<u64> {
        number(&self.identity.incarnation)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store of {} in {}", self.identity.name, self.place)
    }
}

impl From<DataDir> for Store {
    fn from(directory: DataDir) -> Store {
        let DataDir { path, identity, is_new, storage, states, log, state, tree, space } =
            directory;
        Store {
            place: path.display().to_string(),
            identity,
            is_new,
            storage: Box::new(storage),
            states: Arc::new(states),
            log,
            state,
            tree,
            space: Some(space),
            lost: None,
        }
    }
}

/// Whether a server has its data in a store.
///
/// # Errors
/// Those of a database.
pub async fn is_used(kind: &Kind, data_dir: &Path) -> anyhow::Result<bool> {
    match kind {
        Kind::Files => Ok(data_dir::is_used(data_dir)),
        #[cfg(feature = "postgres")]
        Kind::Postgres(url) => Ok(PostgresOffline::is_used(url).await?),
    }
}

/// Opens the store of the server that `wanted` describes, and makes it if it does not exist. Only
/// files are in `data_dir`, and only there can the state be anywhere but in memory. `token` is the
/// one in the flags: the cluster that a server has joined may have another.
///
/// # Errors
/// If it is another server's, in use, or cannot be trusted. The text names both sides and the
/// remedy.
pub async fn open(
    kind: &Kind,
    state: trees::Kind,
    data_dir: &Path,
    wanted: &Identity,
    token: &str,
) -> anyhow::Result<Store> {
    match kind {
        Kind::Files => Ok(DataDir::open(data_dir, wanted, state)?.into()),
        #[cfg(feature = "postgres")]
        Kind::Postgres(url) => postgres::open(url, wanted, token).await,
    }
}
