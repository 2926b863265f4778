//! States in files.
//!
//! ```text
//! DIR/states/INDEX            a state: see below
//! DIR/states/INDEX.received   one that came from another server, and is not named by the log
//! DIR/states/*.tmp            unfinished
//!
//! magic "SWSTATE2" | index u64 | length u64 | CRC-32 of the state u32 | CRC-32 of all this u32 | state
//! ```
//!
//! INDEX is that of the last entry in the state, in decimal; integers are little-endian.

// Files and waiting are this module's business.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seaworthy::raft::Index;
use seaworthy::storage::{Room, StorageError};

use super::{Beside, Sink, Source, Trouble};
use crate::node::Written;

const MAGIC: &[u8; 8] = b"SWSTATE2";
const HEADER_BYTES: usize = 32;
/// How much is written between two flushes: a flush of the log waits for one of these at most.
const FLUSH_BYTES: usize = 4 << 20;
/// After a flush the disk is left to the log for as long as it took, but not for longer than this: all
/// entries that come meanwhile are in the checkpoint that follows.
const MAX_PAUSE: Duration = Duration::from_millis(10);
const RECEIVED: &str = "received";
/// How much of an old state is given back to the disk at once. To give back a gigabyte keeps the journal of
/// ext4 for 80 ms, and every flush of the log with it; this much takes about 10 ms.
const CUT_BYTES: u64 = 16 << 20;
/// How long the disk is left to the log after each cut.
const CUT_PAUSE: Duration = Duration::from_millis(10);

/// The directory of the states.
#[derive(Clone, Debug)]
pub struct States {
    dir: PathBuf,
    room: Option<Arc<dyn Room>>,
}

impl States {
    /// The states of the data directory `path`.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn open(path: &Path) -> io::Result<States> {
        let dir = path.join("states");
        if !dir.is_dir() {
            fs::create_dir(&dir)?;
            File::open(path)?.sync_all()?;
        }
        Ok(States { dir, room: None })
    }

    /// The same, to be read only: nothing is made.
    pub fn at(path: &Path) -> States {
        States { dir: path.join("states"), room: None }
    }

    /// Has states that find the disk full wait, as `room` decides.
    #[must_use]
    pub fn with_room(self, room: Arc<dyn Room>) -> States {
        States { room: Some(room), ..self }
    }

    fn path(&self, index: Index) -> PathBuf {
        self.dir.join(index.0.to_string())
    }

    fn begin(&self, index: Index, path: PathBuf) -> Result<Box<dyn Sink>, Trouble> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!("{name}.tmp"));
        let file = File::create(&temporary).map_err(|e| trouble(&temporary, &e, true))?;
        let hasher = crc32fast::Hasher::new();
        let (len_bytes, unflushed) = (0, 0);
        Ok(Box::new(FileSink { index, path, temporary, file, len_bytes, unflushed, hasher }))
    }
}

