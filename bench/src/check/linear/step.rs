//! One step of a search: the successors of configurations at a return.
//!
//! Just-in-time linearization (Lowe, *Testing for linearizability*, 2017): nothing
//! needs to take effect before some call returns. So an invocation only adds a call to
//! the open ones; a return of *x* keeps the configurations in which *x* took
//! effect, and turns each other one into those reachable by letting open calls
//! take effect, *x* last.
//!
//! # The meaning of a configuration
//!
//! A configuration (state, owed, usable, spent) is *completed* by a sequence of steps and events if
//! the model allows the steps one after the other from the state, each step uses a call that is
//! open and usable or indeterminate and unspent (and uses it up), and every call that is owed pays
//! before it returns: by being used, by a blind write (if it is one), or by a state that shows it
//! (a read, or a write of the value that is there). Which of its usable calls a step takes is free
//! in this definition. Hence a configuration that owes less and can use more is completed by
//! whatever completes the other, and a *join* (owed by both, usable in either, spent in both) is
//! completed by whatever completes one of the two. That does not depend on the model.
//!
//! # The steps left out, and why nothing is lost
//!
//! Every rule below is an argument about that definition: if a configuration is completed at
//! all, it is completed by a sequence that follows the rule. Therefore the rules hold for joined
//! configurations as well as for exact ones; none of them assumes that a usable update
//! is owed.
//!
//! * A read takes effect as soon as the state allows it: that changes nothing else.
//! * A blind write pays every other blind write that is open: that one took effect
//!   immediately before, where no operation could notice.
//! * Which call of a class a step takes. A class has calls that are owed and, by
//!   hiding or by a join, calls that are usable but not owed. Let `owed` be the
//!   first of the former to return and `spare` the first of the latter, indeterminate
//!   ones last. If the sequence takes another owed call, `owed` pays later,
//!   but before the other returns, so the two can change places. If it takes another
//!   spare call, `spare` can take its place, and the other one that of `spare` if
//!   `spare` is used later, since it returns later. And if `owed` returns before
//!   `spare`, then `owed` can change places with `spare`, too. So it is enough to try `owed`, and
//!   `spare` only if it returns first. Neither alone is enough: `spare` may return too
//!   early to be used where `owed` is needed, and it pays nothing. For blind writes one
//!   try is enough, the first usable call: paying does not depend on which one is used.
//! * Of the class of *x*, only *x* takes effect: it returns first, and a
//!   sequence that ends with its first use is all that is needed.
//! * A step before a blind write pays for something that the blind write does not pay: else the
//!   sequence without the step is as good.
//! * Only classes that matter take effect; see `Frontier::relevant`.
//! * Of the results, only those that no other one dominates are kept.
//!
//! The models differ only in which classes observe, overwrite or update: registers have
//! all three; the mutex has only updates; transactions, sets and queues observe and update.

use std::collections::{BTreeSet, VecDeque};

use super::bits::Bits;
use super::config::{Antichain, Config, Overflow, Spent, SpentTable};
use super::finding::Possibility;
use super::frontier::{Frontier, OpenCall};
use super::model::{Effect, Model};
use super::relevant::Crashed;
use super::timeline::{CallId, Class, Timeline};

/// Largest size of the table of spent indeterminate calls: about 60 MB.
const MAX_SPENT: usize = 4_000_000;

/// Largest size of the model's states in bytes. Each state that a search reaches costs about as much
/// again in sets of configurations.
const MAX_WEIGHT: usize = 40_000_000;

/// How many configurations to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    pub(super) max_per_state: usize,
    pub(super) overflow: Overflow,
}

/// Which call takes effect.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Slot(usize),
    Crashed(CallId),
}

/// A point of the timeline, and the steps from configurations there.
pub(super) struct Stepper<'t, const W: usize> {
    pub(super) frontier: Frontier<'t, W>,
    pub(super) spent: SpentTable,
    /// Comparisons so far.
    pub(super) work: u64,
    /// A return is left unfinished when there were more.
    pub(super) max_work: u64,
    /// How often indeterminate calls can be used.
    pub(super) crashed: Crashed,
    /// How many indeterminate calls a configuration may have spent.
    pub(super) max_spent: u32,
    /// Classes of which the last returns wanted an indeterminate call and found all spent.
    pub(super) exhausted: BTreeSet<Class>,
    /// The largest size of the model's states.
    pub(super) max_weight: usize,
    /// Whether the states of the model take too much memory.
    is_heavy: bool,
}

