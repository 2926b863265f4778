//! Printing EDN: on one line as Clojure's `pr-str`, or spread over lines.
//!
//! One line is the form of histories: `{:index 0, :type :ok}`. The other is the form in which
//! Jepsen writes `results.edn`: a value that fits into 70 columns stays on its line, every other is
//! broken at every comma and aligned behind its bracket.

use std::fmt::{self, Display, Write};

use super::Edn;

/// The column after which a value is broken into lines.
const WIDTH: usize = 70;

impl Display for Edn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_flat(self, f)
    }
}

impl Edn {
    /// Appends the text on one line.
    pub(crate) fn write(&self, out: &mut String) {
        write_flat(self, out).expect("writing into a String cannot fail");
    }

    /// The text on several lines, without a newline at the end.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        write_pretty(self, 0, &mut out);
        out
    }
}

/// Whether a tagged value is a Clojure record, which is written without a blank
/// between its tag and its map: `#jepsen.history.Op{:index 0}`.
fn is_record(tag: &str, value: &Edn) -> bool {
    matches!(value, Edn::Map(_)) && tag.contains('.') && !tag.contains('/')
}

fn brackets(value: &Edn) -> (&'static str, &'static str) {
    match value {
        Edn::List(_) => ("(", ")"),
        Edn::Set(_) => ("#{", "}"),
        Edn::Map(_) => ("{", "}"),
        _ => ("[", "]"),
    }
}

fn write_flat(value: &Edn, out: &mut impl Write) -> fmt::Result {
    match value {
        Edn::Nil => out.write_str("nil"),
        Edn::Bool(b) => out.write_str(if *b { "true" } else { "false" }),
        Edn::Int(i) => out.write_str(itoa::Buffer::new().format(*i)),
        Edn::BigInt(digits) => write!(out, "{digits}N"),
        Edn::Float(x) => write_float(*x, out),
        Edn::Decimal(digits) => write!(out, "{digits}M"),
        Edn::Ratio(over, under) => write!(out, "{over}/{under}"),
        Edn::Char(c) => write_char(*c, out),
        Edn::Str(text) => write_string(text, out),
        Edn::Keyword(name) => {
            out.write_char(':')?;
            out.write_str(name)
        }
        Edn::Symbol(name) => out.write_str(name),
        Edn::List(items) | Edn::Vector(items) | Edn::Set(items) => {
            let (open, close) = brackets(value);
            out.write_str(open)?;
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.write_char(' ')?;
                }
                write_flat(item, out)?;
            }
            out.write_str(close)
        }
        Edn::Map(entries) => {
            out.write_char('{')?;
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.write_str(", ")?;
                }
                write_flat(key, out)?;
                out.write_char(' ')?;
                write_flat(value, out)?;
            }
            out.write_char('}')
        }
        Edn::Tagged(tagged) => {
            let (tag, inner) = &**tagged;
            let blank = if is_record(tag, inner) { "" } else { " " };
            write!(out, "#{tag}{blank}")?;
            write_flat(inner, out)
        }
    }
}

/// As Java prints a double: decimal from 0.001 to ten million, else with an exponent,
/// always with a digit behind the point.
fn write_float(x: f64, out: &mut impl Write) -> fmt::Result {
    if x.is_nan() {
        return out.write_str("##NaN");
    }
    if x.is_infinite() {
        return out.write_str(if x > 0.0 { "##Inf" } else { "##-Inf" });
    }
    if x == 0.0 || (1e-3..1e7).contains(&x.abs()) {
        return write!(out, "{x:?}");
    }
    let text = format!("{x:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    write!(out, "{mantissa}{point}E{exponent}")
}

fn write_char(c: char, out: &mut impl Write) -> fmt::Result {
    out.write_char('\\')?;
    match c {
        '\n' => out.write_str("newline"),
        ' ' => out.write_str("space"),
        '\t' => out.write_str("tab"),
        '\r' => out.write_str("return"),
        '\u{8}' => out.write_str("backspace"),
        '\u{c}' => out.write_str("formfeed"),
        c => out.write_char(c),
    }
}

/// Clojure escapes only these seven; everything else, control characters too, is literal.
fn write_string(text: &str, out: &mut impl Write) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\', '\n', '\t', '\r', '\u{8}', '\u{c}']) {
        out.write_str(&rest[..at])?;
        out.write_str(match rest.as_bytes()[at] {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\t' => "\\t",
            b'\r' => "\\r",
            0x08 => "\\b",
            _ => "\\f",
        })?;
        rest = &rest[at + 1..];
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// Takes text until the line is full, and then refuses more.
struct Ruler {
    left: usize,
}

impl Write for Ruler {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let width = text.chars().count();
        self.left = self.left.checked_sub(width).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Writes a value that begins at a column; lines after the first are indented to it.
fn write_pretty(value: &Edn, column: usize, out: &mut String) {
    let mut ruler = Ruler { left: WIDTH.saturating_sub(column) };
    if write_flat(value, &mut ruler).is_ok() {
        return value.write(out);
    }
    match value {
        Edn::List(items) | Edn::Vector(items) | Edn::Set(items) => {
            let (open, close) = brackets(value);
            out.push_str(open);
            let column = column + open.len();
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    new_line(column, out);
                }
                write_pretty(item, column, out);
            }
            out.push_str(close);
        }
        Edn::Map(entries) => {
            out.push('{');
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                    new_line(column + 1, out);
                }
                write_pretty(key, column + 1, out);
                out.push(' ');
                write_pretty(value, last_column(out), out);
            }
            out.push('}');
        }
        Edn::Tagged(tagged) => {
            let (tag, inner) = &**tagged;
            out.push('#');
            out.push_str(tag);
            if !is_record(tag, inner) {
                out.push(' ');
            }
            write_pretty(inner, last_column(out), out);
        }
        // A value without parts cannot be broken, however long it is.
        _ => value.write(out),
    }
}

fn new_line(column: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', column));
}

fn last_column(out: &str) -> usize {
    let start = out.rfind('\n').map_or(0, |n| n + 1);
    out[start..].chars().count()
}
