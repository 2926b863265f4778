//! `history.txt` and `jepsen.log`: histories that were printed for people.
//!
//! An operation is a line of process, type, f, value and error with tabs between them. The
//! log has a date, a level and a thread before that, and lines of other kinds between.
//! Both leave out times, and which reads are the last.

use crate::edn::{Edn, ParseError, Reader, parse};
use crate::history::OpType;

use super::error::ReadError;

/// The mark that stands before an operation in the log.
const MARK: &str = "jepsen.util: ";

/// Whether a text is one of the two.
pub(super) fn is_log(text: &str) -> bool {
    let first = text.trim_start().chars().next();
    // Maps, vectors and records begin with a sign.
    first.is_some_and(|c| c.is_alphanumeric() || c == ':')
        && text.lines().any(|line| Line::of(line).is_some())
}

/// Hands out the operations as records, each with the byte at which it begins.
///
/// # Errors
/// The first complaint of `take`, or a line that is not an operation.
pub(super) fn read(
    text: &str,
    mut take: impl FnMut(usize, Edn) -> Result<(), ParseError>,
) -> Result<(), ReadError> {
    let reader = Reader::new(text);
    let is_log = text.contains(MARK);
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        match Line::of(line) {
            Some(op) => {
                let record = op.record();
                let record = record.map_err(|(at, what)| reader.error_at(start + at, what))?;
                take(start, record)?;
            }
            None if is_log || line.trim().is_empty() => {}
            None => {
                let what = "expected process, :type, :f and value with tabs between them";
                return Err(reader.error_at(start, format!("{what}, found {line:.60}")).into());
            }
        }
        start += line.len();
    }
    Ok(())
}

/// The operation of the first line.
pub(super) fn first(text: &str) -> Option<Edn> {
    Line::of(text.lines().next()?)?.record().ok()
}

/// The columns of an operation.
struct Line<'a> {
    /// The whole line, in which the columns lie.
    line: &'a str,
    process: &'a str,
    kind: &'a str,
    f: &'a str,
    value: &'a str,
    error: Option<&'a str>,
}

impl Line<'_> {
    fn of(line: &str) -> Option<Line<'_>> {
        let op = line.trim_end_matches(['\n', '\r']);
        let op = op.split_once(MARK).map_or(op, |(_, op)| op);
        let mut columns = op.splitn(5, '\t');
        let (process, kind, f) = (columns.next()?, columns.next()?, columns.next()?);
        let is_process = process.starts_with(':') || process.parse::<u64>().is_ok();
        let is_op = is_process && kind.strip_prefix(':').and_then(OpType::from_name).is_some();
        let value = columns.next().unwrap_or("nil");
        is_op.then(|| Line { line, process, kind, f, value, error: columns.next() })
    }

    /// The operation, or the byte of the line at which there is something else, and a word for
    /// that.
    fn record(&self) -> Result<Edn, (usize, String)> {
        let read = |column: &str| {
            parse(column).map_err(|error| {
                let within = column.char_indices().nth(error.column - 1);
                let at = within.map_or(column.len(), |(at, _)| at);
                let start = column.as_ptr().addr().checked_sub(self.line.as_ptr().addr());
                // A value that is missing altogether is nowhere in the line.
                (start.map_or(0, |start| start + at), error.what)
            })
        };
        let mut entries = vec![
            (Edn::keyword("process"), read(self.process)?),
            (Edn::keyword("type"), read(self.kind)?),
            (Edn::keyword("f"), read(self.f)?),
            (Edn::keyword("value"), read(self.value)?),
        ];
        if let Some(error) = self.error {
            // Jepsen prints an error that is a text without quotes.
            let error = parse(error).unwrap_or_else(|_| Edn::str(error));
            entries.push((Edn::keyword("error"), error));
        }
        Ok(Edn::Map(entries))
    }
}
