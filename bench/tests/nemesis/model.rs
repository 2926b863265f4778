//! Jepsen's rules, written after `jepsen.generator` and `jepsen.nemesis`.
//!
//! It shares no code with the nemesis, apart from the source of random numbers.

use std::collections::BTreeSet;

use seaworthy_bench::seed::Draw;

use crate::{Act, Grudge};

/// Returns the acts of the nemesis of one run.
pub(crate) fn acts(n: usize, interval: f64, limit: f64, draw: &mut Draw) -> Vec<Act> {
    let (mut acts, mut next_time, mut flip) = (Vec::new(), 0.0, true);
    while next_time < limit {
        acts.push((next_time, flip.then(|| shape(n, draw))));
        flip = !flip;
        next_time += draw.unit() * 2.0 * interval;
    }
    acts
}

fn shape(n: usize, draw: &mut Draw) -> (String, Grudge) {
    let kind = *draw.pick(&["one", "minority-third", "majority", "majorities-ring"]);
    let mut nodes: Vec<usize> = (0..n).collect();
    let grudge = match kind {
        "one" => {
            let loner = *draw.pick(&nodes);
            complete(&[BTreeSet::from([loner]), (0..n).filter(|x| *x != loner).collect()])
        }
        "majorities-ring" if n <= 5 => {
            draw.shuffle(&mut nodes);
            perfect(&nodes)
        }
        "majorities-ring" => stochastic(n, draw),
        kind => {
            draw.shuffle(&mut nodes);
            let at = if kind == "majority" { n / 2 } else { (n - 1) / 3 };
            let (a, b) = nodes.split_at(at);
            complete(&[a.iter().copied().collect(), b.iter().copied().collect()])
        }
    };
    (kind.to_owned(), grudge)
}

/// A node hears only nodes of its own component.
fn complete(components: &[BTreeSet<usize>]) -> Grudge {
    let universe: BTreeSet<usize> = components.iter().flatten().copied().collect();
    let grudges = components.iter().flat_map(|component| {
        component.iter().map(|node| (*node, universe.difference(component).copied().collect()))
    });
    grudges.collect()
}

fn perfect(shuffled: &[usize]) -> Grudge {
    let universe: BTreeSet<usize> = shuffled.iter().copied().collect();
    let (n, m) = (shuffled.len(), shuffled.len() / 2 + 1);
    let cycle: Vec<usize> = shuffled.iter().copied().cycle().take(2 * n).collect();
    let windows = cycle.windows(m).take(n).map(|majority| {
        let heard: BTreeSet<usize> = majority.iter().copied().collect();
        (majority[majority.len() / 2], universe.difference(&heard).copied().collect())
    });
    windows.collect()
}

fn stochastic(n: usize, draw: &mut Draw) -> Grudge {
    let m = n / 2 + 1;
    let mut links = vec![vec![false; n]; n];
    (0..n).for_each(|i| links[i][i] = true);
    loop {
        let degree = |i: usize| links[i].iter().filter(|linked| **linked).count();
        let mut order: Vec<usize> = (0..n).collect();
        draw.shuffle(&mut order);
        order.sort_by_key(|i| degree(*i));
        let a = order[0];
        if degree(a) >= m {
            let unheard = |i: usize| (0..n).filter(|j| !links[i][*j]).collect();
            return (0..n).map(|i| (i, unheard(i))).collect();
        }
        let b = *order.iter().find(|b| !links[a][**b]).unwrap();
        links[a][b] = true;
        links[b][a] = true;
    }
}
