//! A schema whose node does not run: it is read, replaced, or made with a beginning.
//!
//! A replacement renames the schema and makes a new one of its name, in one transaction: an
//! interruption leaves the data as it was, and what was there before stays readable.

use super::owner::Owner;
use super::pieces::put_pieces;
use super::schema::run;
use super::session::Session;
use super::url::PostgresUrl;
use super::{beside, recover, schema};
use crate::storage::{Recovered, StorageError, assert_stream_name};

/// A schema that has the data of a node.
#[derive(Debug)]
pub struct PostgresOffline {
    session: Session,
    url: PostgresUrl,
}

/// The data of a schema.
#[derive(Debug)]
pub struct Found {
    /// Everything in its streams.
    pub recovered: Recovered,
    /// The facts about the node, as they were written first.
    pub about: String,
    /// The name of the cluster that the schema belongs to.
    pub cluster: String,
}

/// The data that a schema begins with.
#[derive(Debug)]
pub struct Beginning {
    /// A value beside the streams, with its number.
    pub beside: (u64, Vec<u8>),
    /// The one stream.
    pub stream: &'static str,
    /// Its checkpoint.
    pub checkpoint: Vec<u8>,
}

impl PostgresOffline {
    /// Connects to a schema that has a node's data. Its node may run meanwhile.
    ///
    /// # Errors
    /// If there is no connection, no data, or data of another format.
    pub async fn open(url: &PostgresUrl) -> Result<PostgresOffline, StorageError> {
        let session = Session::open(url, "offline").await?;
        let url = url.clone();
        if !has_node(&session, &url).await? {
            return Err(session.error(
                "no node has its data there: name the schema of one that has (?schema=NAME)"
                    .to_owned(),
            ));
        }
        let format: i32 = session.one("SELECT format FROM node").await?.get(0);
        schema::check_format(&session, format)?;
        Ok(PostgresOffline { session, url })
    }

    /// Whether a schema has a node's data.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_used(url: &PostgresUrl) -> Result<bool, StorageError> {
        has_node(&Session::open(url, "offline").await?, url).await
    }

    /// Keeps the node from running on it, as long as this is there.
    ///
    /// # Errors
    /// If it runs.
    pub async fn lock(&self) -> Result<(), StorageError> {
        let name: String = self.session.one("SELECT name FROM node").await?.get(0);
        self.session.lock(&self.url, &name).await
    }

    /// Reads everything, as it was at one moment.
    ///
    /// # Errors
    /// Those of the database; if it is damaged.
    pub async fn read(&self) -> Result<Found, StorageError> {
        let session = &self.session;
        run(session, "begin to read", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let row = session.one("SELECT about::text, cluster FROM node").await?;
        let (_, recovered) = recover::read(session).await?;
        run(session, "end reading", "COMMIT").await?;
        Ok(Found { recovered, about: row.get(0), cluster: row.get(1) })
    }

    /// Puts a beginning in the place of the data, which stays in the schema that is returned.
    ///
    /// # Errors
    /// Those of the database, or if there is such a schema already: then nothing was changed.
    pub async fn replace(
        self,
        owner: &Owner,
        beginning: Beginning,
    ) -> Result<String, StorageError> {
        let (session, name) = (&self.session, &self.url.schema);
        let before = self.url.clone().with_schema(format!("{name}_before_recovery"));
        let before = before.map_err(|why| session.error(why))?;
        if schema::exists(session, &before.schema).await? {
            return Err(session.error(format!(
                "the schema {0} is there already: rename or drop it (ALTER SCHEMA \"{0}\" RENAME TO ...)",
                before.schema
            )));
        }
        run(session, "begin", "BEGIN").await?;
        run(
            session,
            "rename the schema",
            &format!("ALTER SCHEMA \"{name}\" RENAME TO \"{}\"", before.schema),
        )
        .await?;
        run(session, "make the schema", &format!("CREATE SCHEMA \"{name}\"")).await?;
        fill(session, owner, beginning).await?;
        run(session, "commit", "COMMIT").await?;
        Ok(before.schema)
    }

    /// Makes a schema with a beginning.
    ///
    /// # Errors
    /// Those of the database, or if there are tables in the schema already: then nothing was changed.
    pub async fn found(
        url: &PostgresUrl,
        owner: &Owner,
        beginning: Beginning,
    ) -> Result<(), StorageError> {
        let session = Session::open(url, &owner.node).await?;
        schema::make(&session, url).await?;
        session.lock(url, &owner.node).await?;
        if schema::has_tables(&session, "%").await? {
            return Err(session.error(
                "it is not empty: nothing was changed there. Name another schema (?schema=NAME), \
                 or drop this one"
                    .to_owned(),
            ));
        }
        run(&session, "begin", "BEGIN").await?;
        fill(&session, owner, beginning).await?;
        run(&session, "commit", "COMMIT").await
    }
}

/// Uses a schema, and tells whether a node has written down there that it is its own. A start that was
/// interrupted before has left no data.
async fn has_node(session: &Session, url: &PostgresUrl) -> Result<bool, StorageError> {
    schema::enter(session, url).await?;
    if !schema::has_tables(session, "node").await? {
        return Ok(false);
    }
    Ok(session.one("SELECT count(*) > 0 FROM node").await?.get(0))
}

/// Fills the schema in use, which is empty. An error leaves the transaction open: it ends, undone,
/// with the session.
async fn fill(session: &Session, owner: &Owner, beginning: Beginning) -> Result<(), StorageError> {
    let Beginning { beside: (number, state), stream, checkpoint } = beginning;
    assert_stream_name(stream);
    schema::fill(session).await?;
    schema::sign(session, owner).await?;
    let failed = |e: tokio_postgres::Error| session.failed("write the data", &e);
    put_pieces(&session.client, beside::STREAM, number as i64, &state, None)
        .await
        .map_err(failed)?;
    let contents = (owner.describe)(&checkpoint);
    put_pieces(&session.client, stream, 1, &checkpoint, contents).await.map_err(failed)?;
    let sql = "INSERT INTO stream (name, next) VALUES ($1, 2)";
    session.client.execute(sql, &[&stream]).await.map_err(failed)?;
    Ok(())
}
