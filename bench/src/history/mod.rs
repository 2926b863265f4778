//! Histories: the operations as the clients saw them.
//!
//! Jepsen's model. An operation is invoked and then completes as `ok` (it
//! happened), `fail` (it certainly did not) or `info` (unknown). A process is
//! a logical thread of a client: it has at most one operation open, and after an
//! `info` it never invokes again, since its last operation may still take effect.
//!
//! Histories are read from files in any notation that is in use, and written in Jepsen's
//! and as JSON, one operation a line. Checkers get them as pairs of invocation and completion.

mod bare;
mod ending;
mod error;
mod hints;
mod pair;
mod place;
mod process;
mod quantile;
mod read;
mod record;
mod source;
mod tape;
#[cfg(test)]
mod tests;
mod text;
mod words;
mod write;

use compact_str::CompactString;

use crate::edn::Edn;

pub use ending::Ending;
pub use error::ReadError;
pub use hints::Hints;
pub use pair::{Pair, PairError, pairs};
pub use place::{STDIN, holds_run, run_dir};
pub use quantile::quantile;
pub use read::{from_text, from_text_as};
pub use source::{read, read_as};
pub use tape::{Events, Tape};
pub use write::{to_edn_lines, to_json_lines, to_txt, write_log_line};

/// Which of the four kinds of event an [`Op`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpType {
    /// The operation begins.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not and will not happen.
    Fail,
    /// It may have happened, and may still.
    Info,
}

/// Who acts: a client process or the nemesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client process.
    Client(u64),
    /// The fault injector.
    Nemesis,
}

/// One event of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Position in the history, from 0.
    pub index: usize,
    /// Nanoseconds since the test began.
    pub time: i64,
    /// Invocation, or how it ended.
    pub kind: OpType,
    /// Who acts.
    pub process: Process,
    /// The operation's name: `read`, `broadcast`, `txn`.
    pub f: CompactString,
    /// Argument of an invocation, result of a completion.
    pub value: Edn,
    /// Why it failed, if it did: `[:precondition-failed "..."]`.
    pub error: Option<Edn>,
    /// Whether it belongs to the last reads, after the recovery.
    pub is_final: bool,
    /// Further keys of the record, such as `:poll-ms`, by keyword name.
    pub extra: Vec<(CompactString, Edn)>,
}

impl OpType {
    /// The name in a history, without the colon.
    pub fn name(self) -> &'static str {
        match self {
            OpType::Invoke => "invoke",
            OpType::Ok => "ok",
            OpType::Fail => "fail",
            OpType::Info => "info",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<OpType> {
        let all = [OpType::Invoke, OpType::Ok, OpType::Fail, OpType::Info];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

impl Process {
    /// How a history writes it: a number, or `:nemesis`.
    pub fn to_edn(self) -> Edn {
        match self {
            // Beyond 63 bits it is not a number of ours, but its digits still are.
            Process::Client(id) => i64::try_from(id).map_or(Edn::BigInt(id.to_string()), Edn::Int),
            Process::Nemesis => Edn::keyword("nemesis"),
        }
    }
}

impl Op {
    /// An event of a client, with nothing besides; the first one, at time 0.
    pub fn new(kind: OpType, client: u64, f: impl Into<CompactString>, value: Edn) -> Op {
        Op {
            index: 0,
            time: 0,
            kind,
            process: Process::Client(client),
            f: f.into(),
            value,
            error: None,
            is_final: false,
            extra: Vec::new(),
        }
    }

    /// Whether a client acts here.
    pub fn is_client(&self) -> bool {
        matches!(self.process, Process::Client(_))
    }
}

/// The events of a run in the order in which they happened.
pub type History = Vec<Op>;
