//! The disk of the simulation: deterministic, and as bad as a disk may be.
//!
//! Writing and flushing are two steps here, [`MemoryStorage::stage`] and
//! [`MemoryStorage::sync_to`], so that virtual time can pass in between. A crash
//! keeps flushed writes, and of the others a random prefix. The bytes and
//! the code that reads them back are those of the real disk, so every simulated
//! crash tests the real recovery.
//!
//! Durable data can be taken away from its end ([`MemoryStorage::roll_back`]); the disk
//! remembers how far it was durable, as the real one does, and tells the next start.
//!
//! Deliberately missing: other damage to flushed data. A node has to refuse that, not to
//! survive it, and the tests of the format hold it to that.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use rand_core::Rng;

use super::format::{
    HEADER_BYTES, Place, RECORD_HEADER_BYTES, Sequence, checkpoint_header, encode_record,
    read_checkpoint, segment_header,
};
use super::scan::{Tail, scan};
use super::{Log, NO_MARK, Recovered, Storage, StorageError, Write, WriteData, assert_stream_name};
use crate::coverage::{self, Mark};

/// The number of a staged write. Writes become durable in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

/// The effect of a crash on writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashModel {
    /// How many of them reach the disk.
    pub unsynced: Unsynced,
    /// How often, in percent, the first record of a stream that does not survive
    /// leaves a trace: part of its bytes, or a hole with a later record behind it.
    pub tear_percent: u8,
}

/// Which writes that were not flushed survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// None.
    Lost,
    /// Of each stream a prefix of random length.
    Prefix,
    /// All: only the process died, and the kernel had everything.
    Kept,
}

/// The loss in a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The writes that did not survive.
    pub writes: usize,
    /// The streams that the next start has to repair.
    pub torn: usize,
}

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    disk: BTreeMap<&'static str, Image>,
    /// The number of the first record of each stream that was never flushed.
    durable: BTreeMap<&'static str, Sequence>,
    /// Streams that lost something, and have not been written to since.
    lost: BTreeMap<&'static str, String>,
    staged: VecDeque<(Position, Write)>,
    last: Position,
    free_bytes: Option<u64>,
    fail_next_sync: bool,
    failed: Option<&'static str>,
    repairs: usize,
}

/// The bytes of one stream on the disk.
#[derive(Clone, Debug)]
struct Image {
    checkpoint: Option<Vec<u8>>,
    /// Never empty; the last one grows.
    segments: Vec<Segment>,
    next: Sequence,
    /// The first record behind the mark. It begins a segment.
    mark: Option<Sequence>,
}

/// Some records in a row.
#[derive(Clone, Debug)]
struct Segment {
    first: Sequence,
    bytes: Vec<u8>,
}

impl Segment {
    fn new(stream: &str, first: Sequence) -> Segment {
        Segment { first, bytes: segment_header(stream, first) }
    }
}

impl MemoryStorage {
    /// An empty disk that never fills.
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    /// Hands a write to the disk, which may take its time.
    ///
    /// # Errors
    /// If the disk is full, and always after an error until [`MemoryStorage::recover`].
    pub fn stage(&mut self, write: Write) -> Result<Position, StorageError> {
        assert_stream_name(write.stream);
        self.check()?;
        let bytes = (RECORD_HEADER_BYTES + write.data.len_bytes()) as u64;
        if let Some(free) = &mut self.free_bytes {
            match free.checked_sub(bytes) {
                Some(rest) => *free = rest,
                None => return Err(self.fail("no space left on the disk")),
            }
        }
        self.last.0 += 1;
        self.staged.push_back((self.last, write));
        Ok(self.last)
    }

    /// Flushes everything up to and including `position`.
    ///
    /// # Errors
    /// If it was asked to fail, and always after an error until
    /// [`MemoryStorage::recover`]. Staged writes may then survive a crash or not.
    pub fn sync_to(&mut self, position: Position) -> Result<(), StorageError> {
        assert!(position <= self.last, "a write is staged before it is flushed");
        self.check()?;
        if std::mem::take(&mut self.fail_next_sync) {
            return Err(self.fail("the flush failed"));
        }
        while self.staged.front().is_some_and(|(at, _)| *at <= position) {
            let (_, write) = self.staged.pop_front().expect("there is a front");
            let image = self.image(write.stream);
            image.apply(write.stream, &write.data, 0);
            let next = image.next;
            self.durable.insert(write.stream, next);
            self.lost.remove(write.stream);
        }
        Ok(())
    }

