//! Knowledge about each element of a set.

use std::collections::BTreeMap;

use crate::edn::Edn;
use crate::history::Op;

/// Integers below this are found by position: Maelstrom's elements are 0, 1, 2 ...
const SMALL: usize = 1 << 20;

/// How an element ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The latest reads saw it.
    Stable,
    /// It was known, and later missed.
    Lost,
    /// The reads do not tell.
    NeverRead,
}

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// The value that was added.
    pub(super) value: &'a Edn,
    /// The completion that first proved it to be in the set.
    pub(super) known: Option<&'a Op>,
    /// The latest invocation of a read that saw it.
    pub(super) last_present: Option<&'a Op>,
    /// The latest invocation of a read that missed it.
    pub(super) last_absent: Option<&'a Op>,
}

impl<'a> Element<'a> {
    /// Takes note of a read that saw it or not.
    pub(super) fn read(&mut self, present: bool, invoke: &'a Op, ok: &'a Op) {
        let last = if present {
            self.known.get_or_insert(ok);
            &mut self.last_present
        } else {
            &mut self.last_absent
        };
        if last.is_none_or(|last| last.index < invoke.index) {
            *last = Some(invoke);
        }
    }

    pub(super) fn fate(&self) -> Fate {
        let index = |op: Option<&Op>| op.map(|op| op.index);
        let (present, absent) = (index(self.last_present), index(self.last_absent));
        // None is smaller than any index.
        if present.is_some() && absent < present {
            return Fate::Stable;
        }
        match (index(self.known), absent) {
            // A read that began before the element was known may miss it.
            (Some(known), Some(missed)) if present < absent && known < missed => Fate::Lost,
            _ => Fate::NeverRead,
        }
    }

    /// From being known to the last read that missed it, in milliseconds.
    pub(super) fn stable_latency_ms(&self) -> i64 {
        self.latency_ms(self.last_absent)
    }

    /// From being known to the last read that saw it, in milliseconds.
    pub(super) fn lost_latency_ms(&self) -> i64 {
        self.latency_ms(self.last_present)
    }

    fn latency_ms(&self, until: Option<&Op>) -> i64 {
        let until = until.map_or(0, |op| op.time.saturating_add(1));
        let since = self.known.map_or(0, |op| op.time);
        until.saturating_sub(since).max(0) / 1_000_000
    }
}

/// The elements in the order of their adds, found by value.
#[derive(Default)]
pub(super) struct Elements<'a> {
    all: Vec<Element<'a>>,
    /// One more than the position of a small integer; 0 if it is absent.
    small: Vec<usize>,
    other: BTreeMap<&'a Edn, usize>,
}

impl<'a> Elements<'a> {
    /// Begins to track an element, unless it is tracked.
    pub(super) fn track(&mut self, value: &'a Edn) {
        if self.position(value).is_some() {
            return;
        }
        match small(value) {
            Some(n) => {
                if self.small.len() <= n {
                    self.small.resize(n + 1, 0);
                }
                self.small[n] = self.all.len() + 1;
            }
            None => {
                self.other.insert(value, self.all.len());
            }
        }
        self.all.push(Element { value, known: None, last_present: None, last_absent: None });
    }

    pub(super) fn position(&self, value: &Edn) -> Option<usize> {
        match small(value) {
            Some(n) => self.small.get(n).and_then(|at| at.checked_sub(1)),
            None => self.other.get(value).copied(),
        }
    }

    pub(super) fn get_mut(&mut self, value: &Edn) -> Option<&mut Element<'a>> {
        self.position(value).map(|at| &mut self.all[at])
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Element<'a>> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Element<'a>> {
        self.all.iter_mut()
    }
}

fn small(value: &Edn) -> Option<usize> {
    value.as_int().and_then(|i| usize::try_from(i).ok()).filter(|n| *n < SMALL)
}
