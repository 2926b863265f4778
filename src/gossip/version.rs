//! Names: which node, which life of it, and how much of what it said is known.
//!
//! A node that restarts is somebody else. Every start draws a new [`Boot`], also
//! when the state was recovered from disk, so a sequence number or a counter's
//! total can never be issued twice, whatever was lost: identity cannot regress
//! because it is never taken up again. The price is one entry in [`Versions`] for
//! each life in which a node had something to say.
//!
//! Deliberately missing: retiring the entries of lives that ended long ago.

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

/// One life of a node: a number drawn at random when it starts. 48 bits, so that
/// every JSON reader keeps it exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(pub u64);

impl Boot {
    /// The life that `random` stands for.
    pub const fn from_random(random: u64) -> Boot {
        Boot(random >> 16)
    }
}

/// The author of deltas: a node in one of its lives. Written `rank.boot`, the
/// latter in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replica {
    /// Which node.
    pub rank: Rank,
    /// Which of its lives.
    pub boot: Boot,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.rank.0, self.boot.0)
    }
}

impl FromStr for Replica {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Replica, Self::Err> {
        const WHY: &str = "a replica is written rank.boot";
        let (rank, boot) = text.split_once('.').ok_or(WHY)?;
        let rank = rank.parse().map_err(|_| WHY)?;
        let boot = u64::from_str_radix(boot, 16).map_err(|_| WHY)?;
        Ok(Replica { rank: Rank(rank), boot: Boot(boot) })
    }
}

impl Serialize for Replica {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Replica {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Replica, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// How many deltas of each replica are known: a version vector, and the digest by
/// which two nodes find out what the other lacks. Deltas of one replica are learned
/// without gaps, so a count says it all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Versions(BTreeMap<Replica, u64>);

impl Versions {
    /// How many deltas of `replica` are known.
    pub fn get(&self, replica: Replica) -> u64 {
        self.0.get(&replica).copied().unwrap_or(0)
    }

    /// Notes that `count` deltas of `replica` are known, if that is news.
    pub fn raise(&mut self, replica: Replica, count: u64) {
        if count > self.get(replica) {
            self.0.insert(replica, count);
        }
    }

    /// Drops what is said about `replica`.
    pub fn forget(&mut self, replica: Replica) {
        self.0.remove(&replica);
    }

    /// Notes everything that `other` knows.
    pub fn merge(&mut self, other: &Versions) {
        other.iter().for_each(|(replica, count)| self.raise(replica, count));
    }

    /// Whether nothing in `other` is news.
    pub fn covers(&self, other: &Versions) -> bool {
        other.iter().all(|(replica, count)| count <= self.get(replica))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replicas and counts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Replica, u64)> {
        self.0.iter().map(|(r, c)| (*r, *c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_travel_as_an_object() {
        let mut versions = Versions::default();
        versions.raise(Replica { rank: Rank(3), boot: Boot(0x1f) }, 7);
        let text = serde_json::to_string(&versions).unwrap();
        assert_eq!(text, r#"{"3.1f":7}"#);
        assert_eq!(serde_json::from_str::<Versions>(&text).unwrap(), versions);
        assert!(serde_json::from_str::<Versions>(r#"{"n3":1}"#).is_err());
    }
}