impl<'t, const W: usize> Stepper<'t, W> {
    pub(super) fn new(timeline: &'t Timeline) -> Self {
        let (frontier, spent) = (Frontier::new(timeline), SpentTable::new());
        Stepper {
            frontier,
            spent,
            work: 0,
            max_work: u64::MAX,
            crashed: Crashed::Once,
            max_spent: u32::MAX,
            exhausted: BTreeSet::new(),
            max_weight: MAX_WEIGHT,
            is_heavy: false,
        }
    }

    /// The limit that was passed, if one was.
    pub(super) fn excess(&self) -> Option<String> {
        if self.work > self.max_work {
            return Some("too many comparisons of configurations".into());
        }
        if self.is_heavy {
            return Some("the states of the object are too large to keep them all".into());
        }
        let is_full = self.spent.size() > MAX_SPENT;
        is_full.then(|| "too many combinations of indeterminate operations".into())
    }

    /// The configuration before the first event.
    pub(super) fn start(model: &dyn Model) -> Config<W> {
        Config {
            state: model.initial(),
            owed: Bits::EMPTY,
            usable: Bits::EMPTY,
            spent: Spent::NOTHING,
            productive: true,
            last: None,
        }
    }

    /// Adds `call`, which was just invoked, to a configuration.
    pub(super) fn admit(&self, model: &mut dyn Model, call: CallId, config: &mut Config<W>) {
        if !self.frontier.returns(call) {
            // Configurations count their spent calls, so that they need not change here.
            return;
        }
        let slot = self.frontier.slot(call);
        let OpenCall { class, effect, .. } = *self.frontier.occupant(slot);
        match effect {
            // The call is done at once where it leaves the state as it is.
            Effect::Observe if model.step(config.state, class).is_some() => {
                config.last = Some(call);
                return;
            }
            Effect::Overwrite(state) if state == config.state => {}
            _ => config.owed.insert(slot),
        }
        if effect != Effect::Observe {
            config.usable.insert(slot);
        }
    }

