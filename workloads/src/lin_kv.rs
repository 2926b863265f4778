//! Lin-kv: registers with compare-and-set, linearizable.
//!
//! The state machine is a map from keys to values, both any JSON. A value is kept and
//! given back as the text it came in; two values are equal if they mean the same
//! (`canonical`). Everything else (agreement, durability, retries, members) is the
//! replica's.
//!
//! Deliberately missing: reads that may be stale, and deletion, which the protocol does
//! not have.

use std::any::Any;
use std::collections::BTreeMap;

use seaworthy::message::{ErrorCode, Message, RpcError, brief};
use seaworthy::node::{Context, Event, Workload};
use seaworthy::shell::raft::{Answer, Replica, StateMachine};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::options::Options;
use crate::reply::not_supported;
use seaworthy::canonical::{canonical, same};

/// How many bytes of a key or value an error quotes.
const QUOTED: usize = 100;

/// The workload.
pub struct LinKv {
    replica: Replica<Registers>,
}

/// The registers, by canonical key.
#[derive(Default)]
pub struct Registers(BTreeMap<String, Box<RawValue>>);

/// A command as it stands in the log.
#[derive(Deserialize, Serialize)]
enum Command<'a> {
    /// Key and value.
    #[serde(rename = "w")]
    Write(#[serde(borrow)] &'a RawValue, #[serde(borrow)] &'a RawValue),
    /// Key, the value expected, the new value, and whether to create the key.
    #[serde(rename = "c")]
    Cas(
        #[serde(borrow)] &'a RawValue,
        #[serde(borrow)] &'a RawValue,
        #[serde(borrow)] &'a RawValue,
        bool,
    ),
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
}

#[derive(Deserialize)]
struct Write<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
struct Cas<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    from: &'a RawValue,
    #[serde(borrow)]
    to: &'a RawValue,
    #[serde(default)]
    create_if_not_exists: bool,
}

#[derive(Serialize)]
struct ReadOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    value: &'a RawValue,
}

#[derive(Serialize)]
struct Done {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl LinKv {
    /// The type of messages between the nodes of this workload.
    pub const PEER: &'static str = "lin-kv:raft";

    /// A node that has not started yet.
    pub fn new(options: &Options) -> LinKv {
        let replica = Replica::new(LinKv::PEER, Registers::default(), options.raft.clone());
        LinKv { replica }
    }

    /// The replica, for white-box checks.
    pub fn replica(&self) -> &Replica<Registers> {
        &self.replica
    }
}

impl Workload for LinKv {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Some(message) = self.replica.handle(cx, event) else { return };
        let request = message.request();
        match parse(&message) {
            Ok(Some(Ask::Read(key))) => self.replica.query(cx, request, key),
            Ok(Some(Ask::Change(command))) => self.replica.submit(cx, request, command),
            Ok(None) => not_supported(cx, &message),
            Err(error) => cx.error(&request, &error),
        }
    }

    fn engine(&self) -> Option<&dyn Any> {
        self.replica.raft().map(|raft| raft as &dyn Any)
    }
}

/// A request of a client.
enum Ask {
    Read(Box<RawValue>),
    Change(Box<RawValue>),
}

/// Reads a client's message; `None` if its type is not served here.
fn parse(message: &Message) -> Result<Option<Ask>, RpcError> {
    let pack = |command| to_raw_value(&command).expect("commands are plain data");
    Ok(Some(match message.body.kind.as_str() {
        "read" => Ask::Read(message.body.parse::<Read<'_>>()?.key.to_owned()),
        "write" => {
            let Write { key, value } = message.body.parse()?;
            Ask::Change(pack(Command::Write(key, value)))
        }
        "cas" => {
            let Cas { key, from, to, create_if_not_exists } = message.body.parse()?;
            Ask::Change(pack(Command::Cas(key, from, to, create_if_not_exists)))
        }
        _ => return Ok(None),
    }))
}

impl Registers {
    fn cas(&mut self, key: &RawValue, from: &RawValue, to: &RawValue, create: bool) -> Answer {
        match self.0.get_mut(&canonical(key)) {
            Some(value) if same(value, from) => *value = to.to_owned(),
            Some(value) => return differs(from, value),
            None if create => _ = self.0.insert(canonical(key), to.to_owned()),
            None => return missing(key),
        }
        Answer::new(&Done { kind: "cas_ok" })
    }
}

fn differs(from: &RawValue, value: &RawValue) -> Answer {
    let (from, value) = (brief(from.get(), QUOTED), brief(value.get(), QUOTED));
    let text = format!("expected {from}, but had {value}");
    Answer::error(&RpcError::new(ErrorCode::PRECONDITION_FAILED, text))
}

fn missing(key: &RawValue) -> Answer {
    let text = format!("there is no key {}", brief(key.get(), QUOTED));
    Answer::error(&RpcError::new(ErrorCode::KEY_DOES_NOT_EXIST, text))
}

impl StateMachine for Registers {
    const HAS_IDLE_COMMANDS: bool = true;

    /// A write of the text that is there, a compare-and-set that fails.
    fn idle_answer(&self, command: &RawValue) -> Option<Answer> {
        let command: Command<'_> = serde_json::from_str(command.get()).ok()?;
        let (Command::Write(key, _) | Command::Cas(key, ..)) = command;
        let now = self.0.get(&canonical(key));
        let stays = |new: &RawValue| now.is_some_and(|now| now.get() == new.get());
        match (command, now) {
            (Command::Write(_, value), _) => {
                stays(value).then(|| Answer::new(&Done { kind: "write_ok" }))
            }
            (Command::Cas(_, from, to, _), Some(value)) if same(value, from) => {
                stays(to).then(|| Answer::new(&Done { kind: "cas_ok" }))
            }
            (Command::Cas(_, from, ..), Some(value)) => Some(differs(from, value)),
            (Command::Cas(.., create), None) => (!create).then(|| missing(key)),
        }
    }

    fn apply(&mut self, command: &RawValue) -> Answer {
        match serde_json::from_str(command.get()) {
            Ok(Command::Write(key, value)) => {
                self.0.insert(canonical(key), value.to_owned());
                Answer::new(&Done { kind: "write_ok" })
            }
            Ok(Command::Cas(key, from, to, create)) => self.cas(key, from, to, create),
            // Every node decides the same about it, and nothing has happened.
            Err(e) => Answer::error(&RpcError::new(ErrorCode::NOT_SUPPORTED, e.to_string())),
        }
    }

    fn query(&self, key: &RawValue) -> Answer {
        match self.0.get(&canonical(key)) {
            Some(value) => Answer::new(&ReadOk { kind: "read_ok", value }),
            None => missing(key),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("registers are plain data")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.0 = serde_json::from_slice(snapshot).map_err(|e| e.to_string())?;
        Ok(())
    }
}