    /// Flushes everything.
    ///
    /// # Errors
    /// Those of [`MemoryStorage::sync_to`].
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.sync_to(self.last)
    }

    /// How many writes would be at risk in a crash now.
    pub fn unsynced(&self) -> usize {
        self.staged.len()
    }

    /// Lets the process or the machine die: drops staged writes, but for some of them.
    pub fn crash(&mut self, rng: &mut impl Rng, model: CrashModel) -> Lost {
        let mut by_stream: BTreeMap<&'static str, Vec<WriteData>> = BTreeMap::new();
        for (_, write) in self.staged.drain(..) {
            by_stream.entry(write.stream).or_default().push(write.data);
        }
        let mut lost = Lost::default();
        for (stream, writes) in by_stream {
            let kept = match model.unsynced {
                Unsynced::Lost => 0,
                Unsynced::Prefix => below(rng, writes.len() + 1),
                Unsynced::Kept => writes.len(),
            };
            let image = self.image(stream);
            // A segment is flushed before anything else begins.
            let mut unsynced = 0;
            for write in &writes[..kept] {
                image.apply(stream, write, unsynced);
                unsynced = if matches!(write, WriteData::Record(_)) { unsynced + 1 } else { 0 };
            }
            lost.writes += writes.len() - kept;
            if kept < writes.len() {
                coverage::hit(Mark::UnsyncedLost);
            }
            if below(rng, 100) < usize::from(model.tear_percent) {
                lost.torn += usize::from(image.tear(stream, &writes[kept..], unsynced, rng));
            }
        }
        lost
    }

    /// Reads the disk for a node that starts after a crash, or after a stop with everything
    /// flushed. Torn records are cut off and counted; the records that are returned are durable.
    ///
    /// # Panics
    /// If a staged write was not flushed: a crash has to decide about it.
    pub fn recover(&mut self) -> Recovered {
        assert!(
            self.staged.is_empty(),
            "a node cannot start before its last incarnation has ended"
        );
        self.failed = None;
        let mut recovered = Recovered::default();
        for (stream, image) in &mut self.disk {
            let (log, torn) = image.recover(stream);
            self.repairs += usize::from(torn);
            if torn {
                coverage::hit(Mark::TornRecordRepaired);
            }
            let durable = self.durable.entry(*stream).or_insert(Sequence::FIRST);
            if image.next < *durable {
                let (from, to) = (image.next.0, durable.0 - 1);
                let why = format!("records {from} to {to}, which were durable, are gone");
                self.lost.insert(*stream, why);
            }
            // The node builds on the records that it is given, whether their flush was
            // confirmed or not. The real disk flushes them and notes that before it returns.
            *durable = image.next.max(*durable);
            let log = Log { lost: self.lost.get(stream).cloned(), ..log };
            if !log.is_empty() {
                recovered.insert(*stream, log);
            }
        }
        recovered
    }

    /// Takes records away from the end of every stream, a random number of them, and
    /// sometimes all with the checkpoint: a file system that was rolled back. Returns how many
    /// writes are missing that were durable, now or since an earlier call.
    ///
    /// # Panics
    /// If a staged write was not flushed: a crash has to come first.
    pub fn roll_back(&mut self, rng: &mut impl Rng) -> u64 {
        assert!(self.staged.is_empty(), "only a disk that is not in use is rolled back");
        let missing = |(stream, image): (&&'static str, &mut Image)| {
            image.roll_back(stream, rng);
            let durable = self.durable.get(stream).map_or(0, |next| next.0);
            durable.saturating_sub(image.next.0)
        };
        self.disk.iter_mut().map(missing).sum()
    }

    /// How many torn records were cut off since this disk was made.
    pub fn repairs(&self) -> usize {
        self.repairs
    }

    /// Lets the next flush fail.
    pub fn fail_next_sync(&mut self) {
        self.fail_next_sync = true;
    }

    /// Fills the disk after `free_bytes` more bytes; `None` means never.
    pub fn set_free_bytes(&mut self, free_bytes: Option<u64>) {
        self.free_bytes = free_bytes;
    }

    fn image(&mut self, stream: &'static str) -> &mut Image {
        self.disk.entry(stream).or_insert_with(|| Image::new(stream))
    }

    fn check(&self) -> Result<(), StorageError> {
        let error = |why: &str| StorageError {
            place: "memory".to_owned(),
            reason: format!("an earlier commit failed, and this one with it: {why}"),
        };
        self.failed.map_or(Ok(()), |why| Err(error(why)))
    }

    fn fail(&mut self, why: &'static str) -> StorageError {
        self.failed = Some(why);
        StorageError { place: "memory".to_owned(), reason: why.to_owned() }
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        for write in writes {
            self.stage(write)?;
        }
        self.sync()
    }
}

impl Image {
    fn new(stream: &str) -> Image {
        let next = Sequence::FIRST;
        Image { checkpoint: None, segments: vec![Segment::new(stream, next)], next, mark: None }
    }

    fn last(&self) -> &Segment {
        self.segments.last().expect("there is always one")
    }

