//! Every call that changes the disk, each with an error that names the file.
//!
//! Going through one type has a second use: a test can let the disk fail at the
//! n-th change, for every n, and look at the recovered state; and it can look at the
//! changes themselves, because no test without a power switch would miss a flush.
//!
//! A write that finds the disk full is undone, and tried again as often as the disk's [`Room`]
//! says. That is safe where a second `fsync` after a failed one is not: the kernel has told of the
//! lack of space before it took the data, and whatever was durable is not touched.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::storage::{Room, StorageError};

/// The real disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// How many changes still succeed; `None` on a disk that is not under test.
    changes_left: Option<u32>,
    /// Whether the last change failed for lack of space.
    is_full: bool,
    /// Decides whether a write that found no space is tried again.
    room: Option<Arc<dyn Room>>,
    /// The thread that removes files.
    removing: Option<JoinHandle<()>>,
    /// Each change and its file.
    #[cfg(test)]
    pub(super) journal: Vec<String>,
    /// After how many changes a write finds the disk full, and how often more.
    #[cfg(test)]
    shortage: Option<(u32, u32)>,
}

impl Disk {
    /// A disk whose change number `changes + 1` fails, and all after it.
    #[cfg(test)]
    pub(super) fn failing_after(changes: u32) -> Disk {
        let mut disk = Disk::default();
        disk.changes_left = Some(changes);
        disk
    }

    /// Makes one change; `what` says which, to follow "cannot".
    fn change<T>(
        &mut self,
        what: &str,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, StorageError> {
        #[cfg(test)]
        self.journal.push(format!("{what} {}", path.file_name().unwrap().display()));
        #[cfg(test)]
        let work = || match self.shortage.take_if(|(after, _)| *after == 0) {
            Some((_, times)) if matches!(what, "write" | "create") => {
                self.shortage = times.checked_sub(1).map(|left| (0, left));
                Err(ErrorKind::StorageFull.into())
            }
            other => {
                self.shortage = other.or(self.shortage.map(|(after, left)| (after - 1, left)));
                work()
            }
        };
        let done = match &mut self.changes_left {
            Some(0) => Err(io::Error::other("the disk fails")),
            Some(left) => {
                *left -= 1;
                work()
            }
            None => work(),
        };
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
        self.is_full = done.as_ref().is_err_and(|e| full.contains(&e.kind()));
        done.map_err(|e| failed(path, what, &e))
    }

    /// Lets writes find the disk full `times` times, after some changes.
    #[cfg(test)]
    pub(super) fn fill_after(&mut self, changes: u32, times: u32) {
        self.shortage = times.checked_sub(1).map(|left| (changes, left));
    }

    /// Has `room` decide about writes that find the disk full.
    pub(super) fn set_room(&mut self, room: Arc<dyn Room>) {
        self.room = Some(room);
    }

    /// Whether the last change failed for lack of space.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether a write that has just failed is to be tried again. May wait for space.
    fn makes_room(&self) -> bool {
        self.is_full && self.room.as_ref().is_some_and(|room| room.make())
    }

    /// Makes `dir` and all missing directories above it, durably.
    pub(super) fn create_dir_all(&mut self, dir: &Path) -> Result<(), StorageError> {
        let mut missing = Vec::new();
        let mut at = dir;
        while !at.as_os_str().is_empty() && !at.is_dir() {
            missing.push(at);
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        for dir in missing.into_iter().rev() {
            self.change("create directory", dir, || match fs::create_dir(dir) {
                // Another process may have been faster.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
                other => other,
            })?;
            self.sync_dir(parent_of(dir))?;
        }
        Ok(())
    }

    /// Puts a file with this content at `path`, durably and all at once: after a
    /// crash it is there completely or not at all. Returns it, positioned at its end.
    pub(super) fn create(&mut self, path: &Path, parts: &[&[u8]]) -> Result<File, StorageError> {
        loop {
            let created = self.try_create(path, parts);
            if created.is_ok() || !self.is_full {
                return created;
            }
            // An unfinished file is of no use, and holds space.
            let _ = fs::remove_file(temporary(path));
            if !self.makes_room() {
                return created;
            }
        }
    }

    fn try_create(&mut self, path: &Path, parts: &[&[u8]]) -> Result<File, StorageError> {
        let temporary = temporary(path);
        let mut file = self.change("create", &temporary, || File::create(&temporary))?;
        parts.iter().try_for_each(|part| self.write(&mut file, &temporary, part))?;
        self.sync(&file, &temporary)?;
        self.change("rename to", path, || fs::rename(&temporary, path))?;
        self.sync_dir(parent_of(path))?;
        Ok(file)
    }

    /// Writes at the end of a file, which is at byte `end`.
    pub(super) fn append(
        &mut self,
        file: &mut File,
        path: &Path,
        end: usize,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        loop {
            let written = self.write(file, path, bytes);
            if written.is_ok() || !self.makes_room() {
                return written;
            }
            let undo = file.set_len(end as u64).and_then(|()| file.seek(SeekFrom::End(0)));
            undo.map_err(|e| failed(path, "take back a part of a write", &e))?;
        }
    }

    fn write(&mut self, file: &mut File, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
        if self.changes_left == Some(0) {
            // As on a full disk, some of it still fits.
            file.write_all(&bytes[..bytes.len() / 2]).map_err(|e| failed(path, "write", &e))?;
        }
        self.change("write", path, || file.write_all(bytes))
    }

    /// Writes in the middle of a file.
    pub(super) fn overwrite(
        &mut self,
        file: &mut File,
        path: &Path,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        self.change("write", path, || {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    /// Flushes a file's content, and the metadata that reading it back takes.
    pub(super) fn sync(&mut self, file: &File, path: &Path) -> Result<(), StorageError> {
        self.change("flush", path, || file.sync_data())
    }

    /// Flushes the names in a directory. Only Unix lets one open a directory for
    /// that; elsewhere the file system has to be trusted.
    pub(super) fn sync_dir(&mut self, dir: &Path) -> Result<(), StorageError> {
        self.change("flush directory", dir, || match cfg!(unix) {
            true => File::open(dir)?.sync_all(),
            false => Ok(()),
        })
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), StorageError> {
        self.change("remove", path, || fs::remove_file(path))
    }

    /// Removes files that nothing needs, and whose names are not used again, in another thread: a file of 16 MB takes
    /// 15 ms, and a commit waits for none of them. Those that are left if the process ends are removed by the next one.
    pub(super) fn remove_later(&mut self, paths: Vec<PathBuf>) -> Result<(), StorageError> {
        paths.iter().try_for_each(|path| self.change("remove", path, || Ok(())))?;
        let before = self.removing.take();
        self.removing = Some(std::thread::spawn(move || {
            before.map(JoinHandle::join);
            for path in paths {
                if let Err(e) = fs::remove_file(&path) {
                    tracing::warn!("cannot remove {}: {e}", path.display());
                }
            }
        }));
        Ok(())
    }
}

impl Drop for Disk {
    /// Waits for the removals, so that the lock of the directory is held until then.
    fn drop(&mut self) {
        self.removing.take().map(JoinHandle::join);
    }
}

/// The name under which a file is written before it is complete.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    name.into()
}

/// How the names of unfinished files end.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

/// The directory that holds `path`, also if `path` is a bare name.
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An error for `path`; `what` is the action that failed.
pub(super) fn failed(path: &Path, what: &str, error: &io::Error) -> StorageError {
    StorageError { place: path.display().to_string(), reason: format!("cannot {what}: {error}") }
}
