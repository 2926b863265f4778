//! One stream's directory, open for writing.
//!
//! ```text
//! checkpoint                  the latest one, replaced by rename
//! 00000000000000000042.log    a segment, named after its first record
//! *.tmp                       unfinished; removed when the directory is opened
//! ```
//!
//! A checkpoint names the first record it does not stand for, and that record begins a
//! segment: a checkpoint ends the one before, and so does a mark. So a segment is needed exactly if its name is not below that
//! number, and it does not matter whether a crash came before, between or after the
//! removals.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use crate::storage::format::{
    MAX_CHECKPOINT_BYTES, MAX_RECORD_BYTES, Place, Sequence, checkpoint_header, encode_record,
    segment_header,
};
use crate::storage::{NO_MARK, StorageError, WriteData};

pub(super) const CHECKPOINT: &str = "checkpoint";
const SEGMENT_SUFFIX: &str = ".log";

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    /// The number of the next record.
    pub(super) next: Sequence,
    /// The segments that exist, by their first record, oldest first.
    pub(super) segments: Vec<Sequence>,
    /// The last of `segments`, if records may still be appended to it.
    pub(super) active: Option<Active>,
    /// The first record behind the mark. It begins a segment.
    pub(super) mark: Option<Sequence>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) first: Sequence,
    pub(super) file: File,
    /// Its length in bytes, which is where the file is positioned.
    pub(super) len: usize,
}

/// The part of a commit that concerns one stream.
#[derive(Debug, Default)]
pub(super) struct Batch {
    steps: Vec<Step>,
}

/// The writes of a batch that one flush serves.
#[derive(Debug)]
enum Step {
    Records(Vec<Vec<u8>>),
    Checkpoint(Vec<u8>),
    Mark,
    CheckpointAtMark(Vec<u8>),
}

impl Batch {
    /// Adds a write. A checkpoint makes earlier writes of the same commit superfluous,
    /// so they are never written at all.
    pub(super) fn push(&mut self, data: WriteData) {
        match (data, self.steps.last_mut()) {
            (WriteData::Record(record), Some(Step::Records(records))) => records.push(record),
            (WriteData::Record(record), _) => self.steps.push(Step::Records(vec![record])),
            (WriteData::Checkpoint(state), _) => self.steps = vec![Step::Checkpoint(state)],
            (WriteData::Mark, _) => self.steps.push(Step::Mark),
            (WriteData::CheckpointAtMark(state), _) => {
                self.steps.push(Step::CheckpointAtMark(state));
            }
        }
    }

    fn check(&self, dir: &Path) -> Result<(), StorageError> {
        let refuse = |what: &str, len: usize, most: usize| StorageError {
            place: dir.display().to_string(),
            reason: format!("a {what} of {len} bytes is over the limit of {most}"),
        };
        self.steps.iter().try_for_each(|step| match step {
            Step::Records(records) => {
                match records.iter().find(|record| record.len() > MAX_RECORD_BYTES) {
                    Some(long) => Err(refuse("record", long.len(), MAX_RECORD_BYTES)),
                    None => Ok(()),
                }
            }
            Step::Checkpoint(state) | Step::CheckpointAtMark(state)
                if state.len() > MAX_CHECKPOINT_BYTES =>
            {
                Err(refuse("checkpoint", state.len(), MAX_CHECKPOINT_BYTES))
            }
            Step::Checkpoint(_) | Step::CheckpointAtMark(_) | Step::Mark => Ok(()),
        })
    }
}

impl Stream {
    /// A stream that does not exist on disk yet.
    pub(super) fn create(disk: &mut Disk, root: &Path, name: &str) -> Result<Stream, StorageError> {
        let dir = root.join(name);
        disk.create_dir_all(&dir)?;
        let name = name.to_owned();
        let (next, segments) = (Sequence::FIRST, Vec::new());
        Ok(Stream { name, dir, next, segments, active: None, mark: None })
    }

