//! Which life of a data directory came out of which.
//!
//! A number does not tell: an older copy of a directory that is started often enough reaches
//! any number. So a server names the lives that its directory has seen, and who knows it from
//! another one does not listen.
//!
//! A lineage begins with the last life of which this directory has seen that the log accepted
//! it. That is enough: the log accepts a life only if it came out of the one that it accepted
//! before, so every life that was accepted earlier is an ancestor, too, and has a lower number.

use serde::{Deserialize, Serialize};

/// One start of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// How many starts there were, this one included.
    pub number: u64,
    /// Its random number.
    pub nonce: u64,
}

/// The lives of a data directory, oldest first, up to the present one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage(Vec<Life>);

impl Lineage {
    /// Begins the next life.
    pub(super) fn begin(&mut self, nonce: u64) -> Life {
        let life = Life { number: self.0.last().map_or(0, |last| last.number) + 1, nonce };
        self.0.push(life);
        life
    }

    /// The log has accepted the present life: no server has to be told of older ones.
    pub(super) fn settle(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(1));
    }

    /// Whether the present life is `known`, or came out of it.
    pub(super) fn follows(&self, known: Life) -> bool {
        self.0.contains(&known) || self.0.first().is_some_and(|first| known.number < first.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_follows_those_that_its_directory_has_seen() {
        let mut own = Lineage::default();
        let unknown = Life { number: 0, nonce: 0 };
        let lives: Vec<Life> = (1..=3).map(|n| own.begin(10 * n)).collect();
        assert!(lives.iter().all(|life| own.follows(*life)) && own.follows(unknown));
        // A copy from the end of the second life.
        let mut copy = Lineage(lives[..2].to_vec());
        for nonce in 100..110 {
            let life = copy.begin(nonce);
            assert!(!copy.follows(lives[2]) && !own.follows(life), "{life:?}");
            assert!(copy.follows(lives[1]) && copy.follows(life));
        }
    }

    #[test]
    fn what_was_accepted_stands_for_all_before_it() {
        let mut own = Lineage::default();
        let first = own.begin(10);
        let mut copy = own.clone();
        let second = own.begin(20);
        own.settle();
        let third = own.begin(30);
        assert!([first, second, third].iter().all(|life| own.follows(*life)));
        copy.begin(21);
        let fork = copy.begin(31);
        assert!(!own.follows(fork) && !copy.follows(second) && !copy.follows(third));
    }
}
