//! Planted bugs: a small broker that is right, or wrong in one way, under random
//! concurrent clients. The right one must pass, each bug must be caught by its name.

use std::collections::BTreeMap;

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::history::{History, Op, to_edn_lines};

const CLIENTS: usize = 4;
const KEYS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// An acknowledged message is not stored.
    LoseSend,
    /// A message is stored over the last one.
    SameOffset,
    /// A message is stored a second time, later.
    StoreTwice,
    /// A send that is answered with a definite error is stored.
    StoreFailed,
    /// A poll passes over a message.
    Skip,
    /// A poll begins with the message that the last one ended with.
    Repeat,
    /// A poll returns a value that was never sent.
    Invent,
    /// A poll returns the message that will be sent next.
    Foresee,
}

/// The operation that a client is about to complete.
enum Open {
    Send { key: usize, value: i64, offset: Option<i64>, failed: bool },
    Poll { polled: BTreeMap<usize, Vec<(i64, i64)>>, done: bool },
}

struct Broker {
    rng: Pcg64Mcg,
    bug: Bug,
    /// How often the bug struck.
    struck: usize,
    logs: [BTreeMap<i64, i64>; KEYS],
    sent: [i64; KEYS],
    positions: Vec<[i64; KEYS]>,
    history: History,
}

impl Broker {
    fn run(seed: u64, bug: Bug) -> (History, usize) {
        let mut broker = Broker {
            rng: Pcg64Mcg::seed_from_u64(seed),
            bug,
            struck: 0,
            logs: [const { BTreeMap::new() }; KEYS],
            sent: [0; KEYS],
            positions: vec![[0; KEYS]; CLIENTS + 1],
            history: History::new(),
        };
        let mut open: [Option<Open>; CLIENTS] = [const { None }; CLIENTS];
        for round in 0..400 {
            let client = broker.below(CLIENTS);
            open[client] = match open[client].take() {
                None if round < 300 => Some(broker.invoke(client)),
                None => None,
                Some(operation) => broker.advance(client, operation),
            };
        }
        for (client, operation) in open.into_iter().enumerate() {
            let mut operation = operation;
            while let Some(running) = operation {
                operation = broker.advance(client, running);
            }
        }
        // Someone reads everything in the end.
        broker.bug = Bug::None;
        let last = broker.invoke_poll(CLIENTS);
        let done = broker.advance(CLIENTS, last).and_then(|open| broker.advance(CLIENTS, open));
        assert!(done.is_none());
        (broker.history, broker.struck)
    }

    fn invoke(&mut self, client: usize) -> Open {
        if self.below(2) == 0 {
            return self.invoke_poll(client);
        }
        let key = self.below(KEYS);
        self.sent[key] += 1;
        let value = self.sent[key];
        let send = Edn::Vector(vec![Edn::keyword("send"), name(key), Edn::Int(value)]);
        self.record(client, OpType::Invoke, "send", send);
        Open::Send { key, value, offset: None, failed: self.below(8) == 0 }
    }

    fn invoke_poll(&mut self, client: usize) -> Open {
        let poll = Edn::Vector(vec![Edn::keyword("poll")]);
        self.record(client, OpType::Invoke, "poll", poll);
        Open::Poll { polled: BTreeMap::new(), done: false }
    }

    /// Lets an operation take effect, or complete if it has.
    fn advance(&mut self, client: usize, operation: Open) -> Option<Open> {
        match operation {
            Open::Send { key, value, offset: None, failed } => {
                let offset = Some(self.store(key, value, failed));
                Some(Open::Send { key, value, offset, failed })
            }
            Open::Send { key, value, offset: Some(offset), failed } => {
                let (kind, value) = match failed {
                    true => (OpType::Fail, Edn::Int(value)),
                    false => (OpType::Ok, Edn::vector([offset, value])),
                };
                let send = Edn::Vector(vec![Edn::keyword("send"), name(key), value]);
                self.record(client, kind, "send", send);
                None
            }
            Open::Poll { done: false, .. } => {
                let polled = (0..KEYS).map(|key| (key, self.fetch(client, key))).collect();
                Some(Open::Poll { polled, done: true })
            }
            Open::Poll { polled, done: true } => {
                let pairs = |pairs: Vec<(i64, i64)>| {
                    Edn::vector(pairs.into_iter().map(|(o, v)| Edn::vector([o, v])))
                };
                let polled = polled.into_iter().filter(|(_, messages)| !messages.is_empty());
                let polled = polled.map(|(key, messages)| (name(key), pairs(messages))).collect();
                let poll = Edn::Vector(vec![Edn::keyword("poll"), Edn::Map(polled)]);
                self.record(client, OpType::Ok, "poll", poll);
                None
            }
        }
    }

