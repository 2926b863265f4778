//! Reading a schema when a node starts. Nothing is repaired: a transaction is there or it is not,
//! so whatever does not fit together was not left by a crash.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;

use super::pieces::{crc, get_pieces};
use super::session::Session;
use crate::storage::{Log, Recovered, StorageError};

/// The numbers of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// The number of the next record.
    pub(super) next: i64,
    /// The next number as it stands in the table: higher if records are missing.
    pub(super) recorded: i64,
    /// The first record behind the mark.
    pub(super) mark: Option<i64>,
}

pub(super) async fn read(
    session: &Session,
) -> Result<(BTreeMap<String, Stream>, Recovered), StorageError> {
    let failed = |e: &tokio_postgres::Error| session.failed("read the streams", e);
    let rows = session.client.query("SELECT name, next FROM stream", &[]).await;
    let (mut streams, mut recovered) = (BTreeMap::new(), Recovered::default());
    for row in rows.map_err(|e| failed(&e))? {
        let (name, recorded): (String, i64) = (row.get(0), row.get(1));
        let (next, mut log) = stream(session, &name).await?;
        if next > recorded {
            return Err(session.error(format!(
                "stream {name} has records up to {}, and its row in the table stream tells of {}: the \
                 tables were put together from different moments",
                next - 1,
                recorded - 1
            )));
        }
        if next < recorded {
            let why = format!(
                "{}: records {next} to {}, which were durable, are gone",
                session.place,
                recorded - 1
            );
            tracing::error!(stream = %name, "durable data is missing: {why}");
            log.lost = Some(why);
        }
        streams.insert(name.clone(), Stream { next, recorded, mark: None });
        if !log.is_empty() {
            recovered.insert(name, log);
        }
    }
    let orphans: i64 = session
        .one("SELECT count(*) FROM record WHERE stream NOT IN (SELECT name FROM stream)")
        .await?
        .get(0);
    match orphans {
        0 => Ok((streams, recovered)),
        n => {
            Err(session.error(format!("{n} record(s) are of a stream that the table stream lacks")))
        }
    }
}

/// The content of a stream, and the number after its last record.
async fn stream(session: &Session, name: &str) -> Result<(i64, Log), StorageError> {
    let failed = |e: tokio_postgres::Error| session.failed("read the log", &e);
    let sql = "SELECT max(number) FROM checkpoint WHERE stream = $1";
    let row = session.client.query_one(sql, &[&name]).await.map_err(failed)?;
    let at: Option<i64> = row.get(0);
    let mut log = Log::default();
    if let Some(at) = at {
        log.checkpoint = Some(get_pieces(session, name, at).await?);
    }
    let mut next = at.unwrap_or(0) + 1;
    let sql = "SELECT number, crc, bytes FROM record WHERE stream = $1 ORDER BY number";
    let rows = session.client.query_raw(sql, [name]).await.map_err(failed)?;
    let mut rows = pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let (number, sum, bytes): (i64, i64, &[u8]) = (row.get(0), row.get(1), row.get(2));
        if number != next {
            return Err(session.error(format!(
                "record {next} of stream {name} is missing, and record {number} is there: rows were \
                 deleted"
            )));
        }
        if crc(name, number, 0, bytes) != sum {
            return Err(session.error(format!(
                "record {number} of stream {name} is damaged: it does not match its checksum"
            )));
        }
        log.records.push(bytes.to_vec());
        next += 1;
    }
    Ok((next, log))
}
