//! The owner of a directory, and up to where its streams are durable.
//!
//! The log alone cannot tell a torn last flush from a tail that was durable and is gone:
//! a file that was cut short, deleted or rolled back ends like one that never grew. So a
//! second small record says how far each stream was durable. It is written after the
//! flush that it tells of, into one of two slots in turn, and is never flushed itself:
//! it may be behind the durable state, and never ahead of it. A record that is behind
//! detects less, and accuses no intact log.
//!
//! There are two copies. `durable` lies in the directory. The other one lies beside the
//! directory, and so notices that the directory was emptied, or replaced by an older copy
//! or by one of another cluster.
//!
//! ```text
//! copy   slot 0 at byte 0 | slot 1 at byte 4096
//! slot   crc u32 | length u32 | JSON
//! ```
//!
//! Not detected are: a power failure together with a loss of data that was durable
//! shortly before (the kernel writes the record back within about 30 seconds), and a
//! copy of directory and neighbour that were both taken at the same earlier moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, failed};
use crate::storage::StorageError;

/// The copy in the directory.
pub(super) const DURABLE: &str = "durable";
const SLOT_BYTES: usize = 4096;
const SLOT_HEADER_BYTES: usize = 8;

/// The node that a directory is to belong to.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The name of the node.
    pub node: String,
    /// Tells this directory from all others if it is a new one; a random number.
    pub fresh: u64,
    /// Where the second copy lies: not in the directory.
    pub beside: PathBuf,
}

/// The content of both copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The node that the directory belongs to.
    pub(super) node: String,
    /// The directory's own random number, in hexadecimal.
    pub(super) directory: String,
    /// How many records like this were written; the higher one is the later.
    pub(super) write: u64,
    /// The number of the first record of each stream that is not known to be durable.
    pub(super) next: BTreeMap<String, u64>,
    /// Streams that have lost data, and the reason, until they are written to again: the
    /// writer has been told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) lost: BTreeMap<String, String>,
}

/// A copy as it was found.
enum Copy {
    Missing,
    Unreadable,
    Found(Record),
}

/// The record and its copies, open for writing.
#[derive(Debug)]
pub(super) struct Witness {
    record: Record,
    copies: [(PathBuf, File); 2],
}

/// The copies as they were when the directory was opened.
pub(super) struct Testimony {
    record: Record,
    /// The reason why every stream counts as lost, whatever its numbers.
    all_lost: Option<String>,
}

impl Testimony {
    /// Reads both copies, and changes nothing. `streams` are those that exist.
    ///
    /// # Errors
    /// If the directory belongs to another node.
    pub(super) fn read(
        dir: &Path,
        owner: &Owner,
        streams: &BTreeSet<String>,
    ) -> Result<Testimony, StorageError> {
        let (inside, beside) = (read(&dir.join(DURABLE))?, read(&owner.beside)?);
        let fresh = || Record {
            node: owner.node.clone(),
            directory: format!("{:016x}", owner.fresh),
            ..Record::default()
        };
        let is_new = streams.is_empty();
        let (record, all_lost) = match (inside, beside) {
            (Copy::Found(inside), _) if inside.node != owner.node => {
                return Err(not_ours(dir, &inside, owner));
            }
            (Copy::Found(inside), Copy::Found(beside)) if inside.directory != beside.directory => {
                let why = format!(
                    "{} was put in the place of the directory that node {} used last: its \
                     number is {}, and {} tells of number {}",
                    dir.display(),
                    owner.node,
                    inside.directory,
                    owner.beside.display(),
                    beside.directory
                );
                (inside.joined(beside), Some(why))
            }
            (Copy::Found(inside), Copy::Found(beside)) => (inside.joined(beside), None),
            (Copy::Found(one), _) => (one, None),
            (_, Copy::Found(one)) if one.node == owner.node => (one, None),
            (Copy::Missing, Copy::Missing) if is_new => (fresh(), None),
            // A crash while the first copy was made leaves nothing to be lost.
            _ if is_new => (fresh(), None),
            _ => {
                let why = format!(
                    "neither {} nor {} says how far the streams were durable",
                    dir.join(DURABLE).display(),
                    owner.beside.display()
                );
                (fresh(), Some(why))
            }
        };
        Ok(Testimony { record, all_lost })
    }

    /// The streams that are known to have existed.
    pub(super) fn streams(&self) -> impl Iterator<Item = &String> {
        self.record.next.keys().chain(self.record.lost.keys())
    }

