//! Every call that changes the disk, each with an error that names the file.
//!
//! Going through one type has a second use: a test can let the disk fail at the
//! n-th change, for every n, and look at what is recovered.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::storage::StorageError;

/// The real disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// How many changes still succeed; `None` on a disk that is not under test.
    changes_left: Option<u32>,
}

impl Disk {
    /// A disk whose change number `changes + 1` fails, and all after it.
    #[cfg(test)]
    pub(super) fn failing_after(changes: u32) -> Disk {
        Disk { changes_left: Some(changes) }
    }

    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            None => Ok(()),
            Some(0) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Makes `dir` and what is missing above it, durably.
    pub(super) fn create_dir_all(&mut self, dir: &Path) -> Result<(), StorageError> {
        let mut missing = Vec::new();
        let mut at = dir;
        while !at.as_os_str().is_empty() && !at.is_dir() {
            missing.push(at);
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        for dir in missing.into_iter().rev() {
            // Another process may have been faster; that is not an error.
            let made = self.change().and_then(|()| match fs::create_dir(dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
                other => other,
            });
            made.map_err(|e| failed(dir, "cannot create the directory", &e))?;
            self.sync_dir(parent_of(dir))?;
        }
        Ok(())
    }

    /// Puts a file with this content at `path`, durably and all at once: after a
    /// crash it is there completely or not at all. Returns it, positioned at its end.
    pub(super) fn create(&mut self, path: &Path, parts: &[&[u8]]) -> Result<File, StorageError> {
        let temporary = temporary(path);
        let created = self.change().and_then(|()| File::create(&temporary));
        let mut file = created.map_err(|e| failed(&temporary, "cannot create", &e))?;
        parts.iter().try_for_each(|part| self.append(&mut file, &temporary, part))?;
        self.sync(&file, &temporary)?;
        let renamed = self.change().and_then(|()| fs::rename(&temporary, path));
        renamed.map_err(|e| failed(path, "cannot rename the finished file", &e))?;
        self.sync_dir(parent_of(path))?;
        Ok(file)
    }

    pub(super) fn append(
        &mut self,
        file: &mut File,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let written = match self.change() {
            Ok(()) => file.write_all(bytes),
            // What a full disk does: some of it still fits.
            Err(full) => file.write_all(&bytes[..bytes.len() / 2]).and(Err(full)),
        };
        written.map_err(|e| failed(path, "cannot write", &e))
    }

    /// Flushes a file's content, and of its metadata what reading it back takes.
    pub(super) fn sync(&mut self, file: &File, path: &Path) -> Result<(), StorageError> {
        let synced = self.change().and_then(|()| file.sync_data());
        synced.map_err(|e| failed(path, "cannot flush", &e))
    }

    /// Flushes the names in a directory. Only Unix lets one open a directory for
    /// that; elsewhere the file system has to be trusted.
    pub(super) fn sync_dir(&mut self, dir: &Path) -> Result<(), StorageError> {
        let synced = self.change().and_then(|()| match cfg!(unix) {
            true => File::open(dir)?.sync_all(),
            false => Ok(()),
        });
        synced.map_err(|e| failed(dir, "cannot flush the directory", &e))
    }

    pub(super) fn truncate(
        &mut self,
        file: &File,
        path: &Path,
        len: u64,
    ) -> Result<(), StorageError> {
        let cut = self.change().and_then(|()| file.set_len(len));
        cut.map_err(|e| failed(path, "cannot cut off the torn tail", &e))
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), StorageError> {
        let removed = self.change().and_then(|()| fs::remove_file(path));
        removed.map_err(|e| failed(path, "cannot remove", &e))
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

pub(super) fn failed(path: &Path, what: &str, error: &io::Error) -> StorageError {
    StorageError { place: path.display().to_string(), reason: format!("{what}: {error}") }
}
