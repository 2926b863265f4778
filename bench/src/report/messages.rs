//! The messages of a run, as columns that have a bound.

use serde_json::{Value, json};

use super::journal::{Fate, Traffic};
use super::operations::micros_since;
use super::pack::{Pack, head_of};

/// Messages of a page. Beyond, those around the moment that counts are kept.
const MESSAGES_MAX: usize = 1_000_000;

/// Bytes of bodies that a page holds, before compression.
const BODIES_BYTES: usize = 4 << 20;

/// Bytes of one body that a page shows.
const BODY_BYTES: usize = 2000;

/// Where the bodies are that a page holds, and how much of the traffic is in it.
pub(super) struct Packed {
    /// Messages that the run had.
    pub(super) total: usize,
    /// Those that are in the page.
    pub(super) kept: usize,
    /// Those of them with a body.
    pub(super) with_body: usize,
}

/// Adds the messages to a pack. `origin` is when the operations began on the world's clock, and
/// `focus` the moment that counts, in nanoseconds since.
pub(super) fn pack(traffic: &Traffic<'_>, origin: i64, focus: i64, pack: &mut Pack) -> Packed {
    let all = &traffic.messages;
    let at = all.partition_point(|message| message.at - origin < focus);
    let left_out = all.len().saturating_sub(MESSAGES_MAX);
    let first = at.saturating_sub(MESSAGES_MAX / 2).min(left_out);
    let kept = &all[first..(first + MESSAGES_MAX).min(all.len())];
    let from = kept.first().map_or(origin, |message| message.at);
    pack.put("messagesFrom", (from - origin) as f64 / 1e3);
    let mut last = from;
    pack.column("sentAt", kept.iter().map(|message| micros_since(message.at, &mut last)));
    pack.column(
        "took",
        kept.iter().map(|message| match message.fate {
            Fate::Lost => 0,
            Fate::Underway => 1,
            Fate::Arrived(nanos) => 2 + nanos / 1000,
        }),
    );
    pack.column("kind", kept.iter().map(|message| u64::from(message.kind)));
    // How many messages back; 0 for none.
    let back = |(index, cause): (usize, Option<u32>)| {
        let distance = cause.map_or(0, |cause| index - cause as usize);
        if distance > index - first { 0 } else { distance as u64 }
    };
    let causes = kept.iter().enumerate().map(|(n, message)| (first + n, message.cause));
    pack.column("cause", causes.map(back));
    let copies = traffic.copies.iter().filter_map(|(index, nanos)| {
        let row = (*index as usize).checked_sub(first).filter(|row| *row < kept.len())?;
        Some(json!([row, nanos / 1000]))
    });
    pack.put("copies", copies.collect::<Vec<Value>>());
    kinds(traffic, pack);
    let with_body = bodies(traffic, first, kept.len(), at, pack);
    Packed { total: all.len(), kept: kept.len(), with_body }
}

/// Which kinds of messages there are, with the sums over the whole run.
fn kinds(traffic: &Traffic<'_>, pack: &mut Pack) {
    let mut counts = vec![(0_u64, 0_u64); traffic.kinds.len()];
    for message in &traffic.messages {
        let (sent, lost) = &mut counts[message.kind as usize];
        *sent += 1;
        *lost += u64::from(message.fate == Fate::Lost);
    }
    let kinds = traffic.kinds.iter().zip(&traffic.bytes).zip(&counts);
    let kinds = kinds.map(|((kind, bytes), (sent, lost))| {
        json!([kind.src, kind.dest, kind.name, sent, lost, bytes])
    });
    pack.put("kinds", kinds.collect::<Vec<Value>>());
    pack.put("types", json!(traffic.types));
    pack.put("parties", json!(traffic.parties));
}

/// Adds the bodies of as many messages around position `at` as there is room for, and returns
/// their number.
fn bodies(traffic: &Traffic<'_>, first: usize, count: usize, at: usize, pack: &mut Pack) -> usize {
    let end = first + count;
    let size = |index: usize| traffic.body(&traffic.messages[index]).len().min(BODY_BYTES) + 1;
    let (mut low, mut high, mut room) = (at.clamp(first, end), at.clamp(first, end), BODIES_BYTES);
    loop {
        let before = (low > first).then(|| size(low - 1)).filter(|size| *size <= room);
        if let Some(size) = before {
            (low, room) = (low - 1, room - size);
        }
        let after = (high < end).then(|| size(high)).filter(|size| *size <= room);
        if let Some(size) = after {
            (high, room) = (high + 1, room - size);
        }
        if before.is_none() && after.is_none() {
            break;
        }
    }
    let mut text = String::new();
    for message in &traffic.messages[low..high] {
        let body = String::from_utf8_lossy(traffic.body(message));
        let (head, is_whole) = head_of(&body, BODY_BYTES);
        text += head;
        text += if is_whole { "\n" } else { "…\n" };
    }
    pack.put("bodiesFrom", low - first);
    pack.block("bodies", text.as_bytes());
    high - low
}
