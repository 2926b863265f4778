//! Versions: when a transaction wrote, as far as the nodes can tell.
//!
//! A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): the
//! node's clock, pushed ahead of everything the node has seen. So a version is
//! greater than those of all transactions that its transaction could know of, and among
//! transactions that did not know of each other the later one usually has the greater.
//! Nothing but that "usually" depends on the clocks: they may differ, drift,
//! or start again at zero.

use std::fmt;
use std::str::FromStr;

use seaworthy::gossip::Author;
use seaworthy::time::Time;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A reading of the hybrid clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    /// The highest reading of any node's clock that played a part.
    pub(super) millis: u64,
    /// Tells apart transactions of one such millisecond.
    pub(super) count: u32,
}

impl Stamp {
    /// The stamp of something that happens at `now`, after everything up to this one.
    pub(super) fn next(self, now: Time) -> Stamp {
        let clock = Stamp { millis: now.as_millis(), count: 0 };
        if clock > self {
            return clock;
        }
        match self.count.checked_add(1) {
            Some(count) => Stamp { count, ..self },
            None => Stamp { millis: self.millis.saturating_add(1), count: 0 },
        }
    }
}

/// The version of everything that one transaction wrote, and its name: an incarnation of a
/// node never issues a stamp twice, and no two incarnations are the same author. Written
/// `millis.count@author`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    /// When.
    pub(super) stamp: Stamp,
    /// Where; decides between equal stamps.
    pub(super) author: Author,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.stamp.millis, self.stamp.count, self.author)
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Version, Self::Err> {
        const WHY: &str = "a version is written millis.count@author";
        let (stamp, author) = text.split_once('@').ok_or(WHY)?;
        let (millis, count) = stamp.split_once('.').ok_or(WHY)?;
        let millis = millis.parse().map_err(|_| WHY)?;
        let count = count.parse().map_err(|_| WHY)?;
        Ok(Version { stamp: Stamp { millis, count }, author: author.parse()? })
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_stands_still_nor_goes_back() {
        let stamp = |millis, count| Stamp { millis, count };
        let at = Time::from_millis;
        assert_eq!(Stamp::default().next(at(0)), stamp(0, 1));
        assert_eq!(stamp(5, 7).next(at(9)), stamp(9, 0));
        assert_eq!(stamp(5, 7).next(at(5)), stamp(5, 8));
        assert_eq!(stamp(5, 7).next(at(1)), stamp(5, 8), "a clock that started again");
        assert_eq!(stamp(5, u32::MAX).next(at(1)), stamp(6, 0));
    }

    #[test]
    fn versions_travel_as_text() {
        let text = r#""17.2@3.1f""#;
        let version: Version = serde_json::from_str(text).unwrap();
        assert_eq!(version.stamp, Stamp { millis: 17, count: 2 });
        assert_eq!(serde_json::to_string(&version).unwrap(), text);
        for bad in ["17@3.1f", "17.2", "17.2@3", "-1.2@3.1f", "1.4294967296@3.1f"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
