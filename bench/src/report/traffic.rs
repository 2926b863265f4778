//! The messages of a run, and their bodies, which stay where they are until a page shows them.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a file that are read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The network lost it.
    Lost,
    /// The run ended first, or its receiver never came back.
    Underway,
    /// It arrived after so many nanoseconds.
    Arrived(u64),
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// When it was sent, in nanoseconds on the world's clock.
    pub(super) at: i64,
    /// Whether and when it arrived, or why it did not.
    pub(super) fate: Fate,
    /// Which of [`Traffic::kinds`].
    pub(super) kind: u32,
    /// The message that led to it: the request that it answers, else the last one that its
    /// sender had received.
    pub(super) cause: Option<u32>,
    /// Where its body is in the journal.
    pub(super) body_at: u64,
    /// The bytes of its body.
    pub(super) body_len: u32,
    /// Its number, which an answer names.
    pub(super) msg_id: Option<u64>,
}

/// Sender, receiver and type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// Which of [`Traffic::parties`] sends it.
    pub(super) src: u32,
    /// Which of them it is for.
    pub(super) dest: u32,
    /// Which of [`Traffic::types`].
    pub(super) name: u32,
}

/// Where the bodies of messages are.
#[derive(Default)]
pub(super) enum Bodies<'j> {
    /// There are none.
    #[default]
    None,
    /// The whole journal.
    Memory(&'j [u8]),
    /// The file that it is in, and a part of it from some place on.
    File(File, u64, Vec<u8>),
}

/// All messages of a run.
#[derive(Default)]
pub struct Traffic<'j> {
    pub(super) bodies: Bodies<'j>,
    /// In the order in which they were sent.
    pub(super) messages: Vec<Message>,
    /// Second arrivals: the message, and nanoseconds after it was sent.
    pub(super) copies: Vec<(u32, u64)>,
    /// Senders and receivers.
    pub(super) parties: Vec<String>,
    /// The types of messages.
    pub(super) types: Vec<String>,
    /// Which kinds there are.
    pub(super) kinds: Vec<Kind>,
    /// For each kind, bytes of bodies.
    pub(super) bytes: Vec<u64>,
    /// Lines that are not of a journal.
    pub(super) odd_lines: usize,
}

impl Traffic<'_> {
    /// The beginning of the body of a message, of at most `most` bytes, and whether that is all.
    /// Of a file that cannot be read (any more) it is empty: the page has no bodies then, as it
    /// has none of messages far away.
    pub(super) fn body(&mut self, index: usize, most: usize) -> (&[u8], bool) {
        let Message { body_at: start, body_len: whole, .. } = self.messages[index];
        let length = (whole as usize).min(most);
        let is_whole = length == whole as usize;
        match &mut self.bodies {
            Bodies::None => (&b""[..], true),
            Bodies::Memory(journal) => {
                let start = usize::try_from(start).expect("it is in memory");
                (&journal[start..start + length], is_whole)
            }
            Bodies::File(file, from, chunk) => {
                let is_inside =
                    *from <= start && start + length as u64 <= *from + chunk.len() as u64;
                if !is_inside {
                    *from = start;
                    *chunk = vec![0; CHUNK_BYTES.max(length)];
                    let read = read_from(file, start, chunk);
                    chunk.truncate(read);
                }
                let at = usize::try_from(start - *from).expect("it is in a part of the file");
                (chunk.get(at..at + length).unwrap_or_default(), is_whole)
            }
        }
    }

    /// Bytes of the body of a message.
    pub(super) fn body_len(&self, index: usize) -> usize {
        self.messages[index].body_len as usize
    }
}

/// Reads from a place on until the buffer is full or the file ends, and returns the bytes read.
fn read_from(file: &File, start: u64, buffer: &mut [u8]) -> usize {
    let mut read = 0;
    while let Ok(count @ 1..) = file.read_at(&mut buffer[read..], start + read as u64) {
        read += count;
    }
    read
}
