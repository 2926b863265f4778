//! Writing histories: as Jepsen does, and as JSON lines for programs.

use std::fmt::Write;

use super::{Op, Process};
use crate::edn::Edn;

impl Op {
    /// The operation as a map, with its keys in Jepsen's order.
    pub fn to_edn(&self) -> Edn {
        let mut entries = vec![
            (Edn::keyword("index"), Edn::from(self.index)),
            (Edn::keyword("time"), Edn::Int(self.time)),
            (Edn::keyword("type"), Edn::keyword(self.kind.name())),
            (Edn::keyword("process"), self.process.to_edn()),
            (Edn::keyword("f"), Edn::Keyword(self.f.clone())),
            (Edn::keyword("value"), self.value.clone()),
        ];
        if let Some(error) = &self.error {
            entries.push((Edn::keyword("error"), error.clone()));
        }
        if self.is_final {
            entries.push((Edn::keyword("final?"), Edn::Bool(true)));
        }
        let extra = |(key, value): &(_, Edn)| (Edn::Keyword(Clone::clone(key)), value.clone());
        entries.extend(self.extra.iter().map(extra));
        Edn::Map(entries)
    }

    /// The operation as results show it: `#jepsen.history.Op{...}`.
    pub fn to_record(&self) -> Edn {
        Edn::tagged("jepsen.history.Op", self.to_edn())
    }
}

/// `history.edn`: one map a line.
pub fn to_edn_lines(history: &[Op]) -> String {
    lines(history, |op, out| write!(out, "{}", op.to_edn()))
}

/// The JSON twin of `history.edn`: one object a line.
pub fn to_json_lines(history: &[Op]) -> String {
    lines(history, |op, out| out.write_str(&op.to_edn().to_json()))
}

/// `history.txt`: process, type, f, value and error, with tabs between them.
pub fn to_txt(history: &[Op]) -> String {
    lines(history, write_columns)
}

fn write_columns(op: &Op, out: &mut String) -> std::fmt::Result {
    let (process, kind) = (op.process.to_edn(), op.kind.name());
    write!(out, "{process}\t:{kind}\t:{}\t{}", op.f, op.value)?;
    match &op.error {
        None | Some(Edn::Nil | Edn::Bool(false)) => Ok(()),
        // Jepsen prints the error for people, a plain text without quotes.
        Some(Edn::Str(text)) => write!(out, "\t{text}"),
        Some(error) => write!(out, "\t{error}"),
    }
}

/// A line of `jepsen.log` without its end: seconds since the operations began where Jepsen
/// has the date, since a run of a seed is the same on every day; then level, thread, and
/// the columns of `history.txt`.
pub fn to_log_line(op: &Op, workers: usize) -> String {
    let thread = match op.process {
        Process::Client(process) => format!("worker {}", process % workers.max(1) as u64),
        Process::Nemesis => "nemesis".to_owned(),
    };
    let (seconds, nanos) = (op.time / 1_000_000_000, op.time % 1_000_000_000);
    let mut line = format!("{seconds}.{nanos:09}\tINFO\t[jepsen {thread}] jepsen.util: ");
    write_columns(op, &mut line).expect("writing into a String cannot fail");
    line
}

fn lines(history: &[Op], line: impl Fn(&Op, &mut String) -> std::fmt::Result) -> String {
    let mut out = String::new();
    for op in history {
        line(op, &mut out).expect("writing into a String cannot fail");
        out.push('\n');
    }
    out
}
