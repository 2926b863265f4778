//! Disks of their own for servers, which can be full.
//!
//! Each node's data is on a small ext4 file system in a sparse file, mounted over a loop device. A
//! *ballast* takes its free space to the last block, as another program would, once: space that
//! the server frees afterwards is the server's. The fault ends when the ballast is removed.
//!
//! The mounts are in a mount namespace of the bench's own, which its nodes share and no other
//! process does. The kernel unmounts and detaches all of it when the last of these processes has
//! ended, so that no end of the bench leaves a mount behind, SIGKILL included.
//!
//! A server may end because its disk is full: it is started again when there is space.

// Real time and programs are the business of this module.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use seaworthy::message::NodeId;

use super::tools;

/// The name of the file that takes the space.
const BALLAST: &str = "ballast";
/// The pieces in which it takes it: down to the size of a block, which `mkfs` is told.
const FIRST_PIECE_BYTES: u64 = 64 << 20;
const BLOCK_BYTES: u64 = 4096;
/// For how long after the end of the fault a server may still end because of it.
const AFTERMATH: Duration = Duration::from_secs(2);
/// The wait before such a server is started again.
const PAUSE: Duration = Duration::from_millis(100);

/// The disks of all nodes; they are unmounted with this value.
#[derive(Debug)]
pub(super) struct Disks(Vec<Disk>);

#[derive(Debug)]
struct Disk {
    /// The mount point; the node's data is in it.
    dir: PathBuf,
    is_mounted: bool,
    space: Space,
    /// When the node is to be started again, if it ended of this.
    due: Option<Due>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space {
    /// The disk was not filled.
    Enough,
    Full,
    /// It was full until then.
    Freed(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    OnceFreed,
    At(Instant),
}

/// Checks that disks can be made here, as far as that can be told without making one.
///
/// # Errors
/// The reason why not, as the end of a sentence.
pub(super) fn check() -> Result<(), String> {
    tools::check("mounting a disk takes", &["mkfs.ext4", "mount", "umount"])?;
    match Path::new("/dev/loop-control").exists() {
        true => Ok(()),
        false => Err("there are no loop devices here (no /dev/loop-control)".into()),
    }
}

impl Disks {
    /// Makes and mounts a disk of so many MiB for each node, in the directory `parent`. The
    /// calling thread moves to a mount namespace of its own, and with it the processes that it
    /// starts.
    ///
    /// # Errors
    /// The step that failed, with the program's complaint.
    pub(super) fn new(parent: &Path, names: &[NodeId], mib: u64) -> io::Result<Disks> {
        leave_namespace()?;
        // Mounts that others make are seen, and ours are not seen by others.
        run("mount", &["--make-rslave".as_ref(), "/".as_ref()])?;
        let parent = fs::canonicalize(parent)?;
        let mut disks = Disks(Vec::new());
        for name in names {
            let (image, dir) = (file(&parent, name, "img"), file(&parent, name, "disk"));
            // A run before this one in the same directory, as when a plan is shrunk, has left its image.
            if image.exists() {
                fs::remove_file(&image)?;
            }
            File::create_new(&image)?.set_len(mib << 20)?;
            fs::create_dir_all(&dir)?;
            // No block is root's alone: a full disk is full for root, too.
            let options = ["-q", "-F", "-m", "0", "-b", "4096"].map(AsRef::as_ref);
            run("mkfs.ext4", &[&options[..], &[image.as_path()]].concat())?;
            let options = ["-t", "ext4", "-o", "loop"].map(AsRef::as_ref);
            run("mount", &[&options[..], &[image.as_path(), dir.as_path()]].concat())?;
            disks.0.push(Disk { dir, is_mounted: true, space: Space::Enough, due: None });
        }
        Ok(disks)
    }

    /// The directory that a node's disk is.
    pub(super) fn dir(&self, node: usize) -> &Path {
        &self.0[node].dir
    }

    /// Takes all free space of a disk.
    ///
    /// # Errors
    /// Of the file system, but that there is no space.
    pub(super) fn fill(&mut self, node: usize) -> io::Result<()> {
        let disk = &mut self.0[node];
        take_all(&disk.dir.join(BALLAST))?;
        disk.space = Space::Full;
        Ok(())
    }

    /// Gives the space back, if it was taken.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn free(&mut self, node: usize, now: Instant) -> io::Result<()> {
        let disk = &mut self.0[node];
        if disk.space == Space::Full {
            fs::remove_file(disk.dir.join(BALLAST))?;
            disk.space = Space::Freed(now);
            disk.due = disk.due.map(|_| Due::At(now));
        }
        Ok(())
    }

    /// The disk of a node is replaced by an empty one.
    pub(super) fn replaced(&mut self, node: usize, now: Instant) {
        // A file that stays is told by the next fault, which cannot write it anew.
        let _ = self.free(node, now);
        self.0[node].space = Space::Enough;
        self.0[node].due = None;
    }

    /// The nemesis ended the node, and starts it itself.
    pub(super) fn forget(&mut self, node: usize) {
        self.0[node].due = None;
    }

    /// A node has ended by itself; whether its full disk may be why, so that it is started again.
    pub(super) fn excuses(&mut self, node: usize, now: Instant) -> bool {
        let disk = &mut self.0[node];
        let due = match disk.space {
            Space::Full => Due::OnceFreed,
            Space::Freed(at) if now < at + AFTERMATH => Due::At(now + PAUSE),
            Space::Freed(_) | Space::Enough => return false,
        };
        disk.due = Some(due);
        true
    }

    /// The nodes that are to be started again by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<usize> {
        let is_due = |disk: &Disk| matches!(disk.due, Some(Due::At(at)) if at <= now);
        let due: Vec<usize> = (0..self.0.len()).filter(|node| is_due(&self.0[*node])).collect();
        due.iter().for_each(|node| self.0[*node].due = None);
        due
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for disk in self.0.iter().filter(|disk| disk.is_mounted) {
            // The image of a run that failed is kept, without the ballast.
            let _ = fs::remove_file(disk.dir.join(BALLAST));
            // A process that has left the group of its node may still use it: then it is unmounted
            // when that process ends.
            let gone =
                run("umount", &[&disk.dir]).or_else(|_| run("umount", &["-l".as_ref(), &disk.dir]));
            let _ = gone.and_then(|()| fs::remove_dir(&disk.dir));
        }
    }
}

