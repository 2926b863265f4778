//! Consistency models by name.
//!
//! adya treats a name it does not know, and a model about which a dependency
//! graph can say nothing, in the same way: it forbids nothing and everything
//! passes. Both are refused here, before a history is read.
//!
//! Source of the names: Elle's `consistency_model.clj`; Adya's thesis (1999)
//! for the `PL-` spellings.

use std::str::FromStr;

use adya::model;

/// A consistency model that forbids at least one anomaly the checker can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Model(&'static str);

impl Model {
    /// Strict serializability, which Maelstrom demands by default.
    pub const STRICT_SERIALIZABLE: Model = Model("strict-serializable");

    /// The name adya knows the model by.
    pub fn name(self) -> &'static str {
        self.0
    }
}

/// Elle's other spellings, and the name each stands for.
const ALIASES: [(&str, &str); 21] = [
    ("PL-1", "read-uncommitted"),
    ("PL-2", "read-committed"),
    ("PL-CS", "cursor-stability"),
    ("PL-2L", "monotonic-view"),
    ("PL-MSR", "monotonic-snapshot-read"),
    ("PL-2+", "consistent-view"),
    ("PL-FCV", "forward-consistent-view"),
    ("PL-SI", "snapshot-isolation"),
    ("PL-2.99", "repeatable-read"),
    ("PL-3U", "update-serializable"),
    ("PL-3", "serializable"),
    ("conflict-serializable", "serializable"),
    ("PL-SS", "strict-serializable"),
    ("ROLA", "update-atomic"),
    ("strong-PL-3", "strict-serializable"),
    ("strong-serializable", "strict-serializable"),
    ("strong-PL-1", "strong-read-uncommitted"),
    ("strong-PL-2", "strong-read-committed"),
    ("strong-session-PL-1", "strong-session-read-uncommitted"),
    ("strong-session-PL-2", "strong-session-read-committed"),
    ("strong-session-PL-3", "strong-session-serializable"),
];

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Model, String> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == text).map_or(text, |(_, name)| name);
        let name = model::canonical(name).ok_or_else(|| {
            format!("unknown consistency model {text:?}; known are: {}", known().join(", "))
        })?;
        if model::prohibited_by(&[name]).is_empty() {
            return Err(format!("{text} forbids nothing that a history of transactions shows"));
        }
        Ok(Model(name))
    }
}

/// The names of all models, without aliases.
pub fn known() -> Vec<&'static str> {
    let forbids = |name: &&str| !model::prohibited_by(&[*name]).is_empty();
    model::all_models().into_iter().filter(forbids).collect()
}

/// Reads a list of models separated by commas, with or without blanks around
/// them (Maelstrom itself splits only where there are blanks on both sides).
///
/// # Errors
/// A message that names the first model that is unknown or forbids nothing.
pub fn parse_models(text: &str) -> Result<Vec<Model>, String> {
    text.split(',').map(|name| name.trim().parse()).collect()
}

/// The name Elle prints where adya has another.
pub(super) fn printed(name: &str) -> &str {
    if name == "strict-serializable" { "strong-serializable" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_with_and_without_blanks() {
        for text in ["read-committed,serializable", "read-committed , serializable"] {
            let names: Vec<_> = parse_models(text).unwrap().into_iter().map(Model::name).collect();
            assert_eq!(names, ["read-committed", "serializable"]);
        }
    }

    #[test]
    fn every_alias_is_a_model_that_forbids_something() {
        for (alias, name) in ALIASES {
            assert_eq!(alias.parse::<Model>().unwrap().name(), name);
        }
    }

    #[test]
    fn names_that_would_enforce_nothing_are_refused() {
        for text in ["serialisable", "", "linearizable", "session-serializable", "read-committed,"]
        {
            assert!(parse_models(text).is_err(), "{text:?}");
        }
    }
}
