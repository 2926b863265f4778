//! Logs on a broker that decides about each message a few milliseconds after it came in.
//!
//! A sound one gives a message its place in the log, and its offset, when it is decided. Each bug
//! is a way of losing, repeating or misplacing a message, or of showing the wrong ones.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng;
use seaworthy::message::{ErrorCode, Request};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy_bench::check::Outcome;
use serde_json::{Value, json};

use super::{assert_named, assert_valid, fields, refusal, run};

/// One in so many sends or polls meets the bug.
const RARE: u64 = 16;
/// How many messages of a key a poll returns at most.
const POLL_MAX: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// A message is acknowledged, but its place in the log stays empty.
    LostSend,
    /// A message is written over the last one.
    DuplicateOffset,
    /// A message is stored a second time.
    StoredTwice,
    /// A message leaves a place free before it, which the next one gets.
    ReorderedOffsets,
    /// Polls show messages that are not decided, some of which are refused.
    PollPastCommit,
    /// A poll begins behind the offset it was asked for.
    PollSkips,
    /// A poll begins before the offset it was asked for.
    PollRepeats,
    /// A poll leaves a message out.
    PollLeavesOut,
    /// A poll returns two messages in the wrong order.
    PollShuffles,
    /// A poll returns a value that was never sent.
    Invented,
}

struct Send {
    request: Request,
    key: String,
    msg: Value,
}

type Log = BTreeMap<u64, Value>;

struct Broker {
    bug: Bug,
    logs: BTreeMap<String, Log>,
    /// Places before the end of a log that the next message gets.
    free: BTreeMap<String, u64>,
    committed: BTreeMap<String, u64>,
    undecided: BTreeMap<u64, Send>,
    sends: u64,
    polls: u64,
}

impl Broker {
    fn new(bug: Bug) -> Broker {
        let (logs, free, committed) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let undecided = BTreeMap::new();
        Broker { bug, logs, free, committed, undecided, sends: 0, polls: 0 }
    }

    /// Decides about a message: its offset, or nothing if it is refused.
    fn decide(&mut self, number: u64, key: &str, msg: Value) -> Option<u64> {
        let struck = number.is_multiple_of(RARE);
        let log = self.logs.entry(key.to_owned()).or_default();
        let end = log.last_key_value().map_or(0, |(offset, _)| offset + 1);
        if let Some(free) = self.free.remove(key) {
            log.insert(free, msg);
            return Some(free);
        }
        let offset = match self.bug {
            Bug::PollPastCommit if struck => return None,
            Bug::DuplicateOffset if struck => end.saturating_sub(1),
            Bug::ReorderedOffsets if struck => {
                self.free.insert(key.to_owned(), end);
                end + 1
            }
            _ => end,
        };
        let stored = if self.bug == Bug::LostSend && struck { Value::Null } else { msg.clone() };
        log.insert(offset, stored);
        if self.bug == Bug::StoredTwice && struck {
            log.insert(offset + 1, msg);
        }
        Some(offset)
    }

    fn poll(&mut self, key: &str, from: u64) -> Vec<(u64, Value)> {
        let struck = self.polls.is_multiple_of(RARE);
        let from = match self.bug {
            Bug::PollSkips if struck && from > 0 => from + 1,
            Bug::PollRepeats if struck => from.saturating_sub(1),
            _ => from,
        };
        let log = self.logs.entry(key.to_owned()).or_default();
        let stored = log.range(from..).filter(|(_, msg)| !msg.is_null());
        let stored = stored.map(|(offset, msg)| (*offset, msg.clone()));
        let mut polled: Vec<(u64, Value)> = stored.take(POLL_MAX).collect();
        let end = log.last_key_value().map_or(0, |(offset, _)| offset + 1);
        match self.bug {
            Bug::PollPastCommit if polled.len() < POLL_MAX => {
                let of_key = self.undecided.values().filter(|send| send.key == key);
                polled.extend((end.max(from)..).zip(of_key.map(|send| send.msg.clone())));
            }
            Bug::PollLeavesOut if struck && polled.len() > 2 => drop(polled.remove(1)),
            Bug::PollShuffles if struck && polled.len() > 1 => polled.swap(0, 1),
            Bug::Invented if struck => polled.push((end, json!(1_000_000 + end))),
            _ => {}
        }
        polled
    }

