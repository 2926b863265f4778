//! Where histories come from: files, standard input, and the directories of runs.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::History;
use super::ending::Ending;
use super::error::ReadError;
use super::hints::Hints;
use super::place::{FILES, STDIN, run_dir};
use super::read::from_text_as;
use crate::edn::Reader;

/// Reads a history in any of the formats, from a file, the directory of a run or of a
/// store (then the newest run), or `-`, standard input.
///
/// # Errors
/// If it cannot be read, or is no history; with the file's name and the place.
pub fn read(path: &Path) -> Result<History, ReadError> {
    read_as(path, Hints::default())
}

/// The same, with hints.
///
/// # Errors
/// As [`read`].
pub fn read_as(path: &Path, hints: Hints) -> Result<History, ReadError> {
    let (path, text) = text_of(path)?;
    from_text_as(&text, hints).map_err(|error| ReadError { file: Some(path), ..error })
}

/// The text of a file, and which file it is: the one given, or one in that directory.
pub(super) fn text_of(path: &Path) -> Result<(PathBuf, String), ReadError> {
    let ending = Ending::of(path);
    let (path, mut bytes) = bytes_of(path)?;
    if ending == Ending::Missing {
        // The last line may be torn, and then be an operation of another value.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    match decode(bytes) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(ReadError { file: Some(path), ..error }),
    }
}

fn bytes_of(path: &Path) -> Result<(PathBuf, Vec<u8>), ReadError> {
    let failed = |path: &Path, e: io::Error| ReadError::of(path, e.to_string());
    if path.as_os_str() == STDIN {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map_err(|e| failed(path, e))?;
        return Ok((path.to_owned(), bytes));
    }
    let mut path = path.to_owned();
    if path.is_dir() {
        let dir = run_dir(&path);
        let file = FILES.iter().map(|name| dir.join(name)).find(|file| file.is_file());
        path = file.ok_or_else(|| {
            ReadError::of(&path, format!("this directory has none of {}", FILES.join(", ")))
        })?;
    }
    let bytes = fs::read(&path).map_err(|e| failed(&path, e))?;
    Ok((path, bytes))
}

/// The first bytes of files that are not text, and the advice for each.
const BINARY: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "this is compressed by gzip: gunzip -c FILE | seaworthy check ... -"),
    (b"\x28\xb5\x2f\xfd", "this is compressed by zstd: zstd -dc FILE | seaworthy check ... -"),
    (b"\xfd7zXZ\x00", "this is compressed by xz: xz -dc FILE | seaworthy check ... -"),
    (b"BZh", "this is compressed by bzip2: bzip2 -dc FILE | seaworthy check ... -"),
    (b"PK\x03\x04", "this is a zip archive: unzip it, and check the history.edn in it"),
    (b"JEPSEN", "this is Jepsen's binary format: check the history.edn beside it"),
];

/// The text of a file: UTF-8, or UTF-16 with a mark of its byte order, or without one if it begins
/// with a character of ASCII. (In UTF-8 every other byte of that would be the control character 0.)
fn decode(bytes: Vec<u8>) -> Result<String, ReadError> {
    let whole = |what: &str| ReadError { file: None, place: None, what: what.to_owned() };
    if let Some((_, what)) = BINARY.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(whole(what));
    }
    let utf16 = |mark: usize, unit: fn([u8; 2]) -> u16| {
        let units = bytes[mark..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map_err(|_| whole("this is neither UTF-8 nor UTF-16"))
    };
    match bytes[..] {
        [0xFF, 0xFE, ..] => return utf16(2, u16::from_le_bytes),
        [0xFE, 0xFF, ..] => return utf16(2, u16::from_be_bytes),
        [1..=255, 0, 1..=255, 0, ..] => return utf16(0, u16::from_le_bytes),
        [0, 1..=255, 0, 1..=255, ..] => return utf16(0, u16::from_be_bytes),
        _ => {}
    }
    String::from_utf8(bytes).map_err(|error| {
        let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let good = std::str::from_utf8(good).unwrap_or_default();
        let what = format!("found the byte 0x{:02X}, which is not UTF-8", bad[0]);
        Reader::new(good).error_at(good.len(), what).into()
    })
}
