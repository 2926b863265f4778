//! One group of writes, as one transaction.

use std::collections::BTreeMap;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::owner::Describe;
use super::pieces::{STATEMENT_BYTES, crc, put_pieces};
use super::recover::Stream;
use super::session::Session;
use crate::storage::{NO_MARK, StorageError, Write, WriteData, assert_stream_name};

/// The most bytes of a record: a message to the database has at most twice as many.
const MAX_RECORD_BYTES: usize = 1 << 29;

/// Appends records, and moves the stream's next number from the value that this process has left:
/// if another one stands there, nothing is written. One statement is a transaction by itself.
const APPEND: &str = "
    WITH moved AS (
        UPDATE stream SET next = $2::bigint + cardinality($4::bigint[])
        WHERE name = $1 AND next = $3 RETURNING 1
    )
    INSERT INTO record (stream, number, crc, contents, bytes)
    SELECT $1, $2::bigint + place - 1, crc, contents::json, bytes
    FROM moved, unnest($4::bigint[], $5::text[], $6::bytea[])
        WITH ORDINALITY AS new (crc, contents, bytes, place)";

/// Everything a commit needs.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) session: Session,
    append: Statement,
    streams: BTreeMap<String, Stream>,
    describe: Describe,
}

/// The part of a commit that concerns one stream.
#[derive(Debug, Default)]
struct Batch {
    /// With the number of writes of this commit before it, and itself.
    checkpoint: Option<(i64, Vec<u8>)>,
    /// The records and checkpoints.
    writes: i64,
    records: Vec<Vec<u8>>,
    /// How many of `writes` stand before the mark.
    mark: Option<i64>,
    /// With the same number, if the mark is of this commit.
    at_mark: Option<(Option<i64>, Vec<u8>)>,
}

impl Batch {
    /// A checkpoint makes earlier writes of the same commit superfluous.
    fn push(&mut self, data: WriteData) {
        match data {
            WriteData::Record(record) => {
                self.writes += 1;
                self.records.push(record);
            }
            WriteData::Checkpoint(state) => {
                let writes = self.writes + 1;
                let checkpoint = Some((writes, state));
                *self = Batch { checkpoint, writes, ..Batch::default() };
            }
            WriteData::Mark => self.mark = Some(self.writes),
            WriteData::CheckpointAtMark(state) => self.at_mark = Some((self.mark.take(), state)),
        }
    }
}

impl Writer {
    pub(super) async fn new(
        session: Session,
        streams: BTreeMap<String, Stream>,
        describe: Describe,
    ) -> Result<Writer, StorageError> {
        let append = session.client.prepare(APPEND).await;
        let append = append.map_err(|e| session.failed("prepare a statement", &e))?;
        Ok(Writer { session, append, streams, describe })
    }

