//! The messages of a run, read from the journal that it left ([`crate::world::journal`]).
//!
//! A journal has two lines for most messages, and a run has up to a million of those, so lines
//! are scanned and not parsed: of the envelope the head that the bench itself wrote, of the
//! body the fields of its own object only. A line that does not fit is passed over; the page
//! says how many there were.

use std::collections::BTreeMap;

use memchr::{memchr_iter, memchr2};

/// How many of the last messages that a party received can be found as a request.
const REMEMBERED: usize = 64;

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
    body: (usize, u32),
    msg_id: Option<u64>,
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

/// Numbers for texts, in the order in which they come up.
#[derive(Default)]
struct Names {
    numbers: BTreeMap<Vec<u8>, u32>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, raw: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(raw) {
            return *number;
        }
        let quoted = [b"\"", raw, b"\""].concat();
        let name = serde_json::from_slice(&quoted)
            .unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned());
        let number = u32::try_from(self.names.len()).expect("a journal has under 2^32 names");
        self.numbers.insert(raw.to_owned(), number);
        self.names.push(name);
        number
    }
}

/// All messages of a run.
#[derive(Default)]
pub struct Traffic<'j> {
    journal: &'j [u8],
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

/// The head of a line.
struct Line<'l> {
    time: i64,
    event: &'l [u8],
    id: u64,
    rest: &'l [u8],
}

impl<'j> Traffic<'j> {
    /// Reads a journal, as [`crate::world::journal`] writes it.
    pub fn read(journal: &'j [u8]) -> Traffic<'j> {
        let mut reader =
            Reader { traffic: Traffic { journal, ..Traffic::default() }, ..Reader::default() };
        let mut start = 0;
        for end in memchr_iter(b'\n', journal) {
            if reader.line(&journal[start..end], start).is_none() {
                reader.traffic.odd_lines += 1;
            }
            start = end + 1;
        }
        let Reader { mut traffic, parties, types, .. } = reader;
        (traffic.parties, traffic.types) = (parties.names, types.names);
        traffic
    }

    /// The body of a message.
    pub(super) fn body(&self, message: &Message) -> &'j [u8] {
        let (start, length) = message.body;
        &self.journal[start..start + length as usize]
    }
}

#[derive(Default)]
struct Reader<'j> {
    traffic: Traffic<'j>,
    parties: Names,
    types: Names,
    kinds: BTreeMap<Kind, u32>,
    /// For each party, the messages it received last.
    received: Vec<Received>,
}

/// The messages that a party received last, in a ring.
#[derive(Clone, Default)]
struct Received {
    last: Vec<u32>,
    next: usize,
}

impl Received {
    fn push(&mut self, message: u32) {
        if self.last.len() < REMEMBERED {
            self.last.push(message);
        } else {
            self.last[self.next] = message;
        }
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// The latest first.
    fn iter(&self) -> impl Iterator<Item = u32> {
        let (older, newer) = self.last.split_at(self.next.min(self.last.len()));
        older.iter().rev().chain(newer.iter().rev()).copied()
    }
}

impl Reader<'_> {
    fn line(&mut self, line: &[u8], start: usize) -> Option<()> {
        let Line { time, event, id, rest } = head(line)?;
        let index = u32::try_from(id).ok()?;
        if event == b"send" {
            // The bench numbers messages from 0, in the order in which they are sent.
            if index as usize != self.traffic.messages.len() {
                return None;
            }
            return self.send(time, rest, start + line.len() - rest.len());
        }
        let message = self.traffic.messages.get_mut(index as usize)?;
        let after = u64::try_from(time - message.at).ok()?;
        match (event, message.fate) {
            (b"recv", Fate::Arrived(_)) => self.traffic.copies.push((index, after)),
            (b"recv", _) => message.fate = Fate::Arrived(after),
            // Of two copies one may be lost.
            (b"drop", Fate::Underway) => message.fate = Fate::Lost,
            (b"drop", _) => {}
            _ => return None,
        }
        if event == b"recv" {
            let kind = self.traffic.kinds[message.kind as usize];
            self.received[kind.dest as usize].push(index);
        }
        Some(())
    }

    fn send(&mut self, at: i64, rest: &[u8], start: usize) -> Option<()> {
        let (src, after) = string(rest.strip_prefix(b"\"src\":")?)?;
        let (dest, after) = string(after.strip_prefix(b",\"dest\":")?)?;
        let body = after.strip_prefix(b",\"body\":")?.strip_suffix(b"}")?;
        let body_start = start + rest.len() - 1 - body.len();
        let header = Header::of(body);
        let kind = Kind {
            src: self.parties.number(src),
            dest: self.parties.number(dest),
            name: self.types.number(header.name.unwrap_or(b"?")),
        };
        self.received.resize(self.parties.names.len(), Received::default());
        let traffic = &mut self.traffic;
        let fresh = traffic.kinds.len();
        let number = *self.kinds.entry(kind).or_insert_with(|| {
            traffic.kinds.push(kind);
            traffic.bytes.push(0);
            u32::try_from(fresh).expect("a journal has under 2^32 kinds")
        });
        traffic.bytes[number as usize] += body.len() as u64;
        let cause = self.cause(kind, header.in_reply_to);
        self.traffic.messages.push(Message {
            at,
            fate: Fate::Underway,
            kind: number,
            cause,
            body: (body_start, u32::try_from(body.len()).ok()?),
            msg_id: header.msg_id,
        });
        Some(())
    }

