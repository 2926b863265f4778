//! A set that only grows, of any JSON values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::element::Element;
use super::lattice::Lattice;

/// The lattice: union. Integers are kept as ranges, because those that a test or a
/// sequence produces are dense, and travel so: `[[0,17],23,"\"text\""]` holds the
/// integers from 0 to 17, 23, and, as text within a string, one other value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowSet {
    /// First and last of each range; no two of them touch.
    ranges: BTreeMap<i64, i64>,
    texts: BTreeSet<String>,
}

impl GrowSet {
    /// The set of one element.
    pub fn of(element: Element) -> GrowSet {
        let mut set = GrowSet::default();
        match element {
            Element::Int(int) => set.add_range(int, int),
            Element::Text(text) => drop(set.texts.insert(text)),
        }
        set
    }

    /// Whether `element` is in the set.
    pub fn contains(&self, element: &Element) -> bool {
        match element {
            Element::Int(int) => {
                self.ranges.range(..=int).next_back().is_some_and(|(_, last)| int <= last)
            }
            Element::Text(text) => self.texts.contains(text),
        }
    }

    /// The integers, in order.
    pub fn ints(&self) -> impl Iterator<Item = i64> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The canonical texts of everything else, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// Adds all integers from `first` to `last`, joining the ranges it meets.
    fn add_range(&mut self, mut first: i64, mut last: i64) {
        let (reach, from) = (last.saturating_add(1), first.saturating_sub(1));
        while let Some((&start, &end)) = self.ranges.range(..=reach).next_back() {
            if end < from {
                break;
            }
            (first, last) = (first.min(start), last.max(end));
            self.ranges.remove(&start);
        }
        self.ranges.insert(first, last);
    }
}

impl Lattice for GrowSet {
    fn merge(&mut self, other: &GrowSet) {
        other.ranges.iter().for_each(|(first, last)| self.add_range(*first, *last));
        for text in &other.texts {
            if !self.texts.contains(text) {
                self.texts.insert(text.clone());
            }
        }
    }
}

/// A view of the set as the plain JSON list of its elements.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a>(pub &'a GrowSet);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for int in self.0.ints() {
            seq.serialize_element(&int)?;
        }
        for text in self.0.texts() {
            let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
            seq.serialize_element(raw)?;
        }
        seq.end()
    }
}

/// One item of the wire form.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Item {
    Int(i64),
    Range(i64, i64),
    Text(String),
}

impl Serialize for GrowSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranges = self.ranges.iter().map(|(first, last)| {
            if first == last { Item::Int(*first) } else { Item::Range(*first, *last) }
        });
        serializer.collect_seq(ranges.chain(self.texts().map(|text| Item::Text(text.to_owned()))))
    }
}

impl<'de> Deserialize<'de> for GrowSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<GrowSet, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = GrowSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of integers, ranges and texts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<GrowSet, A::Error> {
                let mut set = GrowSet::default();
                while let Some(item) = seq.next_element()? {
                    match item {
                        Item::Int(int) => set.add_range(int, int),
                        Item::Range(first, last) if first <= last => set.add_range(first, last),
                        Item::Range(..) => return Err(serde::de::Error::custom("empty range")),
                        Item::Text(text) => {
                            // It will be part of an answer, so it has to be JSON.
                            serde_json::from_str::<&RawValue>(&text)
                                .map_err(serde::de::Error::custom)?;
                            set.texts.insert(text);
                        }
                    }
                }
                Ok(set)
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sets() -> impl Strategy<Value = GrowSet> {
        let int = prop_oneof![-20i64..20, Just(i64::MIN), Just(i64::MAX), Just(i64::MAX - 1)];
        let element = prop_oneof![
            4 => int.prop_map(Element::Int),
            1 => "\"[a-c]\"".prop_map(Element::Text),
        ];
        proptest::collection::vec(element, 0..12).prop_map(|elements| {
            let mut set = GrowSet::default();
            elements.into_iter().for_each(|e| set.merge(&GrowSet::of(e)));
            set
        })
    }

    fn join(a: &GrowSet, b: &GrowSet) -> GrowSet {
        let mut joined = a.clone();
        joined.merge(b);
        joined
    }

    proptest! {
        #[test]
        fn is_a_semilattice(a in sets(), b in sets(), c in sets()) {
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &GrowSet::default()), a);
        }

        #[test]
        fn is_the_union(a in sets(), b in sets()) {
            // Ranges at the ends of i64 are walked element by element, so none is long.
            let union: BTreeSet<i64> = a.ints().chain(b.ints()).collect();
            prop_assert!(join(&a, &b).ints().eq(union.iter().copied()));
            for int in -21..21 {
                prop_assert_eq!(a.contains(&Element::Int(int)), a.ints().any(|i| i == int));
            }
        }

        #[test]
        fn travels(a in sets()) {
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<GrowSet>(&text).unwrap(), a);
        }
    }

    #[test]
    fn the_wire_form_is_compact() {
        let set: GrowSet = serde_json::from_str(r#"[3,[0,2],9,"\"x\""]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"[[0,3],9,"\"x\""]"#);
        assert_eq!(serde_json::to_string(&Elements(&set)).unwrap(), r#"[0,1,2,3,9,"x"]"#);
        assert!(serde_json::from_str::<GrowSet>(r#"["}"]"#).is_err());
        assert!(serde_json::from_str::<GrowSet>("[[2,1]]").is_err());
    }
}