    fn last_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("there is always one")
    }

    /// Carries out a write that `unsynced` others precede in the same flush.
    fn apply(&mut self, stream: &str, data: &WriteData, unsynced: usize) {
        match data {
            WriteData::Record(record) => {
                let bytes = self.encode(stream, record, unsynced, 0);
                self.last_mut().bytes.extend_from_slice(&bytes);
                self.next = self.next.plus(1);
            }
            WriteData::Checkpoint(state) => {
                self.next = self.next.plus(1);
                self.put_checkpoint(stream, self.next, state);
                self.segments = vec![Segment::new(stream, self.next)];
                self.mark = None;
            }
            WriteData::Mark => {
                if self.last().first < self.next {
                    self.segments.push(Segment::new(stream, self.next));
                }
                self.mark = Some(self.next);
            }
            WriteData::CheckpointAtMark(state) => {
                let from = self.mark.take().expect(NO_MARK);
                self.put_checkpoint(stream, from, state);
                self.segments.retain(|segment| segment.first >= from);
            }
        }
    }

    fn put_checkpoint(&mut self, stream: &str, next: Sequence, state: &[u8]) {
        let mut bytes = checkpoint_header(stream, next, state);
        bytes.extend_from_slice(state);
        self.checkpoint = Some(bytes);
    }

    /// A record as it stands `behind` bytes after the present end.
    fn encode(&self, stream: &str, record: &[u8], unsynced: usize, behind: usize) -> Vec<u8> {
        let place = Place {
            segment: self.last().first,
            offset: self.last().bytes.len() + behind,
            sequence: if behind == 0 { self.next } else { self.next.plus(1) },
            unsynced: u32::try_from(unsynced).unwrap_or(u32::MAX),
        };
        let mut bytes = Vec::new();
        encode_record(stream, place, record, &mut bytes);
        bytes
    }

    /// Leaves a trace of the first of the `gone`, which did not survive, and which `unsynced` writes of the same
    /// flush precede. There is none if that is a checkpoint: a temporary file without its name counts for nothing.
    fn tear(
        &mut self,
        stream: &str,
        gone: &[WriteData],
        unsynced: usize,
        rng: &mut impl Rng,
    ) -> bool {
        let Some(WriteData::Record(record)) = gone.first() else { return false };
        let mut bytes = self.encode(stream, record, unsynced, 0);
        match gone.get(1) {
            // The disk may take pages in any order, so the later ones may be there
            // while the earlier ones still read as zeros.
            Some(WriteData::Record(later)) if below(rng, 4) == 0 => {
                let behind = bytes.len();
                bytes.fill(0);
                bytes.extend_from_slice(&self.encode(stream, later, unsynced + 1, behind));
            }
            _ => bytes.truncate(1 + below(rng, bytes.len() - 1)),
        }
        self.last_mut().bytes.extend_from_slice(&bytes);
        true
    }

    fn roll_back(&mut self, stream: &str, rng: &mut impl Rng) {
        // A torn record is gone in any case.
        self.recover(stream);
        let first = self.segments[0].first;
        let records = self.next.0 - first.0;
        let keep = below(rng, records as usize + 1);
        if keep == records as usize || below(rng, 4) == 0 {
            *self = Image::new(stream);
        } else {
            self.next = first.plus(keep);
            while self.segments.len() > 1 && self.last().first >= self.next {
                self.segments.pop();
            }
            let keep = (self.next.0 - self.last().first.0) as usize;
            let last = self.last_mut();
            let scan = scan(stream, &last.bytes).expect("nothing damages the header");
            let kept = scan.records[..keep].iter();
            let bytes: usize = kept.map(|record| RECORD_HEADER_BYTES + record.len()).sum();
            last.bytes.truncate(HEADER_BYTES + bytes);
        }
    }

    fn recover(&mut self, stream: &str) -> (Log, bool) {
        let checkpoint = self.checkpoint.as_ref().map(|bytes| {
            let (_, state) = read_checkpoint(stream, bytes).expect("a checkpoint is never torn");
            state.to_vec()
        });
        let (mut records, mut next, mut torn) = (Vec::new(), self.segments[0].first, false);
        for segment in &mut self.segments {
            assert!(!torn, "a torn record is the last one");
            let scan = scan(stream, &segment.bytes).expect("nothing damages the header");
            assert!(
                !matches!(scan.tail, Tail::Damaged { .. }),
                "a crash was taken for damage to flushed data"
            );
            assert_eq!((scan.first, next), (segment.first, segment.first), "a record went missing");
            torn = scan.tail == Tail::Torn;
            records.extend(scan.records.iter().map(|record| record.to_vec()));
            next = scan.next();
            let end = scan.end;
            segment.bytes.truncate(end);
        }
        assert_eq!(next, self.next, "a record went missing");
        self.mark = None;
        (Log { checkpoint, records, lost: None }, torn)
    }
}

/// A number below `bound`. The bias of the remainder is too small for a simulation to
/// notice.
fn below(rng: &mut impl Rng, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}