    /// Returns the successors of `configs` when `call` returns, which is the next event. The
    /// frontier stays before it.
    pub(super) fn complete<'c>(
        &mut self,
        model: &mut dyn Model,
        configs: impl Iterator<Item = &'c Config<W>>,
        call: CallId,
        capacity: Capacity,
    ) -> Antichain<W> {
        let slot = self.frontier.slot(call);
        let effect = self.frontier.occupant(slot).effect;
        let mut next = Antichain::new(capacity.max_per_state, capacity.overflow);
        let mut queue = VecDeque::new();
        for config in configs {
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
        if !queue.is_empty() {
            self.linearize(model, slot, queue, &mut next, capacity);
        }
        next
    }

    /// Lets open calls take effect, beginning from `queue`, until the one in `slot`
    /// did; the results go to `next`.
    fn linearize(
        &mut self,
        model: &mut dyn Model,
        slot: usize,
        queue: VecDeque<Config<W>>,
        next: &mut Antichain<W>,
        capacity: Capacity,
    ) {
        let target = self.frontier.occupant(slot).class;
        let is_sparing = queue.iter().all(|config| !self.may_spend(config));
        let crashed = if is_sparing { Crashed::Never } else { self.crashed };
        let relevant = self.frontier.relevant(target, crashed);
        let mut seen = Antichain::new(capacity.max_per_state, capacity.overflow);
        let mut insert =
            |config, stepper: &mut Self| seen.insert(config, &mut stepper.spent, &mut stepper.work);
        let mut queue: VecDeque<Config<W>> =
            queue.into_iter().filter_map(|config| insert(config, self)).collect();
        while let Some(config) = queue.pop_front() {
            for class in relevant.at(config.state, config.productive) {
                for choice in self.choices(&config, class, (class == target).then_some(slot)) {
                    let Some(choice) = choice else { continue };
                    let reached = self.take_effect(model, &config, class, choice);
                    let Some(mut reached) = reached else { continue };
                    // A read is done on the way; then, too, its call has taken effect.
                    if class == target || self.is_observed(&reached, slot) {
                        reached.usable.remove(slot);
                        reached.productive = true;
                        next.insert(reached, &mut self.spent, &mut self.work);
                    } else {
                        queue.extend(insert(reached, self));
                    }
                }
            }
            self.is_heavy = model.weight() > self.max_weight;
            if self.work > self.max_work || self.is_heavy {
                return;
            }
        }
        next.inherit(&seen);
    }

    fn is_observed(&self, config: &Config<W>, slot: usize) -> bool {
        self.frontier.occupant(slot).effect == Effect::Observe && !config.owed.has(slot)
    }

    /// The calls of `class` worth trying from `config`; `target` if it is the call that
    /// returns. See the head of this file for why these are enough.
    fn choices(
        &mut self,
        config: &Config<W>,
        class: Class,
        target: Option<usize>,
    ) -> [Option<Choice>; 2] {
        self.work += 1;
        if let Some(slot) = target {
            return [config.usable.has(slot).then_some(Choice::Slot(slot)), None];
        }
        let Some(open) = self.frontier.open_class(class) else { return [None, None] };
        let mut usable = open.slots.iter().copied().filter(|slot| config.usable.has(*slot));
        let first = usable.next();
        match first {
            None => [self.crashed(config, class), None],
            Some(slot) if matches!(open.effect, Effect::Overwrite(_)) || config.owed.has(slot) => {
                [Some(Choice::Slot(slot)), None]
            }
            Some(spare) => {
                let owed = usable.find(|slot| config.owed.has(*slot));
                [owed.map(Choice::Slot), Some(Choice::Slot(spare))]
            }
        }
    }

    fn may_spend(&self, config: &Config<W>) -> bool {
        self.spent.total(config.spent) < self.max_spent
    }

    /// The first indeterminate call of `class` that is not spent.
    fn crashed(&mut self, config: &Config<W>, class: Class) -> Option<Choice> {
        let open = self.frontier.open_class(class)?;
        let first = open.crashed.first()?;
        if !self.may_spend(config) {
            return None;
        }
        let used = self.spent.count(config.spent, class) as usize;
        let choice = (used == 0).then_some(first).or(open.crashed.get(used)).copied();
        if choice.is_none() {
            self.exhausted.insert(class);
        }
        choice.map(Choice::Crashed)
    }

    /// The configuration after a call of `class`, if it is possible and makes sense.
    fn take_effect(
        &mut self,
        model: &mut dyn Model,
        config: &Config<W>,
        class: Class,
        choice: Choice,
    ) -> Option<Config<W>> {
        let effect = self.frontier.open_class(class)?.effect;
        let state = match effect {
            Effect::Observe => return None,
            Effect::Overwrite(_) if !config.productive => return None,
            Effect::Overwrite(state) => state,
            Effect::Update => model.step(config.state, class)?,
        };
        let mut after = Config { state, ..*config };
        match choice {
            Choice::Slot(slot) => {
                after.owed.remove(slot);
                after.usable.remove(slot);
                after.last = Some(self.frontier.occupant(slot).call);
            }
            Choice::Crashed(call) => {
                after.last = Some(call);
                if self.crashed != Crashed::Freely {
                    after.spent = self.spent.plus_one(config.spent, class);
                }
            }
        }
        let blind = *self.frontier.blind();
        if matches!(effect, Effect::Overwrite(_)) {
            after.owed = after.owed.without(&blind);
        }
        self.settle(model, &mut after);
        after.productive = !config.owed.without(&after.owed).without(&blind).is_empty();
        Some(after)
    }

    /// Lets every owed call take effect that leaves the state as it is.
    fn settle(&self, model: &mut dyn Model, config: &mut Config<W>) {
        for slot in config.owed.iter() {
            let OpenCall { call, class, effect } = *self.frontier.occupant(slot);
            match effect {
                Effect::Observe if model.step(config.state, class).is_some() => {
                    config.last = Some(call);
                    config.owed.remove(slot);
                }
                Effect::Overwrite(state) if state == config.state => config.owed.remove(slot),
                _ => {}
            }
        }
    }

    /// `config` as a reader wants it.
    pub(super) fn possibility(&self, config: &Config<W>) -> Possibility {
        let mut pending = Vec::new();
        for (class, open) in self.frontier.classes() {
            let is_open = |slot: &&usize| config.owed.has(**slot) || config.usable.has(**slot);
            let slots = open.slots.iter().filter(is_open);
            pending.extend(slots.map(|slot| self.frontier.occupant(*slot).call));
            let used = self.spent.count(config.spent, class) as usize;
            pending.extend(open.crashed.iter().skip(used));
        }
        pending.sort_unstable();
        Possibility { state: config.state, last: config.last, pending }
    }
}