fn failed(path: &Path, reason: String) -> StorageError {
    StorageError { place: path.display().to_string(), reason }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// An error of the disk; one of a flush may have spoilt what was written before.
fn trouble(path: &Path, error: &io::Error, is_flush: bool) -> Trouble {
    match (is_full(error), is_flush) {
        (true, true) => Trouble::Spoilt,
        (true, false) => Trouble::Full,
        (false, _) => Trouble::Failed(failed(path, format!("cannot write a state: {error}"))),
    }
}

impl Beside for States {
    fn create(&self, index: Index) -> Result<Box<dyn Sink>, Trouble> {
        self.begin(index, self.path(index))
    }

    fn receive(&self, index: Index) -> Result<Box<dyn Sink>, Trouble> {
        self.begin(index, self.path(index).with_extension(RECEIVED))
    }

    fn adopt(&self, index: Index) -> Result<(), StorageError> {
        let (path, received) = (self.path(index), self.path(index).with_extension(RECEIVED));
        if path.exists() {
            return Ok(());
        }
        loop {
            let renamed = fs::rename(&received, &path);
            let renamed = renamed.and_then(|()| File::open(&self.dir)?.sync_all());
            match renamed {
                Err(e) if is_full(&e) && !path.exists() && self.make_room() => {}
                renamed => {
                    let why = |e| failed(&received, format!("cannot rename a state: {e}"));
                    return renamed.map_err(why);
                }
            }
        }
    }

    fn open(&self, index: Index) -> Result<Box<dyn Source>, StorageError> {
        let path = self.path(index);
        let missing = |e: io::Error| failed(&path, format!("a state is missing: {e}"));
        let file = File::open(&path);
        let file = file.or_else(|e| File::open(path.with_extension(RECEIVED)).map_err(|_| e));
        let file = file.map_err(missing)?;
        // Guard: no state is cut while it is read. A file system without locks has none for the other side
        // either, which then removes the file whole.
        let is_cut = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let metadata = file.metadata().map_err(missing)?;
        if is_cut || metadata.nlink() == 0 {
            return Err(missing(ErrorKind::NotFound.into()));
        }
        let mut header = [0; HEADER_BYTES];
        let len = metadata.len();
        let read = file.read_exact_at(&mut header, 0);
        let written = decode_header(&header).filter(|written| {
            written.index == index && len == written.len_bytes + HEADER_BYTES as u64
        });
        match (read, written) {
            (Ok(()), Some(written)) => Ok(Box::new(FileSource { file, path, written })),
            _ => Err(failed(&path, "the state is damaged: its header or length is wrong".into())),
        }
    }

    fn make_room(&self) -> bool {
        self.room.as_ref().is_some_and(|room| room.make())
    }

    fn remove_older(&self, index: Index, unfinished: bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_old = match (name.parse::<u64>(), name.split_once('.')) {
                (Ok(other), _) => other < index.0 || (unfinished && other != index.0),
                (_, Some((number, RECEIVED))) => {
                    unfinished || number.parse::<u64>().is_ok_and(|other| other <= index.0)
                }
                _ => unfinished && name.ends_with(".tmp"),
            };
            // Before the start has ended nothing waits for the disk.
            let remove = if unfinished { fs::remove_file } else { remove_in_steps };
            // The removal after the checkpoint before may still be at it.
            if is_old
                && let Err(e) = remove(path.as_path())
                && e.kind() != ErrorKind::NotFound
            {
                tracing::warn!("cannot remove {}: {e}", path.display());
            }
        }
    }
}

/// Removes a file, and then gives its space back little by little. If the process ends before that, the kernel
/// does the rest.
fn remove_in_steps(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    fs::remove_file(path)?;
    // Guard: another server may be in the middle of this state. Its last reader gives all the space back.
    if file.try_lock().is_err() {
        return Ok(());
    }
    let mut len = file.metadata()?.len();
    while len > CUT_BYTES {
        len -= CUT_BYTES;
        file.set_len(len)?;
        std::thread::sleep(CUT_PAUSE);
    }
    Ok(())
}

struct FileSink {
    index: Index,
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    len_bytes: u64,
    /// The bytes since the last flush.
    unflushed: usize,
    hasher: crc32fast::Hasher,
}

impl Sink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let at = HEADER_BYTES as u64 + self.len_bytes;
        self.file.write_all_at(bytes, at).map_err(|e| trouble(&self.path, &e, false))?;
        self.hasher.update(bytes);
        self.len_bytes += bytes.len() as u64;
        self.unflushed += bytes.len();
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            let began = Instant::now();
            self.file.sync_data().map_err(|e| trouble(&self.path, &e, true))?;
            std::thread::sleep(began.elapsed().min(MAX_PAUSE));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written, Trouble> {
        let checksum = self.hasher.clone().finalize();
        let written = Written { index: self.index, len_bytes: self.len_bytes, checksum };
        let finished = self.file.write_all_at(&encode_header(written), 0);
        let finished = finished.and_then(|()| self.file.sync_all());
        let finished = finished.and_then(|()| fs::rename(&self.temporary, &self.path));
        let dir = self.path.parent().unwrap_or(&self.path);
        let finished = finished.and_then(|()| File::open(dir)?.sync_all());
        finished.map_err(|e| trouble(&self.path, &e, true))?;
        Ok(written)
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        // Unless it was finished, and has another name.
        let _ = fs::remove_file(&self.temporary);
    }
}

struct FileSource {
    file: File,
    path: PathBuf,
    written: Written,
}

impl Source for FileSource {
    fn written(&self) -> Written {
        self.written
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn read_at(&mut self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, HEADER_BYTES as u64 + offset)?;
        Ok(bytes)
    }
}

fn encode_header(written: Written) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&written.index.0.to_le_bytes());
    header.extend_from_slice(&written.len_bytes.to_le_bytes());
    header.extend_from_slice(&written.checksum.to_le_bytes());
    let checksum = crc32fast::hash(&header);
    header.extend_from_slice(&checksum.to_le_bytes());
    header
}

fn decode_header(header: &[u8; HEADER_BYTES]) -> Option<Written> {
    let word = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let checksum = header[24..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes))?;
    let written = Written { index: Index(word(8)?), len_bytes: word(16)?, checksum };
    (encode_header(written) == header[..]).then_some(written)
}

#[cfg(test)]
mod tests;
