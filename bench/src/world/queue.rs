//! What is going to happen: a heap ordered by time, then by order of arrival.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use seaworthy::time::Time;

/// A priority queue of things to happen, first in time first, ties in the order
/// in which they were put in: that rule is what makes a run repeatable.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    pushed: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Time,
    order: u64,
    item: T,
}

impl<T> Queue<T> {
    /// Nothing is going to happen.
    pub fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), pushed: 0 }
    }

    /// `item` is going to happen at `at`.
    pub fn push(&mut self, at: Time, item: T) {
        self.pushed += 1;
        self.heap.push(Entry { at, order: self.pushed, item });
    }

    /// When the next thing happens.
    pub fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|e| e.at)
    }

    /// Takes the next thing out.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.heap.pop().map(|e| (e.at, e.item))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue::new()
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Entry<T>) -> Ordering {
        // Reversed: the standard heap is a max-heap.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Entry<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Entry<T>) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_keep_their_order() {
        let mut q = Queue::new();
        q.push(Time::from_millis(2), 'c');
        q.push(Time::from_millis(1), 'a');
        q.push(Time::from_millis(1), 'b');
        let order: String = std::iter::from_fn(|| q.pop()).map(|(_, c)| c).collect();
        assert_eq!(order, "abc");
    }
}
