//! Values as small integers: equal values get equal numbers.

use std::collections::BTreeMap;

use crate::edn::Edn;

/// Numbers for values, in order of first use.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    numbers: BTreeMap<Edn, u32>,
    values: Vec<Edn>,
}

impl Values {
    /// The number of `value`.
    pub(super) fn number(&mut self, value: &Edn) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).expect("fewer values than 32 bits count");
        self.numbers.insert(value.clone(), number);
        self.values.push(value.clone());
        number
    }

    /// The value with this number.
    pub(super) fn value(&self, number: u32) -> &Edn {
        &self.values[number as usize]
    }
}
