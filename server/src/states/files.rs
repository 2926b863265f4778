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

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
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
        let mut header = [0; HEADER_BYTES];
        let len = file.metadata().map_err(missing)?.len();
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
            if is_old && let Err(e) = fs::remove_file(&path) {
                tracing::warn!("cannot remove {}: {e}", path.display());
            }
        }
    }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(states: &States, index: u64, state: &[u8]) -> Written {
        let mut sink = states.create(Index(index)).unwrap();
        state.chunks(1 << 20).for_each(|piece| sink.append(piece).unwrap());
        sink.finish().unwrap()
    }

    fn read(states: &States, index: u64) -> Result<Vec<u8>, StorageError> {
        let mut source = states.open(Index(index))?;
        let Written { len_bytes, checksum, .. } = source.written();
        let bytes = source.read_at(0, len_bytes as usize).unwrap();
        match crc32fast::hash(&bytes) == checksum {
            true => Ok(bytes),
            false => Err(failed(Path::new(""), "the state is damaged".to_owned())),
        }
    }

    #[test]
    fn a_state_comes_back_and_a_damaged_one_is_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        let states = States::open(dir.path()).unwrap();
        let state: Vec<u8> = (0..FLUSH_BYTES + 5).map(|i| i as u8).collect();
        let written = write(&states, 7, &state);
        assert_eq!((written.len_bytes, written.index), (state.len() as u64, Index(7)));
        assert_eq!(read(&states, 7).unwrap(), state);
        let mut source = states.open(Index(7)).unwrap();
        assert_eq!(source.read_at(9, 3).unwrap(), state[9..12]);
        assert!(source.read_at(state.len() as u64 - 1, 2).is_err(), "beyond the end");
        write(&states, 8, b"");
        assert_eq!(read(&states, 8).unwrap(), b"");
        let file = dir.path().join("states/7");
        let whole = fs::read(&file).unwrap();
        for place in [0, 9, 17, 25, 30, HEADER_BYTES, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert!(read(&states, 7).unwrap_err().to_string().contains("damaged"), "at {place}");
        }
        for len in [0, 10, HEADER_BYTES, whole.len() - 1] {
            fs::write(&file, &whole[..len]).unwrap();
            assert!(read(&states, 7).is_err(), "cut at {len}");
        }
        fs::rename(dir.path().join("states/8"), dir.path().join("states/9")).unwrap();
        assert!(read(&states, 9).is_err(), "another state");
        assert!(read(&states, 10).unwrap_err().to_string().contains("missing"));
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir.join("states")).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn older_states_go_and_a_newer_one_may_be_on_its_way() {
        let dir = tempfile::TempDir::new().unwrap();
        let states = States::open(dir.path()).unwrap();
        (5..9).for_each(|index| _ = write(&states, index, b"state"));
        fs::write(dir.path().join("states/9.tmp"), b"sta").unwrap();
        fs::write(dir.path().join("states/6.received"), b"sta").unwrap();
        fs::write(dir.path().join("states/9.received"), b"sta").unwrap();
        states.remove_older(Index(7), false);
        assert_eq!(names(dir.path()), ["7", "8", "9.received", "9.tmp"]);
        states.remove_older(Index(7), true);
        assert_eq!(names(dir.path()), ["7"]);
    }

    #[test]
    fn a_received_state_is_kept_apart_until_it_is_adopted_and_a_dropped_one_leaves_nothing() {
        let dir = tempfile::TempDir::new().unwrap();
        let states = States::open(dir.path()).unwrap();
        write(&states, 7, b"own");
        let receive = |index: u64, bytes: &[u8]| {
            let mut sink = states.receive(Index(index)).unwrap();
            sink.append(bytes).unwrap();
            sink
        };
        drop(receive(7, b"half of"));
        assert_eq!(names(dir.path()), ["7"]);
        receive(7, b"other").finish().unwrap();
        states.adopt(Index(7)).unwrap();
        assert_eq!(read(&states, 7).unwrap(), b"own", "the log may name it");
        receive(9, b"other").finish().unwrap();
        assert_eq!(read(&states, 9).unwrap(), b"other");
        states.adopt(Index(9)).unwrap();
        states.adopt(Index(9)).unwrap();
        assert!(states.adopt(Index(10)).is_err(), "a log must not name a state that is nowhere");
        assert_eq!(read(&states, 9).unwrap(), b"other");
        assert_eq!(names(dir.path()), ["7", "7.received", "9"]);
    }
}
