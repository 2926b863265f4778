//! The messages of a run, as columns that have a bound.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::measure::Measure;
use super::operations::micros_since;
use super::pack::{Pack, head_of};
use super::traffic::{Fate, Kind, Message, Traffic};

/// Messages of a page. Beyond, those around the moment that counts are kept.
const MESSAGES_MAX: usize = 1_000_000;

/// Bytes of bodies that a page holds, before compression.
const BODIES_BYTES: usize = 2 << 20;

/// Bytes of one body that a page shows.
const BODY_BYTES: usize = 2000;

/// Second arrivals of which a page knows.
const COPIES_MAX: usize = 100_000;

/// Rows of the table of traffic: a sender, a receiver and a type each.
const TRAFFIC_MAX: usize = 10_000;

/// Bytes of a name that a page shows.
const NAME_BYTES: usize = 100;

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
pub(super) fn pack(
    traffic: &mut Traffic<'_>,
    nodes: &[String],
    origin: i64,
    focus: i64,
    measure: Measure,
    pack: &mut Pack,
) -> Packed {
    let all = &traffic.messages;
    let most = measure.of(MESSAGES_MAX);
    let at = all.partition_point(|message| message.at - origin < focus);
    let left_out = all.len().saturating_sub(most);
    let first = at.saturating_sub(most / 2).min(left_out);
    let kept = &all[first..(first + most).min(all.len())];
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
    pack.put("copies", copies.take(measure.of(COPIES_MAX)).collect::<Vec<Value>>());
    kinds(traffic, kept, pack);
    sums(traffic, nodes, measure, pack);
    let (total, kept) = (all.len(), kept.len());
    let with_body = bodies(traffic, first, kept, at, measure, pack);
    Packed { total, kept, with_body }
}

/// New numbers, from 0, for those of the old ones that are in use.
struct Renumbered {
    new: Vec<Option<u32>>,
    old: Vec<u32>,
}

impl Renumbered {
    fn of(count: usize) -> Renumbered {
        Renumbered { new: vec![None; count], old: Vec::new() }
    }

    fn number(&mut self, old: u32) -> u32 {
        *self.new[old as usize].get_or_insert_with(|| {
            self.old.push(old);
            u32::try_from(self.old.len() - 1).expect("not more than there were")
        })
    }
}

/// Adds the kinds of the messages that are kept, and the names in them, in the order in which
/// they come up: a page names nothing that it does not show.
fn kinds(traffic: &Traffic<'_>, kept: &[Message], pack: &mut Pack) {
    let mut kinds = Renumbered::of(traffic.kinds.len());
    pack.column("kind", kept.iter().map(|message| u64::from(kinds.number(message.kind))));
    let mut parties = Renumbered::of(traffic.parties.len());
    let mut types = Renumbered::of(traffic.types.len());
    let triple = |old: &u32| {
        let Kind { src, dest, name } = traffic.kinds[*old as usize];
        json!([parties.number(src), parties.number(dest), types.number(name)])
    };
    let triples: Vec<Value> = kinds.old.iter().map(triple).collect();
    pack.put("kinds", triples);
    let named = |names: &[String], old: &[u32]| -> Vec<String> {
        old.iter().map(|old| name(&names[*old as usize])).collect()
    };
    pack.put("types", named(&traffic.types, &types.old));
    pack.put("parties", named(&traffic.parties, &parties.old));
}

/// A name as a page shows it.
pub(super) fn name(text: &str) -> String {
    let (head, is_whole) = head_of(text, NAME_BYTES);
    if is_whole { head.to_owned() } else { format!("{head}…") }
}

/// Adds the sums over the whole run: sender, receiver, type, messages, lost ones, bytes. Clients
/// are one sender.
fn sums<'t>(traffic: &'t Traffic<'_>, nodes: &[String], measure: Measure, pack: &mut Pack) {
    let mut counts = vec![(0_u64, 0_u64); traffic.kinds.len()];
    for message in &traffic.messages {
        let (sent, lost) = &mut counts[message.kind as usize];
        *sent += 1;
        *lost += u64::from(message.fate == Fate::Lost);
    }
    let nodes: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
    let group =
        |party: &'t String| if is_client(party, &nodes) { "clients" } else { party.as_str() };
    let groups: Vec<&str> = traffic.parties.iter().map(group).collect();
    let mut sums: BTreeMap<(&str, &str, &str), [u64; 3]> = BTreeMap::new();
    for ((kind, bytes), (sent, lost)) in traffic.kinds.iter().zip(&traffic.bytes).zip(counts) {
        let [src, dest] = [kind.src, kind.dest].map(|party| groups[party as usize]);
        let key = (src, dest, &*traffic.types[kind.name as usize]);
        let sum = sums.entry(key).or_default();
        sum.iter_mut().zip([sent, lost, *bytes]).for_each(|(sum, more)| *sum += more);
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, [sent, ..])| std::cmp::Reverse(*sent));
    let rest = rows.split_off(measure.of(TRAFFIC_MAX).min(rows.len()));
    let row = |((src, dest, kind), [sent, lost, bytes]): &((&str, &str, &str), [u64; 3])| {
        json!([name(src), name(dest), name(kind), sent, lost, bytes])
    };
    let mut rows: Vec<Value> = rows.iter().map(row).collect();
    if !rest.is_empty() {
        let sum = |at: usize| -> u64 { rest.iter().map(|(_, sums)| sums[at]).sum() };
        rows.push(row(&(("others", "others", "(all others)"), [sum(0), sum(1), sum(2)])));
    }
    pack.put("traffic", rows);
}

/// Whether a name is a client's: `c7`, unless a node is called so.
fn is_client(name: &str, nodes: &BTreeSet<&str>) -> bool {
    let is_numbered = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix('c').is_some_and(is_numbered) && !nodes.contains(name)
}

/// Adds the bodies of as many messages around position `at` as there is room for, and returns
/// their number.
fn bodies(
    traffic: &mut Traffic<'_>,
    first: usize,
    count: usize,
    at: usize,
    measure: Measure,
    pack: &mut Pack,
) -> usize {
    let end = first + count;
    let size = |index: usize| traffic.body_len(index).min(BODY_BYTES) + 1;
    let (mut low, mut high) = (at.clamp(first, end), at.clamp(first, end));
    let mut room = measure.of(BODIES_BYTES);
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
    let mut text = Vec::with_capacity(BODIES_BYTES - room);
    for index in low..high {
        let (body, is_whole) = traffic.body(index, BODY_BYTES);
        match std::str::from_utf8(body) {
            Ok(_) => text.extend_from_slice(body),
            // Broken UTF-8, or a character that was cut in two.
            Err(_) => text.extend_from_slice(String::from_utf8_lossy(body).as_bytes()),
        }
        text.extend_from_slice(if is_whole { "\n" } else { "…\n" }.as_bytes());
    }
    pack.put("bodiesFrom", low - first);
    pack.block("bodies", &text);
    high - low
}
