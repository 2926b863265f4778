//! The messages of a run, from the lines of its journal ([`crate::world::journal`]): those of a file,
//! or of a run that goes on ([`super::Ledger`]).
//!
//! A journal has two lines for most messages, and a run has up to a million of those, so lines
//! are scanned and not parsed: of the envelope the head that the bench itself wrote, of the
//! body the fields of its own object only. A line that does not fit is passed over; the page
//! says how many there were.

use std::collections::BTreeMap;

use memchr::memchr_iter;

use super::scan::{Header, Line, head, string};
use super::traffic::{Bodies, Fate, Kind, Message, Traffic};

/// Bytes of a journal of which a page knows: a run of a million messages has 400 MB at most. The
/// rest is not in the page, and stays in the file.
const JOURNAL_BYTES: u64 = 1 << 30;

/// Names of types that are told apart; a node that makes up new ones has one name for the rest.
const TYPES_MAX: usize = 2000;

/// The name of the rest.
const REST: &str = "(other types)";

/// How many of the last messages that a party received can be found as a request.
const REMEMBERED: usize = 64;

impl<'j> Traffic<'j> {
    /// Reads a journal, as [`crate::world::journal`] writes it.
    pub fn read(journal: &'j [u8]) -> Traffic<'j> {
        let mut reader = Reader::default();
        reader.lines(journal);
        reader.finish(Bodies::Memory(journal))
    }
}

/// Reads a journal piece by piece.
#[derive(Default)]
pub(super) struct Reader {
    /// Bytes of the lines until now.
    read: u64,
    traffic: Traffic<'static>,
    parties: Names,
    types: Names,
    kinds: BTreeMap<Kind, u32>,
    recent: Recent,
    /// For each party, the messages it received last.
    received: Vec<Received>,
}

impl Reader {
    pub(super) fn finish(self, bodies: Bodies<'_>) -> Traffic<'_> {
        let Reader { traffic, parties, types, .. } = self;
        Traffic { bodies, parties: parties.names, types: types.names, ..traffic }
    }

    /// Takes the next whole lines.
    pub(super) fn lines(&mut self, lines: &[u8]) {
        let mut start = 0;
        for end in memchr_iter(b'\n', lines) {
            let at = self.read + start as u64;
            if at < JOURNAL_BYTES && self.line(&lines[start..end], at).is_none() {
                self.traffic.odd_lines += 1;
            }
            start = end + 1;
        }
        self.read += start as u64;
    }

    fn line(&mut self, line: &[u8], start: u64) -> Option<()> {
        let Line { time, event, id, rest } = head(line)?;
        let index = u32::try_from(id).ok()?;
        if event != b"send" {
            return self.after_send(index, time, event);
        }
        // The bench numbers messages from 0, in the order in which they are sent.
        if index as usize != self.traffic.messages.len() {
            return None;
        }
        let (src, after) = string(rest.strip_prefix(b"\"src\":")?)?;
        let (dest, after) = string(after.strip_prefix(b",\"dest\":")?)?;
        let body = after.strip_prefix(b",\"body\":")?.strip_suffix(b"}")?;
        let body_at = start + (line.len() - 1 - body.len()) as u64;
        self.send(time, [src, dest], body, body_at)
    }

    /// Notes the fate of a message that was sent.
    fn after_send(&mut self, index: u32, time: i64, event: &[u8]) -> Option<()> {
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

    /// Notes a message from the first of the `ends` to the second.
    fn send(&mut self, at: i64, ends: [&[u8]; 2], body: &[u8], body_at: u64) -> Option<()> {
        let header = Header::of(body);
        let body_len = u32::try_from(body.len()).ok()?;
        let kind = self.kind(ends, header.name.unwrap_or(b"?"));
        self.traffic.bytes[kind as usize] += body.len() as u64;
        let cause = self.cause(self.traffic.kinds[kind as usize], header.in_reply_to);
        let msg_id = header.msg_id;
        let fate = Fate::Underway;
        self.traffic.messages.push(Message { at, fate, kind, cause, body_at, body_len, msg_id });
        Some(())
    }

    /// The number of a kind of messages.
    fn kind(&mut self, [src, dest]: [&[u8]; 2], name: &[u8]) -> u32 {
        let key = Recent::key([src, dest, name]);
        if let Some(known) = key.and_then(|key| self.recent.get(key)) {
            return known;
        }
        let [src, dest] = [src, dest].map(|end| self.parties.of_json(end, usize::MAX));
        let kind = Kind { src, dest, name: self.types.of_json(name, TYPES_MAX) };
        self.received.resize(self.parties.names.len(), Received::default());
        let traffic = &mut self.traffic;
        let fresh = traffic.kinds.len();
        let number = *self.kinds.entry(kind).or_insert_with(|| {
            traffic.kinds.push(kind);
            traffic.bytes.push(0);
            u32::try_from(fresh).expect("a journal has under 2^32 kinds")
        });
        key.into_iter().for_each(|key| self.recent.put(key, number));
        number
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

/// The kinds that came up last, by the texts of sender, receiver and type: one comparison in place
/// of four searches.
struct Recent(Vec<Option<([u128; 3], u32)>>);

impl Default for Recent {
    fn default() -> Recent {
        Recent(vec![None; 1 << Recent::BITS])
    }
}

impl Recent {
    const BITS: u32 = 9;

    /// The texts as numbers, if all are short.
    fn key([src, dest, name]: [&[u8]; 3]) -> Option<[u128; 3]> {
        Some([packed(src)?, packed(dest)?, packed(name)?])
    }

    fn get(&self, key: [u128; 3]) -> Option<u32> {
        self.0[Recent::slot(key)].filter(|(known, _)| *known == key).map(|(_, kind)| kind)
    }

    fn put(&mut self, key: [u128; 3], kind: u32) {
        self.0[Recent::slot(key)] = Some((key, kind));
    }

    /// The one place of a key, by Fibonacci hashing.
    fn slot(key: [u128; 3]) -> usize {
        let halves = key.into_iter().flat_map(|part| [part as u64, (part >> 64) as u64]);
        let mix =
            |sum: u64, half: u64| (sum ^ half).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let mixed = halves.fold(0, mix);
        (mixed & ((1 << Recent::BITS) - 1)) as usize
    }
}

/// Numbers for texts, in the order in which they come up.
#[derive(Default)]
struct Names {
    /// Almost all names are short: a number in place of the text is found in a third of the time.
    short: BTreeMap<u128, u32>,
    long: BTreeMap<Vec<u8>, u32>,
    names: Vec<String>,
}

impl Names {
    /// The number of a name that is written as JSON, without its quotes. Beyond `most` names all
    /// have the number of [`REST`].
    fn of_json(&mut self, raw: &[u8], most: usize) -> u32 {
        if let Some(number) = self.known(raw) {
            return number;
        }
        if self.names.len() >= most {
            let rest = REST.as_bytes();
            return self.known(rest).unwrap_or_else(|| self.push(rest, REST.to_owned()));
        }
        let quoted = [b"\"", raw, b"\""].concat();
        let name = serde_json::from_slice(&quoted)
            .unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned());
        self.push(raw, name)
    }

    fn known(&self, key: &[u8]) -> Option<u32> {
        match packed(key) {
            Some(key) => self.short.get(&key).copied(),
            None => self.long.get(key).copied(),
        }
    }

    fn push(&mut self, key: &[u8], name: String) -> u32 {
        let number = u32::try_from(self.names.len()).expect("a journal has under 2^32 names");
        match packed(key) {
            Some(key) => self.short.insert(key, number),
            None => self.long.insert(key.to_owned(), number),
        };
        self.names.push(name);
        number
    }
}

/// A text of at most 15 bytes and its length as one number.
fn packed(text: &[u8]) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes.get_mut(..text.len()).filter(|_| text.len() < 16)?.copy_from_slice(text);
    bytes[15] = text.len() as u8;
    Some(u128::from_le_bytes(bytes))
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
        let mut traffic = Traffic::read(JOURNAL.as_bytes());
        assert_eq!(traffic.parties, ["c1", "n0", "n\"1"]);
        assert_eq!(traffic.types, ["read", "gossip", "read_ok"]);
        let fates: Vec<Fate> = traffic.messages.iter().map(|m| m.fate).collect();
        assert_eq!(fates, [Fate::Arrived(4), Fate::Arrived(2), Fate::Lost]);
        assert_eq!(traffic.copies, [(1, 4)]);
        let causes: Vec<Option<u32>> = traffic.messages.iter().map(|m| m.cause).collect();
        assert_eq!(causes, [None, Some(0), Some(0)]);
        let body = &br#"{"type":"read_ok","in_reply_to":7}"#[..];
        assert_eq!(traffic.body(2, 100), (body, true));
        assert_eq!(traffic.body(2, 5), (&body[..5], false));
        assert_eq!(traffic.odd_lines, 1);
    }

    #[test]
    fn a_short_text_is_a_number_of_its_own() {
        let texts: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"n1", b"n1\0", b"fifteen bytes !"];
        let numbers: std::collections::BTreeSet<_> = texts.map(|text| packed(text).unwrap()).into();
        assert_eq!(numbers.len(), texts.len());
        assert_eq!(packed(b"sixteen bytes !!"), None);
    }

    #[test]
    fn types_without_end_have_one_name() {
        let mut journal = String::new();
        for n in 0..TYPES_MAX + 10 {
            journal += &format!(
                "{{\"time\":{n},\"event\":\"send\",\"id\":{n},\"src\":\"n1\",\"dest\":\"n2\",\"body\":{{\"type\":\"t{n}\"}}}}\n"
            );
        }
        let traffic = Traffic::read(journal.as_bytes());
        assert_eq!(traffic.types.len(), TYPES_MAX + 1);
        assert_eq!(traffic.types.last().map(String::as_str), Some(REST));
        assert_eq!(traffic.odd_lines, 0);
    }

    #[test]
    fn the_request_is_found_behind_later_messages() {
        let mut received = Received::default();
        (0..100).for_each(|message| received.push(message));
        let all: Vec<u32> = received.iter().collect();
        assert_eq!(all, (36..100).rev().collect::<Vec<_>>());
    }
}
