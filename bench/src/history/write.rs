//! Writing histories: as Jepsen does, and as JSON lines for programs.

use super::{Op, Process};
use crate::edn::{self, Edn};

/// The value of a field, as the operation has it.
enum Field<'a> {
    Number(i64),
    Process(Process),
    Keyword(&'a str),
    True,
    Value(&'a Edn),
}

impl Op {
    /// Hands out the fields in Jepsen's order, each with its keyword.
    fn each_field<'a>(&'a self, mut take: impl FnMut(&'a str, Field<'a>)) {
        take("index", Field::Number(i64::try_from(self.index).expect("counts fit into 63 bits")));
        take("time", Field::Number(self.time));
        take("type", Field::Keyword(self.kind.name()));
        take("process", Field::Process(self.process));
        take("f", Field::Keyword(&self.f));
        take("value", Field::Value(&self.value));
        if let Some(error) = &self.error {
            take("error", Field::Value(error));
        }
        if self.is_final {
            take("final?", Field::True);
        }
        self.extra.iter().for_each(|(key, value)| take(key, Field::Value(value)));
    }

    /// The operation as a map, with its keys in Jepsen's order.
    pub fn to_edn(&self) -> Edn {
        let mut entries = Vec::new();
        self.each_field(|key, field| {
            let value = match field {
                Field::Number(number) => Edn::Int(number),
                Field::Process(process) => process.to_edn(),
                Field::Keyword(name) => Edn::keyword(name),
                Field::True => Edn::Bool(true),
                Field::Value(value) => value.clone(),
            };
            entries.push((Edn::keyword(key), value));
        });
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
    lines(history, write_json)
}

/// Writes the EDN of [`Op::to_edn`], of which it makes no copy: histories have millions of lines.
fn write_edn(op: &Op, out: &mut String) {
    let mut separator = "{:";
    op.each_field(|key, field| {
        out.push_str(separator);
        separator = ", :";
        out.push_str(key);
        out.push(' ');
        match field {
            Field::Number(number) => push_number(number, out),
            Field::Process(process) => write_process(process, out),
            Field::Keyword(name) => {
                out.push(':');
                out.push_str(name);
            }
            Field::True => out.push_str("true"),
            Field::Value(value) => value.write(out),
        }
    });
    out.push('}');
}

/// Writes the JSON of [`Op::to_edn`], of which it makes no copy either.
fn write_json(op: &Op, out: &mut String) {
    let mut separator = '{';
    op.each_field(|key, field| {
        out.push(separator);
        separator = ',';
        edn::write_json_string(key, out);
        out.push(':');
        match field {
            Field::Number(number) => push_number(number, out),
            Field::Process(Process::Client(id)) => push_number(id, out),
            Field::Process(Process::Nemesis) => edn::write_json_string("nemesis", out),
            Field::Keyword(name) => edn::write_json_string(name, out),
            Field::True => out.push_str("true"),
            Field::Value(value) => value.write_json(out),
        }
    });
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

fn write_columns(op: &Op, out: &mut String) {
    write_process(op.process, out);
    for part in ["\t:", op.kind.name(), "\t:", &op.f, "\t"] {
        out.push_str(part);
    }
    op.value.write(out);
    match &op.error {
        None | Some(Edn::Nil | Edn::Bool(false)) => {}
        // Jepsen prints the error for people, a plain text without quotes.
        Some(Edn::Str(text)) => {
            out.push('\t');
            out.push_str(text);
        }
        Some(error) => {
            out.push('\t');
            error.write(out);
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
    write_columns(op, line);
}

fn push_number(number: impl itoa::Integer, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn lines(history: &[Op], line: impl Fn(&Op, &mut String)) -> String {
    let mut out = String::new();
    for op in history {
        line(op, &mut out);
        out.push('\n');
    }
    out
}
