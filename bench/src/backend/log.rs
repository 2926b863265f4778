//! The nodes' log files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::shorten;

/// How many lines of a log a report shows, and how much of its end is read for them.
const LAST_LINES: usize = 10;
const LAST_BYTES: u64 = 16 << 10;

/// Opens a log; every life of a node goes on where the last one ended.
///
/// # Errors
/// If it cannot be opened, with its path.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    File::options().create(true).append(true).open(path).map_err(named)
}

/// The last lines of a log, none if it cannot be read.
pub(super) fn last_lines(path: &Path) -> Vec<String> {
    let Ok(text) = read_end(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(LAST_LINES));
    tail.map(|line| shorten(line, 300)).collect()
}

/// The last bytes of a log, which may be larger than memory.
fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(end.saturating_sub(LAST_BYTES)))?;
    let mut text = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}
