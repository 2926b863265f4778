//! The tables and views, and whose they are.

use super::owner::Owner;
use super::session::Session;
use super::url::PostgresUrl;
use crate::storage::StorageError;

/// The layout that this version writes.
const FORMAT: i32 = 1;

/// `stream` has one row a stream, which every commit updates: with room on its page the old
/// versions of the row go at once, and no index changes. Bytes are not compressed: commands are
/// small, and pieces are written by a node that waits.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS node (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        format integer NOT NULL,
        name text NOT NULL,
        cluster text NOT NULL,
        number text NOT NULL,
        founded timestamptz NOT NULL DEFAULT now(),
        about json NOT NULL
    );
    CREATE TABLE IF NOT EXISTS stream (
        name text PRIMARY KEY,
        next bigint NOT NULL
    ) WITH (fillfactor = 10);
    CREATE TABLE IF NOT EXISTS record (
        stream text NOT NULL,
        number bigint NOT NULL,
        crc bigint NOT NULL,
        contents json,
        bytes bytea NOT NULL,
        PRIMARY KEY (stream, number)
    );
    CREATE TABLE IF NOT EXISTS checkpoint (
        stream text NOT NULL,
        number bigint NOT NULL,
        length bigint NOT NULL,
        written timestamptz NOT NULL DEFAULT now(),
        contents json,
        PRIMARY KEY (stream, number)
    );
    CREATE TABLE IF NOT EXISTS piece (
        stream text NOT NULL,
        number bigint NOT NULL,
        part bigint NOT NULL,
        crc bigint NOT NULL,
        bytes bytea NOT NULL,
        PRIMARY KEY (stream, number, part)
    );
    ALTER TABLE record ALTER COLUMN bytes SET STORAGE EXTERNAL;
    ALTER TABLE piece ALTER COLUMN bytes SET STORAGE EXTERNAL;";

/// An entry is in force if no later record or checkpoint begins at or before its index.
const VIEWS: &str = "
    CREATE OR REPLACE VIEW log AS
    WITH written AS (
        SELECT stream, number, contents FROM checkpoint
        UNION ALL SELECT stream, number, contents FROM record
    ), entry AS (
        SELECT stream, number, (value->>'index')::bigint AS index,
            (value->>'term')::bigint AS term, value->>'operation' AS operation,
            value->>'key' AS key
        FROM written, json_array_elements(contents->'entries')
    ), began AS (
        SELECT stream, number, min(index) AS first FROM entry GROUP BY stream, number
    ), replaced AS (
        SELECT stream, number, min(first) OVER (
            PARTITION BY stream ORDER BY number ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ) AS from_index FROM began
    )
    SELECT stream, index, term, operation, key
    FROM entry JOIN replaced USING (stream, number)
    WHERE from_index IS NULL OR index < from_index
    ORDER BY stream, index;
    CREATE OR REPLACE VIEW vote AS
    SELECT DISTINCT ON (stream) stream, (contents->>'term')::bigint AS term,
        contents->>'vote' AS voted_for
    FROM (
        SELECT stream, number, contents FROM checkpoint
        UNION ALL SELECT stream, number, contents FROM record
    ) AS written
    WHERE contents->>'term' IS NOT NULL
    ORDER BY stream, number DESC;";

/// Makes the schema, if it does not exist, and uses it in this session.
pub(super) async fn make(session: &Session, url: &PostgresUrl) -> Result<(), StorageError> {
    let name = &url.schema;
    // Asked first: to make a schema takes a right that to use it does not.
    if !exists(session, name).await? {
        run(session, "make the schema", &format!("CREATE SCHEMA IF NOT EXISTS \"{name}\"")).await?;
    }
    enter(session, url).await
}

/// Whether there is a schema of this name.
pub(super) async fn exists(session: &Session, name: &str) -> Result<bool, StorageError> {
    let sql = format!("SELECT count(*) > 0 FROM pg_namespace WHERE nspname = '{name}'");
    Ok(session.one(&sql).await?.get(0))
}

