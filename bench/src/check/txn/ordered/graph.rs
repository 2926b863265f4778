//! A large graph of small numbers, and whether it has cycles.

use std::collections::VecDeque;
use std::collections::btree_map::Entry;

/// From how many nodes a short cycle is looked for, unless none has been found by then.
const TRIED: usize = 32;

/// Nodes are numbered from 0.
pub(in super::super) struct Graph {
    /// Where the successors of each node begin.
    starts: Vec<usize>,
    successors: Vec<u32>,
}

impl Graph {
    /// The graph of some edges between `nodes` nodes.
    pub(in super::super) fn new(nodes: usize, mut edges: Vec<(u32, u32)>) -> Graph {
        edges.sort_unstable();
        edges.dedup();
        let mut starts = vec![0; nodes + 1];
        edges.iter().for_each(|(from, _)| starts[*from as usize + 1] += 1);
        (0..nodes).for_each(|node| starts[node + 1] += starts[node]);
        Graph { starts, successors: edges.into_iter().map(|(_, to)| to).collect() }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn after(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let range = self.starts[node]..self.starts[node + 1];
        self.successors[range].iter().map(|node| *node as usize)
    }

    /// Whether there is a cycle.
    pub(in super::super) fn has_cycle(&self) -> bool {
        self.unordered().contains(&true)
    }

    /// For each node whether it is on a cycle, or comes after one.
    fn unordered(&self) -> Vec<bool> {
        // Kahn's: nodes that have none before them are taken away until all have.
        let mut left = vec![true; self.len()];
        let mut before = vec![0_u32; self.len()];
        self.successors.iter().for_each(|to| before[*to as usize] += 1);
        let mut free: Vec<usize> = (0..self.len()).filter(|node| before[*node] == 0).collect();
        while let Some(node) = free.pop() {
            left[node] = false;
            for next in self.after(node) {
                before[next] -= 1;
                if before[next] == 0 {
                    free.push(next);
                }
            }
        }
        left
    }

    /// The nodes on cycles, and on ways from one cycle to another; none without a cycle.
    pub(super) fn core(&self) -> Vec<usize> {
        let mut left = self.unordered();
        // A node that only comes after a cycle leads nowhere: the same from the other end.
        let rest: Vec<usize> = (0..self.len()).filter(|node| left[*node]).collect();
        let mut back: Vec<(usize, usize)> = Vec::new();
        let mut after = vec![0_u32; self.len()];
        for &node in &rest {
            for next in self.after(node).filter(|next| left[*next]) {
                back.push((next, node));
                after[node] += 1;
            }
        }
        back.sort_unstable();
        let mut free: Vec<usize> = rest.iter().copied().filter(|node| after[*node] == 0).collect();
        while let Some(node) = free.pop() {
            left[node] = false;
            let first = back.partition_point(|(to, _)| *to < node);
            for (_, from) in back[first..].iter().take_while(|(to, _)| *to == node) {
                after[*from] -= 1;
                if after[*from] == 0 {
                    free.push(*from);
                }
            }
        }
        rest.into_iter().filter(|node| left[*node]).collect()
    }

    /// Some of the cycles, each through as few nodes as possible from one that `counts`, and
    /// told by these nodes only, the smallest first. Without a cycle there is none, and with one
    /// there is at least one.
    pub(super) fn short_cycles(&self, counts: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
        let core = self.core();
        let mut is_core = vec![false; self.len()];
        core.iter().for_each(|node| is_core[*node] = true);
        let mut found: Vec<Vec<usize>> = Vec::new();
        for (tried, &start) in core.iter().filter(|node| counts(**node)).enumerate() {
            if tried >= TRIED && !found.is_empty() {
                break;
            }
            if found.iter().any(|cycle| cycle.contains(&start)) {
                continue;
            }
            if let Some(mut cycle) = self.cycle_from(start, &is_core) {
                cycle.retain(|node| counts(*node));
                let smallest = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or_default();
                cycle.rotate_left(smallest);
                found.push(cycle);
            }
        }
        found.sort_by_key(Vec::len);
        found.dedup();
        found
    }

    /// A shortest way from a node back to itself.
    fn cycle_from(&self, start: usize, within: &[bool]) -> Option<Vec<usize>> {
        let mut from = std::collections::BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in self.after(node).filter(|next| within[*next]) {
                if next == start {
                    let before = |node: &usize| from.get(node).copied();
                    let mut way: Vec<usize> = std::iter::successors(Some(node), before).collect();
                    way.reverse();
                    return Some(way);
                }
                if let Entry::Vacant(place) = from.entry(next) {
                    place.insert(node);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_found_and_told_without_what_does_not_count() {
        let graph = Graph::new(7, vec![(0, 1), (1, 2), (2, 3), (3, 1), (3, 4), (5, 6)]);
        assert_eq!(graph.core(), [1, 2, 3]);
        assert_eq!(graph.short_cycles(|node| node != 2), [[1, 3]]);
        let acyclic = Graph::new(4, vec![(0, 1), (0, 2), (1, 3), (2, 3)]);
        assert!(acyclic.core().is_empty() && acyclic.short_cycles(|_| true).is_empty());
    }
}
