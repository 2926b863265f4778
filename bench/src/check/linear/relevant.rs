//! Which calls can take effect, with good reason, before a call that returns.

use std::collections::BTreeSet;

use super::frontier::Frontier;
use super::model::Effect;
use super::timeline::{Class, State};

/// How often an indeterminate call can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crashed {
    /// Not at this return.
    Never,
    /// Once, as it is.
    Once,
    /// Again and again: a return that is impossible then is impossible.
    Freely,
}

/// The classes of which a call can take effect with good reason, by the state they need.
#[derive(Debug, Default)]
pub(super) struct Relevant {
    blind: Vec<Class>,
    /// Updates for which no state or more than one is known.
    anywhere: Vec<Class>,
    /// Updates that are possible in one state only, by that.
    needy: Vec<(State, Class)>,
}

impl Relevant {
    /// Those that may be possible in `state`, with or without blind writes.
    pub(super) fn at(&self, state: State, with_blind: bool) -> impl Iterator<Item = Class> {
        let from = self.needy.partition_point(|(needed, _)| *needed < state);
        let needy = self.needy[from..].iter().take_while(move |(needed, _)| *needed == state);
        let blind = if with_blind { self.blind.as_slice() } else { &[] };
        blind.iter().chain(&self.anywhere).copied().chain(needy.map(|(_, class)| *class))
    }
}

impl<const W: usize> Frontier<'_, W> {
    /// The classes of which a call can take effect, with good reason, on the way to
    /// that of `target`.
    ///
    /// These are `target` itself, updates that must still take effect, and every class
    /// that may lead to a state that one of these, or an open read, needs. Proof that the
    /// others can be left out: look at a shortest sequence of steps that ends with
    /// `target`, and in it at a longest run of steps of other classes. Each leads to one
    /// state, which no open read and no step of a class in the result needs. So it
    /// pays nothing but blind writes, and the step after the run is possible in every
    /// state: it is a blind write (any other update without a need makes the result
    /// complete, see below). That pays all blind writes and leads to the same state
    /// without the run, which only used calls up.
    ///
    /// If no indeterminate calls can be used, their classes are as if they were not open. If they
    /// can be used freely, an indeterminate blind write takes the place of every other
    /// indeterminate call that leads to the same state: it is always possible, pays more, and
    /// uses nothing up.
    pub(super) fn relevant(&self, target: Class, crashed: Crashed) -> Relevant {
        let mut found = Found::default();
        for slot in self.occupied.iter() {
            let class = self.occupant(slot).class;
            match self.occupant(slot).effect {
                Effect::Overwrite(_) => {}
                Effect::Observe => match self.open[&class].needs {
                    Some(state) => found.state(state),
                    None => return self.all(),
                },
                Effect::Update => found.class(class),
            }
        }
        if self.open[&target].effect != Effect::Observe {
            found.class(target);
        }
        found.follow(self, &self.leading_anywhere, crashed);
        loop {
            if let Some(class) = found.new_classes.pop() {
                let open = &self.open[&class];
                match (open.effect, open.needs) {
                    (Effect::Overwrite(_), _) => {}
                    (_, Some(state)) => found.state(state),
                    // It may need the states of all the others.
                    (_, None) => return self.all(),
                }
            } else if let Some(state) = found.new_states.pop() {
                if let Some(classes) = self.leading_to.get(&state) {
                    found.follow(self, classes, crashed);
                }
            } else {
                return self.by_need(found.classes.into_iter());
            }
        }
    }

    fn all(&self) -> Relevant {
        let changing = self.classes().filter(|(_, open)| open.effect != Effect::Observe);
        self.by_need(changing.map(|(class, _)| class))
    }

    fn by_need(&self, classes: impl Iterator<Item = Class>) -> Relevant {
        let mut relevant = Relevant::default();
        for class in classes {
            let open = &self.open[&class];
            match (open.effect, open.needs) {
                (Effect::Overwrite(_), _) => relevant.blind.push(class),
                (_, None) => relevant.anywhere.push(class),
                (_, Some(state)) => relevant.needy.push((state, class)),
            }
        }
        relevant.needy.sort_unstable();
        relevant
    }
}

/// Classes and states that matter, and which of them were not followed yet.
#[derive(Default)]
struct Found {
    classes: BTreeSet<Class>,
    new_classes: Vec<Class>,
    states: BTreeSet<State>,
    new_states: Vec<State>,
}

impl Found {
    fn class(&mut self, class: Class) {
        if self.classes.insert(class) {
            self.new_classes.push(class);
        }
    }

    fn state(&mut self, state: State) {
        if self.states.insert(state) {
            self.new_states.push(state);
        }
    }

    /// Adds `classes`, which lead to the same states, but for those whose calls cannot be used or
    /// are not worth it.
    fn follow<const W: usize>(
        &mut self,
        frontier: &Frontier<'_, W>,
        classes: &BTreeSet<Class>,
        crashed: Crashed,
    ) {
        let is_free = |class: &Class| {
            let open = &frontier.open[class];
            !open.crashed.is_empty() && matches!(open.effect, Effect::Overwrite(_))
        };
        let free = classes.iter().find(|class| crashed == Crashed::Freely && is_free(class));
        for class in classes {
            let is_certain = !frontier.open[class].slots.is_empty();
            let is_used = match (crashed, free) {
                (Crashed::Never, _) => false,
                (_, Some(free)) => free == class,
                _ => true,
            };
            if is_certain || is_used {
                self.class(*class);
            }
        }
    }
}
