//! Names: which node, which incarnation of it, and how many of its deltas are known.
//!
//! A node that restarts is a new author. Every start draws a new [`Boot`], also
//! when the state was recovered from disk, so a sequence number or a counter's
//! total can never be issued twice, whatever was lost: identity cannot regress
//! because it is never taken up again. The price is one entry in [`Versions`] for
//! each incarnation in which a node had something to say.
//!
//! Deliberately missing: retiring the entries of incarnations that ended long ago.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A node: its position in the ordered list of all nodes. Rank 0 is the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rank(pub u16);

impl Rank {
    /// The rank as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// One incarnation of a node: a number drawn at random when it starts. 48 bits, so that
/// every JSON reader keeps it exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(pub u64);

impl Boot {
    /// The incarnation that `random` stands for.
    pub const fn from_random(random: u64) -> Boot {
        Boot(random >> 16)
    }
}

/// The author of deltas: a node in one of its incarnations. Written `rank.boot`, the
/// latter in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author {
    /// Which node.
    pub rank: Rank,
    /// Which of its incarnations.
    pub boot: Boot,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.rank.0, self.boot.0)
    }
}

impl FromStr for Author {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Author, Self::Err> {
        const WHY: &str = "an author is written rank.boot";
        let (rank, boot) = text.split_once('.').ok_or(WHY)?;
        let rank = rank.parse().map_err(|_| WHY)?;
        let boot = u64::from_str_radix(boot, 16).map_err(|_| WHY)?;
        Ok(Author { rank: Rank(rank), boot: Boot(boot) })
    }
}

impl Serialize for Author {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Author {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Author, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// How many deltas of each author are known: a version vector, and the digest by which two nodes
/// find out which deltas the other lacks. Deltas of one author are learned without gaps, so a count
/// says it all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Versions(BTreeMap<Author, u64>);

impl Versions {
    /// How many deltas of `author` are known.
    pub fn get(&self, author: Author) -> u64 {
        self.0.get(&author).copied().unwrap_or(0)
    }

    /// Notes that `count` deltas of `author` are known, if that is news.
    pub fn raise(&mut self, author: Author, count: u64) {
        if count > self.get(author) {
            self.0.insert(author, count);
        }
    }

    /// Drops the entry of `author`.
    pub fn forget(&mut self, author: Author) {
        self.0.remove(&author);
    }

    /// Notes everything that `other` knows.
    pub fn merge(&mut self, other: &Versions) {
        other.iter().for_each(|(author, count)| self.raise(author, count));
    }

    /// Whether nothing in `other` is news.
    pub fn covers(&self, other: &Versions) -> bool {
        other.iter().all(|(author, count)| count <= self.get(author))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replicas and counts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Author, u64)> {
        self.0.iter().map(|(r, c)| (*r, *c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_travel_as_an_object() {
        let mut versions = Versions::default();
        versions.raise(Author { rank: Rank(3), boot: Boot(0x1f) }, 7);
        let text = serde_json::to_string(&versions).unwrap();
        assert_eq!(text, r#"{"3.1f":7}"#);
        assert_eq!(serde_json::from_str::<Versions>(&text).unwrap(), versions);
        assert!(serde_json::from_str::<Versions>(r#"{"n3":1}"#).is_err());
    }
}
