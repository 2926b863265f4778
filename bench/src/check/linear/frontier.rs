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
    pub(super) needs: Option<State>,
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
    /// For every slot, the events at which its calls were invoked and returned.
    calls_of: Vec<Vec<(usize, usize)>>,
    slots: Vec<Option<OpenCall>>,
    pub(super) occupied: Bits<W>,
    /// The slots of all blind writes.
    blind: Bits<W>,
    pub(super) open: BTreeMap<Class, OpenClass>,
    /// The classes of `open` that change the state and lead to this one only.
    pub(super) leading_to: BTreeMap<State, BTreeSet<Class>>,
    /// The classes of `open` that change the state and lead to several.
    pub(super) leading_anywhere: BTreeSet<Class>,
}

impl<'t, const W: usize> Frontier<'t, W> {
    /// The beginning of `timeline`, whose peak must be at most the capacity of `Bits<W>`.
    pub(super) fn new(timeline: &'t Timeline) -> Self {
        let slot_of = assign_slots::<W>(timeline);
        Frontier {
            timeline,
            at: 0,
            calls_of: calls_of(timeline, &slot_of, Bits::<W>::CAPACITY),
            slot_of,
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

    /// The number of events before the return of the call that is in `slot` after `at` events.
    pub(super) fn returned_at(&self, slot: usize, at: usize) -> usize {
        let calls = &self.calls_of[slot];
        let next = calls.partition_point(|(invoked, _)| *invoked < at);
        calls[next - 1].1
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

/// For every slot, the events at which its calls are invoked and return.
fn calls_of(timeline: &Timeline, slot_of: &[usize], slots: usize) -> Vec<Vec<(usize, usize)>> {
    let mut calls_of = vec![Vec::new(); slots];
    for (at, event) in timeline.events.iter().enumerate() {
        match event {
            Event::Invoke(call) if timeline.call(*call).returned.is_some() => {
                calls_of[slot_of[call.0]].push((at, usize::MAX));
            }
            Event::Invoke(_) => {}
            Event::Return(call) => {
                let calls: &mut Vec<(usize, usize)> = &mut calls_of[slot_of[call.0]];
                calls.last_mut().expect("it was invoked").1 = at;
            }
        }
    }
    calls_of
}
