//! The pictures of a run: operations as samples, faults as shades, messages as arrows.

use super::acts::spans;
use super::traffic::{Fate, Message, Traffic};
use super::words;
use crate::history::{Op, OpType, pairs};
use crate::plot::chart::{End, Sample, Series, Shade};
use crate::plot::lamport::{self, Arrow};

/// Bytes of a body beyond which it is told by its type.
const BODY_BYTES: usize = 20_000;

/// The operations of a history as a run of a chart.
pub fn series(name: &str, history: &[Op]) -> Series {
    let pairs = pairs(history).unwrap_or_default();
    let sample = |pair: &crate::history::Pair<'_>| Sample {
        at: pair.invoke.time,
        took: pair.completion.map(|end| end.time - pair.invoke.time),
        end: match pair.outcome() {
            OpType::Ok => End::Ok,
            OpType::Fail => End::Fail,
            OpType::Info | OpType::Invoke => End::Info,
        },
    };
    Series { name: name.to_owned(), samples: pairs.iter().map(sample).collect() }
}

/// The faults of a history.
pub fn shades(history: &[Op]) -> Vec<Shade> {
    let tell = |span: super::acts::Span| {
        let name = span.f.strip_prefix("start-").unwrap_or(&span.f);
        (span.from, span.to, format!("{name} {}", span.text))
    };
    spans(history).into_iter().map(tell).collect()
}

/// The part of a run that a picture shows, in nanoseconds on the world's clock.
pub type Window = std::ops::RangeInclusive<i64>;

/// The messages between all but clients that were sent within a window, with the faults of the
/// history. `origin` is when the operations began, in nanoseconds on the world's clock.
pub fn message_diagram(
    traffic: &mut Traffic<'_>,
    origin: i64,
    window: &Window,
    history: &[Op],
) -> String {
    let is_client =
        |name: &str| name.strip_prefix('c').is_some_and(|rest| rest.parse::<u64>().is_ok());
    let lanes: Vec<u32> = (0..)
        .zip(&traffic.parties)
        .filter(|(_, name)| !is_client(name))
        .map(|(party, _)| party)
        .collect();
    let mut lanes: Vec<(String, u32)> =
        lanes.into_iter().map(|party| (traffic.parties[party as usize].clone(), party)).collect();
    lanes.sort();
    let mut rows = vec![None; traffic.parties.len()];
    lanes.iter().enumerate().for_each(|(row, (_, party))| rows[*party as usize] = Some(row));
    let ends = |message: &Message| {
        let kind = traffic.kinds[message.kind as usize];
        Some((rows[kind.src as usize]?, rows[kind.dest as usize]?))
    };
    let first = traffic.messages.partition_point(|message| message.at < *window.start());
    let last = traffic.messages.partition_point(|message| message.at <= *window.end());
    let seen: Vec<(usize, (usize, usize))> = (first..last.max(first))
        .filter_map(|index| Some((index, ends(&traffic.messages[index])?)))
        .collect();
    let drawn = &seen[..seen.len().min(lamport::MESSAGES_MAX)];
    let arrows: Vec<Arrow> = drawn
        .iter()
        .map(|(index, ends)| arrow(traffic, *index, *ends, origin, *window.end()))
        .collect();
    // Faults after the last message that is drawn would all lie on its last line.
    let (first, last) = (*window.start() - origin, arrows.last().map_or(0, |arrow| arrow.at));
    let faults = shades(history).into_iter().map(|(from, _, name)| (from, name));
    let faults: Vec<(i64, String)> = faults.filter(|(at, _)| (first..=last).contains(at)).collect();
    let names: Vec<String> = lanes.into_iter().map(|(name, _)| name).collect();
    lamport::draw(&names, &arrows, &faults, seen.len() - drawn.len())
}

/// A message as an arrow, with its content in words if it has any.
fn arrow(
    traffic: &mut Traffic<'_>,
    index: usize,
    (from, to): (usize, usize),
    origin: i64,
    end: i64,
) -> Arrow {
    let message = traffic.messages[index];
    let at = message.at - origin;
    let arrival = match message.fate {
        Fate::Arrived(nanos) => i64::try_from(nanos).ok().map(|nanos| at.saturating_add(nanos)),
        Fate::Lost | Fate::Underway => None,
    };
    let arrival = arrival.filter(|arrival| *arrival <= end.saturating_sub(origin));
    let is_lost = message.fate == Fate::Lost;
    let name = traffic.types[traffic.kinds[message.kind as usize].name as usize].clone();
    let (body, _) = traffic.body(index, BODY_BYTES);
    let label = words::raft(&name, body).unwrap_or(name);
    Arrow { from, to, at, arrival, is_lost, label }
}
