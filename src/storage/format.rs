//! The bytes of a log, the same on a real disk and on the simulated one.
//!
//! All integers are little-endian.
//!
//! ```text
//! segment     magic 8 | version u32 | crc u32 | first u64 | record*
//! record      crc u32 | length u32 | sequence u64 | unsynced u32 | payload
//! checkpoint  magic 8 | version u32 | crc u32 | next u64 | state
//! ```
//!
//! Records and checkpoints are numbered from 1, without a gap, as long as a stream exists.
//! Every CRC (CRC-32/ISO-HDLC) covers the stream's name, the place in the stream and all
//! fields after itself, so that a record that a disk or a person put somewhere
//! else, or that a recycled block brought back, does not verify there.
//!
//! `unsynced` counts the records just before this one that were not known to be on
//! stable storage when it was written. It settles a case that a plain checksum cannot. A
//! crash in the middle of a flush may persist the flush's later pages without its
//! earlier ones, so "something valid follows" does not yet prove damage. But a valid
//! record which says that the broken place had been flushed before it was written
//! does: that is damage to acknowledged data, and the log is refused. Without such a
//! record the broken place belongs to the last flush, which was not acknowledged.
//!
//! One case remains ambiguous, here as in every log of this kind: damage inside of the
//! very last flush looks like a crash during it, and so does a tail that is gone. A
//! second record, outside of the log, tells them apart: see `file/witness.rs`.
//!
//! Format 1 had no numbers for checkpoints and no such witness. Its directories are
//! refused: nothing could vouch for their tails.

/// The most bytes one record may have: a length beyond it is damage.
pub const MAX_RECORD_BYTES: usize = 1 << 30;

/// The most bytes one checkpoint may have.
pub const MAX_CHECKPOINT_BYTES: usize = 1 << 30;

/// The length of the header of both kinds of file, in bytes.
pub(super) const HEADER_BYTES: usize = 24;
pub(super) const RECORD_HEADER_BYTES: usize = 20;

const SEGMENT_MAGIC: &[u8; 8] = b"SEAWLOG\n";
const CHECKPOINT_MAGIC: &[u8; 8] = b"SEAWCKP\n";
const VERSION: u32 = 2;

/// The number of a record within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(pub(super) u64);

impl Sequence {
    pub(super) const FIRST: Sequence = Sequence(1);

    pub(super) fn plus(self, records: usize) -> Sequence {
        Sequence(self.0.saturating_add(records as u64))
    }
}

/// Damaged bytes: the reason, and the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: usize,
    pub(super) reason: String,
}

impl Damage {
    fn new(offset: usize, reason: impl Into<String>) -> Damage {
        Damage { offset, reason: reason.into() }
    }
}

/// The first bytes of a segment whose first record will be `first`.
pub(super) fn segment_header(stream: &str, first: Sequence) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(SEGMENT_MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc(stream, &[&first.0.to_le_bytes()]).to_le_bytes());
    bytes.extend_from_slice(&first.0.to_le_bytes());
    bytes
}

/// Where a record is about to be appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The segment, by its first record.
    pub(super) segment: Sequence,
    /// The offset in that segment, in bytes.
    pub(super) offset: usize,
    /// The record's own number.
    pub(super) sequence: Sequence,
    /// How many records before it are not yet known to be on stable storage.
    pub(super) unsynced: u32,
}