    fn answer(&mut self, kind: &str, body: &BTreeMap<String, Value>) -> Value {
        let offsets = |body: &BTreeMap<String, Value>| -> Vec<(String, u64)> {
            let offsets = body["offsets"].as_object().unwrap();
            offsets.iter().map(|(key, offset)| (key.clone(), offset.as_u64().unwrap())).collect()
        };
        match kind {
            "poll" => {
                self.polls += 1;
                let asked = offsets(body).into_iter();
                let msgs = asked.map(|(key, from)| (key.clone(), self.poll(&key, from)));
                json!({"type": "poll_ok", "msgs": msgs.collect::<BTreeMap<_, _>>()})
            }
            "commit_offsets" => {
                for (key, offset) in offsets(body) {
                    let committed = self.committed.entry(key).or_default();
                    *committed = (*committed).max(offset);
                }
                json!({"type": "commit_offsets_ok"})
            }
            _ => {
                let asked = body["keys"].as_array().unwrap();
                let of = |key: &Value| self.committed.get_key_value(key.as_str().unwrap());
                let offsets: BTreeMap<_, _> = asked.iter().filter_map(of).collect();
                json!({"type": "list_committed_offsets_ok", "offsets": offsets})
            }
        }
    }
}

impl Workload for Broker {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Message(message) if message.body.kind == "send" => {
                let (request, mut body) = (message.request(), fields(&message));
                let key = body["key"].as_str().unwrap().to_owned();
                let msg = body.remove("msg").unwrap();
                self.sends += 1;
                self.undecided.insert(self.sends, Send { request, key, msg });
                let delay = 1 + u64::from(cx.rng().next_u32() % 10);
                cx.set_timer(Token(self.sends), Duration::from_millis(delay));
            }
            Event::Message(message) => {
                let reply = self.answer(&message.body.kind, &fields(&message));
                cx.reply(&message.request(), &reply);
            }
            Event::Timer(Token(number)) => {
                let Some(send) = self.undecided.remove(&number) else { return };
                match self.decide(number, &send.key, send.msg) {
                    Some(offset) => {
                        cx.reply(&send.request, &json!({"type": "send_ok", "offset": offset}));
                    }
                    None => cx.error(&send.request, &refusal(ErrorCode::ABORT)),
                }
            }
            _ => {}
        }
    }
}

fn judged(bug: Bug) -> Outcome {
    let flags = "-w kafka --concurrency 5n --rate 300 --time-limit 12 --key-count 3";
    run(flags, move || Broker::new(bug))
}

#[test]
fn a_sound_broker_passes() {
    assert_valid("a sound broker", &judged(Bug::None));
}

fn assert_caught(bug: Bug, anomaly: &str) {
    assert_named(&format!("{bug:?}"), &judged(bug), "bad-error-types", anomaly);
}

#[test]
fn a_lost_send_is_named() {
    assert_caught(Bug::LostSend, "lost-write");
}

#[test]
fn two_messages_at_one_offset_are_named() {
    assert_caught(Bug::DuplicateOffset, "inconsistent-offsets");
}

#[test]
fn a_message_stored_twice_is_named() {
    assert_caught(Bug::StoredTwice, "duplicate");
}

#[test]
fn offsets_that_go_back_are_named() {
    assert_caught(Bug::ReorderedOffsets, "nonmonotonic-send");
}

#[test]
fn a_poll_past_what_is_decided_is_named() {
    assert_caught(Bug::PollPastCommit, "G1a");
}

#[test]
fn a_poll_that_skips_is_named() {
    assert_caught(Bug::PollSkips, "poll-skip");
}

#[test]
fn a_poll_that_repeats_is_named() {
    assert_caught(Bug::PollRepeats, "nonmonotonic-poll");
}

#[test]
fn a_poll_that_leaves_out_is_named() {
    assert_caught(Bug::PollLeavesOut, "int-poll-skip");
}

#[test]
fn a_poll_in_the_wrong_order_is_named() {
    assert_caught(Bug::PollShuffles, "int-nonmonotonic-poll");
}

#[test]
fn an_invented_message_is_named() {
    assert_caught(Bug::Invented, "phantom");
}