    /// Up to which record `stream` is known to have been durable.
    pub(super) fn next(&self, stream: &str) -> u64 {
        self.record.next.get(stream).copied().unwrap_or(1)
    }

    /// Returns the reason why `stream`, whose next record is `next`, has lost data, if it has.
    pub(super) fn loss(&mut self, stream: &str, next: u64) -> Option<String> {
        let durable = self.next(stream);
        let missing = (next < durable)
            .then(|| format!("records {next} to {}, which were durable, are gone", durable - 1));
        let earlier = self.record.lost.get(stream).cloned();
        let why = missing.or(earlier).or_else(|| self.all_lost.clone())?;
        self.record.lost.insert(stream.to_owned(), why.clone());
        Some(why)
    }

    /// Makes both copies anew, durably, with the present numbers.
    pub(super) fn open(
        mut self,
        disk: &mut Disk,
        dir: &Path,
        owner: &Owner,
        found: BTreeMap<String, u64>,
    ) -> Result<Witness, StorageError> {
        for (stream, next) in found {
            let known = self.record.next.entry(stream).or_insert(1);
            *known = next.max(*known);
        }
        let slot = self.record.encode();
        let mut create = |path: PathBuf| {
            // In both slots, so that one stays when the other is written.
            let mut both = slot.clone();
            both.resize(SLOT_BYTES, 0);
            both.extend_from_within(..);
            let file = disk.create(&path, &[&both])?;
            Ok((path, file))
        };
        let copies = [create(owner.beside.clone())?, create(dir.join(DURABLE))?];
        Ok(Witness { record: self.record, copies })
    }
}

impl Record {
    /// Joins two records: of each stream the higher number counts.
    fn joined(mut self, other: Record) -> Record {
        self.write = self.write.max(other.write);
        if self.directory == other.directory {
            for (stream, next) in other.next {
                let known = self.next.entry(stream).or_insert(1);
                *known = next.max(*known);
            }
        } else {
            // Their numbers tell of different records; only the streams count.
            let streams = other.next.into_keys().map(|stream| (stream, 1));
            streams.for_each(|(stream, next)| _ = self.next.entry(stream).or_insert(next));
        }
        self.lost.extend(other.lost);
        self
    }

    fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("the record is plain data");
        let mut bytes = crc32fast::hash(&json).to_le_bytes().to_vec();
        bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&json);
        assert!(bytes.len() <= SLOT_BYTES, "a node has few streams, with short names");
        bytes
    }

    fn decode(slot: &[u8]) -> Option<Record> {
        let (crc, rest) = slot.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let json = rest.get(..u32::from_le_bytes(*len) as usize)?;
        (crc32fast::hash(json) == u32::from_le_bytes(*crc)).then_some(())?;
        serde_json::from_slice(json).ok()
    }
}

impl Witness {
    /// Notes that these streams are durable up to before these records.
    pub(super) fn note(
        &mut self,
        disk: &mut Disk,
        durable: &[(&str, u64)],
    ) -> Result<(), StorageError> {
        for (stream, next) in durable {
            self.record.next.insert((*stream).to_owned(), *next);
            self.record.lost.remove(*stream);
        }
        self.record.write += 1;
        let slot = self.record.encode();
        let offset = self.record.write % 2 * SLOT_BYTES as u64;
        for (path, file) in &mut self.copies {
            disk.overwrite(file, path, offset, &slot)?;
        }
        Ok(())
    }
}

/// The later of a copy's two slots. One may be torn, or damaged.
fn read(path: &Path) -> Result<Copy, StorageError> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Copy::Missing),
        other => other.map_err(|e| failed(path, "read", &e))?,
    };
    let slots = bytes.chunks(SLOT_BYTES).filter(|slot| slot.len() > SLOT_HEADER_BYTES);
    let latest = slots.filter_map(Record::decode).max_by_key(|record| record.write);
    Ok(latest.map_or(Copy::Unreadable, Copy::Found))
}

fn not_ours(dir: &Path, found: &Record, owner: &Owner) -> StorageError {
    StorageError {
        place: dir.display().to_string(),
        reason: format!(
            "the directory belongs to node {} (number {}), and this is node {}. Give this \
             node the directory that it used, or remove {} and {} to let it join without one",
            found.node,
            found.directory,
            owner.node,
            dir.display(),
            owner.beside.display()
        ),
    }
}
