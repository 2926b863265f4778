//! One operation of a history, from the map that a file has.
//!
//! JSON does not tell keywords from strings. A keyword is known by its place: `f`, the keys of a
//! value, the first element of an error and of a micro-operation. A colon in front of such a word
//! is dropped.

use compact_str::CompactString;

use super::hints::Hints;
use super::process::process;
use super::words::{shortened, shortened_text};
use super::{Op, OpType, Process};
use crate::edn::Edn;

/// The parts of an operation that a record gives.
pub(super) struct Parts {
    /// Index, time and process of it are not set.
    pub(super) op: Op,
    pub(super) index: Option<i64>,
    pub(super) time: Option<i64>,
    pub(super) process: Option<Process>,
}

impl Parts {
    pub(super) fn of(record: Edn, hints: Hints, from_json: bool) -> Result<Parts, String> {
        let mut fields = Fields::of(record)?;
        let index = fields.known("index").map(|index| {
            let complaint = || format!(":index is {}, not an integer", shortened(&index));
            index.as_int().ok_or_else(complaint)
        });
        let time = fields.known("time").map(|time| match time {
            Edn::Int(time) => Ok(time),
            // A fraction of a nanosecond says nothing.
            time => {
                let whole = time.as_float().map(|time| time as i64);
                whole.ok_or_else(|| format!(":time is {}, not a number", shortened(&time)))
            }
        });
        let (index, time) = (index.transpose()?, time.transpose()?);
        let kind = fields.require("type")?;
        let kind = name_of(&kind)
            .and_then(OpType::from_name)
            .ok_or_else(|| format!("unknown :type {}", shortened(&kind)))?;
        let process = fields.known("process").map(|value| process(&value)).transpose()?;
        let f = match fields.known("f") {
            Some(f) => CompactString::new(
                name_of(&f).ok_or_else(|| format!(":f is {}, not a name", shortened(&f)))?,
            ),
            None => CompactString::new(hints.f.ok_or_else(|| fields.lack("f"))?),
        };
        let value = restored(fields.take("value").unwrap_or_default(), &f, from_json);
        let mut error = fields.take("error");
        if from_json {
            error.iter_mut().for_each(restore_head);
        }
        let (is_final, mut extra) = (fields.take("final?"), Vec::new());
        let is_final = match is_final {
            Some(Edn::Bool(true)) => true,
            other => {
                extra.extend(other.map(|other| (CompactString::const_new("final?"), other)));
                false
            }
        };
        extra.extend(fields.rest());
        let op = Op {
            index: 0,
            time: 0,
            kind,
            process: Process::Nemesis,
            f,
            value,
            error,
            is_final,
            extra,
        };
        Ok(Parts { op, index, time, process })
    }
}

/// The name that a keyword, symbol or string holds, where a name is expected; JSON made
/// by a program may keep the colon.
fn name_of(value: &Edn) -> Option<&str> {
    let text = value.as_text()?;
    Some(text.strip_prefix(':').unwrap_or(text)).filter(|name| !name.is_empty())
}

/// The value of an operation `f` as Jepsen would have printed it.
pub(super) fn restored(value: Edn, f: &str, from_json: bool) -> Edn {
    let mut value = untupled(value);
    if matches!(f, "txn" | "send" | "poll") {
        restore_micro_ops(&mut value, from_json);
    }
    value
}

/// The key and value of an operation on one of several independent objects. Jepsen
/// prints the pair with a tag, or without.
fn untupled(value: Edn) -> Edn {
    match value {
        Edn::Tagged(tagged) if tagged.0 == "jepsen.independent/tuple" => tagged.1,
        other => other,
    }
}

/// The entries of a record, taken out by name.
struct Fields {
    entries: Vec<(Edn, Edn)>,
    /// Which of them are taken, by their places.
    taken: Vec<bool>,
}

impl Fields {
    fn of(record: Edn) -> Result<Fields, String> {
        let entries = match record {
            Edn::Map(entries) => entries,
            Edn::Tagged(tagged) => match *tagged {
                (_, Edn::Map(entries)) => entries,
                (tag, _) => return Err(format!("expected an operation, found #{tag}")),
            },
            other => return Err(format!("expected an operation, found {}", shortened(&other))),
        };
        match entries.iter().find(|(key, _)| name_of(key).is_none()) {
            None => Ok(Fields { taken: vec![false; entries.len()], entries }),
            Some((key, _)) => Err(format!("key {} is not a name", shortened(key))),
        }
    }

    fn take(&mut self, name: &str) -> Option<Edn> {
        let place = |is_it: &dyn Fn(&str) -> bool| {
            let mut places = self.entries.iter().zip(&self.taken);
            places.position(|((key, _), taken)| !taken && name_of(key).is_some_and(is_it))
        };
        // A map with a namespace, `#:jepsen{:type :ok}`, has it in front of each key.
        let is_qualified = |key: &str| key.split_once('/').is_some_and(|(_, plain)| plain == name);
        let at = place(&|key| key == name).or_else(|| place(&is_qualified))?;
        self.taken[at] = true;
        Some(std::mem::take(&mut self.entries[at].1))
    }

    /// The same, where nil means that it is not known.
    fn known(&mut self, name: &str) -> Option<Edn> {
        self.take(name).filter(|value| !value.is_nil())
    }

    fn require(&mut self, name: &str) -> Result<Edn, String> {
        let found = self.known(name);
        found.ok_or_else(|| self.lack(name))
    }

    /// The complaint that there is no value of this name, with the names that there are.
    fn lack(&self, name: &str) -> String {
        let known = self.entries.iter().filter_map(|(key, _)| name_of(key));
        let known: Vec<String> = known.take(8).map(|name| format!(":{name}")).collect();
        match known.is_empty() {
            true => format!("no :{name}, found an empty map"),
            false => format!("no :{name}, found {}", shortened_text(&known.join(" "))),
        }
    }

    fn rest(self) -> Vec<(CompactString, Edn)> {
        let left = self.entries.into_iter().zip(self.taken).filter(|(_, taken)| !taken);
        let entry = |(key, value): (Edn, Edn)| Some((CompactString::new(name_of(&key)?), value));
        left.filter_map(|(entry_left, _)| entry(entry_left)).collect()
    }
}

/// Turns `["append", 1, 2]` in a transaction back into `[:append 1 2]`, and, from JSON,
/// the keys that a poll returns back into strings.
fn restore_micro_ops(value: &mut Edn, from_json: bool) {
    let (Edn::Vector(micro_ops) | Edn::List(micro_ops)) = value else { return };
    for micro_op in micro_ops {
        restore_head(micro_op);
        if from_json
            && let Edn::Vector(parts) = micro_op
            && let [Edn::Keyword(head), Edn::Map(polled), ..] = &mut parts[..]
            && head == "poll"
        {
            for (key, _) in polled {
                if let Edn::Keyword(name) = key {
                    *key = Edn::Str(std::mem::take(name));
                }
            }
        }
    }
}

fn restore_head(value: &mut Edn) {
    if let Edn::Vector(parts) | Edn::List(parts) = value
        && let Some(head @ Edn::Str(_)) = parts.first_mut()
        && let Some(name) = name_of(head)
    {
        *head = Edn::keyword(name);
    }
}
