//! Writing histories: as Jepsen does, and as JSON lines for programs.

use std::fmt::{self, Write};

use super::{Op, Process};
use crate::edn::{self, Edn};

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
    lines(history, write_edn)
}

/// The JSON twin of `history.edn`: one object a line.
pub fn to_json_lines(history: &[Op]) -> String {
    lines(history, |op, out| {
        write_json(op, out);
        Ok(())
    })
}

/// Writes the EDN of [`Op::to_edn`], of which it makes no copy: histories have millions of lines.
fn write_edn(op: &Op, out: &mut String) -> fmt::Result {
    out.push_str("{:index ");
    push_number(op.index, out);
    out.push_str(", :time ");
    push_number(op.time, out);
    out.push_str(", :type :");
    out.push_str(op.kind.name());
    out.push_str(", :process ");
    write_process(op.process, out);
    out.push_str(", :f :");
    out.push_str(&op.f);
    out.push_str(", :value ");
    op.value.write(out)?;
    if let Some(error) = &op.error {
        out.push_str(", :error ");
        error.write(out)?;
    }
    if op.is_final {
        out.push_str(", :final? true");
    }
    for (key, value) in &op.extra {
        write!(out, ", :{key} ")?;
        value.write(out)?;
    }
    out.push('}');
    Ok(())
}

/// Writes the JSON of [`Op::to_edn`], of which it makes no copy either.
fn write_json(op: &Op, out: &mut String) {
    out.push_str("{\"index\":");
    push_number(op.index, out);
    out.push_str(",\"time\":");
    push_number(op.time, out);
    out.push_str(",\"type\":\"");
    out.push_str(op.kind.name());
    out.push_str("\",\"process\":");
    match op.process {
        Process::Client(id) => push_number(id, out),
        Process::Nemesis => out.push_str("\"nemesis\""),
    }
    out.push_str(",\"f\":");
    edn::write_json_string(&op.f, out);
    out.push_str(",\"value\":");
    op.value.write_json(out);
    if let Some(error) = &op.error {
        out.push_str(",\"error\":");
        error.write_json(out);
    }
    if op.is_final {
        out.push_str(",\"final?\":true");
    }
    for (key, value) in &op.extra {
        out.push(',');
        edn::write_json_string(key, out);
        out.push(':');
        value.write_json(out);
    }
    out.push('}');
}

/// Writes a process as [`Process::to_edn`] has it.
fn write_process(process: Process, out: &mut String) {
    match process {
        Process::Client(id) => {
            push_number(id, out);
            // As Clojure prints a number that takes more than 63 bits.
            if i64::try_from(id).is_err() {
                out.push('N');
            }
        }
        Process::Nemesis => out.push_str(":nemesis"),
    }
}

/// `history.txt`: process, type, f, value and error, with tabs between them.
pub fn to_txt(history: &[Op]) -> String {
    lines(history, write_columns)
}

fn write_columns(op: &Op, out: &mut String) -> fmt::Result {
    write_process(op.process, out);
    for part in ["\t:", op.kind.name(), "\t:", &op.f, "\t"] {
        out.push_str(part);
    }
    op.value.write(out)?;
    match &op.error {
        None | Some(Edn::Nil | Edn::Bool(false)) => Ok(()),
        // Jepsen prints the error for people, a plain text without quotes.
        Some(Edn::Str(text)) => write!(out, "\t{text}"),
        Some(error) => {
            out.push('\t');
            error.write(out)
        }
    }
}

/// Appends a line of `jepsen.log` without its end: seconds since the operations began where Jepsen
/// has the date, since a run of a seed is the same on every day; then level, thread, and
/// the columns of `history.txt`.
pub fn write_log_line(op: &Op, workers: usize, line: &mut String) {
    push_number(op.time / 1_000_000_000, line);
    // Its digits after a one, which the point replaces, keep the zeros before them.
    let mut digits = itoa::Buffer::new();
    line.push('.');
    line.push_str(&digits.format(1_000_000_000 + op.time % 1_000_000_000)[1..]);
    line.push_str("\tINFO\t[jepsen ");
    match op.process {
        Process::Client(process) => {
            line.push_str("worker ");
            push_number(process % workers.max(1) as u64, line);
        }
        Process::Nemesis => line.push_str("nemesis"),
    }
    line.push_str("] jepsen.util: ");
    write_columns(op, line).expect("writing into a String cannot fail");
}

fn push_number(number: impl itoa::Integer, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn lines(history: &[Op], line: impl Fn(&Op, &mut String) -> fmt::Result) -> String {
    let mut out = String::new();
    for op in history {
        line(op, &mut out).expect("writing into a String cannot fail");
        out.push('\n');
    }
    out
}
