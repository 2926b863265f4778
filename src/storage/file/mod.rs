//! Stable storage in a directory: one subdirectory a stream, segments of records
//! and one checkpoint in each.
//!
//! A commit appends with one write and one `fdatasync` for each stream it touches;
//! creating or renaming a file also flushes the directory. Opening reads and verifies
//! everything, repairs damage that an interrupted write explains, and refuses other
//! damage, naming file and byte.
//!
//! After a commit has failed, all later ones fail: a kernel that could not write a
//! page may mark it clean all the same, so that a second `fsync` succeeds without
//! anything having been written (Rebello et al., "Can applications recover from
//! fsync failures?", USENIX ATC 2020). The way out is a restart, which reads the file
//! and writes it anew: a flush of the same pages would succeed without effect. The exception
//! is a write that found the disk full: see [`Room`].
//!
//! A directory with an [`Owner`] knows the node that it belongs to, and up to where its
//! streams were durable; see `witness`. That costs two writes a commit, and no flush.
//!
//! The blocking work runs on tokio's blocking pool, so the thread of the node goes
//! on receiving meanwhile.
//!
//! Deliberately missing: preallocated segments (they save the flush of the file's
//! length, and cost a second kind of tail); direct I/O (a restarted process trusts
//! the page cache of the kernel it runs on); atomicity across streams.

mod disk;
mod recover;
mod stream;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use self::disk::{Disk, failed};
use self::recover::Found;
use self::stream::{Batch, Stream};
pub use self::witness::Owner;
use self::witness::{DURABLE, Testimony, Witness};
use super::{Recovered, Room, Storage, StorageError, Write, assert_stream_name, is_stream_name};

/// How a [`FileStorage`] lays out its files.
#[derive(Clone, Copy, Debug)]
pub struct FileOptions {
    /// A segment of at least this many bytes gets no further commit. One commit is
    /// never split, so a segment may be longer by the last one.
    pub segment_bytes: usize,
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions { segment_bytes: 16 << 20 }
    }
}

/// Stable storage in a directory of its own.
#[derive(Debug)]
pub struct FileStorage {
    dir: PathBuf,
    state: State,
    repairs: usize,
}

#[derive(Debug)]
enum State {
    Ready(Box<Streams>),
    /// A commit failed, or was given up while it ran; the text says which.
    Failed(String),
}

/// Everything a commit needs; it moves to a blocking thread and back.
#[derive(Debug)]
struct Streams {
    dir: PathBuf,
    disk: Disk,
    options: FileOptions,
    streams: BTreeMap<String, Stream>,
    /// None if the directory has no owner.
    witness: Option<Witness>,
    /// Held as long as anything can still write, even if the [`FileStorage`] is
    /// dropped while a commit runs.
    _lock: Arc<File>,
}

const LOCK: &str = "lock";

impl FileStorage {
    /// Opens the storage in `dir`, which is made if it does not exist, and reads
    /// its content. Blocks.
    ///
    /// # Errors
    /// If the directory cannot be read and written, is in use by another process, or
    /// holds something that an interrupted write does not explain.
    pub fn open(dir: impl AsRef<Path>) -> Result<(FileStorage, Recovered), StorageError> {
        FileStorage::open_with(dir, FileOptions::default())
    }