/// Whether the schema in use has tables whose names match a pattern of LIKE. A schema that does not
/// exist has none.
pub(super) async fn has_tables(session: &Session, pattern: &str) -> Result<bool, StorageError> {
    let sql = format!(
        "SELECT count(*) > 0 FROM pg_tables WHERE schemaname = current_schema() \
         AND tablename LIKE '{pattern}'"
    );
    Ok(session.one(&sql).await?.get(0))
}

/// Uses a schema in this session.
pub(super) async fn enter(session: &Session, url: &PostgresUrl) -> Result<(), StorageError> {
    let name = &url.schema;
    run(session, "use the schema", &format!("SET search_path TO \"{name}\"")).await
}

/// Makes the tables and views in the transaction that this session has begun.
pub(super) async fn fill(session: &Session) -> Result<(), StorageError> {
    run(session, "make the tables", &format!("{TABLES}{VIEWS}")).await
}

/// Writes down the owner of a schema that has none, and returns whether it had none.
pub(super) async fn sign(session: &Session, owner: &Owner) -> Result<bool, StorageError> {
    let number = format!("{:016x}", owner.fresh);
    let made = session
        .client
        .execute(
            "INSERT INTO node (format, name, cluster, number, about) \
             VALUES ($1, $2, $3, $4, $5::text::json) ON CONFLICT DO NOTHING",
            &[&FORMAT, &owner.node, &owner.cluster, &number, &owner.about],
        )
        .await
        .map_err(|e| session.failed("write down the owner", &e))?;
    Ok(made == 1)
}

/// Makes the tables of a schema that is locked, or refuses another node's. Returns the facts
/// about the node, and whether it is new.
pub(super) async fn own(session: &Session, owner: &Owner) -> Result<(String, bool), StorageError> {
    if !has_tables(session, "node").await? {
        let others: i64 = session
            .one("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
            .await?
            .get(0);
        if others > 0 {
            return Err(session.error(format!(
                "the schema has {others} table(s) of another program: give {} a schema of its own \
                 (?schema=NAME)",
                owner.node
            )));
        }
    }
    run(session, "make the tables", &format!("BEGIN;{TABLES}{VIEWS}COMMIT")).await?;
    let is_new = sign(session, owner).await?;
    check(session, owner).await?;
    let unlogged: i64 = session
        .one(
            "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind = 'r' AND relpersistence <> 'p'",
        )
        .await?
        .get(0);
    if unlogged > 0 {
        return Err(session.error(format!(
            "{unlogged} of the tables are not logged, and lost in a crash: ALTER TABLE ... SET LOGGED"
        )));
    }
    let about = session.one("SELECT about::text FROM node").await?.get(0);
    Ok((about, is_new))
}

/// Refuses another layout.
pub(super) fn check_format(session: &Session, format: i32) -> Result<(), StorageError> {
    match format {
        FORMAT => Ok(()),
        other => Err(session.error(format!(
            "it has format {other}, and this program writes {FORMAT}: use the version of the \
             program that wrote it"
        ))),
    }
}

async fn check(session: &Session, owner: &Owner) -> Result<(), StorageError> {
    let row = session.one("SELECT format, name, cluster, number FROM node").await?;
    let (format, name, cluster, number): (i32, String, String, String) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    check_format(session, format)?;
    if name != owner.node {
        return Err(session.error(format!(
            "it belongs to node {name} (number {number}), and this is node {me}: give {me} a \
             database or a schema of its own (?schema=NAME), or start this one as {name}",
            me = owner.node
        )));
    }
    if cluster != owner.cluster {
        return Err(session.error(format!(
            "it belongs to {name} of cluster {cluster:?} (number {number}), and this is {name} of \
             cluster {:?}: give it a database or a schema of its own (?schema=NAME), or start it as \
             a member of {cluster:?}",
            owner.cluster
        )));
    }
    Ok(())
}

pub(super) async fn run(session: &Session, what: &str, sql: &str) -> Result<(), StorageError> {
    session.client.batch_execute(sql).await.map_err(|e| session.failed(what, &e))
}
