//! The replicated state: registers with versions, merged key by key.
//!
//! A key holds the last value that was written to it, and the values appended since. Merging
//! takes the write with the greater version, the union of the appends, and drops
//! the appends that the write replaces. Which of two transactions wins a key thus
//! depends on their versions alone, and all nodes that know both agree.

use std::collections::BTreeMap;

use seaworthy::gossip::Lattice;
use serde::{Deserialize, Serialize};

use super::value::{Key, Value};
use super::version::{Stamp, Version};

/// The effect of a transaction on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Replaces the value.
    Set(Value),
    /// Adds to the end of the list that the key holds.
    Append(Vec<Value>),
}

/// All registers. The join of any number of transactions, each of them whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Key, Register>")]
pub(super) struct Registers {
    #[serde(flatten)]
    registers: BTreeMap<Key, Register>,
    /// No version in here has a greater stamp.
    #[serde(skip)]
    latest: Stamp,
}

/// One key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Register {
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    written: Option<(Version, Value)>,
    /// The appended values, by transaction; all later than `written`.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    appended: BTreeMap<Version, Vec<Value>>,
}

impl Registers {
    /// The writes of a transaction: a delta to merge.
    pub(super) fn of(
        version: Version,
        writes: impl IntoIterator<Item = (Key, Write)>,
    ) -> Registers {
        let register = |write| match write {
            Write::Set(value) => {
                Register { written: Some((version, value)), appended: BTreeMap::new() }
            }
            Write::Append(values) => {
                Register { written: None, appended: BTreeMap::from([(version, values)]) }
            }
        };
        let registers = writes.into_iter().map(|(key, write)| (key, register(write)));
        Registers { registers: registers.collect(), latest: version.stamp }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &Key) -> Option<Value> {
        let Register { written, appended } = self.registers.get(key)?;
        let written = written.as_ref().map(|(_, value)| value);
        if appended.is_empty() {
            return written.cloned();
        }
        Some(Value::append(written, appended.values().flatten()))
    }

    /// A stamp that none of the versions in here exceeds.
    pub(super) fn latest(&self) -> Stamp {
        self.latest
    }
}

impl Lattice for Registers {
    fn merge(&mut self, other: &Registers) {
        self.latest = self.latest.max(other.latest);
        for (key, register) in &other.registers {
            match self.registers.get_mut(key) {
                Some(own) => own.merge(register),
                None => _ = self.registers.insert(key.clone(), register.clone()),
            }
        }
    }
}

impl Register {
    fn merge(&mut self, other: &Register) {
        if other.version() > self.version() {
            self.written.clone_from(&other.written);
            let version = other.version();
            self.appended.retain(|appended, _| Some(*appended) > version);
        }
        for (version, values) in &other.appended {
            if Some(*version) > self.version() && !self.appended.contains_key(version) {
                self.appended.insert(*version, values.clone());
            }
        }
    }

    fn version(&self) -> Option<Version> {
        self.written.as_ref().map(|(version, _)| *version)
    }

    /// The greatest stamp in here.
    fn latest(&self) -> Stamp {
        let appended = self.appended.last_key_value().map(|(version, _)| *version);
        self.version().max(appended).map_or_else(Stamp::default, |version| version.stamp)
    }
}

impl From<BTreeMap<Key, Register>> for Registers {
    fn from(registers: BTreeMap<Key, Register>) -> Registers {
        let latest = registers.values().map(Register::latest).max().unwrap_or_default();
        Registers { registers, latest }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use seaworthy::gossip::{Author, Boot, Rank};

    use super::super::value::tests::{key, value};
    use super::*;

    fn version(millis: u64) -> Version {
        let author = Author { rank: Rank((millis % 3) as u16), boot: Boot(millis % 2) };
        Version { stamp: Stamp { millis, count: (millis % 4) as u32 }, author }
    }

    fn join(a: &Registers, b: &Registers) -> Registers {
        let mut joined = a.clone();
        joined.merge(b);
        joined
    }

    /// The effect of one transaction on the keys 0 to 3: 1 writes, 2 appends, 0 nothing.
    type Shape = BTreeMap<u8, u8>;

    /// Transactions with different versions.
    fn transactions() -> impl Strategy<Value = Vec<Registers>> {
        vec(btree_map(0u8..4, 1u8..3, 1..4), 1..8).prop_map(|shapes: Vec<Shape>| {
            (1..).zip(&shapes).map(|(i, shape)| transaction(i, shape)).collect()
        })
    }

    fn transaction(i: u64, shape: &Shape) -> Registers {
        let writes = shape.iter().map(|(name, what)| {
            let values = value(&format!("{}", 10 * i + u64::from(*name)));
            let write = if *what == 1 { Write::Set(values) } else { Write::Append(vec![values]) };
            (key(&name.to_string()), write)
        });
        Registers::of(version(i), writes.collect::<Vec<_>>())
    }

    /// The join of those transactions of which the bit is set.
    fn pick(transactions: &[Registers], bits: u8) -> Registers {
        let picked = transactions.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
        picked.fold(Registers::default(), |state, (_, delta)| join(&state, delta))
    }

    proptest! {
        #[test]
        fn is_a_semilattice(txns in transactions(), a: u8, b: u8, c: u8) {
            let [a, b, c] = [a, b, c].map(|bits| pick(&txns, bits));
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &Registers::default()), a);
        }

        /// The meaning of a state: its transactions, one after the other by version.
        /// In it, a reader that sees a transaction in one key sees it or a later one in all.
        #[test]
        fn is_the_serial_execution_by_version(
            shapes in vec(btree_map(0u8..4, 1u8..3, 1..4), 1..8),
            order in any::<u64>(),
        ) {
            let mut deltas: Vec<_> = (1..).zip(&shapes).map(|(i, s)| transaction(i, s)).collect();
            let mut serial: BTreeMap<u8, Value> = BTreeMap::new();
            for (i, shape) in (1u64..).zip(&shapes) {
                for (name, what) in shape {
                    let new = value(&format!("{}", 10 * i + u64::from(*name)));
                    let appended = Value::append(serial.get(name), [&new]);
                    serial.insert(*name, if *what == 1 { new } else { appended });
                }
            }
            // They arrive in some other order, and each more than once.
            let len = deltas.len();
            (0..len).for_each(|i| deltas.swap(i, (order >> (8 * i)) as usize % len));
            let mut state = Registers::default();
            deltas.iter().chain(&deltas).for_each(|delta| state.merge(delta));
            for name in 0..4 {
                prop_assert_eq!(state.get(&key(&name.to_string())), serial.get(&name).cloned());
            }
            prop_assert_eq!(state.latest(), version(len as u64).stamp);
        }

        #[test]
        fn travels(txns in transactions(), bits: u8) {
            let state = pick(&txns, bits);
            let text = serde_json::to_string(&state).unwrap();
            prop_assert_eq!(serde_json::from_str::<Registers>(&text).unwrap(), state);
        }
    }

    #[test]
    fn the_wire_form() {
        let text = r#"{"\"x\"":{"a":{"6.0@0.1":[1,2]}},"1":{"w":["5.1@2.1",{"a":[null]}]}}"#;
        let state: Registers = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        assert_eq!(state.latest(), Stamp { millis: 6, count: 0 });
        assert_eq!(state.get(&key("1")).unwrap().text(), r#"{"a":[null]}"#);
        assert_eq!(state.get(&key(r#""x""#)).unwrap().text(), "[1,2]");
        assert_eq!(state.get(&key("2")), None);
    }
}