fn file(parent: &Path, name: &NodeId, kind: &str) -> PathBuf {
    parent.join(format!("{}.{kind}", name.as_str()))
}

/// Runs a program to its end.
fn run(program: &str, args: &[&Path]) -> io::Result<()> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output()?;
    tools::succeeded(program, &output)
}

#[cfg(target_os = "linux")]
fn leave_namespace() -> io::Result<()> {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_NEWNS).map_err(Into::into)
}

/// Grows a file until there is not a block left.
#[cfg(target_os = "linux")]
fn take_all(path: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};
    let ballast = File::create(path)?;
    let (mut taken, mut piece) = (0, FIRST_PIECE_BYTES);
    while piece >= BLOCK_BYTES {
        let (from, len) = (taken as i64, piece as i64);
        match fallocate(&ballast, FallocateFlags::empty(), from, len) {
            Ok(()) => taken += piece,
            Err(Errno::ENOSPC) => piece /= 2,
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn leave_namespace() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn take_all(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names() -> Vec<NodeId> {
        ["n0", "n1"].map(NodeId::from).to_vec()
    }

    /// Disks in a directory of their own; none, with a line that says so, where there can be none.
    fn disks(parent: &Path) -> Option<Disks> {
        if let Err(why) = check() {
            eprintln!("skipped: {why}");
            return None;
        }
        Some(Disks::new(parent, &names(), 32).unwrap())
    }

    fn write(disk: &Path) -> io::Result<()> {
        let mut file = File::create(disk.join("data"))?;
        file.write_all(&[7; 1 << 16])?;
        file.sync_all()
    }

    #[test]
    fn a_full_disk_takes_no_byte_until_it_is_freed_and_the_other_goes_on() {
        let parent = tempfile::tempdir().unwrap();
        let Some(mut disks) = disks(parent.path()) else { return };
        write(disks.dir(0)).unwrap();
        fs::remove_file(disks.dir(0).join("data")).unwrap();
        disks.fill(0).unwrap();
        let error = write(disks.dir(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        write(disks.dir(1)).unwrap();
        disks.free(0, Instant::now()).unwrap();
        write(disks.dir(0)).unwrap();
        // The file is sparse, the ballast with it.
        use std::os::unix::fs::MetadataExt;
        let image = fs::metadata(parent.path().join("n0.img")).unwrap();
        assert!(image.blocks() * 512 < 16 << 20, "{}", image.blocks());
        drop(disks);
        assert!(!parent.path().join("n0.disk").exists());
        let again = Disks::new(parent.path(), &names(), 32).unwrap();
        assert!(!again.dir(0).join("data").exists(), "the disks of another run are empty");
        drop(again);
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        assert!(!mounts.contains(&parent.path().display().to_string()), "{mounts}");
    }

    #[test]
    fn an_end_is_excused_while_the_disk_is_full_and_two_seconds_longer() {
        let disk = |space| Disk { dir: "/nowhere".into(), is_mounted: false, space, due: None };
        let mut disks = Disks(vec![disk(Space::Enough), disk(Space::Full)]);
        let now = Instant::now();
        assert!(!disks.excuses(0, now) && disks.excuses(1, now));
        assert!(disks.due(now + AFTERMATH).is_empty(), "it is full");
        disks.0[1] = Disk { due: Some(Due::At(now)), ..disk(Space::Freed(now)) };
        assert_eq!(disks.due(now), [1]);
        assert!(disks.due(now).is_empty(), "twice");
        assert!(disks.excuses(1, now + PAUSE));
        assert!(disks.due(now + PAUSE).is_empty(), "at once");
        assert_eq!(disks.due(now + 2 * PAUSE), [1]);
        assert!(disks.excuses(1, now + PAUSE));
        disks.forget(1);
        assert!(disks.due(now + AFTERMATH).is_empty(), "the nemesis keeps it from running");
        assert!(!disks.excuses(1, now + AFTERMATH));
        disks.0[1].space = Space::Full;
        disks.replaced(1, now);
        disks.0[1].space = Space::Enough;
        assert!(!disks.excuses(1, now));
    }
}
