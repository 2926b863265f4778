//! One pass over the events, with the set of all configurations.
//!
//! Just-in-time linearization (Lowe, *Testing for linearizability*, 2017): nothing
//! needs to take effect before some call returns. So an invocation only adds a call to
//! the open ones; a return of *x* keeps the configurations in which *x* took
//! effect, and turns each other one into those reachable by letting open calls
//! take effect, *x* last. If none is left, the history is not linearizable, and the
//! events so far are a shortest failing prefix. There is no backtracking, and the
//! cost is the number of events times that of configurations.
//!
//! What keeps the set small, and is exact:
//!
//! * A read takes effect as soon as the state allows it: later is never better.
//! * Blind writes hide each other; see `config.rs`.
//! * Of several open calls of one class, the one that returns first takes effect
//!   first: swapping the two in any order of effects gives a legal one.
//!   Indeterminate ones never return, so they come last and need only be counted.
//! * A step before a blind write must pay for something: else leaving it out is better.
//! * Of the rest, only configurations that no other one dominates are kept.

use std::collections::{BTreeMap, VecDeque};

use super::bits::Bits;
use super::config::{Antichain, Config, Overflow, Spent, SpentTable};
use super::model::{Effect, Model};
use super::search::Possibility;
use super::timeline::{Call, CallId, Class, Event, Timeline};

/// Largest number of different vectors of indeterminate calls: about 100 MB.
const MAX_SPENT_VECTORS: usize = 1_000_000;

/// The open calls of one class.
#[derive(Clone, Debug)]
struct OpenClass<const W: usize> {
    class: Class,
    effect: Effect,
    /// Slots of the calls that will return, the first to return first.
    slots: Vec<usize>,
    mask: Bits<W>,
    /// Position in the [`SpentTable`], if any call is indeterminate.
    crashed_at: Option<usize>,
    crashed: Vec<CallId>,
}

/// How a pass ended.
pub(super) enum End {
    Survived {
        possibilities: Vec<Possibility>,
        is_exact: bool,
    },
    Died {
        call: CallId,
        before: Vec<Possibility>,
        is_exact: bool,
    },
    /// Stopped early, for this reason.
    Stopped(String),
}

/// One run over all events.
pub(super) struct Pass<'a, const W: usize> {
    model: &'a mut dyn Model,
    timeline: &'a Timeline,
    max_per_state: usize,
    overflow: Overflow,
    is_exact: bool,
    /// For every call that will return, the position of its return.
    deadlines: Vec<usize>,
    slots: Vec<Option<CallId>>,
    open: Vec<OpenClass<W>>,
    open_at: BTreeMap<Class, usize>,
    /// The slots of all blind writes.
    blind: Bits<W>,
    spent: SpentTable,
    crashed_classes: usize,
    configs: Antichain<W>,
    work: u64,
}

impl<'a, const W: usize> Pass<'a, W> {
    pub(super) fn new(
        model: &'a mut dyn Model,
        timeline: &'a Timeline,
        max_per_state: usize,
        overflow: Overflow,
    ) -> Self {
        let mut configs = Antichain::new(max_per_state, overflow);
        let mut spent = SpentTable::new();
        let start = Config {
            state: model.initial(),
            owed: Bits::EMPTY,
            usable: Bits::EMPTY,
            spent: Spent::NOTHING,
            productive: true,
            last: None,
        };
        configs.insert(start, &mut spent, &mut 0);
        let deadline = |call: &Call| call.returned.unwrap_or(usize::MAX);
        let deadlines = timeline.calls.iter().map(deadline).collect();
        Pass {
            model,
            timeline,
            max_per_state,
            overflow,
            is_exact: true,
            deadlines,
            slots: vec![None; Bits::<W>::CAPACITY],
            open: Vec::new(),
            open_at: BTreeMap::new(),
            blind: Bits::EMPTY,
            spent,
            crashed_classes: 0,
            configs,
            work: 0,
        }
    }

    /// The end, and the work it took.
    pub(super) fn run(mut self, max_work: u64) -> (End, u64) {
        for event in &self.timeline.events {
            match *event {
                Event::Invoke(call) => self.invoke(call),
                Event::Return(call) => {
                    let is_possible = self.complete(call, max_work);
                    if let Some(reason) = self.excess(max_work) {
                        return (End::Stopped(reason), self.work);
                    }
                    if !is_possible {
                        let (before, is_exact) = (self.possibilities(), self.is_exact);
                        return (End::Died { call, before, is_exact }, self.work);
                    }
                }
            }
        }
        let (possibilities, is_exact) = (self.possibilities(), self.is_exact);
        (End::Survived { possibilities, is_exact }, self.work)
    }

