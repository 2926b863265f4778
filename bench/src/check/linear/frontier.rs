//! A point of the timeline: which calls are open there. It moves in both directions.
//!
//! Nothing here depends on a configuration. A call that will return has the same slot
//! whenever the frontier passes it, so that the configurations that a search kept for
//! an earlier point still mean the same calls.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::model::{Effect, Model};
use super::timeline::{CallId, Class, Event, State, Timeline};

/// A call that is open and will return.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenCall {
    pub(super) call: CallId,
    pub(super) class: Class,
    pub(super) effect: Effect,
}

/// The open calls of one class.
#[derive(Clone, Debug)]
pub(super) struct OpenClass {
    pub(super) effect: Effect,
    needs: Option<State>,
    leads_to: Option<State>,
    /// Slots of the calls that will return, the first to return first.
    pub(super) slots: Vec<usize>,
    /// The indeterminate calls, by invocation.
    pub(super) crashed: Vec<CallId>,
}

/// The open calls after some number of events.
pub(super) struct Frontier<'t, const W: usize> {
    timeline: &'t Timeline,
    /// How many events happened.
    at: usize,
    /// For every call that will return, its slot.
    slot_of: Vec<usize>,
    slots: Vec<Option<OpenCall>>,
    occupied: Bits<W>,
    /// The slots of all blind writes.
    blind: Bits<W>,
    open: BTreeMap<Class, OpenClass>,
    /// The classes of `open` that change the state and lead to this one only.
    leading_to: BTreeMap<State, BTreeSet<Class>>,
    /// The classes of `open` that change the state and lead to several.
    leading_anywhere: BTreeSet<Class>,
}

impl<'t, const W: usize> Frontier<'t, W> {
    /// The beginning of `timeline`, whose peak must be at most the capacity of `Bits<W>`.
    pub(super) fn new(timeline: &'t Timeline) -> Self {
        Frontier {
            timeline,
            at: 0,
            slot_of: assign_slots::<W>(timeline),
            slots: vec![None; Bits::<W>::CAPACITY],
            occupied: Bits::EMPTY,
            blind: Bits::EMPTY,
            open: BTreeMap::new(),
            leading_to: BTreeMap::new(),
            leading_anywhere: BTreeSet::new(),
        }
    }

    /// How many events happened.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next event.
    pub(super) fn next(&self) -> Option<Event> {
        self.timeline.events.get(self.at).copied()
    }

    /// Lets the next event happen.
    pub(super) fn forward(&mut self, model: &dyn Model) {
        match self.next() {
            Some(Event::Invoke(call)) => self.open(call, model),
            Some(Event::Return(call)) => self.close(call),
            None => return,
        }
        self.at += 1;
    }

    /// Moves to the point after `at` events.
    pub(super) fn go_to(&mut self, at: usize, model: &dyn Model) {
        while self.at < at {
            self.forward(model);
        }
        while self.at > at {
            self.at -= 1;
            match self.timeline.events[self.at] {
                Event::Invoke(call) => self.close(call),
                Event::Return(call) => self.open(call, model),
            }
        }
    }

    /// The slot of a call that will return.
    pub(super) fn slot(&self, call: CallId) -> usize {
        self.slot_of[call.0]
    }

    /// Whether `call` will return.
    pub(super) fn returns(&self, call: CallId) -> bool {
        self.timeline.call(call).returned.is_some()
    }

    /// The class of `call`.
    pub(super) fn class(&self, call: CallId) -> Class {
        self.timeline.call(call).class
    }

    /// The open call in `slot`.
    pub(super) fn occupant(&self, slot: usize) -> &OpenCall {
        self.slots[slot].as_ref().expect("only slots of open calls are in a configuration")
    }

    /// The slots of the blind writes.
    pub(super) fn blind(&self) -> &Bits<W> {
        &self.blind
    }

    /// The open calls of `class`.
    pub(super) fn open_class(&self, class: Class) -> Option<&OpenClass> {
        self.open.get(&class)
    }

    /// All open calls, by class.
    pub(super) fn classes(&self) -> impl Iterator<Item = (Class, &OpenClass)> {
        self.open.iter().map(|(class, open)| (*class, open))
    }