    pub(super) async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        let mut batches: BTreeMap<&'static str, Batch> = BTreeMap::new();
        for write in writes {
            assert_stream_name(write.stream);
            batches.entry(write.stream).or_default().push(write.data);
        }
        let lens = batches.values().flat_map(|batch| batch.records.iter().map(Vec::len));
        let (bytes, longest) = (lens.clone().sum::<usize>(), lens.max().unwrap_or(0));
        if longest > MAX_RECORD_BYTES {
            let most = MAX_RECORD_BYTES;
            let why = format!("a record of {longest} bytes is over the limit of {most}");
            return Err(self.session.error(why));
        }
        let has_checkpoint = |batch: &Batch| batch.checkpoint.is_some() || batch.at_mark.is_some();
        let has_checkpoint = batches.values().any(has_checkpoint);
        if has_checkpoint {
            // The settings can be changed while the database runs.
            self.session.demand_durability().await?;
        }
        let is_new = |name: &&str| !self.streams.contains_key(*name);
        // Nothing to write is a transaction too: the others are single statements.
        let is_plain = batches.len() == 1
            && bytes <= STATEMENT_BYTES
            && !has_checkpoint
            && !batches.keys().any(is_new);
        if batches.is_empty() {
            return Ok(());
        }
        let done = match is_plain {
            true => self.write(batches).await,
            false => self.transaction(batches).await,
        };
        match done {
            Ok(()) => Ok(()),
            Err(Failure::Storage(error)) => Err(error),
            Err(Failure::Database(error)) => {
                Err(self.session.failed_with_end("commit", &error).await)
            }
        }
    }

    async fn transaction(&mut self, batches: BTreeMap<&'static str, Batch>) -> Result<(), Failure> {
        self.session.client.batch_execute("BEGIN").await?;
        // An error leaves the transaction open: the session ends with it.
        self.write(batches).await?;
        self.session.client.batch_execute("COMMIT").await?;
        Ok(())
    }

    async fn write(&mut self, batches: BTreeMap<&'static str, Batch>) -> Result<(), Failure> {
        for (name, batch) in batches {
            if !self.streams.contains_key(name) {
                let sql = "INSERT INTO stream (name, next) VALUES ($1, 1)";
                self.session.client.execute(sql, &[&name]).await?;
                let stream = Stream { next: 1, recorded: 1, mark: None };
                self.streams.insert(name.to_owned(), stream);
            }
            self.write_stream(name, batch).await?;
        }
        Ok(())
    }

    async fn write_stream(&mut self, name: &'static str, batch: Batch) -> Result<(), Failure> {
        let (client, describe) = (&self.session.client, self.describe);
        let stream = self.streams.get_mut(name).expect("it is there or was just made");
        let another = |first| Failure::Storage(self.session.error(another_writer(name, first)));
        // Puts a checkpoint in the place of everything below `from`; the stream goes on at `next`.
        let replace = async |from: i64, next, recorded, state: &[u8]| {
            checkpoint(client, name, from - 1, state, describe).await?;
            match move_next(client, name, next, recorded).await? {
                true => Ok(()),
                false => Err(another(next)),
            }
        };
        let begin = stream.next;
        let mut first = begin;
        if let Some((writes, state)) = batch.checkpoint {
            first = begin + writes;
            stream.mark = None;
            replace(first, first, stream.recorded, &state).await?;
            stream.recorded = first;
        }
        for records in groups(&batch.records) {
            let (append, recorded) = (&self.append, stream.recorded);
            let wrote =
                append_records(client, append, name, first, recorded, records, describe).await?;
            if wrote != records.len() as u64 {
                return Err(another(first));
            }
            first += records.len() as i64;
            stream.recorded = first;
        }
        stream.next = first;
        if let Some((mark, state)) = batch.at_mark {
            let before = stream.mark.take();
            let from = mark.map(|writes| begin + writes).or(before).expect(NO_MARK);
            replace(from, first, stream.recorded, &state).await?;
            stream.recorded = first;
        }
        stream.mark = batch.mark.map(|writes| begin + writes).or(stream.mark);
        Ok(())
    }
}

/// Why a commit failed.
enum Failure {
    Database(tokio_postgres::Error),
    Storage(StorageError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Database(error)
    }
}

fn another_writer(stream: &str, number: i64) -> String {
    format!(
        "another process has written to stream {stream}, of which this one was to write record \
         {number}: stop one of them, and give each node a schema of its own"
    )
}

/// Splits records so that no statement is too long.
fn groups(records: &[Vec<u8>]) -> Vec<&[Vec<u8>]> {
    let (mut found, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (i, record) in records.iter().enumerate() {
        if i > from && bytes + record.len() > STATEMENT_BYTES {
            found.push(&records[from..i]);
            (from, bytes) = (i, 0);
        }
        bytes += record.len();
    }
    if from < records.len() {
        found.push(&records[from..]);
    }
    found
}

async fn append_records(
    client: &Client,
    statement: &Statement,
    stream: &str,
    first: i64,
    recorded: i64,
    records: &[Vec<u8>],
    describe: Describe,
) -> Result<u64, tokio_postgres::Error> {
    let crcs: Vec<i64> = (first..).zip(records).map(|(n, r)| crc(stream, n, 0, r)).collect();
    let contents: Vec<Option<String>> = records.iter().map(|r| describe(r)).collect();
    let bytes: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let parameters: [&(dyn ToSql + Sync); 6] =
        [&stream, &first, &recorded, &crcs, &contents, &bytes];
    client.execute(statement, &parameters).await
}

/// Moves the stream's next number from the value that this process has left. False if another one stands there.
async fn move_next(
    client: &Client,
    stream: &str,
    next: i64,
    recorded: i64,
) -> Result<bool, tokio_postgres::Error> {
    let sql = "UPDATE stream SET next = $2 WHERE name = $1 AND next = $3";
    Ok(client.execute(sql, &[&stream, &next, &recorded]).await? == 1)
}

/// Puts a checkpoint in the place of everything up to `number`.
async fn checkpoint(
    client: &Client,
    stream: &str,
    number: i64,
    state: &[u8],
    describe: Describe,
) -> Result<(), tokio_postgres::Error> {
    let sql = "DELETE FROM record WHERE stream = $1 AND number <= $2";
    client.execute(sql, &[&stream, &number]).await?;
    for table in ["checkpoint", "piece"] {
        let sql = format!("DELETE FROM {table} WHERE stream = $1");
        client.execute(&sql, &[&stream]).await?;
    }
    put_pieces(client, stream, number, state, describe(state)).await
}