    /// The limit that was passed, if one was.
    fn excess(&self, max_work: u64) -> Option<String> {
        if self.work > max_work {
            return Some("too many comparisons of configurations".into());
        }
        let is_full = self.spent.len() > MAX_SPENT_VECTORS;
        is_full.then(|| "too many combinations of indeterminate operations".into())
    }

    /// The index in `open` of a class, which is created if need be.
    fn open_class(&mut self, class: Class) -> usize {
        let next = self.open.len();
        let at = *self.open_at.entry(class).or_insert(next);
        if at == next {
            self.open.push(OpenClass {
                class,
                effect: self.model.effect(class),
                slots: Vec::new(),
                mask: Bits::EMPTY,
                crashed_at: None,
                crashed: Vec::new(),
            });
        }
        at
    }

    fn invoke(&mut self, call: CallId) {
        let at = self.open_class(self.timeline.call(call).class);
        if self.timeline.call(call).returned.is_none() {
            // Configurations count what they used, so that they need not change here.
            self.open[at].crashed.push(call);
            if self.open[at].crashed_at.is_none() {
                self.open[at].crashed_at = Some(self.crashed_classes);
                self.crashed_classes += 1;
            }
            return;
        }
        let slot = self.slots.iter().position(Option::is_none).expect("W fits the peak");
        self.slots[slot] = Some(call);
        let class = &mut self.open[at];
        class.mask.insert(slot);
        let (slots, deadlines) = (&self.slots, &self.deadlines);
        let deadline = |slot: &usize| slots[*slot].map(|call| deadlines[call.0]);
        let place = class.slots.partition_point(|other| deadline(other) < deadline(&slot));
        class.slots.insert(place, slot);
        if matches!(class.effect, Effect::Overwrite(_)) {
            self.blind.insert(slot);
        }
        self.admit(slot, at, call);
    }

    /// Adds a new call to every configuration.
    fn admit(&mut self, slot: usize, at: usize, call: CallId) {
        let OpenClass { class, effect, .. } = self.open[at];
        for config in self.configs.iter_mut() {
            match effect {
                // The call is done at once where it leaves the state as it is.
                Effect::Observe if self.model.step(config.state, class).is_some() => {
                    config.last = Some(call);
                    continue;
                }
                Effect::Overwrite(state) if state == config.state => {}
                _ => config.owed.insert(slot),
            }
            if effect != Effect::Observe {
                config.usable.insert(slot);
            }
        }
    }

    /// Handles the return of `call`. If it is impossible, nothing changes.
    fn complete(&mut self, call: CallId, max_work: u64) -> bool {
        let slot = self.slots.iter().position(|open| *open == Some(call));
        let slot = slot.expect("a call that returns was invoked");
        let mut next = Antichain::new(self.max_per_state, self.overflow);
        let mut queue = VecDeque::new();
        let effect = self.model.effect(self.timeline.call(call).class);
        for config in self.configs.iter() {
            if !config.owed.has(slot) {
                let mut kept = *config;
                if kept.usable.has(slot) && effect == Effect::Overwrite(kept.state) {
                    kept.last = Some(call);
                }
                kept.usable.remove(slot);
                next.insert(kept, &mut self.spent, &mut self.work);
            }
            if config.owed.has(slot) || config.usable.has(slot) {
                queue.push_back(*config);
            }
        }
        self.linearize(call, slot, queue, &mut next, max_work);
        self.is_exact &= next.is_exact();
        if next.is_empty() {
            return false;
        }
        self.release(slot, self.timeline.call(call).class);
        self.configs = next;
        true
    }

