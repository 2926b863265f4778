//! The value type, and how to take one apart.

use compact_str::CompactString;

/// One EDN value.
///
/// Values compare as in Clojure, with a total order over all types. A history is made of
/// millions of them, so those that are rare and large are boxed.
#[derive(Clone, Debug, Default)]
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
    /// `3.14M`: an exact decimal, as its digits without the `M`.
    Decimal(CompactString),
    /// `1/3`: numerator and denominator in lowest terms; the denominator is 2 or more.
    Ratio(i64, u64),
    /// `\a`
    Char(char),
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
    Tagged(Box<(CompactString, Edn)>),
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

    /// `#tag value`.
    pub fn tagged(tag: impl Into<CompactString>, value: Edn) -> Edn {
        Edn::Tagged(Box::new((tag.into(), value)))
    }

    /// The vector of some values.
    pub fn vector(items: impl IntoIterator<Item = impl Into<Edn>>) -> Edn {
        Edn::Vector(items.into_iter().map(Into::into).collect())
    }

    /// The list of some values.
    pub fn list(items: impl IntoIterator<Item = impl Into<Edn>>) -> Edn {
        Edn::List(items.into_iter().map(Into::into).collect())
    }

    /// A number of single precision, which prints with the digits of that precision:
    /// Maelstrom computes its ratios so.
    pub fn float32(x: f32) -> Edn {
        // Widened as it is, 0.1 would print as 0.10000000149011612.
        Edn::Float(x.to_string().parse().unwrap_or(f64::from(x)))
    }

    /// Whether this is `nil`.
    pub fn is_nil(&self) -> bool {
        matches!(self, Edn::Nil)
    }

    /// The value under the keyword `name`, if this is a map (tagged or not) that has it.
    pub fn get(&self, name: &str) -> Option<&Edn> {
        match self {
            Edn::Map(entries) => {
                let is_it = |k: &Edn| matches!(k, Edn::Keyword(n) if n == name);
                entries.iter().find(|(k, _)| is_it(k)).map(|(_, v)| v)
            }
            Edn::Tagged(tagged) => tagged.1.get(name),
            _ => None,
        }
    }

    /// The entries, if this is a map, tagged or not.
    pub fn entries(&self) -> Option<&[(Edn, Edn)]> {
        match self {
            Edn::Map(entries) => Some(entries),
            Edn::Tagged(tagged) => tagged.1.entries(),
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

    /// The integer, if this is one of 64 bits; `1N` is 1, however it was written.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Edn::Int(i) => Some(*i),
            Edn::BigInt(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Edn::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The number, if this is one that a float can hold.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            // Precision beyond 53 bits is lost, as was asked for.
            Edn::Int(i) => Some(*i as f64),
            Edn::Float(x) => Some(*x),
            Edn::Decimal(digits) => digits.parse().ok(),
            Edn::Ratio(over, under) => Some(*over as f64 / *under as f64),
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

impl From<f64> for Edn {
    fn from(x: f64) -> Edn {
        Edn::Float(x)
    }
}

impl From<&str> for Edn {
    fn from(text: &str) -> Edn {
        Edn::str(text)
    }
}
