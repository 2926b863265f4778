//! Why a history cannot be read.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::edn::{ParseError, printable};

/// Why a history cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The file, if it came from one.
    pub file: Option<PathBuf>,
    /// Line and column in characters, both from 1; none if it is about the whole file.
    pub place: Option<(usize, usize)>,
    /// The complaint; it holds no control characters.
    pub what: String,
}

impl ReadError {
    /// A complaint about a whole file.
    pub(super) fn of(file: &Path, what: impl AsRef<str>) -> ReadError {
        let what = printable(what.as_ref());
        ReadError { file: Some(file.to_owned()), place: None, what }
    }

    /// Place and complaint, for those who have named the file already.
    pub fn reason(&self) -> String {
        match self.place {
            Some((line, column)) => format!("line {line}, column {column}: {}", self.what),
            None => self.what.clone(),
        }
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
        ReadError { file: None, place: Some((error.line, error.column)), what: error.what }
    }
}
