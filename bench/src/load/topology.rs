//! The overlays that broadcast's `topology` message suggests, as Maelstrom builds them.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Topology;

/// For each node the neighbours it is told, symmetric.
pub(super) fn neighbours(topology: Topology, n: usize) -> Vec<Vec<usize>> {
    let links: Vec<(usize, usize)> = match topology {
        Topology::Line => (1..n).map(|i| (i - 1, i)).collect(),
        Topology::Grid => grid(n),
        Topology::Tree | Topology::Tree2 => tree(n, 2),
        Topology::Tree3 => tree(n, 3),
        Topology::Tree4 => tree(n, 4),
        Topology::Total => (0..n).flat_map(|a| (0..a).map(move |b| (b, a))).collect(),
    };
    let mut sets: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (a, b) in links {
        sets.entry(a).or_default().insert(b);
        sets.entry(b).or_default().insert(a);
    }
    (0..n).map(|i| sets.remove(&i).unwrap_or_default().into_iter().collect()).collect()
}

/// Rows of ceil(sqrt(n)) nodes, each linked to the right and below.
fn grid(n: usize) -> Vec<(usize, usize)> {
    let width = (1..).find(|w| w * w >= n).unwrap_or(1);
    let right = (0..n).filter(|i| (i + 1) % width != 0 && i + 1 < n).map(|i| (i, i + 1));
    let below = (0..n).filter(|i| i + width < n).map(|i| (i, i + width));
    right.chain(below).collect()
}

/// A complete tree in breadth-first order.
fn tree(n: usize, branching: usize) -> Vec<(usize, usize)> {
    (1..n).map(|i| ((i - 1) / branching, i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_is_connected() {
        let all = [
            Topology::Grid,
            Topology::Line,
            Topology::Tree,
            Topology::Tree2,
            Topology::Tree3,
            Topology::Tree4,
            Topology::Total,
        ];
        for topology in all {
            for n in 1..30 {
                let neighbours = neighbours(topology, n);
                let (mut reached, mut frontier) = (BTreeSet::from([0]), vec![0]);
                while let Some(node) = frontier.pop() {
                    frontier.extend(neighbours[node].iter().filter(|m| reached.insert(**m)));
                }
                assert_eq!(reached.len(), n, "{topology:?} of {n}");
            }
        }
    }

    #[test]
    fn a_grid_of_25_has_four_neighbours_inside() {
        assert_eq!(neighbours(Topology::Grid, 25)[12], [7, 11, 13, 17]);
    }
}
