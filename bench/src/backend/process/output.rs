//! A child's stdout: lines as they come, and a memory of its end.
//!
//! A report on a silent node says whether bytes came at all, and whether a line was begun
//! that never ended. A line ends with LF, CR, or both, as a
//! Java reader has it.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memchr2;

use crate::backend::{Printed, shorten};

/// The longest line that is taken from a child.
const LINE_BYTES_MAX: usize = 64 << 20;
/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 16;
/// How much of the end of the output is kept for a report, and how many lines of it are
/// shown.
const KEPT_BYTES: usize = 4096;
const KEPT_LINES: usize = 10;

/// The end of a child's output; the thread that reads writes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: u64,
    end: Vec<u8>,
}

impl Tail {
    fn note(&self, chunk: &[u8]) {
        let mut kept = self.lock();
        kept.bytes += chunk.len() as u64;
        let chunk = &chunk[chunk.len().saturating_sub(KEPT_BYTES)..];
        let surplus = (kept.end.len() + chunk.len()).saturating_sub(KEPT_BYTES);
        kept.end.drain(..surplus);
        kept.end.extend_from_slice(chunk);
    }

    /// Returns the last lines that were printed so far.
    pub(super) fn printed(&self) -> Printed {
        let kept = self.lock();
        let text = String::from_utf8_lossy(&kept.end).into_owned();
        let mut lines: Vec<&str> = text.split(['\n', '\r']).collect();
        let unfinished = lines.pop().filter(|rest| !rest.is_empty());
        if kept.bytes > KEPT_BYTES as u64 && lines.len() > 1 {
            // Of the first line only the end is there.
            lines.remove(0);
        }
        lines.retain(|line| !line.is_empty());
        let shown = &lines[lines.len().saturating_sub(KEPT_LINES)..];
        Printed {
            bytes: kept.bytes,
            lines: shown.iter().map(|line| shorten(line, 300)).collect(),
            unfinished: unfinished.map(|rest| shorten(rest, 200)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls `see` with each line that ends, without its end, until `see` wants no more or
/// the output is over; returns the bytes after the last end of a line.
pub(super) fn each_line(
    mut output: impl Read,
    tail: &Tail,
    mut see: impl FnMut(&[u8]) -> bool,
) -> Vec<u8> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut begun = Vec::new();
    let mut after_cr = false;
    loop {
        let count = match output.read(&mut chunk) {
            Ok(0) => return begun,
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return begun,
        };
        let mut rest = &chunk[..count];
        tail.note(rest);
        if std::mem::take(&mut after_cr) && rest[0] == b'\n' {
            rest = &rest[1..];
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            begun.extend_from_slice(&rest[..end]);
            // A line that lies in one chunk is copied as well: beside parsing it, the copy
            // costs nothing that can be measured.
            if !see(&begun) {
                return Vec::new();
            }
            begun.clear();
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            match rest.first() {
                Some(b'\n') if is_cr => rest = &rest[1..],
                None => after_cr = is_cr,
                Some(_) => {}
            }
        }
        begun.extend_from_slice(rest);
        if begun.len() > LINE_BYTES_MAX {
            if !see(&begun) {
                return Vec::new();
            }
            begun = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its bytes in pieces of this size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn lines_end_as_in_a_java_reader_however_they_are_cut() {
        let text = b"one\ntwo\r\nthree\rfour\r\r\n\nsix\n\rseven";
        for size in 1..text.len() {
            let mut lines = Vec::new();
            let rest = each_line(Pieces(text, size), &Tail::default(), |line| {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
                true
            });
            assert_eq!(lines, ["one", "two", "three", "four", "", "", "six", ""], "{size}");
            assert_eq!(rest, b"seven");
        }
    }

    #[test]
    fn the_end_of_the_output_is_remembered() {
        let tail = Tail::default();
        assert_eq!(tail.printed(), Printed::default());
        tail.note(b"{\"src\":");
        let printed = tail.printed();
        assert_eq!((printed.bytes, printed.lines.len()), (7, 0));
        assert_eq!(printed.unfinished.as_deref(), Some("{\"src\":"));
        for number in 0..3000 {
            tail.note(format!("line {number}\n").as_bytes());
        }
        let printed = tail.printed();
        assert_eq!(printed.unfinished, None);
        assert_eq!(printed.lines.len(), KEPT_LINES);
        assert_eq!(printed.lines.last().map(String::as_str), Some("line 2999"));
        tail.note(&vec![b'x'; 3 * KEPT_BYTES]);
        assert!(tail.printed().unfinished.is_some_and(|rest| rest.starts_with("xxx")));
    }
}
