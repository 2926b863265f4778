//! The shapes of partitions, and the sets of nodes that are killed or paused.
//!
//! Source: `jepsen.nemesis` and `jepsen.nemesis.combined` (Jepsen 0.3), from which
//! Maelstrom takes its nemesis. Each kind of shape is drawn with the same probability;
//! `docs/faults.md` holds the table of who hears whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::seed::Draw;

/// For a node that hears less than all the others, the nodes whose messages it drops.
pub type Grudge = BTreeMap<usize, BTreeSet<usize>>;

/// Up to this many nodes the majorities ring is one exact ring; Jepsen links larger
/// clusters at random, because an exact ring does not exist for every size.
const EXACT_RING: usize = 5;

/// A cut of a network of `n` nodes: the kind that was drawn, and who no longer hears whom.
///
/// Some kinds cut nothing in small networks: `minority-third` up to three nodes,
/// `majorities-ring` up to two.
pub fn partition(n: usize, draw: &mut Draw) -> (&'static str, Grudge) {
    let mut nodes: Vec<usize> = (0..n).collect();
    draw.shuffle(&mut nodes);
    match draw.below(4) {
        0 => ("one", split(&nodes, 1)),
        1 => ("minority-third", split(&nodes, third(n))),
        2 => ("majority", split(&nodes, n / 2)),
        _ if n <= EXACT_RING => ("majorities-ring", exact_ring(&nodes)),
        _ => ("majorities-ring", random_ring(n, draw)),
    }
}

/// Nodes to be killed or paused: the kind that was drawn (none for a subset of any size),
/// and the nodes. They are fewer than one where a minority is none.
pub fn targets(n: usize, draw: &mut Draw) -> (Option<&'static str>, Vec<usize>) {
    let (kind, count) = match draw.below(6) {
        0 => (None, 1 + draw.below(n)),
        1 => (Some("one"), 1),
        2 => (Some("minority-third"), third(n)),
        // Half of an even number is a minority: it is one less than a majority.
        3 => (Some("minority"), majority(n) - 1),
        4 => (Some("majority"), majority(n)),
        _ => (Some("all"), n),
    };
    let mut nodes: Vec<usize> = (0..n).collect();
    draw.shuffle(&mut nodes);
    nodes.truncate(count);
    nodes.sort_unstable();
    (kind, nodes)
}

fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// The largest number below a third of `n`.
fn third(n: usize) -> usize {
    n.saturating_sub(1) / 3
}

/// The first `count` nodes against the others, in both directions.
fn split(nodes: &[usize], count: usize) -> Grudge {
    let (a, b) = nodes.split_at(count.min(nodes.len()));
    let against = |own: &[usize], others: &[usize]| -> Vec<(usize, BTreeSet<usize>)> {
        own.iter().map(|n| (*n, others.iter().copied().collect())).collect()
    };
    against(a, b).into_iter().chain(against(b, a)).collect()
}

/// Each run of a majority of neighbours on the ring is heard by the node in its middle.
///
/// An even majority has no middle, and then the cuts go in one direction: of three nodes
/// each hears itself and the one before it.
fn exact_ring(ring: &[usize]) -> Grudge {
    let (n, width) = (ring.len(), majority(ring.len()));
    let at = |place: usize| ring[place % n];
    let hears = |start: usize| -> BTreeSet<usize> { (start..start + width).map(at).collect() };
    (0..n).map(|start| (at(start + width / 2), others(n, &hears(start)))).collect()
}

/// Links the least linked node to the least linked one that it does not hear yet, until
/// every node hears a majority. A node hears itself.
fn random_ring(n: usize, draw: &mut Draw) -> Grudge {
    let mut hears: Vec<BTreeSet<usize>> = (0..n).map(|node| BTreeSet::from([node])).collect();
    loop {
        let a = least_linked(&hears, |_| true, draw);
        if hears[a].len() >= majority(n) {
            return (0..n).map(|node| (node, others(n, &hears[node]))).collect();
        }
        let b = least_linked(&hears, |node| !hears[a].contains(&node), draw);
        hears[a].insert(b);
        hears[b].insert(a);
    }
}

/// One of the nodes with the fewest links among those that `may` be chosen.
fn least_linked(hears: &[BTreeSet<usize>], may: impl Fn(usize) -> bool, draw: &mut Draw) -> usize {
    let allowed = || (0..hears.len()).filter(|node| may(*node));
    let fewest = allowed().map(|node| hears[node].len()).min();
    let candidates: Vec<usize> =
        allowed().filter(|node| Some(hears[*node].len()) == fewest).collect();
    // A node that hears no majority has not heard all: there is one to choose.
    *draw.pick(&candidates)
}

