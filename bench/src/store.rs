//! The store: the files of a run on disk, in Maelstrom's layout.
//!
//! `store/<workload>/<timestamp>/` holds `results.edn`, `history.edn`, `history.txt`,
//! `jepsen.log` (each operation as it happens), `node-logs/`, `independent/KEY/`,
//! `elle/KIND.txt`, the JSON twins `results.json` and `history.jsonl`, and the journal
//! `messages.jsonl`. Links point to runs: `store/current` to the last that began,
//! `store/latest` and `store/<workload>/latest` to the last that has a history. Nothing
//! in the files depends on when the run took place, so two runs of one seed are equal
//! byte by byte.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::edn::Edn;
use crate::history::{Op, to_edn_lines, to_json_lines, to_txt};

/// For those who look for Maelstrom's journal of messages.
const NET_JOURNAL: &str = "Maelstrom keeps the messages of a run here, in a binary format. This \
bench keeps them in ../messages.jsonl: a line of JSON for each time a message was sent, \
received or dropped.\n";

/// The file with the flags of a run.
pub const TEST_FILE: &str = "test.edn";

/// The placeholder, in an option of a node, for a directory that no other run has: nodes that find
/// the state of an earlier run are wrong from their first answer on.
pub const PLACEHOLDER: &str = "{run}";

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Links to be made once there is a history, and where they point.
    links: [(PathBuf, PathBuf); 2],
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
                    fs::create_dir(path.join("net-journal"))?;
                    fs::write(path.join("net-journal/README"), NET_JOURNAL)?;
                    link(&store.join("current"), &Path::new(workload).join(&name))?;
                    let links = [
                        (store.join("latest"), Path::new(workload).join(&name)),
                        (parent.join("latest"), PathBuf::from(&name)),
                    ];
                    return Ok(RunDir { path: fs::canonicalize(path)?, links });
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
    pub fn journal(&self) -> io::Result<File> {
        File::create(self.path.join("messages.jsonl"))
    }

    /// A file for the operations, as they happen.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn operation_log(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(BufWriter::new(File::create(self.path.join("jepsen.log"))?)))
    }

    /// Writes the flags of the run, and whether real processes of a binary run in it, or servers,
    /// from which it can be judged once more.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_test(&self, flags: &[String], is_binary: bool, is_served: bool) -> io::Result<()> {
        let flags = Edn::vector(flags.iter().map(Edn::str));
        let (binary, server) = (("binary?", is_binary.into()), ("server?", is_served.into()));
        let test = Edn::map([("flags", flags), binary, server]);
        fs::write(self.path.join(TEST_FILE), test.pretty() + "\n")
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

    /// Points `latest` to this run, which has a history now.
    ///
    /// # Errors
    /// If a link cannot be made.
    pub fn publish(&self) -> io::Result<()> {
        self.links.iter().try_for_each(|(from, to)| link(from, to))
    }

    /// The options of a node, with the directory of this run in place of [`PLACEHOLDER`]. The
    /// directory is made if it is asked for.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn fill_in(&self, options: &[String]) -> io::Result<Vec<String>> {
        let data = self.path.join("data");
        if options.iter().any(|option| option.contains(PLACEHOLDER)) {
            fs::create_dir_all(&data)?;
        }
        let data = data.display().to_string();
        Ok(options.iter().map(|option| option.replace(PLACEHOLDER, &data)).collect())
    }

    /// Writes the result map in its two notations.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_results(&self, results: &Edn) -> io::Result<()> {
        fs::write(self.path.join("results.edn"), results.pretty() + "\n")?;
        fs::write(self.path.join("results.json"), results.to_json() + "\n")
    }

    /// Writes the results of each of several independent objects into
    /// `independent/KEY/`, with the operations on it, and each kind of anomaly that was
    /// found in transactions into `elle/KIND.txt`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_parts(&self, results: &Edn, history: &[Op]) -> io::Result<()> {
        let Some(workload) = results.get("workload") else { return Ok(()) };
        for (key, result) in workload.get("results").and_then(Edn::entries).unwrap_or_default() {
            let dir = self.path.join("independent").join(file_name(key));
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("results.edn"), result.pretty() + "\n")?;
            fs::write(dir.join("history.edn"), to_edn_lines(&of_key(history, key)))?;
        }
        for (kind, found) in workload.get("anomalies").and_then(Edn::entries).unwrap_or_default() {
            let dir = self.path.join("elle");
            fs::create_dir_all(&dir)?;
            let kind = file_name(kind);
            let each = found.as_seq().map_or(std::slice::from_ref(found), |all| all);
            let tell = |(n, one): (usize, &Edn)| format!("{kind} #{n}\n{}\n\n", one.pretty());
            let text: String = each.iter().enumerate().map(tell).collect();
            fs::write(dir.join(format!("{kind}.txt")), text)?;
        }
        Ok(())
    }
}

