//! Opening a stream's directory after a stop, a crash or damage.
//!
//! Reading comes first and changes nothing, so that a directory which is refused
//! stays as it was found, for the person who has to look into it. Only then is the trace of
//! a crash removed: the torn tail, unfinished files, segments that a checkpoint made
//! superfluous.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::disk::{Disk, TEMPORARY_SUFFIX, failed};
use super::stream::{Active, CHECKPOINT, Stream, parse_segment_name, segment_path};
use crate::storage::format::{
    Damage, HEADER_BYTES, MAX_CHECKPOINT_BYTES, Sequence, read_checkpoint,
};
use crate::storage::scan::{Scan, Tail, scan};
use crate::storage::{Log, StorageError};

/// A stream's directory as it was read.
pub(super) struct Found {
    pub(super) name: String,
    dir: PathBuf,
    /// The content of the stream.
    pub(super) log: Log,
    pub(super) next: Sequence,
    segments: Vec<Sequence>,
    last: Option<Last>,
    superfluous: Vec<PathBuf>,
}

/// The last segment: the only one that may be torn, and the one to go on with.
struct Last {
    first: Sequence,
    /// Where its last good record ends, in bytes.
    end: usize,
    torn_bytes: usize,
}

/// Reads the directory `dir` of the stream `name`.
pub(super) fn read(dir: PathBuf, name: &str) -> Result<Found, StorageError> {
    let (mut segments, mut superfluous) = list(&dir)?;
    let (start, checkpoint) = load_checkpoint(&dir, name)?;
    for first in segments.iter().filter(|first| **first < start) {
        superfluous.push(segment_path(&dir, *first));
    }
    segments.retain(|first| *first >= start);
    let log = Log { checkpoint, ..Log::default() };
    let name = name.to_owned();
    let mut found = Found { name, dir, log, next: start, segments, last: None, superfluous };
    found.load_segments()?;
    Ok(found)
}

/// The segments in `dir`, in order, and the unfinished files.
fn list(dir: &Path) -> Result<(Vec<Sequence>, Vec<PathBuf>), StorageError> {
    let (mut segments, mut unfinished) = (Vec::new(), Vec::new());
    for name in names_in(dir)? {
        if name.ends_with(TEMPORARY_SUFFIX) {
            unfinished.push(dir.join(name));
        } else if let Some(first) = parse_segment_name(&name) {
            segments.push(first);
        } else if name != CHECKPOINT {
            tracing::warn!(file = %dir.join(name).display(), "ignored an unknown file");
        }
    }
    segments.sort_unstable();
    Ok((segments, unfinished))
}

/// The names in a directory, in order.
pub(super) fn names_in(dir: &Path) -> Result<Vec<String>, StorageError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(|e| failed(dir, "list the directory", &e))
}

/// The checkpoint in `dir`, and the first record that it does not stand for.
fn load_checkpoint(dir: &Path, name: &str) -> Result<(Sequence, Option<Vec<u8>>), StorageError> {
    let path = dir.join(CHECKPOINT);
    let len = match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Sequence::FIRST, None)),
        other => other.map_err(|e| failed(&path, "look at", &e))?.len(),
    };
    if len > (HEADER_BYTES + MAX_CHECKPOINT_BYTES) as u64 {
        let reason = format!("{len} bytes are over the limit for a checkpoint");
        return Err(refused(&path, 0, &reason));
    }
    let bytes = fs::read(&path).map_err(|e| failed(&path, "read", &e))?;
    let (next, state) = read_checkpoint(name, &bytes).map_err(|d| damaged(&path, &d))?;
    Ok((next, Some(state.to_vec())))
}

impl Found {
    fn load_segments(&mut self) -> Result<(), StorageError> {
        // Where the record numbered `self.next` should have been.
        let mut end = (self.dir.join(CHECKPOINT), 0);
        for first in self.segments.clone() {
            let path = segment_path(&self.dir, first);
            let is_last = self.segments.last() == Some(&first);
            if first != self.next {
                let reason = format!(
                    "record {} is missing: the next file, {}, starts with record {}",
                    self.next.0,
                    path.display(),
                    first.0
                );
                return Err(refused(&end.0, end.1, &reason));
            }
            let bytes = fs::read(&path).map_err(|e| failed(&path, "read", &e))?;
            let scan = scan(&self.name, &bytes).map_err(|d| damaged(&path, &d))?;
            self.check(&path, first, &scan, is_last)?;
            self.log.records.extend(scan.records.iter().map(|record| record.to_vec()));
            self.next = scan.next();
            self.last = Some(Last { first, end: scan.end, torn_bytes: bytes.len() - scan.end });
            end = (path, scan.end);
        }
        Ok(())
    }

