//! Reading a segment that a crash or a bad disk may have left behind.
//!
//! The one decision that matters is made here, for the real disk and the simulated
//! one alike: is a place that does not verify the trace of an interrupted flush, or
//! damage to something that was acknowledged?

use super::format::{
    Damage, HEADER_BYTES, RECORD_HEADER_BYTES, Sequence, read_segment_header, record_at,
};

/// The content of a segment.
pub(super) struct Scan<'a> {
    /// The number of its first record.
    pub(super) first: Sequence,
    /// The payloads that verify, from the first record on.
    pub(super) records: Vec<&'a [u8]>,
    /// Where the last of them ends, in bytes.
    pub(super) end: usize,
    /// The bytes after that.
    pub(super) tail: Tail,
}

/// The bytes after the last good record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing.
    Clean,
    /// Bytes that nothing proves to have been flushed.
    Torn,
    /// Bytes that had been flushed when the record at offset `proof` was written.
    Damaged {
        /// An offset in bytes.
        proof: usize,
    },
}

impl Scan<'_> {
    /// The number of the record after the last good one.
    pub(super) fn next(&self) -> Sequence {
        self.first.plus(self.records.len())
    }
}

/// Reads a whole segment.
pub(super) fn scan<'a>(stream: &str, bytes: &'a [u8]) -> Result<Scan<'a>, Damage> {
    let first = read_segment_header(stream, bytes)?;
    let mut scan = Scan { first, records: Vec::new(), end: HEADER_BYTES, tail: Tail::Clean };
    while scan.end < bytes.len() {
        let next = scan.next();
        let Some(record) = record_at(stream, first, bytes, scan.end, (next, next)) else {
            scan.tail = judge_tail(stream, bytes, &scan);
            break;
        };
        scan.end += record.encoded_len();
        scan.records.push(record.payload);
    }
    Ok(scan)
}

/// Looks behind the broken place for a record that was written after a flush of it.
fn judge_tail(stream: &str, bytes: &[u8], scan: &Scan<'_>) -> Tail {
    let broken = scan.next();
    // The broken place stands for at least one record; the rest cannot be more
    // than fit in.
    let room = (bytes.len() - scan.end) / RECORD_HEADER_BYTES;
    let range = (broken.plus(1), broken.plus(room));
    let mut offset = scan.end + 1;
    while offset < bytes.len() {
        let Some(record) = record_at(stream, scan.first, bytes, offset, range) else {
            offset += 1;
            continue;
        };
        let flushed_before = record.sequence.0.saturating_sub(u64::from(record.unsynced));
        if flushed_before > broken.0 {
            return Tail::Damaged { proof: offset };
        }
        offset += record.encoded_len();
    }
    Tail::Torn
}