    fn store(&mut self, key: usize, value: i64, failed: bool) -> i64 {
        let end = self.end(key);
        if failed {
            if self.strikes(Bug::StoreFailed) {
                self.logs[key].insert(end, value);
            }
            return end;
        }
        if end > 0 && self.strikes(Bug::SameOffset) {
            self.logs[key].insert(end - 1, value);
            return end - 1;
        }
        if self.strikes(Bug::LoseSend) {
            // Its place stays empty, and the next message comes after it.
            self.logs[key].insert(end, 0);
            return end;
        }
        self.logs[key].insert(end, value);
        if self.strikes(Bug::StoreTwice) {
            self.logs[key].insert(end + 1, value);
        }
        end
    }

    fn fetch(&mut self, client: usize, key: usize) -> Vec<(i64, i64)> {
        let (mut from, end) = (self.positions[client][key], self.end(key));
        if from > 0 && from < end && self.strikes(Bug::Repeat) {
            from -= 1;
        }
        if from > 0 && from + 1 < end && self.strikes(Bug::Skip) {
            from += 1;
        }
        let stored = self.logs[key].range(from..).map(|(offset, value)| (*offset, *value));
        let mut polled: Vec<(i64, i64)> = stored.filter(|(_, value)| *value != 0).collect();
        if self.strikes(Bug::Invent) {
            polled.push((end, 1000 + end));
        }
        self.positions[client][key] = end;
        if self.sent[key] == end && end < 20 && self.strikes(Bug::Foresee) {
            polled.push((end, end + 1));
            self.positions[client][key] = end + 1;
        }
        polled
    }

    fn end(&self, key: usize) -> i64 {
        self.logs[key].last_key_value().map_or(0, |(offset, _)| offset + 1)
    }

    fn strikes(&mut self, bug: Bug) -> bool {
        let strikes = self.bug == bug && self.below(8) == 0;
        self.struck += usize::from(strikes);
        strikes
    }

    fn record(&mut self, client: usize, kind: OpType, f: &str, mop: Edn) {
        let index = self.history.len();
        let (time, value) = (index as i64, Edn::Vector(vec![mop]));
        self.history.push(Op { index, time, ..Op::new(kind, client as u64, f, value) });
    }

    fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n as u64) as usize
    }
}

fn name(key: usize) -> Edn {
    Edn::str(key.to_string())
}

#[test]
fn a_sound_broker_passes() {
    for seed in 0..300 {
        let (history, _) = Broker::run(seed, Bug::None);
        let outcome = check(&history).to_edn();
        assert_eq!(outcome.get("error-types"), Some(&Edn::List(Vec::new())), "seed {seed}");
    }
}

#[test]
fn every_planted_bug_is_caught_by_name() {
    for (bug, expected) in [
        (Bug::LoseSend, "lost-write"),
        (Bug::SameOffset, "inconsistent-offsets"),
        (Bug::StoreTwice, "duplicate"),
        (Bug::StoreFailed, "G1a"),
        (Bug::Skip, "poll-skip"),
        (Bug::Repeat, "nonmonotonic-poll"),
        (Bug::Invent, "phantom"),
        (Bug::Foresee, "G1c-realtime"),
    ] {
        let (mut runs, mut caught) = (0, 0);
        for seed in 0..100 {
            let (history, struck) = Broker::run(seed, bug);
            let outcome = check(&history);
            let context = || format!("{bug:?}, seed {seed}:\n{}", to_edn_lines(&history));
            // A foreseen message may be sent before the poll completes, and is in order then.
            let harmless = struck == 0 || bug == Bug::Foresee;
            assert!(harmless || outcome.verdict == Verdict::Invalid, "{}", context());
            let kinds = outcome.get("error-types").and_then(Edn::as_seq).unwrap_or_default();
            runs += usize::from(struck > 0);
            caught += usize::from(kinds.contains(&Edn::keyword(expected)));
        }
        // A single blow may show only in other ways.
        let enough = runs >= 50 && 10 * caught >= 9 * runs;
        assert!(enough, "{bug:?}: {expected} in {caught} of {runs} runs");
    }
}
