//! EDN, the notation Jepsen writes histories and results in.
//!
//! [`Edn`] is also the value type of the whole bench: operations carry it,
//! checkers build their results from it, and it is printed as EDN
//! and, for programs, as JSON. Maps keep the order they were built in.
//! Source: the edn-format specification.

mod cursor;
mod json;
mod json_value;
mod number;
mod order;
mod parse;
mod strings;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use cursor::{ParseError, printable};
pub(crate) use json::write_string as write_json_string;
pub use parse::{MAX_DEPTH, Reader, parse};
pub use value::Edn;
