//! The space on the disk of a data directory, and the file that holds some of it in reserve.
//!
//! ```text
//! DIR/reserve   bytes without meaning
//! ```
//!
//! A disk that is nearly full stops writes, and not the server. Puts are refused before the last
//! space is gone; the reserve is for those that were under way, and for deletions and compactions,
//! which make space again. A write that finds the disk full all the same is undone and
//! waits (`seaworthy::storage::Room`); it is acknowledged when it is durable, or never. When space
//! returns, by whatever means, the reserve is made anew and puts are taken again.
//!
//! Space that other processes take is lost to this server at any moment, so nothing here is
//! trusted to be still there: the reserve makes it likely that deletions succeed.

// Files and waiting are this module's business.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::statvfs::{Statvfs, statvfs};
use seaworthy::storage::Room;

use crate::engine::Handle;

const RESERVE: &str = "reserve";
/// The most and the least that is held in reserve; in between, a part of the disk.
const MAX_RESERVE_BYTES: u64 = 16 << 20;
const MIN_RESERVE_BYTES: u64 = 1 << 20;
const PART_OF_DISK: u64 = 16;
/// How often the free space is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often the node hears of it while the disk is full.
const TELL: Duration = Duration::from_secs(1);
/// How long a write that found the disk full waits for the next attempt.
const RETRY: Duration = Duration::from_millis(50);

/// The space for one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Space(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    reserve: PathBuf,
    reserve_bytes: u64,
    is_full: AtomicBool,
}

impl Space {
    /// Looks at the disk of the data directory `dir`, and gives the reserve free if the disk is
    /// too full for a server to start.
    ///
    /// # Errors
    /// If nothing is known of the disk.
    pub fn open(dir: &Path) -> io::Result<Space> {
        let all = disk_bytes(dir, Statvfs::blocks)?;
        let reserve_bytes = (all / PART_OF_DISK).clamp(MIN_RESERVE_BYTES, MAX_RESERVE_BYTES);
        let (dir, reserve) = (dir.to_owned(), dir.join(RESERVE));
        let is_full = AtomicBool::new(false);
        let space = Space(Arc::new(Shared { dir, reserve, reserve_bytes, is_full }));
        match space.0.free_bytes()? < reserve_bytes {
            true => space.0.fill(),
            false => space.0.look(),
        }
        Ok(space)
    }

    /// Whether the disk is so full that writes are refused.
    pub fn is_full(&self) -> bool {
        self.0.is_full.load(Ordering::Relaxed)
    }

    /// How much a write may find on a disk that is full; `None` if it is not.
    pub fn left_bytes(&self) -> Option<u64> {
        self.is_full().then(|| self.0.left_bytes().unwrap_or(0))
    }

    /// Looks after the space, for ever, and tells the node.
    pub async fn watch(self, node: Handle) {
        let (mut was_full, mut told) = (false, Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            self.0.look();
            let is_full = self.is_full();
            if is_full != was_full || (is_full && told.elapsed() >= TELL) {
                let left = self.0.left_bytes().unwrap_or(0);
                node.space(is_full.then_some(left)).await;
                (was_full, told) = (is_full, Instant::now());
            }
        }
    }
}

/// The bytes in some of the blocks of the disk of `dir`.
fn disk_bytes<B: Into<u64>>(dir: &Path, blocks: fn(&Statvfs) -> B) -> io::Result<u64> {
    let disk = statvfs(dir)?;
    Ok(blocks(&disk).into() * disk.fragment_size())
}

impl Shared {
    /// How much is free, besides the reserve.
    fn free_bytes(&self) -> io::Result<u64> {
        disk_bytes(&self.dir, Statvfs::blocks_available)
    }

    /// How much a write may find on a full disk. File systems keep a part for root, and a server that
    /// runs as root may have gone into it before it knew: then nothing counts as free although a
    /// snapshot fits. Where it does not fit, the attempt fails and is repeated.
    fn left_bytes(&self) -> io::Result<u64> {
        disk_bytes(&self.dir, Statvfs::blocks_free)
    }

    fn is_reserved(&self) -> bool {
        fs::metadata(&self.reserve).is_ok_and(|file| file.len() >= self.reserve_bytes)
    }

    /// Compares the free space with its limits. They are apart, so that a disk at the limit is
    /// not full and free in turn.
    fn look(&self) {
        let Ok(free) = self.free_bytes() else { return };
        let (is_full, is_reserved) = (self.is_full.load(Ordering::Relaxed), self.is_reserved());
        let enough = match (is_full, is_reserved) {
            (false, true) => self.reserve_bytes,
            (true, true) => 2 * self.reserve_bytes,
            (_, false) => 3 * self.reserve_bytes,
        };
        if free < enough {
            return self.tell(true, free);
        }
        if !is_reserved && let Err(error) = self.set_apart() {
            return tracing::warn!("cannot hold space in reserve: {error}");
        }
        self.tell(false, free);
    }

    /// Makes the reserve.
    fn set_apart(&self) -> io::Result<()> {
        let file = File::create(&self.reserve)?;
        let set_apart = allocate(&file, self.reserve_bytes).and_then(|()| file.sync_all());
        if set_apart.is_err() {
            let _ = fs::remove_file(&self.reserve);
        }
        set_apart
    }

    /// The disk is full: gives the reserve free.
    fn fill(&self) {
        match fs::remove_file(&self.reserve) {
            Ok(()) => tracing::warn!("the disk is full: the reserve is given free"),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => tracing::warn!("cannot remove {}: {e}", self.reserve.display()),
        }
        self.tell(true, 0);
    }

    fn tell(&self, is_full: bool, free: u64) {
        if self.is_full.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        let (dir, free) = (self.dir.display(), free >> 20);
        match is_full {
            true => tracing::error!(
                "the disk of {dir} is full ({free} MiB are free): writes are refused; reads, \
                 deletions and compactions go on. Make space there; the rest happens by itself"
            ),
            false => tracing::info!("{free} MiB are free for {dir}: writes are taken again"),
        }
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let len = i64::try_from(bytes).map_err(io::Error::other)?;
    Ok(nix::fcntl::posix_fallocate(file, 0, len)?)
}

/// Without a call for it, the space is taken by writing.
#[cfg(not(target_os = "linux"))]
fn allocate(mut file: &File, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file).map(|_| ())
}

impl Room for Space {
    fn make(&self) -> bool {
        if self.0.reserve.exists() {
            self.0.fill();
        } else {
            self.0.tell(true, 0);
            std::thread::sleep(RETRY);
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_goes_when_a_write_finds_the_disk_full_and_comes_back() {
        let dir = tempfile::TempDir::new().unwrap();
        let space = Space::open(dir.path()).unwrap();
        let reserve = dir.path().join(RESERVE);
        assert!(!space.is_full(), "the disk that tests run on has space");
        assert_eq!(fs::metadata(&reserve).unwrap().len(), space.0.reserve_bytes);
        assert!(space.make() && space.is_full() && !reserve.exists());
        space.0.look();
        assert!(!space.is_full() && space.0.is_reserved());
    }
}
