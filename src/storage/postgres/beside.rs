//! Large values beside the streams, by number: states of gigabytes that must not hold up the log.
//!
//! Each call has a session of its own for as long as it takes, so a commit of the log waits for
//! none of it. A value is one transaction: there or not. A value that no record or checkpoint names
//! counts for nothing, so the lock is not needed.

use super::pieces::{get_pieces, put_pieces};
use super::schema;
use super::session::Session;
use super::url::PostgresUrl;
use crate::storage::StorageError;

/// The name under which values stand in the tables: no stream can have it.
pub(super) const STREAM: &str = ":states";

/// The values of one schema, which exists.
#[derive(Clone, Debug)]
pub struct PostgresBeside {
    url: PostgresUrl,
    node: String,
}

impl PostgresBeside {
    /// The values beside the streams of a node.
    pub fn new(url: PostgresUrl, node: String) -> PostgresBeside {
        PostgresBeside { url, node }
    }

    async fn session(&self) -> Result<Session, StorageError> {
        let session = Session::open(&self.url, &self.node).await?;
        schema::make(&session, &self.url).await?;
        Ok(session)
    }

    /// Makes a value durable, unless there is one of this number.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write(&self, number: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let session = self.session().await?;
        let failed = |e: tokio_postgres::Error| session.failed("write a state", &e);
        let number = number as i64;
        let sql = "SELECT 1 FROM checkpoint WHERE stream = $1 AND number = $2";
        let known = session.client.query_opt(sql, &[&STREAM, &number]).await.map_err(failed)?;
        if known.is_some() {
            return Ok(());
        }
        session.client.batch_execute("BEGIN").await.map_err(failed)?;
        put_pieces(&session.client, STREAM, number, bytes, None).await.map_err(failed)?;
        session.client.batch_execute("COMMIT").await.map_err(failed)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub async fn read(&self, number: u64) -> Result<Vec<u8>, StorageError> {
        get_pieces(&self.session().await?, STREAM, number as i64).await
    }

    /// Removes values of lower numbers, and with `all_others` those of higher ones too.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_older(&self, number: u64, all_others: bool) -> Result<(), StorageError> {
        let session = self.session().await?;
        for table in ["checkpoint", "piece"] {
            let sql = format!(
                "DELETE FROM {table} WHERE stream = $1 AND (number < $2 OR ($3 AND number > $2))"
            );
            let gone =
                session.client.execute(&sql, &[&STREAM, &(number as i64), &all_others]).await;
            gone.map_err(|e| session.failed("remove old states", &e))?;
        }
        Ok(())
    }
}
