//! A tree in memory: for simulations, and as the model in tests.

use std::ops::Bound;

use bytes::Bytes;
use imbl::OrdMap;

use super::base::{Base, Entries, Part};

/// A tree in memory. A clone is the tree at one moment, and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct PlainTree {
    /// Which of several trees it is.
    pub number: u64,
    entries: OrdMap<(Part, Bytes), Bytes>,
}

impl PlainTree {
    /// An empty tree.
    pub fn new(number: u64) -> PlainTree {
        PlainTree { number, ..PlainTree::default() }
    }

    /// Makes a change: the new value of a key, or none if the key goes.
    pub fn change(&mut self, part: Part, key: Vec<u8>, value: Option<Vec<u8>>) {
        let place = (part, Bytes::from(key));
        match value {
            Some(value) => drop(self.entries.insert(place, value.into())),
            None => drop(self.entries.remove(&place)),
        }
    }
}

impl Base for PlainTree {
    fn number(&self) -> u64 {
        self.number
    }

    fn get(&self, part: Part, key: &[u8]) -> Option<Bytes> {
        self.entries.get(&(part, Bytes::copy_from_slice(key))).cloned()
    }

    fn range(&self, part: Part, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Entries<'_> {
        let place = |key: &[u8]| (part, Bytes::copy_from_slice(key));
        let from = match from.map(place) {
            Bound::Unbounded => Bound::Included((part, Bytes::new())),
            from => from,
        };
        let entries = self.entries.range((from, to.map(place)));
        let of_part = entries.take_while(move |((other, _), _)| *other == part);
        let found = of_part.map(|((_, key), value)| (key.clone(), value.clone()));
        // Collected, so that it can be read from its end.
        Box::new(found.collect::<Vec<_>>().into_iter())
    }
}
