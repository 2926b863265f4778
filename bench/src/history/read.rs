//! Reading histories.
//!
//! Jepsen's EDN, one map a line or all of them in one vector, as plain maps or
//! as `#jepsen.history.Op{...}`; or our own JSON lines. Operations without `:index` get their
//! position, those without `:time` too. An index may leave gaps, as in a history
//! that was filtered, but must increase; in memory the positions are without gaps.
//!
//! JSON does not tell keywords from strings. What comes back as a keyword is known
//! by its place: `f`, the keys of a value, the first element of an error and of a micro-operation.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use compact_str::CompactString;

use super::{History, Op, OpType, Process};
use crate::edn::{Edn, ParseError, Reader};

/// Why a history cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The file, if it came from one.
    pub file: Option<PathBuf>,
    /// Line, from 1; none if it is about the whole file.
    pub line: Option<usize>,
    /// The complaint.
    pub what: String,
}

impl ReadError {
    /// Line and complaint, for those who have named the file already.
    pub fn reason(&self) -> String {
        self.line.map_or_else(|| self.what.clone(), |line| format!("line {line}: {}", self.what))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        f.write_str(&self.reason())
    }
}

impl std::error::Error for ReadError {}

impl From<ParseError> for ReadError {
    fn from(error: ParseError) -> ReadError {
        let what = format!("column {}: {}", error.column, error.what);
        ReadError { file: None, line: Some(error.line), what }
    }
}

/// Reads a history file in any of the formats.
///
/// # Errors
/// If the file cannot be read, or is no history; with its name and line.
pub fn read(path: &Path) -> Result<History, ReadError> {
    let named = |line, what| ReadError { file: Some(path.to_owned()), line, what };
    let bytes = fs::read(path).map_err(|e| named(None, e.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        named(Some(line), "this is not UTF-8".to_owned())
    })?;
    from_text(text).map_err(|e| named(e.line, e.what))
}

/// Reads a history from a text in any of the formats.
///
/// # Errors
/// If the text is no history.
pub fn from_text(text: &str) -> Result<History, ReadError> {
    // An operation has keyword keys in EDN and string keys in JSON.
    let is_json = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .and_then(|line| line.trim_start().strip_prefix('{'))
        .is_some_and(|rest| rest.trim_start().starts_with('"'));
    let mut history = Builder::default();
    if is_json {
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let record = Edn::from_json(line).map_err(|e| at(n + 1, e.to_string()))?;
            history.push(record, true).map_err(|what| at(n + 1, what))?;
        }
    } else {
        read_edn(&mut Reader::new(text), &mut history)?;
    }
    Ok(history.ops)
}

fn at(line: usize, what: String) -> ReadError {
    ReadError { file: None, line: Some(line), what }
}

fn read_edn(reader: &mut Reader<'_>, history: &mut Builder) -> Result<(), ReadError> {
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
                Some(_) => Err(at(reader.line_of(rest), "more after the history".to_owned())),
            };
        }
        let start = reader.next_start()?;
        match reader.read()? {
            Some(record) => {
                history.push(record, false).map_err(|what| at(reader.line_of(start), what))?;
            }
            None if close.is_none() => return Ok(()),
            None => {
                let what = "the vector of operations is never closed".to_owned();
                return Err(at(reader.line_of(start), what));
            }
        }
    }
}

/// Turns records into operations.
#[derive(Default)]
struct Builder {
    ops: History,
    last_index: Option<i64>,
}

impl Builder {
    fn push(&mut self, record: Edn, from_json: bool) -> Result<(), String> {
        let mut fields = Fields::of(record)?;
        let position = self.ops.len();
        self.check_index(fields.take("index"))?;
        let time = match fields.take("time") {
            None => i64::try_from(position).unwrap_or(i64::MAX),
            Some(time) => time.as_int().ok_or_else(|| format!(":time is {time}, no integer"))?,
        };
        let kind = fields.require("type")?;
        let kind = kind
            .as_text()
            .and_then(OpType::from_name)
            .ok_or_else(|| format!("unknown :type {kind}"))?;
        let process = process(&fields.require("process")?)?;
        let f = match fields.require("f")? {
            Edn::Keyword(name) | Edn::Str(name) | Edn::Symbol(name) => name,
            other => return Err(format!(":f is {other}, no keyword")),
        };
        let mut value = fields.take("value").unwrap_or_default();
        let mut error = fields.take("error");
        if from_json {
            if matches!(&*f, "txn" | "send" | "poll") {
                restore_micro_ops(&mut value);
            }
            error.iter_mut().for_each(restore_head);
        }
        let mut op = Op {
            index: position,
            time,
            kind,
            process,
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
        Ok(())
    }

    fn check_index(&mut self, index: Option<Edn>) -> Result<(), String> {
        let Some(index) = index else { return Ok(()) };
        let index = index.as_int().ok_or_else(|| format!(":index is {index}, no integer"))?;
        if let Some(last) = self.last_index.filter(|&last| last >= index) {
            return Err(format!(":index {index} after :index {last}"));
        }
        self.last_index = Some(index);
        Ok(())
    }
}

fn process(value: &Edn) -> Result<Process, String> {
    if let Some(id) = value.as_int().and_then(|id| u64::try_from(id).ok()) {
        return Ok(Process::Client(id));
    }
    match value.as_text() {
        Some("nemesis") => Ok(Process::Nemesis),
        _ => Err(format!(":process is {value}, neither a number nor :nemesis")),
    }
}

/// The entries of a record, taken out by name.
struct Fields(Vec<(CompactString, Edn)>);

impl Fields {
    fn of(record: Edn) -> Result<Fields, String> {
        let entries = match record {
            Edn::Map(entries) => entries,
            Edn::Tagged(tag, inner) => match *inner {
                Edn::Map(entries) if tag == "jepsen.history.Op" => entries,
                _ => return Err(format!("expected an operation, found #{tag}")),
            },
            other => return Err(format!("expected an operation, found {}", shortened(&other))),
        };
        let name = |(key, value)| match key {
            Edn::Keyword(name) => Ok((name, value)),
            other => Err(format!("key {other} is no keyword")),
        };
        entries.into_iter().map(name).collect::<Result<_, _>>().map(Fields)
    }

    fn take(&mut self, name: &str) -> Option<Edn> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    fn require(&mut self, name: &str) -> Result<Edn, String> {
        self.take(name).ok_or_else(|| format!("no :{name}"))
    }

    fn rest(self) -> Vec<(CompactString, Edn)> {
        self.0
    }
}

/// The beginning of a value, for messages.
fn shortened(value: &Edn) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Turns `["append", 1, 2]` in a transaction back into `[:append 1 2]`, and
/// the keys that a poll returns back into strings.
fn restore_micro_ops(value: &mut Edn) {
    let Edn::Vector(micro_ops) = value else { return };
    for micro_op in micro_ops {
        restore_head(micro_op);
        if let Edn::Vector(parts) = micro_op
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
    if let Edn::Vector(parts) = value
        && let Some(head @ Edn::Str(_)) = parts.first_mut()
        && let Edn::Str(name) = std::mem::take(head)
    {
        *head = Edn::Keyword(name);
    }
}