    fn cause(&self, kind: Kind, in_reply_to: Option<u64>) -> Option<u32> {
        let received = &self.received[kind.src as usize];
        let is_request = |index: &u32| {
            let message = &self.traffic.messages[*index as usize];
            message.msg_id == in_reply_to
                && self.traffic.kinds[message.kind as usize].src == kind.dest
        };
        let request = in_reply_to.and_then(|_| received.iter().find(is_request));
        request.or_else(|| received.iter().next())
    }
}

/// Reads `{"time":7,"event":"send","id":3,`.
fn head(line: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = number(line.strip_prefix(b"{\"time\":")?)?;
    let (event, rest) = string(rest.strip_prefix(b",\"event\":")?)?;
    let (id, rest) = number(rest.strip_prefix(b",\"id\":")?)?;
    let time = i64::try_from(time).ok()?;
    Some(Line { time, event, id, rest: rest.strip_prefix(b",")? })
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    (end > 0).then_some(())?;
    Some((digits.iter().try_fold(0, add)?, rest))
}

/// The inside of a JSON string with its escapes, and the text after it.
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let end = closing(text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Where the quote is that ends a string.
fn closing(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// The fields of a body that every message may have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Header<'b> {
    name: Option<&'b [u8]>,
    msg_id: Option<u64>,
    in_reply_to: Option<u64>,
}

impl Header<'_> {
    /// Looks for the fields in the outermost object only.
    fn of(body: &[u8]) -> Header<'_> {
        let mut header = Header::default();
        let (mut at, mut depth) = (0, 0_usize);
        while at < body.len() {
            match body[at] {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' => {
                    let Some(length) = closing(&body[at + 1..]) else { return header };
                    let text = &body[at + 1..at + 1 + length];
                    at += length + 2;
                    if depth == 1 && body.get(at) == Some(&b':') {
                        header.field(text, &body[at + 1..]);
                    }
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        header
    }
}

impl<'b> Header<'b> {
    fn field(&mut self, key: &[u8], value: &'b [u8]) {
        let number = || number(value).map(|(number, _)| number);
        match key {
            b"type" => self.name = string(value).map(|(name, _)| name),
            b"msg_id" => self.msg_id = number(),
            b"in_reply_to" => self.in_reply_to = number(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: &str = r#"{"time":5,"event":"send","id":0,"src":"c1","dest":"n0","body":{"x":{"type":"no"},"type":"read","msg_id":7}}
{"time":9,"event":"recv","id":0,"src":"c1","dest":"n0","body":{}}
{"time":9,"event":"send","id":1,"src":"n0","dest":"n\"1","body":{"type":"gossip","msg_id":7}}
{"time":9,"event":"send","id":2,"src":"n0","dest":"c1","body":{"type":"read_ok","in_reply_to":7}}
{"time":10,"event":"drop","id":2,"src":"n0","dest":"c1","body":{}}
{"time":11,"event":"recv","id":1,"src":"n0","dest":"n\"1","body":{}}
{"time":13,"event":"recv","id":1,"src":"n0","dest":"n\"1","body":{}}
not a line
"#;

    #[test]
    fn a_journal_is_read() {
        let traffic = Traffic::read(JOURNAL.as_bytes());
        assert_eq!(traffic.parties, ["c1", "n0", "n\"1"]);
        assert_eq!(traffic.types, ["read", "gossip", "read_ok"]);
        let fates: Vec<Fate> = traffic.messages.iter().map(|m| m.fate).collect();
        assert_eq!(fates, [Fate::Arrived(4), Fate::Arrived(2), Fate::Lost]);
        assert_eq!(traffic.copies, [(1, 4)]);
        let causes: Vec<Option<u32>> = traffic.messages.iter().map(|m| m.cause).collect();
        assert_eq!(causes, [None, Some(0), Some(0)]);
        assert_eq!(traffic.body(&traffic.messages[2]), br#"{"type":"read_ok","in_reply_to":7}"#);
        assert_eq!(traffic.odd_lines, 1);
    }

    #[test]
    fn the_request_is_found_behind_later_messages() {
        let mut received = Received::default();
        (0..100).for_each(|message| received.push(message));
        let all: Vec<u32> = received.iter().collect();
        assert_eq!(all, (36..100).rev().collect::<Vec<_>>());
    }
}