/// The operations on one of several objects, without the key in their values.
fn of_key(history: &[Op], key: &Edn) -> Vec<Op> {
    let on_key = |op: &&Op| op.is_client() && op.value.as_seq().and_then(<[_]>::first) == Some(key);
    let own = |op: &Op| {
        let value = op.value.as_seq().and_then(<[_]>::last).cloned().unwrap_or_default();
        Op { value, ..op.clone() }
    };
    history.iter().filter(on_key).map(own).collect()
}

/// A key as the name of a file: characters that a directory cannot hold are replaced.
fn file_name(key: &Edn) -> String {
    let text = key.as_text().map_or_else(|| key.to_string(), str::to_owned);
    let plain = |c: char| if c == '/' || c.is_control() { '_' } else { c };
    let name: String = text.chars().take(100).map(plain).collect();
    if matches!(&*name, "" | "." | "..") { format!("_{name}") } else { name }
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
        let linked = |link: &str| fs::canonicalize(dir.path().join(link)).ok();
        assert_eq!(linked("current").as_deref(), Some(b.path()));
        assert_eq!(linked("latest"), None, "no run has a history");
        a.publish().unwrap();
        assert_eq!(linked("latest").as_deref(), Some(a.path()));
        assert_eq!(linked("echo/latest").as_deref(), Some(a.path()));
    }

    #[test]
    fn objects_and_anomalies_have_files_of_their_own() {
        let store = tempfile::tempdir().unwrap();
        let dir = RunDir::create(store.path(), "lin-kv", 5).unwrap();
        let text = "{:type :invoke, :process 0, :f :read, :value [1 nil]}
                    {:type :invoke, :process 1, :f :write, :value [\"../a\" 7]}
                    {:type :info, :process :nemesis, :f :kill, :value [1 2]}";
        let history = crate::history::from_text(text).unwrap();
        let results = crate::edn::parse(
            "{:workload {:results {1 {:valid? true}, \"../a\" {:valid? false}},
                         :anomalies {:G1c [{:cycle 1} {:cycle 2}]}}}",
        );
        dir.write_parts(&results.unwrap(), &history).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("independent/1/results.edn"), "{:valid? true}\n");
        assert_eq!(
            read("independent/.._a/history.edn"),
            "{:index 1, :time 1, :type :invoke, :process 1, :f :write, :value 7}\n"
        );
        assert_eq!(read("elle/G1c.txt"), "G1c #0\n{:cycle 1}\n\nG1c #1\n{:cycle 2}\n\n");
        assert_eq!(read("independent/1/history.edn").lines().count(), 1);
    }

    #[test]
    fn options_of_a_node_may_name_a_directory_of_the_run() {
        let store = tempfile::tempdir().unwrap();
        let [a, b] = [5, 6].map(|at| RunDir::create(store.path(), "echo", at).unwrap());
        let options = ["--data-dir={run}/x", "y"].map(str::to_owned);
        assert!(!a.path().join("data").exists());
        let filled = [&a, &b].map(|dir| dir.fill_in(&options).unwrap());
        assert_eq!(filled[0][0], format!("--data-dir={}/data/x", a.path().display()));
        assert_eq!(filled[0][1], "y");
        assert_ne!(filled[0][0], filled[1][0]);
        assert!(a.path().join("data").is_dir());
    }
}
