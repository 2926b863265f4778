//! The states of an object whose contents grow with the history, numbered.

use std::collections::BTreeMap;

use super::timeline::State;

/// Contents, numbered in the order in which they come.
#[derive(Clone, Debug)]
pub(super) struct States<C> {
    numbers: BTreeMap<C, State>,
    contents: Vec<C>,
    /// About how many bytes all of them take.
    weight: usize,
}

impl<C> Default for States<C> {
    fn default() -> Self {
        States { numbers: BTreeMap::new(), contents: Vec::new(), weight: 0 }
    }
}

impl<C: Clone + Ord> States<C> {
    /// The state with these contents, which take about so many bytes.
    pub(super) fn number(&mut self, contents: C, bytes: usize) -> State {
        if let Some(state) = self.numbers.get(&contents) {
            return *state;
        }
        let next = State(u32::try_from(self.contents.len()).expect("states fit into 32 bits"));
        self.numbers.insert(contents.clone(), next);
        self.contents.push(contents);
        self.weight += bytes;
        next
    }

    /// What an object in `state` contains.
    pub(super) fn contents(&self, state: State) -> &C {
        &self.contents[state.0 as usize]
    }

    /// About how many bytes they take.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}
