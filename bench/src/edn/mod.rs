//! EDN, the notation Jepsen writes histories and results in.
//!
//! [`Edn`] is also the value type of the whole bench: operations carry it,
//! checkers build their results from it, and it is printed as EDN
//! and, for programs, as JSON. Maps keep the order they were built in.
//! Source: the edn-format specification.

use compact_str::CompactString;

/// One EDN value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Edn {
    /// `nil`
    #[default]
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// `42`
    Int(i64),
    /// `12345678901234567890N`: an integer beyond 64 bits, as its digits.
    BigInt(String),
    /// `1.5`
    Float(f64),
    /// `"text"`
    Str(CompactString),
    /// `:keyword`, without the colon.
    Keyword(CompactString),
    /// `symbol`
    Symbol(CompactString),
    /// `(1 2)`
    List(Vec<Edn>),
    /// `[1 2]`
    Vector(Vec<Edn>),
    /// `#{1 2}`
    Set(Vec<Edn>),
    /// `{:a 1}`
    Map(Vec<(Edn, Edn)>),
    /// `#tag value`
    Tagged(CompactString, Box<Edn>),
}

impl Edn {
    /// The keyword `:name`.
    pub fn keyword(name: &str) -> Edn {
        Edn::Keyword(CompactString::new(name))
    }

    /// The string `"text"`.
    pub fn str(text: impl AsRef<str>) -> Edn {
        Edn::Str(CompactString::new(text))
    }

    /// A map with keyword keys, in the given order.
    pub fn map<const N: usize>(entries: [(&str, Edn); N]) -> Edn {
        Edn::Map(entries.into_iter().map(|(k, v)| (Edn::keyword(k), v)).collect())
    }

    /// The value under the keyword `name`, if this is a map (tagged or not) that has it.
    pub fn get(&self, name: &str) -> Option<&Edn> {
        match self {
            Edn::Map(entries) => {
                let is_it = |k: &Edn| matches!(k, Edn::Keyword(n) if n == name);
                entries.iter().find(|(k, _)| is_it(k)).map(|(_, v)| v)
            }
            Edn::Tagged(_, value) => value.get(name),
            _ => None,
        }
    }

    /// The elements, if this is a list, vector or set.
    pub fn as_seq(&self) -> Option<&[Edn]> {
        match self {
            Edn::List(items) | Edn::Vector(items) | Edn::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The integer, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Edn::Int(i) => Some(*i),
            _ => None,
        }
    }

    /// The text of a string, keyword or symbol.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Edn::Str(s) | Edn::Keyword(s) | Edn::Symbol(s) => Some(s),
            _ => None,
        }
    }
}

impl From<i64> for Edn {
    fn from(i: i64) -> Edn {
        Edn::Int(i)
    }
}

impl From<usize> for Edn {
    fn from(i: usize) -> Edn {
        Edn::Int(i64::try_from(i).expect("counts fit into 63 bits"))
    }
}

impl From<bool> for Edn {
    fn from(b: bool) -> Edn {
        Edn::Bool(b)
    }
}
