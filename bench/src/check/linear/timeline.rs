//! The history as the search sees it: calls of small classes, and the order in
//! which they were invoked and returned.
//!
//! A *call* is an invocation with its completion. Two calls are of one *class* if
//! the model cannot tell them apart (same function, arguments and result). Calls
//! that certainly had no effect are dropped before: failed ones, and indeterminate
//! ones that only observe.

/// A class of indistinguishable operations, numbered by the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(pub u32);

/// A state of the modelled object, numbered by the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State(pub u32);

/// A call's position in [`Timeline::calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub usize);

/// An operation from invocation to completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its class of operations.
    pub class: Class,
    /// Position of the invocation in the history.
    pub invoked: usize,
    /// Position of the completion, unless it is indeterminate: then the operation
    /// may take effect at any time after the invocation, or never.
    pub returned: Option<usize>,
}

/// One step of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call begins.
    Invoke(CallId),
    /// A call returns: it took effect since its invocation.
    Return(CallId),
}

/// The calls on one object and the order of their events.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// All calls, by invocation.
    pub calls: Vec<Call>,
    /// Their invocations and returns.
    pub events: Vec<Event>,
}

impl Timeline {
    /// Puts the events of `calls` in order. Positions must differ, and calls return
    /// after their invocation.
    pub fn new(mut calls: Vec<Call>) -> Timeline {
        calls.sort_by_key(|call| call.invoked);
        let mut events = Vec::with_capacity(calls.len() * 2);
        for (id, call) in calls.iter().enumerate() {
            events.push((call.invoked, Event::Invoke(CallId(id))));
            if let Some(returned) = call.returned {
                assert!(call.invoked < returned, "a call returns after its invocation");
                events.push((returned, Event::Return(CallId(id))));
            }
        }
        events.sort_by_key(|(position, _)| *position);
        Timeline { calls, events: events.into_iter().map(|(_, event)| event).collect() }
    }

    /// The call with this id.
    pub fn call(&self, id: CallId) -> &Call {
        &self.calls[id.0]
    }

    /// The largest number of calls that are open at once and do return.
    pub fn peak(&self) -> usize {
        let (mut open, mut peak) = (0_usize, 0);
        for event in &self.events {
            match event {
                Event::Invoke(id) if self.call(*id).returned.is_some() => open += 1,
                Event::Invoke(_) => {}
                Event::Return(_) => open -= 1,
            }
            peak = peak.max(open);
        }
        peak
    }
}
