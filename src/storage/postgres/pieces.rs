//! Long values in pieces, with checksums.

use tokio_postgres::Client;

use super::session::Session;
use crate::storage::StorageError;

/// The length of a piece.
pub(super) const PIECE_BYTES: usize = 1 << 20;
/// How many bytes go to the database in one statement.
pub(super) const STATEMENT_BYTES: usize = 16 << 20;

/// Writes the bytes of a checkpoint, or of a value beside the streams.
pub(super) async fn put_pieces(
    client: &Client,
    stream: &str,
    number: i64,
    bytes: &[u8],
    contents: Option<String>,
) -> Result<(), tokio_postgres::Error> {
    let length = bytes.len() as i64;
    client
        .execute(
            "INSERT INTO checkpoint (stream, number, length, contents) \
             VALUES ($1, $2, $3, $4::text::json)",
            &[&stream, &number, &length, &contents],
        )
        .await?;
    let insert = client
        .prepare(
            "INSERT INTO piece (stream, number, part, crc, bytes) \
             SELECT $1, $2, $3::bigint + place - 1, crc, bytes \
             FROM unnest($4::bigint[], $5::bytea[]) WITH ORDINALITY AS new (crc, bytes, place)",
        )
        .await?;
    let pieces: Vec<&[u8]> = bytes.chunks(PIECE_BYTES).collect();
    let mut part = 0_i64;
    for group in pieces.chunks(STATEMENT_BYTES / PIECE_BYTES) {
        let crcs: Vec<i64> =
            (part..).zip(group).map(|(part, piece)| crc(stream, number, part, piece)).collect();
        client.execute(&insert, &[&stream, &number, &part, &crcs, &group]).await?;
        part += group.len() as i64;
    }
    Ok(())
}

/// Reads bytes that were written in pieces.
pub(super) async fn get_pieces(
    session: &Session,
    stream: &str,
    number: i64,
) -> Result<Vec<u8>, StorageError> {
    let failed = |e: tokio_postgres::Error| session.failed("read a checkpoint", &e);
    let damaged = |what: &str| {
        session.error(format!("checkpoint {number} of stream {stream} is damaged: {what}"))
    };
    let sql = "SELECT length FROM checkpoint WHERE stream = $1 AND number = $2";
    let row = session.client.query_opt(sql, &[&stream, &number]).await.map_err(failed)?;
    let length: i64 = row.ok_or_else(|| damaged("it is missing"))?.get(0);
    let length = usize::try_from(length).map_err(|_| damaged("its length is negative"))?;
    let mut bytes = Vec::new();
    let select = session
        .client
        .prepare(
            "SELECT crc, bytes FROM piece \
             WHERE stream = $1 AND number = $2 AND part = $3",
        )
        .await
        .map_err(failed)?;
    for part in 0..length.div_ceil(PIECE_BYTES) as i64 {
        let row = session.client.query_opt(&select, &[&stream, &number, &part]).await;
        let row = row.map_err(failed)?.ok_or_else(|| damaged("a piece is missing"))?;
        let (sum, piece): (i64, &[u8]) = (row.get(0), row.get(1));
        if crc(stream, number, part, piece) != sum {
            return Err(damaged("a piece does not match its checksum"));
        }
        bytes.extend_from_slice(piece);
    }
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err(damaged("its length is another")),
    }
}

/// The checksum of a record (of part 0) or a piece, which covers its place too.
pub(super) fn crc(stream: &str, number: i64, part: i64, bytes: &[u8]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(stream.len() as u64).to_le_bytes());
    hasher.update(stream.as_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(&part.to_le_bytes());
    hasher.update(bytes);
    i64::from(hasher.finalize())
}
