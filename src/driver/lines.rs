//! Cutting a stream of bytes into lines, with bounded memory.

use super::transport::Arrival;
use crate::message::{MAX_LINE_BYTES, Malformed, Message};

/// How much to read at once, in bytes: the default capacity of a pipe on Linux.
const CHUNK_BYTES: usize = 64 << 10;
/// A buffer that grew beyond this for a long line is given back afterwards.
const KEEP_BYTES: usize = 1 << 20;

/// Bytes that were read and are not yet a line.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    /// Whether the rest of a line that is too long is being skipped.
    skipping: bool,
}

impl Lines {
    /// The buffer to append input to, with room for one more chunk.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        self.buffer.reserve(CHUNK_BYTES);
        &mut self.buffer
    }

    /// Moves all complete lines to `inbox`; returns how many.
    pub(super) fn take_complete(&mut self, inbox: &mut Vec<Arrival>) -> usize {
        let before = inbox.len();
        let mut start = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
            let end = self.scanned + end;
            let line = &self.buffer[start..end];
            if !std::mem::take(&mut self.skipping) {
                push_line(line, inbox);
            }
            start = end + 1;
            self.scanned = start;
        }
        self.keep_rest(start, inbox);
        inbox.len() - before
    }

    /// Treats the rest of the input, at its end, as a line.
    pub(super) fn take_last(&mut self, inbox: &mut Vec<Arrival>) -> usize {
        let before = inbox.len();
        if !self.skipping {
            push_line(&self.buffer, inbox);
        }
        *self = Lines::default();
        inbox.len() - before
    }

    /// Drops everything before `start` and prepares for more of the last line.
    fn keep_rest(&mut self, start: usize, inbox: &mut Vec<Arrival>) {
        self.buffer.drain(..start);
        if self.skipping {
            self.buffer.clear();
        } else if self.buffer.len() > MAX_LINE_BYTES {
            let reason = format!("a line of more than {MAX_LINE_BYTES} bytes");
            inbox.push(Err(Malformed { reason, request: None }));
            self.buffer.clear();
            self.skipping = true;
        }
        self.scanned = self.buffer.len();
        if self.buffer.capacity() > KEEP_BYTES && self.buffer.len() < KEEP_BYTES / 2 {
            self.buffer.shrink_to(KEEP_BYTES / 2);
        }
    }
}

/// Empty lines are skipped without a warning.
fn push_line(line: &[u8], inbox: &mut Vec<Arrival>) {
    if !line.trim_ascii().is_empty() {
        inbox.push(Message::from_line(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"src":"c1","dest":"n0","body":{"type":"x"}}"#;

    fn feed(lines: &mut Lines, bytes: &[u8], inbox: &mut Vec<Arrival>) -> usize {
        lines.space().extend_from_slice(bytes);
        lines.take_complete(inbox)
    }

    #[test]
    fn lines_are_found_wherever_the_input_is_cut() {
        let text = format!("{LINE}\n\n{LINE}\r\n  \n{LINE}");
        for cut in 0..text.len() {
            let (mut lines, mut inbox) = (Lines::default(), Vec::new());
            let (head, tail) = text.as_bytes().split_at(cut);
            let mut taken = feed(&mut lines, head, &mut inbox);
            taken += feed(&mut lines, tail, &mut inbox);
            assert_eq!(taken, 2, "cut at {cut}");
            assert_eq!(lines.take_last(&mut inbox), 1);
            assert!(inbox.iter().all(Result::is_ok), "cut at {cut}: {inbox:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_without_being_kept() {
        let (mut lines, mut inbox) = (Lines::default(), Vec::new());
        let chunk = vec![b'x'; 16 << 20];
        for _ in 0..10 {
            feed(&mut lines, &chunk, &mut inbox);
            assert!(lines.buffer.len() <= MAX_LINE_BYTES);
        }
        feed(&mut lines, format!("\n{LINE}\n").as_bytes(), &mut inbox);
        assert_eq!(inbox.len(), 2, "one complaint, then the next message");
        assert!(inbox[0].is_err() && inbox[1].is_ok());
        assert!(lines.buffer.capacity() <= KEEP_BYTES + CHUNK_BYTES, "the memory is given back");
    }
}
