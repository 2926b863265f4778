//! Reading histories.
//!
//! Jepsen's EDN, one map a line or all of them in one vector, as plain maps or as
//! records of any tag (`#jepsen.history.Op{...}`, `#knossos.op.Op{...}`); JSON, one object
//! a line or spread over lines, or all of them in an array, as elle-cli has it; the map of a
//! whole test with such a vector or array under `history`; and the lines of `history.txt` and
//! `jepsen.log` ([`super::text`]). Keys may have a namespace (`#:jepsen{:type :ok}`).
//!
//! Operations without `:index` or `:time` get their position. An index may leave gaps, as
//! in a history that was filtered, but must increase; in memory the positions are
//! without gaps. Transactions without any invocation, as in Elle's examples, are given them
//! ([`super::bare`]). Operations without `:f` get the one of the workload, if it has only
//! one. If no operation names a `:process`, a completion belongs to the only open
//! invocation that it fits ([`super::process`]).

use compact_str::CompactString;

use super::error::ReadError;
use super::hints::Hints;
use super::process::Processes;
use super::record::{Parts, restored};
use super::words::shortened;
use super::{History, Op, OpType, Process, bare, text};
use crate::edn::{Edn, ParseError, Reader};

/// Reads a history from a text in any of the formats.
///
/// # Errors
/// If the text is not a history.
pub fn from_text(text: &str) -> Result<History, ReadError> {
    from_text_as(text, Hints::default())
}

/// The same, with hints.
///
/// # Errors
/// If the text is not a history.
pub fn from_text_as(text: &str, hints: Hints) -> Result<History, ReadError> {
    let builder = Builder { hints, ..Builder::default() };
    builder.read(text, Notation::of(text)).map(|(ops, _)| ops)
}

/// How the operations of a text are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    Edn,
    Json,
    Log,
}

impl Notation {
    pub(super) fn of(text: &str) -> Notation {
        let text = unmarked(text);
        if is_json(text) {
            Notation::Json
        } else if text::is_log(text) {
            Notation::Log
        } else {
            Notation::Edn
        }
    }

    /// The value and extra keys of an operation, of which only the head is known, at a place in
    /// the text.
    pub(super) fn contents_at(
        self,
        text: &str,
        place: Place,
        f: &str,
        hints: Hints,
    ) -> Option<Contents> {
        let text = &unmarked(text)[place.byte()..];
        if place.is_value() {
            let value = Reader::new(text).read().ok()??;
            return Some((restored(value, f, false), Vec::new()));
        }
        let record = match self {
            Notation::Edn => Reader::new(text).read().ok().flatten(),
            Notation::Json => Edn::first_in_json(text),
            Notation::Log => text::first(text),
        };
        let op = Parts::of(record?, hints, self == Notation::Json).ok()?.op;
        Some((op.value, op.extra))
    }
}

/// The parts that a head lacks: the value, and the extra keys.
pub(super) type Contents = (Edn, Vec<(CompactString, Edn)>);

/// Where a text has the parts that a head lacks: a record, or the value alone, if there is nothing
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Place {
    fn new(byte: usize, is_value: bool) -> Place {
        // No text fills half of the address space.
        Place(byte << 1 | usize::from(is_value))
    }

    fn byte(self) -> usize {
        self.0 >> 1
    }

    fn is_value(self) -> bool {
        self.0 & 1 == 1
    }
}

/// The text without its first character if that is the mark of byte order, which editors and
/// spreadsheets write and which says nothing in UTF-8.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

/// Whether the first operation is in JSON, which has a colon behind a key that is a string;
/// in EDN a colon there would begin a keyword.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let first = text.strip_prefix('[').unwrap_or(text).trim_start();
    let key = first.strip_prefix('{').and_then(|object| object.trim_start().strip_prefix('"'));
    let Some((_, rest)) = key.and_then(|key| key.split_once('"')) else { return false };
    let Some(value) = rest.trim_start().strip_prefix(':') else { return false };
    let literals = ["true", "false", "null"];
    !value.starts_with(char::is_alphabetic) || literals.iter().any(|word| value.starts_with(word))
}

/// The key under which the map of a whole test has its history.
const WRAPPER: &str = "history";

/// Moves to the history in the map of a whole test, which is not an operation itself. Returns
/// false, and may have moved, if the text does not begin with one.
fn enter_wrapper(reader: &mut Reader<'_>, text: &str) -> Result<bool, ParseError> {
    if !reader.eat_map_opening()? {
        return Ok(false);
    }
    while let Some(key) = reader.read()? {
        let name = key.as_text().unwrap_or_default();
        let begins = text[reader.next_start()?..].starts_with(['[', '(']);
        match name.rsplit('/').next() {
            Some(WRAPPER) if begins => return Ok(true),
            Some("type") => return Ok(false),
            _ => drop(reader.read()?),
        }
        if reader.eat(b'}')? {
            break;
        }
    }
    Ok(false)
}

