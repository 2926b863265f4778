//! Lines of a journal, scanned and not parsed: a run has up to two million.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

/// The names of the fields that only requests and answers have.
static NUMBERS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new(b"\"msg_id\""), Finder::new(b"\"in_reply_to\"")]);

/// The head of a line.
pub(super) struct Line<'l> {
    pub(super) time: i64,
    pub(super) event: &'l [u8],
    pub(super) id: u64,
    pub(super) rest: &'l [u8],
}

/// How many messages were sent a second in a part of a journal, which may begin and end in the
/// middle of a line.
pub fn sent_a_second(part: &[u8]) -> Option<f64> {
    let lines = part.split(|byte| *byte == b'\n').filter_map(head);
    let sent: Vec<i64> = lines.filter(|line| line.event == b"send").map(|line| line.time).collect();
    let nanos = sent.last()? - sent.first()?;
    (nanos > 0).then(|| (sent.len() - 1) as f64 * 1e9 / nanos as f64)
}

/// Reads `{"time":7,"event":"send","id":3,`.
pub(super) fn head(line: &[u8]) -> Option<Line<'_>> {
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
pub(super) fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
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
pub(super) struct Header<'b> {
    pub(super) name: Option<&'b [u8]>,
    pub(super) msg_id: Option<u64>,
    pub(super) in_reply_to: Option<u64>,
}

impl Header<'_> {
    /// Looks for the fields in the outermost object only. Of several with one name the first
    /// counts.
    pub(super) fn of(body: &[u8]) -> Header<'_> {
        // Most messages between servers begin with their type and have no number: a search for
        // the names of the other fields is many times as quick as a walk through the body.
        if let Some(rest) = body.strip_prefix(b"{\"type\":")
            && NUMBERS.iter().all(|name| name.find(body).is_none())
        {
            let mut header = Header::default();
            header.field(b"type", rest);
            return header;
        }
        Header::walked(body)
    }

    fn walked(body: &[u8]) -> Header<'_> {
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
            b"type" => self.name = self.name.or_else(|| string(value).map(|(name, _)| name)),
            b"msg_id" => self.msg_id = self.msg_id.or_else(number),
            b"in_reply_to" => self.in_reply_to = self.in_reply_to.or_else(number),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_the_clock_of_the_run() {
        let line = |ms: u64, event: &str| {
            format!(
                "{{\"time\":{},\"event\":\"{event}\",\"id\":1,\"src\":\"n1\"}}\n",
                ms * 1_000_000
            )
        };
        let cut = line(100, "send");
        let whole: String =
            (0..=10).map(|n| line(100 + n * 50, "send") + &line(777, "recv")).collect();
        assert_eq!(sent_a_second((cut[9..].to_owned() + &whole).as_bytes()), Some(20.0));
        assert_eq!(sent_a_second(cut.as_bytes()), None);
        assert_eq!(sent_a_second(b""), None);
    }

    #[test]
    fn the_short_way_to_a_header_is_the_long_one() {
        for body in [
            r#"{"type":"a","x":{"type":"b"}}"#,
            r#"{"type":"a","msg_id":7,"type":"b"}"#,
            r#"{"x":["msg_id"],"type":"a","in_reply_to":3}"#,
            r#"{"type":"a","x":"msg_id"}"#,
            r#"{"type":7}"#,
            r#"{"type":"#,
        ] {
            assert_eq!(Header::of(body.as_bytes()), Header::walked(body.as_bytes()), "{body}");
        }
    }
}
