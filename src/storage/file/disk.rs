//! Every call that changes the disk, each with an error that names the file.
//!
//! Going through one type has a second use: a test can let the disk fail at the
//! n-th change, for every n, and look at the recovered state; and it can look at the
//! changes themselves, because no test without a power switch would miss a flush.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::storage::StorageError;

/// The real disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// How many changes still succeed; `None` on a disk that is not under test.
    changes_left: Option<u32>,
    /// Each change and its file.
    #[cfg(test)]
    pub(super) journal: Vec<String>,
}

impl Disk {
    /// A disk whose change number `changes + 1` fails, and all after it.
    #[cfg(test)]
    pub(super) fn failing_after(changes: u32) -> Disk {
        Disk { changes_left: Some(changes), journal: Vec::new() }
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
        let done = match &mut self.changes_left {
            Some(0) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                work()
            }
            None => work(),
        };
        done.map_err(|e| failed(path, what, &e))
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
        let temporary = temporary(path);
        let mut file = self.change("create", &temporary, || File::create(&temporary))?;
        parts.iter().try_for_each(|part| self.append(&mut file, &temporary, part))?;
        self.sync(&file, &temporary)?;
        self.change("rename to", path, || fs::rename(&temporary, path))?;
        self.sync_dir(parent_of(path))?;
        Ok(file)
    }

    pub(super) fn append(
        &mut self,
        file: &mut File,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
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