fn read_edn(text: &str, history: &mut Builder) -> Result<(), ReadError> {
    let mut inside = Reader::new(text);
    // A text that is not a whole test is read as operations, which brings the complaints.
    let is_wrapped = enter_wrapper(&mut inside, text).unwrap_or(false);
    let reader = &mut if is_wrapped { inside } else { Reader::new(text) };
    let opening = reader.next_start()?;
    let close = match (reader.eat(b'[')?, reader.eat(b'(')?) {
        (true, _) => Some(b']'),
        (false, true) => Some(b')'),
        (false, false) => None,
    };
    loop {
        if let Some(close) = close
            && reader.eat(close)?
        {
            while is_wrapped && !reader.eat(b'}')? {
                if reader.read()?.is_none() || reader.read()?.is_none() {
                    return Err(reader
                        .error_at(opening, "the map around it is never closed")
                        .into());
                }
            }
            let rest = reader.next_start()?;
            return match reader.read()? {
                None => Ok(()),
                Some(more) => {
                    let what = format!("more after the history: {}", shortened(&more));
                    Err(reader.error_at(rest, what).into())
                }
            };
        }
        let start = reader.next_start()?;
        match reader.read()? {
            Some(record) => {
                let pushed = history.push(start, reader.value_start(), record, false);
                pushed.map_err(|what| reader.error_at(start, what))?;
            }
            None if close.is_none() => return Ok(()),
            None => {
                let what = "the vector of operations is never closed";
                return Err(reader.error_at(opening, what).into());
            }
        }
    }
}

/// Turns records into operations.
#[derive(Default)]
pub(super) struct Builder {
    hints: Hints,
    /// Whether values are only looked at, and not kept.
    lean: bool,
    ops: History,
    places: Vec<Place>,
    processes: Processes,
    last_index: Option<i64>,
}

impl Builder {
    /// One that keeps no values, if processes are named.
    pub(super) fn lean(hints: Hints) -> Builder {
        Builder { hints, lean: true, ..Builder::default() }
    }

    /// The operations of a text, and, if values are missing, where they are.
    ///
    /// # Errors
    /// If the text is not a history.
    pub(super) fn read(
        mut self,
        text: &str,
        notation: Notation,
    ) -> Result<(History, Option<Vec<Place>>), ReadError> {
        let text = unmarked(text);
        let reader = Reader::new(text);
        match notation {
            Notation::Json => Edn::each_in_json(text, WRAPPER, |at, record| {
                let pushed = self.push(at, None, record, true);
                pushed.map_err(|what| ReadError::from(reader.error_at(at, what)))
            })?,
            Notation::Log => text::read(text, |at, record| {
                self.push(at, None, record, false).map_err(|what| reader.error_at(at, what))
            })?,
            Notation::Edn => read_edn(text, &mut self)?,
        }
        self.finish(&reader)
    }

    /// Adds the operation that begins at a byte.
    fn push(
        &mut self,
        start: usize,
        value_start: Option<usize>,
        record: Edn,
        from_json: bool,
    ) -> Result<(), String> {
        let Parts { mut op, index, time, process } = Parts::of(record, self.hints, from_json)?;
        op.index = self.ops.len();
        op.time = time.unwrap_or(i64::try_from(op.index).unwrap_or(i64::MAX));
        op.process = self.processes.of(process)?;
        self.check_index(index)?;
        let value_start = value_start.filter(|_| self.lean && op.extra.is_empty());
        let place = value_start.map_or(Place::new(start, false), |at| Place::new(at, true));
        if self.lean && self.processes.are_named() && is_lean(&op) {
            op.value = Edn::Nil;
            op.extra = Vec::new();
        }
        self.ops.push(op);
        self.places.push(place);
        Ok(())
    }

    /// Gives each operation of a history without invocations its own.
    fn invoke_all(&mut self) {
        if !self.processes.are_named() {
            let clients = self.ops.iter_mut().filter(|op| op.is_client());
            (0..).zip(clients).for_each(|(id, op)| op.process = Process::Client(id));
        }
        let events = bare::woven(&self.ops);
        let op = |(index, (at, kind)): (usize, &(usize, OpType))| {
            let time = self.ops[*at].time;
            Op { index, kind: *kind, time, ..self.ops[*at].clone() }
        };
        let ops = events.iter().enumerate().map(op).collect();
        self.places = events.iter().map(|(at, _)| self.places[*at]).collect();
        self.ops = ops;
    }

    fn check_index(&mut self, index: Option<i64>) -> Result<(), String> {
        let Some(index) = index else { return Ok(()) };
        if let Some(last) = self.last_index.filter(|&last| last >= index) {
            return Err(format!(":index {index} after :index {last}"));
        }
        self.last_index = Some(index);
        Ok(())
    }

    fn finish(mut self, reader: &Reader<'_>) -> Result<(History, Option<Vec<Place>>), ReadError> {
        if bare::is_bare(&self.ops) {
            self.invoke_all();
        } else {
            self.processes.assign(&mut self.ops).map_err(|(index, what)| {
                let start = self.places.get(index).map_or(0, |place| place.byte());
                ReadError::from(reader.error_at(start, what))
            })?;
        }
        let is_lean = self.lean && self.processes.are_named();
        Ok((self.ops, is_lean.then_some(self.places)))
    }
}

/// Whether a head on a tape lacks its value. The nemesis acts seldom, and an indeterminate operation may
/// be shown with its exception.
pub(super) fn is_lean(head: &Op) -> bool {
    head.is_client() && head.kind != OpType::Info
}
