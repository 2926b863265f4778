//! Small numbers for the keys and values of a history.

use std::collections::BTreeMap;

use crate::edn::Edn;

/// Numbers for distinct values, counted up from 0. Values are the same if Clojure
/// calls them equal.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<Edn>,
    /// Small integers, nearly all there is in practice, are looked up directly.
    of_small: Vec<Option<u32>>,
    of_other: BTreeMap<Edn, u32>,
}

/// Integers from 0 up to here are small.
const SMALL: usize = 1 << 16;

impl Names {
    /// The number of a value, a new one if it has none yet.
    pub(super) fn id(&mut self, name: &Edn) -> u32 {
        let next = u32::try_from(self.names.len()).expect("a history has under 2^32 values");
        let id = match small(name) {
            Some(i) => {
                if self.of_small.len() <= i {
                    self.of_small.resize(i + 1, None);
                }
                *self.of_small[i].get_or_insert(next)
            }
            None => match self.of_other.get(name) {
                Some(id) => *id,
                None => *self.of_other.entry(name.clone()).or_insert(next),
            },
        };
        if id == next {
            self.names.push(name.clone());
        }
        id
    }

    /// Whether a value has a number.
    pub(super) fn knows(&self, name: &Edn) -> bool {
        match small(name) {
            Some(i) => self.of_small.get(i).is_some_and(Option::is_some),
            None => self.of_other.contains_key(name),
        }
    }

    /// The value behind a number that [`Names::id`] gave out.
    pub(super) fn name(&self, id: u32) -> &Edn {
        &self.names[id as usize]
    }

    /// How many distinct values there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

fn small(name: &Edn) -> Option<usize> {
    name.as_int().and_then(|i| usize::try_from(i).ok()).filter(|i| *i < SMALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_a_number() {
        let mut names = Names::default();
        let values = [Edn::Int(3), Edn::Int(-3), Edn::Int(1 << 40), Edn::str("3"), Edn::Nil];
        let ids: Vec<u32> = values.iter().map(|value| names.id(value)).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        for (id, value) in ids.into_iter().zip(&values) {
            assert!(names.knows(value));
            assert_eq!((names.id(value), names.name(id)), (id, value));
        }
        assert_eq!(names.id(&Edn::BigInt("3".to_owned())), 0);
        assert!([Edn::Int(4), Edn::str("-3")].iter().all(|value| !names.knows(value)));
        assert_eq!(names.id(&Edn::vector([1i64])), names.id(&Edn::list([1i64])));
    }
}
