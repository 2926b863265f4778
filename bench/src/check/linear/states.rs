//! The states of an object whose contents grow with the history, numbered.

use std::collections::BTreeMap;

use super::timeline::State;

/// From so many states on, a model no longer tells apart states that the history cannot. Before,
/// it does: a reader of a short history wants to see the true states.
pub(super) const MANY_STATES: usize = 64;

/// Contents, numbered in the order in which they come.
#[derive(Clone, Debug)]
pub(super) struct States<C> {
    numbers: BTreeMap<C, State>,
    contents: Vec<C>,
    /// About how many bytes all of them take.
    weight: usize,
    /// How many states operations name, and their weight, once others were reached.
    named: Option<(usize, usize)>,
    /// From how many states on the model simplifies; see [`MANY_STATES`].
    pub(super) many: usize,
}

impl<C> Default for States<C> {
    fn default() -> Self {
        let (numbers, contents) = (BTreeMap::new(), Vec::new());
        States { numbers, contents, weight: 0, named: None, many: MANY_STATES }
    }
}

impl<C: Clone + Ord> States<C> {
    /// The state with these contents, which take about so many bytes and which an operation names.
    pub(super) fn number(&mut self, contents: C, bytes: usize) -> State {
        assert!(self.named.is_none(), "operations are classified before the search");
        self.add(contents, bytes)
    }

    /// The same, which a step reached.
    pub(super) fn reach(&mut self, contents: C, bytes: usize) -> State {
        self.named.get_or_insert((self.contents.len(), self.weight));
        self.add(contents, bytes)
    }

    fn add(&mut self, contents: C, bytes: usize) -> State {
        if let Some(state) = self.numbers.get(&contents) {
            return *state;
        }
        let next = State(u32::try_from(self.contents.len()).expect("states fit into 32 bits"));
        self.numbers.insert(contents.clone(), next);
        self.contents.push(contents);
        self.weight += bytes;
        next
    }

    /// Forgets the states that were only reached.
    pub(super) fn forget(&mut self) {
        if let Some((count, weight)) = self.named.take() {
            for contents in self.contents.drain(count..) {
                self.numbers.remove(&contents);
            }
            self.weight = weight;
        }
    }

    /// Returns the contents of an object in `state`.
    pub(super) fn contents(&self, state: State) -> &C {
        &self.contents[state.0 as usize]
    }

    /// Whether there are so many that no more should be told apart than has to be.
    pub(super) fn are_many(&self) -> bool {
        self.contents.len() >= self.many
    }

    /// About how many bytes they take.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }
}
