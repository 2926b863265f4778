//! States of the machine on disk: each is a file, written beside the log by a thread of its own,
//! so that a state of gigabytes holds up no write.
//!
//! ```text
//! DIR/states/INDEX   magic "SWSTATE1" | index u64 | CRC-32 of index and state u32 | state
//! DIR/states/*.tmp   unfinished
//! ```
//!
//! INDEX is that of the last entry in the state, in decimal; integers are little-endian. A
//! checkpoint in the log names the state that it goes on from, and is written after it; older
//! states go when the checkpoint is durable. A state that the log does not name counts for nothing.

// Files are this module's business.
#![allow(clippy::disallowed_methods)]

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seaworthy::raft::Index;
use seaworthy::storage::{Room, StorageError};

const MAGIC: &[u8; 8] = b"SWSTATE1";
const HEADER_BYTES: usize = 20;
/// How much is written between two flushes: a flush of the log waits for one of these at most.
const PIECE_BYTES: usize = 16 << 20;

/// The directory of the states.
#[derive(Clone, Debug)]
pub struct States {
    dir: PathBuf,
    room: Option<Arc<dyn Room>>,
}

/// States of the machine, kept beside the log. The calls block.
pub trait Beside: Debug + Send + Sync {
    /// Makes a state durable, unless it is already. Waits if the disk is full.
    ///
    /// # Errors
    /// Those of the disk or database.
    fn write(&self, index: Index, state: &[u8]) -> Result<(), StorageError>;

    /// The same; but on a full disk it leaves things as they are, and says so by `false`.
    ///
    /// # Errors
    /// Those of the disk or database.
    fn write_if_it_fits(&self, index: Index, state: &[u8]) -> Result<bool, StorageError>;

    /// Reads a state that the log names.
    ///
    /// # Errors
    /// If it is missing or damaged.
    fn read(&self, index: Index) -> Result<Vec<u8>, StorageError>;

    /// Removes states older than the one that the log names, and with `unfinished` all others that
    /// it does not name. One that cannot be removed is left for the next time.
    fn remove_older(&self, index: Index, unfinished: bool);
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

    fn write_new(&self, path: &Path, index: Index, state: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&index.0.to_le_bytes());
        header.extend_from_slice(&checksum(index, state).to_le_bytes());
        file.write_all(&header)?;
        for piece in state.chunks(PIECE_BYTES) {
            file.write_all(piece)?;
            file.sync_data()?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(&self.dir)?.sync_all()
    }
}

impl Beside for States {
    fn write(&self, index: Index, state: &[u8]) -> Result<(), StorageError> {
        while !self.write_if_it_fits(index, state)? {
            if !self.room.as_ref().is_some_and(|room| room.make()) {
                let place = self.path(index).display().to_string();
                let reason = format!("no space is left for a state of {} bytes", state.len());
                return Err(StorageError { place, reason });
            }
        }
        Ok(())
    }

    fn write_if_it_fits(&self, index: Index, state: &[u8]) -> Result<bool, StorageError> {
        let path = self.path(index);
        let failed = |e: io::Error| StorageError {
            place: path.display().to_string(),
            reason: format!("cannot write a state of {} bytes: {e}", state.len()),
        };
        if path.exists() {
            return Ok(true);
        }
        match self.write_new(&path, index, state) {
            Ok(()) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                let _ = fs::remove_file(path.with_extension("tmp"));
                Ok(false)
            }
            Err(e) => Err(failed(e)),
        }
    }

    fn read(&self, index: Index) -> Result<Vec<u8>, StorageError> {
        let path = self.path(index);
        let failed = |reason: String| StorageError { place: path.display().to_string(), reason };
        let missing = |e: io::Error| failed(format!("the log goes on from this state: {e}"));
        let (header, bytes) = read(&path).map_err(missing)?;
        let mut expected = MAGIC.to_vec();
        expected.extend_from_slice(&index.0.to_le_bytes());
        expected.extend_from_slice(&checksum(index, &bytes).to_le_bytes());
        match header == expected {
            true => Ok(bytes),
            false => Err(failed("the state is damaged: it does not match its checksum".into())),
        }
    }

    fn remove_older(&self, index: Index, unfinished: bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_old = match name.parse::<u64>() {
                Ok(other) => other < index.0 || (unfinished && other != index.0),
                Err(_) => unfinished && name.ends_with(".tmp"),
            };
            if is_old && let Err(e) = fs::remove_file(&path) {
                tracing::warn!("cannot remove {}: {e}", path.display());
            }
        }
    }
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut file = File::open(path)?;
    let (mut header, mut state) = (vec![0; HEADER_BYTES], Vec::new());
    file.read_exact(&mut header)?;
    file.read_to_end(&mut state)?;
    Ok((header, state))
}

fn checksum(index: Index, state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.0.to_le_bytes());
    hasher.update(state);
    hasher.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_a_damaged_one_is_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        let states = States::open(dir.path()).unwrap();
        let state: Vec<u8> = (0..PIECE_BYTES + 5).map(|i| i as u8).collect();
        states.write(Index(7), &state).unwrap();
        assert_eq!(states.read(Index(7)).unwrap(), state);
        states.write(Index(8), b"").unwrap();
        assert_eq!(states.read(Index(8)).unwrap(), b"");
        let file = dir.path().join("states/7");
        let whole = fs::read(&file).unwrap();
        for place in [0, 9, 17, HEADER_BYTES, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert!(states.read(Index(7)).unwrap_err().to_string().contains("damaged"));
        }
        fs::write(&file, &whole[..10]).unwrap();
        assert!(states.read(Index(7)).is_err());
        fs::rename(dir.path().join("states/8"), dir.path().join("states/9")).unwrap();
        assert!(states.read(Index(9)).is_err(), "another state");
        assert!(states.read(Index(10)).unwrap_err().to_string().contains("goes on from"));
    }

    #[test]
    fn older_states_go_and_a_newer_one_may_be_on_its_way() {
        let dir = tempfile::TempDir::new().unwrap();
        let states = States::open(dir.path()).unwrap();
        (5..9).for_each(|index| states.write(Index(index), b"state").unwrap());
        fs::write(dir.path().join("states/9.tmp"), b"sta").unwrap();
        let names = || {
            let entries = fs::read_dir(dir.path().join("states")).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        states.remove_older(Index(7), false);
        assert_eq!(names(), ["7", "8", "9.tmp"]);
        states.remove_older(Index(7), true);
        assert_eq!(names(), ["7"]);
    }
}