/// All of `n` nodes that are not in `heard`.
fn others(n: usize, heard: &BTreeSet<usize>) -> BTreeSet<usize> {
    (0..n).filter(|node| !heard.contains(node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// Who hears whom: a line for each node in the order of the ring, `x` where it hears.
    fn table(ring: &[usize], grudge: &Grudge) -> String {
        let line = |node: &usize| -> String {
            ring.iter().map(|src| if grudge[node].contains(src) { '.' } else { 'x' }).collect()
        };
        ring.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn exact_rings_are_those_of_jepsen() {
        // From `majorities-ring-perfect` by hand: row hears column.
        for (n, expected) in [
            (1, "x"),
            (2, "xx xx"),
            (3, "x.x xx. .xx"),
            (4, "xx.x xxx. .xxx x.xx"),
            (5, "xx..x xxx.. .xxx. ..xxx x..xx"),
        ] {
            let ring: Vec<usize> = (0..n).collect();
            assert_eq!(table(&ring, &exact_ring(&ring)), expected, "{n} nodes");
            // The order of the ring is the only thing that is drawn.
            let mut shuffled = ring.clone();
            Seed(9).stream("x", 0).shuffle(&mut shuffled);
            assert_eq!(table(&shuffled, &exact_ring(&shuffled)), expected, "{n} nodes");
        }
    }

    #[test]
    fn of_three_nodes_each_pair_can_talk_in_one_direction_only() {
        let grudge = exact_ring(&[0, 1, 2]);
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            assert_ne!(grudge[&a].contains(&b), grudge[&b].contains(&a), "{a} and {b}");
        }
    }

    #[test]
    fn every_node_of_a_random_ring_hears_a_majority_in_both_directions() {
        let mut draw = Seed(1).stream("x", 0);
        for n in 6..30 {
            for _ in 0..50 {
                let grudge = random_ring(n, &mut draw);
                for (node, unheard) in &grudge {
                    assert!(n - unheard.len() >= majority(n), "{node} of {n} hears too few");
                    assert!(unheard.iter().all(|other| grudge[other].contains(node)));
                }
                // Links are scarce: few nodes have more of them than they need.
                let links: usize = grudge.values().map(|unheard| n - unheard.len()).sum();
                assert!(links <= n * (majority(n) + 1), "{n} nodes with {links} links");
            }
        }
    }

    #[test]
    fn shapes_that_cut_nothing_in_small_networks() {
        let cuts = |n: usize, kind: &str| {
            let mut draw = Seed(3).stream("x", 0);
            let drawn = std::iter::repeat_with(|| partition(n, &mut draw));
            let (_, grudge) = drawn.take(1000).find(|(name, _)| *name == kind).unwrap();
            grudge.values().map(BTreeSet::len).sum::<usize>()
        };
        // Directions that are cut, by kind and number of nodes.
        assert_eq!([1, 2, 3, 4, 5, 7].map(|n| cuts(n, "one")), [0, 2, 4, 6, 8, 12]);
        assert_eq!([1, 2, 3, 4, 5, 7].map(|n| cuts(n, "majority")), [0, 2, 4, 8, 12, 24]);
        assert_eq!([1, 2, 3, 4, 5, 7].map(|n| cuts(n, "minority-third")), [0, 0, 0, 6, 8, 20]);
        assert_eq!([1, 2, 3, 4, 5].map(|n| cuts(n, "majorities-ring")), [0, 0, 3, 4, 10]);
    }

    #[test]
    fn sizes_of_targets() {
        let mut draw = Seed(5).stream("x", 0);
        for n in 1..8 {
            let mut seen: BTreeMap<Option<&str>, BTreeSet<usize>> = BTreeMap::new();
            for _ in 0..2000 {
                let (kind, chosen) = targets(n, &mut draw);
                assert!(chosen.iter().all(|node| *node < n));
                seen.entry(kind).or_default().insert(chosen.len());
            }
            let only = |size: usize| BTreeSet::from([size]);
            assert_eq!(seen[&Some("one")], only(1));
            assert_eq!(seen[&Some("minority")], only(n / 2));
            assert_eq!(seen[&Some("majority")], only(n / 2 + 1));
            assert_eq!(seen[&Some("all")], only(n));
            assert_eq!(seen[&None], (1..=n).collect());
        }
    }
}
