//! How soon after a fault every node has everything, at 100 ms a hop.

use super::net::Net;
use crate::gossip::{Element, GrowSet, Options, Rank};
use crate::testing::Weather;

const NODES: u16 = 25;

fn busy(net: &mut Net<GrowSet>, next: &mut i64, millis: u64, nodes: &[Rank]) {
    for _ in 0..millis / 20 {
        let rank = nodes[usize::try_from(net.random(nodes.len() as u64)).unwrap()];
        net.add(rank, GrowSet::of(Element::Int(*next)));
        *next += 1;
        net.run_for(20);
    }
}

fn all_have(net: &Net<GrowSet>, count: i64) -> bool {
    net.states().iter().all(|state| state.ints().eq(0..count))
}

fn cluster(seed: u64) -> (Net<GrowSet>, Vec<Rank>) {
    let mut net = Net::new(NODES, Options::default(), Weather::fair(100), seed);
    net.run_for(300);
    let ranks = net.ranks().collect();
    (net, ranks)
}

#[test]
fn a_partition_is_forgotten_within_three_seconds() {
    for seed in 0..40 {
        let (mut net, ranks) = cluster(seed);
        let mut next = 0;
        busy(&mut net, &mut next, 2000, &ranks);
        let sides = net.random(1 << NODES);
        let (a, b): (Vec<Rank>, Vec<Rank>) = ranks.iter().partition(|r| sides >> r.0 & 1 == 0);
        net.cut(&a, &b);
        let cut_ms = 500 + net.random(12_000);
        busy(&mut net, &mut next, cut_ms, &ranks);
        net.network.mend_all();
        net.run_for(3000);
        assert!(all_have(&net, next), "seed {seed}: not converged after {cut_ms} ms");
    }
}

#[test]
fn the_death_of_the_hub_costs_three_seconds_at_most() {
    for seed in 0..20 {
        let (mut net, ranks) = cluster(seed);
        let mut next = 0;
        busy(&mut net, &mut next, 2000, &ranks);
        // Wait until the hub's own deltas have left it.
        net.run_for(1000);
        busy(&mut net, &mut next, 1000, &ranks[1..]);
        net.kill(Rank(0), true);
        busy(&mut net, &mut next, 1000, &ranks[1..]);
        net.run_for(3000);
        assert!(all_have(&net, next), "seed {seed}");
    }
}

#[test]
fn an_idle_cluster_is_silent() {
    let (mut net, ranks) = cluster(1);
    let mut next = 0;
    busy(&mut net, &mut next, 2000, &ranks);
    net.run_for(5000);
    let sent = net.sent;
    net.run_for(60_000);
    assert_eq!((net.sent, net.next()), (sent, None));
}