    /// Refuses a segment that a crash cannot explain.
    fn check(
        &self,
        path: &Path,
        named: Sequence,
        scan: &Scan<'_>,
        is_last: bool,
    ) -> Result<(), StorageError> {
        if scan.first != named {
            let reason = format!("the header says that record {} is the first", scan.first.0);
            return Err(refused(path, 0, &reason));
        }
        let broken = format!("record {} does not verify", scan.next().0);
        match scan.tail {
            Tail::Clean => Ok(()),
            Tail::Torn if is_last => Ok(()),
            Tail::Torn => {
                Err(refused(path, scan.end, &format!("{broken}, and a later segment follows")))
            }
            Tail::Damaged { proof } => {
                let reason = format!("{broken}, but the later one at byte {proof} does");
                Err(refused(path, scan.end, &reason))
            }
        }
    }

    /// Whether a crash left an incomplete record.
    pub(super) fn is_torn(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.torn_bytes > 0)
    }

    /// Removes the traces of a crash and opens the stream for writing. Records from
    /// number `doubtful` on were perhaps never flushed.
    pub(super) fn repair(
        self,
        disk: &mut Disk,
        doubtful: Option<u64>,
    ) -> Result<(Stream, Log), StorageError> {
        // The process before this one may have been killed between a rename and the
        // flush of the directory. Recovered data must stay, and data that a checkpoint
        // replaces may only go once the checkpoint is durable.
        disk.sync_dir(&self.dir)?;
        for path in &self.superfluous {
            tracing::debug!(file = %path.display(), "removed a file that a crash left behind");
            disk.remove(path)?;
        }
        let active = match &self.last {
            Some(last) if last.torn_bytes > 0 || doubtful.is_some_and(|n| n < self.next.0) => {
                Some(self.rewrite(disk, last)?)
            }
            Some(last) => Some(self.reopen(disk, last)?),
            None => None,
        };
        let Found { name, dir, log, next, segments, .. } = self;
        Ok((Stream { name, dir, next, segments, active, mark: None }, log))
    }

    fn reopen(&self, disk: &mut Disk, last: &Last) -> Result<Active, StorageError> {
        let path = segment_path(&self.dir, last.first);
        let opened = File::options().read(true).write(true).open(&path);
        let mut file = opened.map_err(|e| failed(&path, "open for writing", &e))?;
        // The last records may be in the page cache only, written by a process that
        // was killed before its flush.
        disk.sync(&file, &path)?;
        let end = file.seek(SeekFrom::Start(last.end as u64));
        end.map_err(|e| failed(&path, "seek", &e))?;
        Ok(Active { first: last.first, file, len: last.end })
    }

    /// Puts a copy of the last segment in its place, without a torn tail. The flush of
    /// the old one may have failed: then the kernel shows pages that never reached the
    /// disk, and calls them clean, so that flushing them again would do nothing.
    fn rewrite(&self, disk: &mut Disk, last: &Last) -> Result<Active, StorageError> {
        let path = segment_path(&self.dir, last.first);
        if last.torn_bytes > 0 {
            tracing::warn!(
                file = %path.display(),
                offset = last.end,
                bytes = last.torn_bytes,
                "cut off a torn tail"
            );
        }
        let bytes = fs::read(&path).map_err(|e| failed(&path, "read", &e))?;
        let file = match disk.create(&path, &[&bytes[..last.end]]) {
            // A full disk must not keep a node from starting.
            Err(_) if disk.is_full() => rewrite_in_place(disk, &path, &bytes[..last.end])?,
            created => created?,
        };
        Ok(Active { first: last.first, file, len: last.end })
    }
}

/// Writes the same bytes over those that are there: takes no space, and a crash in the middle
/// leaves the same.
fn rewrite_in_place(disk: &mut Disk, path: &Path, bytes: &[u8]) -> Result<File, StorageError> {
    let opened = File::options().read(true).write(true).open(path);
    let mut file = opened.map_err(|e| failed(path, "open for writing", &e))?;
    file.set_len(bytes.len() as u64).map_err(|e| failed(path, "cut off the tail of", &e))?;
    disk.overwrite(&mut file, path, 0, bytes)?;
    disk.sync(&file, path)?;
    Ok(file)
}

fn damaged(path: &Path, damage: &Damage) -> StorageError {
    refused(path, damage.offset, &damage.reason)
}

fn refused(path: &Path, offset: usize, reason: &str) -> StorageError {
    StorageError {
        place: path.display().to_string(),
        reason: format!("at byte {offset}: {reason}"),
    }
}