    /// Makes a batch durable.
    pub(super) fn commit(
        &mut self,
        disk: &mut Disk,
        batch: Batch,
        segment_bytes: usize,
    ) -> Result<(), StorageError> {
        batch.check(&self.dir)?;
        batch.steps.into_iter().try_for_each(|step| match step {
            Step::Records(records) => self.append(disk, &records, segment_bytes),
            Step::Checkpoint(state) => self.checkpoint(disk, &state),
            Step::Mark => {
                self.set_mark();
                Ok(())
            }
            Step::CheckpointAtMark(state) => self.checkpoint_at_mark(disk, &state),
        })
    }

    /// Has the next record begin a segment.
    fn set_mark(&mut self) {
        self.active.take_if(|active| active.first < self.next);
        self.mark = Some(self.next);
    }

    /// Takes no number, because the records behind the mark have theirs already. It is of a later
    /// place than the one before it, or says the same.
    fn checkpoint_at_mark(&mut self, disk: &mut Disk, state: &[u8]) -> Result<(), StorageError> {
        let from = self.mark.take().expect(NO_MARK);
        let header = checkpoint_header(&self.name, from, state);
        disk.create(&self.dir.join(CHECKPOINT), &[&header, state])?;
        let before = self.segments.partition_point(|first| *first < from);
        let paths = self.segments.drain(..before).map(|first| segment_path(&self.dir, first));
        disk.remove_later(paths.collect())
    }

    fn checkpoint(&mut self, disk: &mut Disk, state: &[u8]) -> Result<(), StorageError> {
        // A checkpoint takes a number too, so that an older one can be told.
        let next = self.next.plus(1);
        let header = checkpoint_header(&self.name, next, state);
        disk.create(&self.dir.join(CHECKPOINT), &[&header, state])?;
        (self.next, self.mark) = (next, None);
        // Only now, when the new checkpoint is there to stay, may the old go.
        self.active = None;
        let paths = self.segments.drain(..).map(|first| segment_path(&self.dir, first));
        disk.remove_later(paths.collect())
    }

    /// Appends with one write and one flush. All records of a commit go to the same
    /// segment: the records of a segment are flushed before the next one is made, so
    /// only the last one can be torn.
    fn append(
        &mut self,
        disk: &mut Disk,
        records: &[Vec<u8>],
        segment_bytes: usize,
    ) -> Result<(), StorageError> {
        self.active.take_if(|active| active.len >= segment_bytes && active.first < self.next);
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.start_segment(disk)?,
        };
        let mut bytes = Vec::new();
        for (unsynced, record) in records.iter().enumerate() {
            let place = Place {
                segment: active.first,
                offset: active.len + bytes.len(),
                sequence: self.next.plus(unsynced),
                unsynced: u32::try_from(unsynced).unwrap_or(u32::MAX),
            };
            encode_record(&self.name, place, record, &mut bytes);
        }
        let path = segment_path(&self.dir, active.first);
        disk.append(&mut active.file, &path, active.len, &bytes)?;
        disk.sync(&active.file, &path)?;
        active.len += bytes.len();
        self.next = self.next.plus(records.len());
        self.active = Some(active);
        Ok(())
    }

    fn start_segment(&mut self, disk: &mut Disk) -> Result<Active, StorageError> {
        let first = self.next;
        assert!(self.segments.last().is_none_or(|last| *last < first), "segments grow");
        let header = segment_header(&self.name, first);
        let file = disk.create(&segment_path(&self.dir, first), &[&header])?;
        self.segments.push(first);
        Ok(Active { first, file, len: header.len() })
    }
}

pub(super) fn segment_path(dir: &Path, first: Sequence) -> PathBuf {
    dir.join(format!("{:020}{SEGMENT_SUFFIX}", first.0))
}

/// The first record of the segment with this file name, if it is one of ours.
pub(super) fn parse_segment_name(name: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    let ours = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| ours).map(Sequence)
}
