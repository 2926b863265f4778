//! The damage that a crash, a bad disk or a person may do to the files.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::runtime::Builder;

use super::*;
use crate::storage::Log;
use crate::storage::format::{HEADER_BYTES, RECORD_HEADER_BYTES};
use crate::storage::suite::{Model, checkpoint, checkpoint_at_mark, log, mark, record, scratch};

mod crash;
mod damage;
mod flush;
mod witness;

/// Small enough that every commit of the tests which use it starts a segment.
const TINY: FileOptions = FileOptions { segment_bytes: 1 };

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A directory with these commits in it.
fn written(options: FileOptions, commits: &[Vec<Write>]) -> TempDir {
    let dir = scratch();
    let (mut storage, _) = FileStorage::open_with(dir.path(), options).unwrap();
    for writes in commits {
        block_on(storage.commit(writes.clone())).unwrap();
    }
    dir
}

fn reopen(dir: &Path) -> Result<(Log, usize), StorageError> {
    let (storage, mut recovered) = FileStorage::open(dir)?;
    Ok((recovered.take("s"), storage.repairs()))
}

/// The segments of stream "s", oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir.join("s")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "log"));
    paths.sort();
    paths
}

/// The place of the n-th record of a segment whose records have `len` bytes.
fn offset_of(n: usize, len: usize) -> usize {
    HEADER_BYTES + n * (RECORD_HEADER_BYTES + len)
}

/// Checks that opening fails with an error about this file that mentions this text,
/// and leaves every byte as it was.
fn assert_refused(dir: &Path, file: &Path, text: &str) {
    let before = contents(dir);
    let error = reopen(dir).map(|(log, _)| log).expect_err("it must be refused");
    assert_eq!(error.place, file.display().to_string(), "{error}");
    assert!(error.reason.contains(text), "{error} does not mention {text:?}");
    assert_eq!(contents(dir), before, "a refused directory was changed");
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}
