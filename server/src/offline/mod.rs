//! The work on data of servers that do not run: a log is printed, a backup looked at, and a new
//! cluster made of a backup, or of the last server that is left.
//!
//! A new cluster has an identity of its own: its token, and with it the ids of its members, differ
//! from those before, so that servers of the old cluster are refused.

mod backups;
mod log;
mod recover;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

pub use self::backups::{restore, status};
pub use self::log::print;
pub use self::recover::recover;
use crate::config::Config;
use crate::store::Kind;

/// Where the data of a server is.
#[derive(Clone, Debug)]
pub enum Place {
    /// Its data directory.
    Dir(PathBuf),
    /// The schema in which its log is kept.
    #[cfg(feature = "postgres")]
    Postgres(Box<seaworthy::storage::postgres::PostgresUrl>),
}

impl Place {
    /// Reads a path, or a URL as for `--store`.
    ///
    /// # Errors
    /// A sentence about the URL.
    pub fn parse(text: &str) -> Result<Place, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Ok(Place::Dir(text.into()));
        }
        match Kind::parse(text)? {
            #[cfg(feature = "postgres")]
            Kind::Postgres(url) => Ok(Place::Postgres(url)),
            Kind::Files => Ok(Place::Dir(text.into())),
        }
    }
}

/// The uses of a backup.
#[derive(Subcommand, Debug)]
pub enum Backup {
    /// Make the data directory (or with --store the schema) of one server of a new cluster out of a backup. To be repeated
    /// with the same backup, --initial-cluster and --initial-cluster-token for each of its servers
    Restore(Box<Restore>),
    /// Tell the revision, keys and origin of a backup
    Status {
        /// The file that `etcdctl snapshot save` wrote
        file: PathBuf,
    },
}

/// How to make a data directory out of a backup.
#[derive(Args, Debug)]
pub struct Restore {
    /// The file that `etcdctl snapshot save` wrote
    pub file: PathBuf,
    /// Raise the revision by this much, and let the past be compacted: for clients that have seen
    /// later revisions than the backup has
    #[arg(long, default_value_t = 0)]
    pub bump_revision: u32,
    /// The server that the directory is for
    #[command(flatten)]
    pub config: Config,
}

/// How to save the data of the last server of a cluster.
#[derive(Args, Debug)]
pub struct Recover {
    /// Its data directory, or the URL that it has as --store
    #[arg(value_parser = Place::parse)]
    pub place: Place,
    /// Make a new cluster of this one server; without it the command only tells how far its data
    /// goes, so that survivors can be compared
    #[arg(long)]
    pub make_cluster: bool,
    /// Raise the revision by this much, beyond all that clients may have seen
    #[arg(long, default_value_t = 1_000_000_000)]
    pub bump_revision: u32,
}

/// Writes to stdout; a reader that has seen enough ends the program, and not with an error.
fn say(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other,
    }
}

/// Bytes as text on one line, without tabs.
fn escaped(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().flat_map(escape).collect(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

fn escape(c: char) -> Box<dyn Iterator<Item = char>> {
    match c {
        '\\' => Box::new("\\\\".chars()),
        c if c.is_control() && c.is_ascii() => {
            Box::new((c as u8).escape_ascii().map(char::from).collect::<Vec<_>>().into_iter())
        }
        c if c.is_control() => Box::new(c.escape_unicode()),
        c => Box::new(std::iter::once(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_one_word_on_one_line() {
        assert_eq!(escaped("a b\tc\n\\ é\0".as_bytes()), "a b\\tc\\n\\\\ é\\x00");
        assert_eq!(escaped(b"\xff\x00k\n"), "\\xff\\x00k\\n");
        assert_eq!(escaped("\u{2028}\u{85}".as_bytes()), "\u{2028}\\u{85}");
    }
}
