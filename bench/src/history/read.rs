//! Reading histories.
//!
//! Jepsen's EDN, one map a line or all of them in one vector, as plain maps or as
//! records of any tag (`#jepsen.history.Op{...}`, `#knossos.op.Op{...}`); JSON, one object
//! a line or spread over lines, or all of them in an array, as elle-cli has it; and the
//! lines of `history.txt` and `jepsen.log` ([`super::text`]).
//!
//! Operations without `:index` or `:time` get their position. An index may leave gaps, as
//! in a history that was filtered, but must increase; in memory the positions are
//! without gaps. Operations without `:f` get the one of the workload, if it has only
//! one. If no operation names a `:process`, a completion belongs to the only open
//! invocation that it fits ([`super::process`]).
//!
//! JSON does not tell keywords from strings. What comes back as a keyword is known by its
//! place: `f`, the keys of a value, the first element of an error and of a
//! micro-operation. A colon in front of such a word is dropped.

use compact_str::CompactString;

use super::process::{Processes, process};
use super::source::ReadError;
use super::{History, Op, OpType, text};
use crate::edn::{Edn, Reader, printable};

/// What is known about the operations of a history before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// The `:f` of operations that do not name theirs.
    pub f: Option<&'static str>,
}

impl Hints {
    /// What the name of a workload says.
    pub fn of(workload: &str) -> Hints {
        let f = match workload {
            "echo" => Some("echo"),
            "unique-ids" => Some("generate"),
            "txn-list-append" | "txn-rw-register" => Some("txn"),
            _ => None,
        };
        Hints { f }
    }
}

/// Reads a history from a text in any of the formats.
///
/// # Errors
/// If the text is no history.
pub fn from_text(text: &str) -> Result<History, ReadError> {
    from_text_as(text, Hints::default())
}

/// The same, with what is known about it.
///
/// # Errors
/// If the text is no history.
pub fn from_text_as(text: &str, hints: Hints) -> Result<History, ReadError> {
    // Editors and spreadsheets mark the order of bytes, which says nothing in UTF-8.
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let reader = Reader::new(text);
    let mut history = Builder { hints, ..Builder::default() };
    if is_json(text) {
        Edn::each_in_json(text, |at, record| {
            history.push(at, record, true).map_err(|what| reader.error_at(at, what).into())
        })
        .map_err(|error: ReadError| error)?;
    } else if text::is_log(text) {
        text::read(text, |at, record| {
            history.push(at, record, false).map_err(|what| reader.error_at(at, what))
        })?;
    } else {
        read_edn(&mut Reader::new(text), &mut history)?;
    }
    history.finish(&reader)
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

fn read_edn(reader: &mut Reader<'_>, history: &mut Builder) -> Result<(), ReadError> {
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
                let pushed = history.push(start, record, false);
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
struct Builder {
    hints: Hints,
    ops: History,
    /// The byte at which each record begins.
    starts: Vec<usize>,
    processes: Processes,
    last_index: Option<i64>,
}

impl Builder {
    /// Adds the operation that begins at a byte.
    fn push(&mut self, start: usize, record: Edn, from_json: bool) -> Result<(), String> {
        let mut fields = Fields::of(record)?;
        let position = self.ops.len();
        self.check_index(fields.known("index"))?;
        let time = match fields.known("time") {
            None => i64::try_from(position).unwrap_or(i64::MAX),
            // A fraction of a nanosecond says nothing.
            Some(Edn::Float(time)) => time as i64,
            Some(time) => time
                .as_int()
                .ok_or_else(|| format!(":time is {}, not a number", shortened(&time)))?,
        };
        let kind = fields.require("type")?;
        let kind = name_of(&kind)
            .and_then(OpType::from_name)
            .ok_or_else(|| format!("unknown :type {}", shortened(&kind)))?;
        let process = fields.known("process").map(|value| process(&value)).transpose()?;
        let f = match fields.known("f") {
            Some(f) => CompactString::new(
                name_of(&f).ok_or_else(|| format!(":f is {}, not a name", shortened(&f)))?,
            ),
            None => CompactString::new(self.hints.f.ok_or("no :f")?),
        };
        let mut value = untupled(fields.take("value").unwrap_or_default());
        let mut error = fields.take("error");
        if matches!(&*f, "txn" | "send" | "poll") {
            restore_micro_ops(&mut value, from_json);
        }
        if from_json {
            error.iter_mut().for_each(restore_head);
        }
        let mut op = Op {
            index: position,
            time,
            kind,
            process: self.processes.of(process)?,
            f,
            value,
            error,
            is_final: false,
            extra: Vec::new(),
        };
        match fields.take("final?") {
            None => {}
            Some(Edn::Bool(true)) => op.is_final = true,
            Some(other) => op.extra.push((CompactString::const_new("final?"), other)),
        }
        op.extra.extend(fields.rest());
        self.ops.push(op);
        self.starts.push(start);
        Ok(())
    }

    fn check_index(&mut self, index: Option<Edn>) -> Result<(), String> {
        let Some(index) = index else { return Ok(()) };
        let index = index
            .as_int()
            .ok_or_else(|| format!(":index is {}, not an integer", shortened(&index)))?;
        if let Some(last) = self.last_index.filter(|&last| last >= index) {
            return Err(format!(":index {index} after :index {last}"));
        }
        self.last_index = Some(index);
        Ok(())
    }

    fn finish(mut self, reader: &Reader<'_>) -> Result<History, ReadError> {
        self.processes.assign(&mut self.ops).map_err(|(index, what)| {
            let start = self.starts.get(index).copied().unwrap_or_default();
            ReadError::from(reader.error_at(start, what))
        })?;
        Ok(self.ops)
    }
}

/// The name that a keyword, symbol or string holds, where a name is expected; JSON made
/// by a program may keep the colon.
fn name_of(value: &Edn) -> Option<&str> {
    let text = value.as_text()?;
    Some(text.strip_prefix(':').unwrap_or(text)).filter(|name| !name.is_empty())
}

/// The key and value of an operation on one of several independent objects. Jepsen
/// prints the pair with a tag, or without.
fn untupled(value: Edn) -> Edn {
    match value {
        Edn::Tagged(tag, inner) if tag == "jepsen.independent/tuple" => *inner,
        other => other,
    }
}

/// The entries of a record, taken out by name.
struct Fields(Vec<(CompactString, Edn)>);

impl Fields {
    fn of(record: Edn) -> Result<Fields, String> {
        let entries = match record {
            Edn::Map(entries) => entries,
            Edn::Tagged(tag, inner) => match *inner {
                Edn::Map(entries) => entries,
                _ => return Err(format!("expected an operation, found #{tag}")),
            },
            other => return Err(format!("expected an operation, found {}", shortened(&other))),
        };
        let name = |(key, value): (Edn, Edn)| match name_of(&key) {
            Some(name) => Ok((CompactString::new(name), value)),
            None => Err(format!("key {} is not a name", shortened(&key))),
        };
        entries.into_iter().map(name).collect::<Result<_, _>>().map(Fields)
    }

    fn take(&mut self, name: &str) -> Option<Edn> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// The same, where nil means that it is not known.
    fn known(&mut self, name: &str) -> Option<Edn> {
        self.take(name).filter(|value| !value.is_nil())
    }

    fn require(&mut self, name: &str) -> Result<Edn, String> {
        self.known(name).ok_or_else(|| format!("no :{name}"))
    }

    fn rest(self) -> Vec<(CompactString, Edn)> {
        self.0
    }
}

/// The beginning of a value, for messages.
pub(super) fn shortened(value: &Edn) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(&text),
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
