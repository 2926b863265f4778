//! The last lines of the nodes' logs.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a log that a page shows.
const TAIL_BYTES: u64 = 6000;

/// Logs that a page shows.
const LOGS: usize = 25;

/// The last lines of each log in a directory, by name. A log that cannot be read is left out:
/// the verdict does not depend on it.
pub fn last_lines(dir: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let text = tail(path).ok().filter(|text| !text.is_empty())?;
        Some((name, text))
    };
    paths.iter().filter_map(read).take(LOGS).collect()
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line is a whole one only if nothing was cut off.
    let whole = if length > TAIL_BYTES {
        text.split_once('\n').map_or("", |(_, rest)| rest)
    } else {
        &text
    };
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{FFFD}' } else { c };
    Ok(whole.chars().map(shown).collect())
}