    /// Lets open calls take effect, beginning from `queue`, until the one in `slot`
    /// did; the results go to `next`.
    fn linearize(
        &mut self,
        call: CallId,
        slot: usize,
        mut queue: VecDeque<Config<W>>,
        next: &mut Antichain<W>,
        max_work: u64,
    ) {
        let target = self.open_at[&self.timeline.call(call).class];
        let mut seen = Antichain::new(self.max_per_state, self.overflow);
        for config in &queue {
            seen.insert(*config, &mut self.spent, &mut self.work);
        }
        while let Some(config) = queue.pop_front() {
            for at in 0..self.open.len() {
                let Some(reached) = self.take_effect(&config, at) else { continue };
                // A read is done on the way; then, too, its call has taken effect.
                if at == target || self.is_observed(&reached, target, slot) {
                    let mut reached = reached;
                    reached.usable.remove(slot);
                    reached.productive = true;
                    next.insert(reached, &mut self.spent, &mut self.work);
                } else {
                    let added = seen.insert(reached, &mut self.spent, &mut self.work);
                    queue.extend(added);
                }
            }
            if self.work > max_work {
                return;
            }
        }
        self.is_exact &= seen.is_exact();
    }

    fn is_observed(&self, config: &Config<W>, target: usize, slot: usize) -> bool {
        self.open[target].effect == Effect::Observe && !config.owed.has(slot)
    }

    /// The configuration after the next call of the class at `at`, if there is one, it is
    /// possible, and it makes sense.
    fn take_effect(&mut self, config: &Config<W>, at: usize) -> Option<Config<W>> {
        let open = &self.open[at];
        let state = match open.effect {
            Effect::Observe => return None,
            Effect::Overwrite(_) if !config.productive => return None,
            Effect::Overwrite(state) => state,
            Effect::Update => self.model.step(config.state, open.class)?,
        };
        let mut after = Config { state, ..*config };
        if let Some(slot) = open.slots.iter().find(|slot| config.usable.has(**slot)) {
            after.owed.remove(*slot);
            after.usable.remove(*slot);
            after.last = self.slots[*slot];
        } else {
            let position = open.crashed_at?;
            let used = self.spent.count(config.spent, position) as usize;
            after.last = Some(*open.crashed.get(used)?);
            after.spent = self.spent.plus_one(config.spent, position);
        }
        if matches!(self.open[at].effect, Effect::Overwrite(_)) {
            after.owed = after.owed.without(&self.blind);
        }
        self.settle(&mut after);
        after.productive = !config.owed.without(&after.owed).without(&self.blind).is_empty();
        Some(after)
    }

    /// Lets every owed call take effect that leaves the state as it is.
    fn settle(&mut self, config: &mut Config<W>) {
        for open in &self.open {
            if !open.mask.meets(&config.owed) {
                continue;
            }
            let is_free = match open.effect {
                Effect::Observe => self.model.step(config.state, open.class).is_some(),
                Effect::Overwrite(state) => state == config.state,
                Effect::Update => false,
            };
            if !is_free {
                continue;
            }
            if open.effect == Effect::Observe {
                let slot = open.slots.iter().find(|slot| config.owed.has(**slot));
                config.last = slot.and_then(|slot| self.slots[*slot]).or(config.last);
            }
            config.owed = config.owed.without(&open.mask);
        }
    }

    /// Forgets a call that returned.
    fn release(&mut self, slot: usize, class: Class) {
        self.slots[slot] = None;
        self.blind.remove(slot);
        let at = self.open_at[&class];
        self.open[at].mask.remove(slot);
        self.open[at].slots.retain(|other| *other != slot);
        if self.open[at].slots.is_empty() && self.open[at].crashed.is_empty() {
            self.open.swap_remove(at);
            self.open_at.remove(&class);
            if let Some(moved) = self.open.get(at) {
                self.open_at.insert(moved.class, at);
            }
        }
    }

    fn possibilities(&self) -> Vec<Possibility> {
        let pending = |config: &Config<W>| {
            let mut pending = Vec::new();
            for open in &self.open {
                let is_open = |slot: &usize| config.owed.has(*slot) || config.usable.has(*slot);
                let slots = open.slots.iter().filter(|slot| is_open(slot));
                pending.extend(slots.filter_map(|slot| self.slots[*slot]));
                let used = open.crashed_at.map_or(0, |at| self.spent.count(config.spent, at));
                pending.extend(open.crashed.iter().skip(used as usize));
            }
            pending.sort_unstable();
            pending
        };
        let view = |config: &Config<W>| Possibility {
            state: config.state,
            last: config.last,
            pending: pending(config),
        };
        self.configs.iter().map(view).collect()
    }
}
