//! Depth first: one configuration at a time, and back to the last choice when it fails.
//!
//! The steps are those of the pass, one return at a time and the least wasteful result
//! first, so that a history with few clients is decided with a handful of
//! configurations for each return, however many indeterminate calls there are. What was tried
//! is remembered for each return, as Wing and Gong's search with Lowe's cache does:
//! a configuration that another one dominates, which was tried before, cannot lead
//! further. The search is exact; what bounds it is its budget of work and memory.

use super::config::{Config, Overflow};
use super::model::Model;
use super::pass::{End, possibilities};
use super::step::{Capacity, Stepper};
use super::timeline::{Event, Timeline};

/// Configurations remembered at most: about 300 MB with 64 slots.
const MAX_REMEMBERED: usize = 4_000_000;

/// Results of one return that were not tried yet.
struct Choices<const W: usize> {
    /// The number of events after the return.
    at: usize,
    /// The best last.
    rest: Vec<Config<W>>,
}

/// A search that can be continued.
pub(super) struct Depth<'t, const W: usize> {
    stepper: Stepper<'t, W>,
    /// The configuration at the frontier, unless it failed.
    current: Option<Config<W>>,
    choices: Vec<Choices<W>>,
    /// What was tried, by the number of events before the return.
    tried: Vec<Vec<Config<W>>>,
    remembered: usize,
    /// The furthest return that had to be handled.
    furthest: usize,
}

impl<'t, const W: usize> Depth<'t, W> {
    pub(super) fn new(model: &dyn Model, timeline: &'t Timeline) -> Self {
        Depth {
            stepper: Stepper::new(timeline),
            current: Some(Stepper::start(model)),
            choices: Vec::new(),
            tried: vec![Vec::new(); timeline.events.len()],
            remembered: 0,
            furthest: 0,
        }
    }

    /// Searches on, for so much work. The end, and the work it took.
    pub(super) fn run(&mut self, model: &mut dyn Model, budget: u64) -> (End, u64) {
        let before = self.stepper.work;
        self.stepper.max_work = before.saturating_add(budget);
        let end = self.advance(model);
        (end, self.stepper.work - before)
    }

    fn advance(&mut self, model: &mut dyn Model) -> End {
        loop {
            if let Some(reason) = self.stepper.excess() {
                return End::Stopped(reason);
            }
            if self.remembered > MAX_REMEMBERED {
                return End::Stopped("too many configurations to remember".into());
            }
            if self.current.is_none() && !self.go_back(model) {
                return self.died(model);
            }
            let Some(config) = &mut self.current else { continue };
            match self.stepper.frontier.next() {
                None => {
                    let possibilities = possibilities(&self.stepper, [&*config].into_iter());
                    return End::Survived { possibilities, is_exact: true };
                }
                Some(Event::Invoke(call)) => {
                    self.stepper.frontier.forward(model);
                    self.stepper.work += 1;
                    self.stepper.admit(model, call, config);
                }
                Some(Event::Return(call)) => {
                    let slot = self.stepper.frontier.slot(call);
                    if config.owed.has(slot) || config.usable.has(slot) {
                        self.complete(model);
                    } else {
                        self.stepper.frontier.forward(model);
                        self.stepper.work += 1;
                    }
                }
            }
        }
    }

    /// Takes the last choice that is left; none is when this returns false.
    fn go_back(&mut self, model: &dyn Model) -> bool {
        while let Some(choices) = self.choices.last_mut() {
            if let Some(config) = choices.rest.pop() {
                let distance = self.stepper.frontier.at().abs_diff(choices.at);
                self.stepper.work += distance as u64;
                self.stepper.frontier.go_to(choices.at, model);
                self.current = Some(config);
                return true;
            }
            self.choices.pop();
        }
        false
    }

    /// Handles a return which the configuration owes or could use.
    fn complete(&mut self, model: &mut dyn Model) {
        let (at, config) = (self.stepper.frontier.at(), self.current.take());
        let Some((config, Event::Return(call))) = config.zip(self.stepper.frontier.next()) else {
            return;
        };
        self.furthest = self.furthest.max(at);
        let (tried, table) = (&mut self.tried[at], &self.stepper.spent);
        self.stepper.work += tried.len() as u64 + 1;
        if tried.iter().any(|other| other.dominates(&config, table)) {
            return;
        }
        // Nothing is dropped, so that nothing but the budget ends this.
        let capacity = Capacity { max_per_state: usize::MAX, overflow: Overflow::Evict };
        let next = self.stepper.complete(model, [&config].into_iter(), call, capacity);
        if self.stepper.excess().is_some() {
            // Unfinished: it is tried again if the search continues.
            self.current = Some(config);
            return;
        }
        let tried = &mut self.tried[at];
        let before = tried.len();
        tried.retain(|other| !config.dominates(other, &self.stepper.spent));
        tried.push(config);
        self.remembered = self.remembered + tried.len() - before;
        let mut rest: Vec<Config<W>> = next.iter().copied().collect();
        rest.sort_by_key(|config| std::cmp::Reverse(config.cost(&self.stepper.spent)));
        self.current = rest.pop();
        if self.current.is_some() {
            self.stepper.frontier.forward(model);
        }
        if !rest.is_empty() {
            self.choices.push(Choices { at: at + 1, rest });
        }
    }

    /// The end after every choice failed: the furthest return is impossible.
    fn died(&mut self, model: &dyn Model) -> End {
        self.stepper.frontier.go_to(self.furthest, model);
        let Some(Event::Return(call)) = self.stepper.frontier.next() else {
            unreachable!("only a return fails");
        };
        let before = possibilities(&self.stepper, self.tried[self.furthest].iter());
        End::Died { call, before, is_exact: true }
    }
}