/// Appends a record to `out`, as it must stand at `place`.
pub(super) fn encode_record(stream: &str, place: Place, payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= MAX_RECORD_BYTES, "the caller refuses longer records");
    assert!(place.sequence >= place.segment, "a record cannot precede its segment");
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&place.sequence.0.to_le_bytes());
    out.extend_from_slice(&place.unsynced.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = record_crc(stream, place.segment, place.offset, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

/// A checkpoint that stands for everything before record `next`: its header, which
/// `state` follows.
pub(super) fn checkpoint_header(stream: &str, next: Sequence, state: &[u8]) -> Vec<u8> {
    assert!(state.len() <= MAX_CHECKPOINT_BYTES, "the caller refuses longer checkpoints");
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(CHECKPOINT_MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc(stream, &[&next.0.to_le_bytes(), state]).to_le_bytes());
    bytes.extend_from_slice(&next.0.to_le_bytes());
    bytes
}

/// Reads a whole checkpoint: the first record it does not stand for, and its state.
pub(super) fn read_checkpoint<'a>(
    stream: &str,
    bytes: &'a [u8],
) -> Result<(Sequence, &'a [u8]), Damage> {
    let (stored, next) = read_header(bytes, CHECKPOINT_MAGIC, "checkpoint")?;
    let state = &bytes[HEADER_BYTES..];
    if crc(stream, &[&next.0.to_le_bytes(), state]) != stored {
        return Err(Damage::new(0, "the checkpoint does not match its checksum"));
    }
    Ok((next, state))
}

/// Reads a segment's header: its first record's number.
pub(super) fn read_segment_header(stream: &str, bytes: &[u8]) -> Result<Sequence, Damage> {
    let (stored, first) = read_header(bytes, SEGMENT_MAGIC, "segment")?;
    if crc(stream, &[&first.0.to_le_bytes()]) != stored {
        return Err(Damage::new(0, "the segment's header does not match its checksum"));
    }
    Ok(first)
}

/// Both kinds of file begin alike. The version is judged before the checksum,
/// because another version may well compute another one.
fn read_header(bytes: &[u8], magic: &[u8; 8], what: &str) -> Result<(u32, Sequence), Damage> {
    if bytes.len() < HEADER_BYTES {
        return Err(Damage::new(bytes.len(), format!("the {what}'s header is cut short")));
    }
    if &bytes[..8] != magic {
        return Err(Damage::new(0, format!("this is no {what}")));
    }
    let version = u32_at(bytes, 8);
    if version != VERSION {
        let reason = format!(
            "{what} format {version} is unknown; this is format {VERSION}. Use the program \
             that wrote the directory, or remove it to let the node join without one"
        );
        return Err(Damage::new(8, reason));
    }
    Ok((u32_at(bytes, 12), Sequence(u64_at(bytes, 16))))
}

/// A verified record.
pub(super) struct Record<'a> {
    pub(super) sequence: Sequence,
    pub(super) unsynced: u32,
    pub(super) payload: &'a [u8],
}

impl Record<'_> {
    pub(super) fn encoded_len(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }
}

/// The record at `offset` of the segment `bytes`, if there is one that verifies and
/// has a number within `range`, both ends included.
///
/// The range is looked at first and the length is compared with the bytes that are there,
/// so that garbage costs neither a checksum nor memory.
pub(super) fn record_at<'a>(
    stream: &str,
    segment: Sequence,
    bytes: &'a [u8],
    offset: usize,
    range: (Sequence, Sequence),
) -> Option<Record<'a>> {
    let rest = bytes.get(offset..).filter(|rest| rest.len() >= RECORD_HEADER_BYTES)?;
    let sequence = Sequence(u64_at(rest, 8));
    let len = u32_at(rest, 4) as usize;
    let plausible = range.0 <= sequence && sequence <= range.1 && len <= MAX_RECORD_BYTES;
    let end = RECORD_HEADER_BYTES + len;
    if !plausible || rest.len() < end {
        return None;
    }
    if record_crc(stream, segment, offset, &rest[4..end]) != u32_at(rest, 0) {
        return None;
    }
    let payload = &rest[RECORD_HEADER_BYTES..end];
    Some(Record { sequence, unsynced: u32_at(rest, 16), payload })
}

fn record_crc(stream: &str, segment: Sequence, offset: usize, body: &[u8]) -> u32 {
    crc(stream, &[&segment.0.to_le_bytes(), &(offset as u64).to_le_bytes(), body])
}

fn crc(stream: &str, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // The length in front keeps name and content from being exchanged for each other.
    hasher.update(&(stream.len() as u64).to_le_bytes());
    hasher.update(stream.as_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let field = bytes[offset..offset + 4].try_into();
    u32::from_le_bytes(field.expect("the slice has four bytes"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes[offset..offset + 8].try_into();
    u64::from_le_bytes(field.expect("the slice has eight bytes"))
}