    fn open(&mut self, call: CallId, model: &dyn Model) {
        let class = self.class(call);
        let effect = model.effect(class);
        if !self.open.contains_key(&class) {
            let (needs, leads_to) = (model.needs(class), model.leads_to(class));
            if effect != Effect::Observe {
                match leads_to {
                    Some(state) => self.leading_to.entry(state).or_default().insert(class),
                    None => self.leading_anywhere.insert(class),
                };
            }
            let (slots, crashed) = (Vec::new(), Vec::new());
            self.open.insert(class, OpenClass { effect, needs, leads_to, slots, crashed });
        }
        let (timeline, slots) = (self.timeline, &self.slots);
        let open = self.open.get_mut(&class).expect("it was inserted if it was missing");
        let Some(deadline) = timeline.call(call).returned else {
            // Calls are invoked and forgotten in the order of their ids.
            open.crashed.push(call);
            return;
        };
        let slot = self.slot_of[call.0];
        let is_earlier = |other: &usize| {
            let other = slots[*other].map(|open| timeline.call(open.call).returned);
            other.flatten().is_some_and(|returned| returned < deadline)
        };
        let place = open.slots.partition_point(is_earlier);
        open.slots.insert(place, slot);
        assert!(self.slots[slot].is_none(), "a slot holds one call");
        self.slots[slot] = Some(OpenCall { call, class, effect });
        self.occupied.insert(slot);
        if matches!(effect, Effect::Overwrite(_)) {
            self.blind.insert(slot);
        }
    }

    fn close(&mut self, call: CallId) {
        let class = self.class(call);
        let open = self.open.get_mut(&class).expect("an open call has a class");
        if self.timeline.call(call).returned.is_none() {
            assert_eq!(open.crashed.pop(), Some(call), "the last one is undone first");
        } else {
            let slot = self.slot_of[call.0];
            open.slots.retain(|other| *other != slot);
            self.slots[slot] = None;
            self.occupied.remove(slot);
            self.blind.remove(slot);
        }
        if !open.slots.is_empty() || !open.crashed.is_empty() {
            return;
        }
        match open.leads_to.and_then(|state| self.leading_to.get_mut(&state).zip(Some(state))) {
            Some((classes, state)) => {
                classes.remove(&class);
                if classes.is_empty() {
                    self.leading_to.remove(&state);
                }
            }
            None => {
                self.leading_anywhere.remove(&class);
            }
        }
        self.open.remove(&class);
    }

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
    pub(super) fn relevant(&self, target: Class) -> Vec<Class> {
        let mut found = Found::default();
        for slot in self.occupied.iter() {
            let OpenCall { class, effect, .. } = self.occupant(slot);
            match effect {
                Effect::Overwrite(_) => {}
                Effect::Observe => match self.open[class].needs {
                    Some(state) => found.state(state),
                    None => return self.all(),
                },
                Effect::Update => found.class(*class),
            }
        }
        if self.open[&target].effect != Effect::Observe {
            found.class(target);
        }
        self.leading_anywhere.iter().for_each(|class| found.class(*class));
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
                let classes = self.leading_to.get(&state);
                classes.into_iter().flatten().for_each(|class| found.class(*class));
            } else {
                return found.classes.into_iter().collect();
            }
        }
    }

    fn all(&self) -> Vec<Class> {
        let changing = self.classes().filter(|(_, open)| open.effect != Effect::Observe);
        changing.map(|(class, _)| class).collect()
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
}

/// Gives every call that will return the smallest slot that is free at its invocation.
fn assign_slots<const W: usize>(timeline: &Timeline) -> Vec<usize> {
    let mut slot_of = vec![usize::MAX; timeline.calls.len()];
    let mut free: BTreeSet<usize> = (0..Bits::<W>::CAPACITY).collect();
    for event in &timeline.events {
        match event {
            Event::Invoke(call) if timeline.call(*call).returned.is_some() => {
                slot_of[call.0] = free.pop_first().expect("the peak fits into the slots");
            }
            Event::Invoke(_) => {}
            Event::Return(call) => {
                free.insert(slot_of[call.0]);
            }
        }
    }
    slot_of
}
