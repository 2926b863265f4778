//! The classes of a model: the actions of its operations, numbered.

use std::collections::BTreeMap;

use super::timeline::Class;

/// Actions, numbered in the order in which they come.
#[derive(Clone, Debug)]
pub(super) struct Classes<A> {
    numbers: BTreeMap<A, Class>,
    actions: Vec<A>,
}

impl<A> Default for Classes<A> {
    fn default() -> Self {
        Classes { numbers: BTreeMap::new(), actions: Vec::new() }
    }
}

impl<A: Clone + Ord> Classes<A> {
    /// The class of `action`, a new one if need be.
    pub(super) fn number(&mut self, action: A) -> Class {
        if let Some(class) = self.numbers.get(&action) {
            return *class;
        }
        let class = Class(u32::try_from(self.actions.len()).expect("classes fit into 32 bits"));
        self.actions.push(action.clone());
        self.numbers.insert(action, class);
        class
    }

    /// Returns the action of the operations of `class`.
    pub(super) fn action(&self, class: Class) -> &A {
        &self.actions[class.0 as usize]
    }

    /// Whether any operation has done `action`.
    pub(super) fn knows(&self, action: &A) -> bool {
        self.numbers.contains_key(action)
    }
}
