//! The store: what a run leaves on disk, in Maelstrom's layout.
//!
//! `store/<workload>/<timestamp>/` holds `results.edn`, `history.edn`, `history.txt`,
//! `node-logs/`, the JSON twins `results.json` and `history.jsonl`, and the journal
//! `messages.jsonl`. `store/latest` points to the newest run. Nothing in the files
//! depends on when the run took place, so two runs of one seed are equal byte by byte.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::edn::Edn;
use crate::history::{Op, to_edn_lines, to_json_lines, to_txt};

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes a new directory for a run of `workload` that began `unix_millis` after 1970.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(store: &Path, workload: &str, unix_millis: u64) -> io::Result<RunDir> {
        let parent = store.join(workload);
        fs::create_dir_all(&parent)?;
        let stamp = timestamp(unix_millis);
        for attempt in 0_u32.. {
            let suffix = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let name = format!("{stamp}{suffix}");
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    fs::create_dir(path.join("node-logs"))?;
                    link(&store.join("latest"), &Path::new(workload).join(&name))?;
                    return Ok(RunDir { path: fs::canonicalize(path)? });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        unreachable!("some suffix is free")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the nodes' logs go.
    pub fn node_logs(&self) -> PathBuf {
        self.path.join("node-logs")
    }

    /// A file for the journal.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn journal(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(BufWriter::new(File::create(self.path.join("messages.jsonl"))?)))
    }

    /// Writes the history in its three notations.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_history(&self, history: &[Op]) -> io::Result<()> {
        fs::write(self.path.join("history.edn"), to_edn_lines(history))?;
        fs::write(self.path.join("history.txt"), to_txt(history))?;
        fs::write(self.path.join("history.jsonl"), to_json_lines(history))
    }

    /// Writes the result map in its two notations.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_results(&self, results: &Edn) -> io::Result<()> {
        fs::write(self.path.join("results.edn"), results.pretty() + "\n")?;
        fs::write(self.path.join("results.json"), results.to_json() + "\n")
    }
}

/// Points `link` at `target`, whatever it pointed at before.
fn link(link: &Path, target: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    match symlink(target, link) {
        // Another run was quicker; its link is as good.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The moment as Jepsen names directories, in UTC: `20260131T235959.000Z`.
fn timestamp(unix_millis: u64) -> String {
    let (seconds, millis) = (unix_millis / 1000, unix_millis % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{millis:03}Z")
}

/// The date `days` after 1970-01-01 (Gregorian; H. Hinnant's algorithm, in eras of
/// 400 years that begin in March).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(0), "19700101T000000.000Z");
        assert_eq!(timestamp(951_782_400_000), "20000229T000000.000Z");
        assert_eq!(timestamp(1_767_225_599_999), "20251231T235959.999Z");
    }

    #[test]
    fn runs_of_the_same_moment_get_directories_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let a = RunDir::create(dir.path(), "echo", 5).unwrap();
        let b = RunDir::create(dir.path(), "echo", 5).unwrap();
        assert_ne!(a.path(), b.path());
        let latest = fs::canonicalize(dir.path().join("latest")).unwrap();
        assert_eq!(latest, b.path());
    }
}