    /// Like [`FileStorage::open`], with other than the usual options.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        dir: impl AsRef<Path>,
        options: FileOptions,
    ) -> Result<(FileStorage, Recovered), StorageError> {
        FileStorage::open_on(Disk::default(), dir.as_ref(), options, None)
    }

    /// Like [`FileStorage::open`], for a node that must be able to tell whether the
    /// directory is its own, and whether it holds everything that was durable. A loss is
    /// told in [`Log::lost`](super::Log::lost).
    ///
    /// # Errors
    /// Also if the directory belongs to another node.
    pub fn open_owned(
        dir: impl AsRef<Path>,
        owner: &Owner,
    ) -> Result<(FileStorage, Recovered), StorageError> {
        let options = FileOptions::default();
        FileStorage::open_on(Disk::default(), dir.as_ref(), options, Some(owner))
    }

    fn open_on(
        mut disk: Disk,
        dir: &Path,
        options: FileOptions,
        owner: Option<&Owner>,
    ) -> Result<(FileStorage, Recovered), StorageError> {
        disk.create_dir_all(dir)?;
        let lock = Arc::new(lock(dir)?);
        let found = read_streams(dir)?;
        let names: BTreeSet<String> = found.iter().map(|stream| stream.name.clone()).collect();
        let testimony = owner.map(|owner| Testimony::read(dir, owner, &names)).transpose()?;
        let repairs = found.iter().filter(|stream| stream.is_torn()).count();
        let (mut streams, mut recovered) = (BTreeMap::new(), Recovered::default());
        for stream in found {
            let durable = testimony.as_ref().map(|witness| witness.next(&stream.name));
            let (stream, log) = stream.repair(&mut disk, durable)?;
            recovered.insert(stream.name.clone(), log);
            streams.insert(stream.name.clone(), stream);
        }
        // The names of the streams themselves must stay, too.
        disk.sync_dir(dir)?;
        let witness = match (testimony, owner) {
            (Some(testimony), Some(owner)) => {
                Some(hear(testimony, owner, &mut disk, dir, &streams, &mut recovered)?)
            }
            _ => None,
        };
        recovered.forget_empty();
        let dir = dir.to_owned();
        let inner = Streams { dir: dir.clone(), disk, options, streams, witness, _lock: lock };
        Ok((FileStorage { dir, state: State::Ready(Box::new(inner)), repairs }, recovered))
    }

    /// Reads what is in `dir`, and changes nothing. It may belong to a process that runs: then a
    /// write that is under way may be missing. Blocks.
    ///
    /// # Errors
    /// If it cannot be read, or holds something that an interrupted write does not explain.
    pub fn read(dir: impl AsRef<Path>) -> Result<Recovered, StorageError> {
        let mut recovered = Recovered::default();
        for found in read_streams(dir.as_ref())? {
            recovered.insert(found.name, found.log);
        }
        Ok(recovered)
    }

    /// Has commits that find the disk full wait and try again, as `room` decides.
    #[must_use]
    pub fn with_room(mut self, room: Arc<dyn Room>) -> FileStorage {
        if let State::Ready(streams) = &mut self.state {
            streams.disk.set_room(room);
        }
        self
    }

    /// How many streams had a torn tail that was cut off when this was opened.
    pub fn repairs(&self) -> usize {
        self.repairs
    }

    /// Lets the disk fail at the change number `changes + 1` from now.
    #[cfg(test)]
    pub(super) fn fail_after(&mut self, changes: u32) {
        if let State::Ready(streams) = &mut self.state {
            streams.disk = Disk::failing_after(changes);
        }
    }

    /// Lets writes find the disk full `times` times, after some changes.
    #[cfg(test)]
    fn fill_after(&mut self, changes: u32, times: u32) {
        if let State::Ready(streams) = &mut self.state {
            streams.disk.fill_after(changes, times);
        }
    }

    /// The changes of the disk since the last call.
    #[cfg(test)]
    fn journal(&mut self) -> Vec<String> {
        match &mut self.state {
            State::Ready(streams) => std::mem::take(&mut streams.disk.journal),
            State::Failed(why) => panic!("{why}"),
        }
    }

    /// Takes the files out for one commit. A commit that does not put them back leaves
    /// the storage failed.
    fn take(&mut self) -> Result<Box<Streams>, StorageError> {
        let unfinished = State::Failed("it was given up before its end".to_owned());
        match std::mem::replace(&mut self.state, unfinished) {
            State::Ready(streams) => Ok(streams),
            State::Failed(why) => {
                let reason = format!("an earlier commit failed, and this one with it: {why}");
                self.state = State::Failed(why);
                Err(StorageError { place: self.dir.display().to_string(), reason })
            }
        }
    }
}

#[async_trait]
impl Storage for FileStorage {
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        let mut streams = self.take()?;
        let work = move || streams.commit(writes).map(|()| streams);
        let result = match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(e) => Err(StorageError {
                place: self.dir.display().to_string(),
                reason: format!("the commit did not run to its end: {e}"),
            }),
        };
        match result {
            Ok(streams) => {
                self.state = State::Ready(streams);
                Ok(())
            }
            Err(error) => {
                self.state = State::Failed(error.to_string());
                Err(error)
            }
        }
    }
}

impl Streams {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        let mut batches: BTreeMap<&str, Batch> = BTreeMap::new();
        let mut durable = Vec::new();
        for write in writes {
            assert_stream_name(write.stream);
            batches.entry(write.stream).or_default().push(write.data);
        }
        for (name, batch) in batches {
            if !self.streams.contains_key(name) {
                let stream = Stream::create(&mut self.disk, &self.dir, name)?;
                self.streams.insert(name.to_owned(), stream);
            }
            let stream = self.streams.get_mut(name).expect("it is there or was just made");
            stream.commit(&mut self.disk, batch, self.options.segment_bytes)?;
            durable.push((name, stream.next.0));
        }
        match &mut self.witness {
            // Guard: only durable records are testified, so after the flush.
            Some(witness) if !durable.is_empty() => witness.note(&mut self.disk, &durable),
            _ => Ok(()),
        }
    }
}

/// Compares the streams with the witness of durable data, and writes the witness anew.
fn hear(
    mut testimony: Testimony,
    owner: &Owner,
    disk: &mut Disk,
    dir: &Path,
    streams: &BTreeMap<String, Stream>,
    recovered: &mut Recovered,
) -> Result<Witness, StorageError> {
    let mut names: BTreeSet<String> = testimony.streams().cloned().collect();
    names.extend(streams.keys().cloned());
    let mut found = BTreeMap::new();
    for name in names {
        let next = streams.get(&name).map_or(1, |stream| stream.next.0);
        if let Some(why) = testimony.loss(&name, next) {
            tracing::error!(dir = %dir.display(), stream = %name, "durable data is missing: {why}");
            let mut log = recovered.take(&name);
            log.lost = Some(format!("{}: {why}", dir.display()));
            recovered.insert(name.clone(), log);
        }
        found.insert(name, next);
    }
    testimony.open(disk, dir, owner, found)
}

/// Two processes that wrote to one directory would destroy it.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(LOCK);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|e| failed(&path, "open for writing", &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError {
            place: dir.display().to_string(),
            reason: "in use: another process holds the lock".to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(failed(&path, "lock", &e)),
    }
}

/// Reads every stream before any is touched.
fn read_streams(dir: &Path) -> Result<Vec<Found>, StorageError> {
    let mut found = Vec::new();
    for name in recover::names_in(dir)? {
        let path = dir.join(&name);
        if path.is_dir() && is_stream_name(&name) {
            found.push(recover::read(path, &name)?);
        } else if name != LOCK && name != DURABLE {
            tracing::warn!(path = %path.display(), "ignored an unknown file");
        }
    }
    Ok(found)
}
