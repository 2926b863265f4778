//! The states of an object whose contents grow with the history, numbered.

use std::collections::BTreeMap;

use super::timeline::{Class, State};

/// From so many states on, a model no longer tells apart states that the history cannot. Before,
/// it does: a reader of a short history wants to see the true states.
pub(super) const MANY_STATES: usize = 64;

/// About how many bytes the memory of a step takes.
const STEP_BYTES: usize = 40;

/// Contents, numbered in the order in which they come, and the steps that were made between them.
#[derive(Clone, Debug)]
pub(super) struct States<C> {
    numbers: BTreeMap<C, State>,
    contents: Vec<C>,
    /// The state after each step that was made; none if it was impossible.
    after: BTreeMap<(State, Class), Option<State>>,
    /// About how many bytes all of them take.
    weight: usize,
    /// How many states operations name, and their weight, once others were reached.
    named: Option<(usize, usize)>,
    /// From how many states on the model simplifies; see [`MANY_STATES`].
    pub(super) many: usize,
}

impl<C> Default for States<C> {
    fn default() -> Self {
        let (numbers, contents, after) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        States { numbers, contents, after, weight: 0, named: None, many: MANY_STATES }
    }
}

impl<C: Clone + Ord> States<C> {
    /// The state with these contents, which take about so many bytes and which an operation names.
    pub(super) fn number(&mut self, contents: C, bytes: usize) -> State {
        assert!(self.named.is_none(), "operations are classified before the search");
        self.add(contents, bytes)
    }

    /// The state after a step, if the step was made before.
    pub(super) fn known(&self, state: State, class: Class) -> Option<Option<State>> {
        self.after.get(&(state, class)).copied()
    }

    /// Notes where a step leads: to contents that take about so many bytes, or nowhere.
    pub(super) fn note(
        &mut self,
        (state, class): (State, Class),
        contents: Option<(C, usize)>,
    ) -> Option<State> {
        let after = contents.map(|(contents, bytes)| self.reach(contents, bytes));
        self.after.insert((state, class), after);
        after
    }

    /// The state with these contents, which a step reached that is not noted.
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

    /// Forgets the states that were only reached, and all steps.
    pub(super) fn forget(&mut self) {
        self.after.clear();
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

    /// About how many bytes states and steps take.
    pub(super) fn weight(&self) -> usize {
        self.weight + STEP_BYTES * self.after.len()
    }
}
