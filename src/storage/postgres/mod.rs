//! Stable storage in a PostgreSQL database: one schema a node.
//!
//! A group of writes is one transaction, so it is kept whole or not at all, which is more than
//! [`Storage`] asks for. Nothing counts as durable before the commit was answered.
//!
//! ```text
//! node        one row: the format, the owner of the schema, its cluster, its random number
//! stream      name; next: the number of the next record, moved by each commit
//! record      stream, number; crc; contents: the record for people; bytes
//! checkpoint  stream, number: it stands for everything below; its length; contents
//! piece       the bytes of a checkpoint, or of a value beside the streams, 1 MiB a row
//! log         a view: stream, index, term, operation, key of the entries that are in force
//! vote        a view: stream, term, voted_for
//! ```
//!
//! The engine knows how to read its records, storage does not: an [`Owner`] brings a function that
//! makes JSON of one, and the views read that. It is written beside the bytes and never read back.
//!
//! # Two processes
//!
//! An advisory lock is held by the session that writes, so it ends with the session and not
//! before. Should it fail to keep two writers apart (a pooler between node and database may hand
//! sessions around), the next number of the stream does: a commit moves it from the value that this
//! process has left there, or writes nothing and fails.
//!
//! # Errors
//!
//! Any error is final: the session may be gone, and whether the last transaction was committed
//! cannot be known. A restart reads the truth. The loss of an idle session is told by
//! [`PostgresStorage::lost`].
//!
//! # Deliberately missing
//!
//! More than one writer; a witness of durability outside of the
//! database, as [`FileStorage`](super::FileStorage) has one: a database that was put back to an
//! older backup as a whole is not noticed here.

// Sessions need a task of their own, and a wait between two attempts to get the lock.
#![allow(clippy::disallowed_methods)]

mod beside;
mod commit;
mod error;
mod offline;
mod owner;
mod pieces;
#[cfg(test)]
mod private_cluster;
mod recover;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod url;

use async_trait::async_trait;

pub use self::beside::PostgresBeside;
use self::commit::Writer;
pub use self::offline::{Beginning, Found, PostgresOffline};
pub use self::owner::{Describe, Owner};
use self::session::Session;
pub use self::url::PostgresUrl;
use super::{Recovered, Storage, StorageError, Write};

/// A schema that was opened.
#[derive(Debug)]
pub struct Opened {
    /// For writing.
    pub storage: PostgresStorage,
    /// Everything in it.
    pub recovered: Recovered,
    /// The facts about the node, as they were written first.
    pub about: String,
    /// Whether the schema was made now.
    pub is_new: bool,
}

/// Stable storage in a schema of its own.
#[derive(Debug)]
pub struct PostgresStorage {
    place: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Ready(Box<Writer>),
    /// A commit failed, or was given up while it ran; the text says which.
    Failed(String),
}

impl PostgresStorage {
    /// Opens the schema that `url` names, makes it if it does not exist, and reads it. To be
    /// called in a runtime that goes on: a task of it serves the connection.
    ///
    /// # Errors
    /// If there is no connection; if the database does not keep what it has committed; if the
    /// schema is another node's, in use, or damaged. The text names both sides and the remedy.
    pub async fn open(url: &PostgresUrl, owner: &Owner) -> Result<Opened, StorageError> {
        let session = Session::open(url, &owner.node).await?;
        schema::make(&session, url).await?;
        session.lock(url, &owner.node).await?;
        let (about, is_new) = schema::own(&session, owner).await?;
        let (streams, recovered) = recover::read(&session).await?;
        let place = session.place.clone();
        let writer = Writer::new(session, streams, owner.describe).await?;
        let storage = PostgresStorage { place, state: State::Ready(Box::new(writer)) };
        Ok(Opened { storage, recovered, about, is_new })
    }

    /// Waits until the session with the database is lost. Every later commit fails.
    pub fn lost(&self) -> impl Future<Output = StorageError> + Send + 'static {
        let session = match &self.state {
            State::Ready(writer) => Some(writer.session.ended()),
            State::Failed(_) => None,
        };
        let place = self.place.clone();
        async move {
            let reason = match session {
                Some(ended) => ended.await,
                None => "an earlier commit failed".to_owned(),
            };
            StorageError { place, reason }
        }
    }

    /// The number of the session's process at the database.
    #[cfg(test)]
    fn backend(&self) -> i32 {
        match &self.state {
            State::Ready(writer) => writer.session.backend,
            State::Failed(why) => panic!("{why}"),
        }
    }

    /// Takes the session out for one commit. A commit that does not put it back leaves the
    /// storage failed, and the session ends: with it goes a transaction that was not committed.
    fn take(&mut self) -> Result<Box<Writer>, StorageError> {
        let unfinished = State::Failed("it was given up before its end".to_owned());
        match std::mem::replace(&mut self.state, unfinished) {
            State::Ready(writer) => Ok(writer),
            State::Failed(why) => {
                let reason = format!("an earlier commit failed, and this one with it: {why}");
                self.state = State::Failed(why);
                Err(StorageError { place: self.place.clone(), reason })
            }
        }
    }
}

#[async_trait]
impl Storage for PostgresStorage {
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        let mut writer = self.take()?;
        match writer.commit(writes).await {
            Ok(()) => {
                self.state = State::Ready(writer);
                Ok(())
            }
            Err(error) => {
                self.state = State::Failed(error.to_string());
                Err(error)
            }
        }
    }
}
