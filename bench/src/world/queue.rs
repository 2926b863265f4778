//! The events to come: a heap ordered by time, then by order of arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use seaworthy::time::Time;
use slab::Slab;

/// A priority queue of things to happen, first in time first, ties in the order
/// in which they were put in: that rule makes a run repeatable.
///
/// Things stay where they are put; the heap moves only small keys about.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
    things: Slab<T>,
}

/// When, in which order, and in which place. The order is unique, so the place does not
/// matter for comparisons.
type Entry = (Time, u64, usize);

impl<T> Queue<T> {
    /// Nothing is going to happen.
    pub fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), pushed: 0, things: Slab::new() }
    }

    /// `item` is going to happen at `at`.
    pub fn push(&mut self, at: Time, item: T) {
        self.pushed += 1;
        let place = self.things.insert(item);
        self.heap.push(Reverse((at, self.pushed, place)));
    }

    /// When the next thing happens.
    pub fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next thing out.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        Some((at, self.things.remove(place)))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_their_order() {
        let mut q = Queue::new();
        q.push(Time::from_millis(2), 'c');
        q.push(Time::from_millis(1), 'a');
        q.push(Time::from_millis(1), 'b');
        let rest = |q: &mut Queue<char>| -> String {
            std::iter::from_fn(|| q.pop()).map(|(_, c)| c).collect()
        };
        assert_eq!(rest(&mut q), "abc");
        // Places that have become free are used again, in another order.
        q.push(Time::from_millis(5), 'e');
        q.push(Time::from_millis(4), 'd');
        assert_eq!(q.next_time(), Some(Time::from_millis(4)));
        q.push(Time::from_millis(5), 'f');
        assert_eq!(rest(&mut q), "def");
    }
}
