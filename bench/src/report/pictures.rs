//! The pictures of a run: operations as samples, faults as shades, messages as arrows.

use super::acts::spans;
use super::journal::{Fate, Traffic};
use crate::history::{Op, OpType, pairs};
use crate::plot::chart::{End, Sample, Series, Shade};
use crate::plot::lamport::{self, Arrow};

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

/// The messages between all but clients, from `origin` (nanoseconds on the world's
/// clock) on, with the faults of the history.
pub fn message_diagram(traffic: &Traffic<'_>, origin: i64, history: &[Op]) -> String {
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
    let lane = |party: u32| lanes.iter().position(|(_, lane)| *lane == party);
    let arrow = |message: &super::journal::Message| {
        let kind = traffic.kinds[message.kind as usize];
        let at = message.at - origin;
        let arrival = match message.fate {
            Fate::Arrived(nanos) => Some(at + i64::try_from(nanos).ok()?),
            Fate::Lost | Fate::Underway => None,
        };
        let label = traffic.types[kind.name as usize].clone();
        Some(Arrow { from: lane(kind.src)?, to: lane(kind.dest)?, at, arrival, label })
    };
    let arrows: Vec<Arrow> =
        traffic.messages.iter().filter(|message| message.at >= origin).filter_map(arrow).collect();
    let faults: Vec<(i64, String)> =
        shades(history).into_iter().map(|(from, _, name)| (from, name)).collect();
    let names: Vec<String> = lanes.iter().map(|(name, _)| name.clone()).collect();
    // Faults after the last message that is drawn would all lie on its last line.
    let last = arrows.iter().take(1500).map(|arrow| arrow.at).max().unwrap_or(0);
    let faults: Vec<(i64, String)> = faults.into_iter().filter(|(at, _)| *at <= last).collect();
    lamport::draw(&names, &arrows, &faults)
}
