//! Bad weather: random faults, then quiet, then all nodes must agree and be silent.

use std::time::Duration;

use super::net::Net;
use crate::gossip::{Counter, Element, GrowSet, Lattice, Options, Overlay, Rank};
use crate::testing::{Latency, Weather};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Which faults a run may have.
#[derive(Clone, Copy)]
struct Faults {
    /// Whether a killed node keeps its disk.
    memory: bool,
    overlay: fn(u64) -> Overlay,
}

/// Runs one seed; `add` makes the next delta of a node. Ends healed and quiet.
fn storm<L, F>(seed: u64, faults: Faults, mut add: F) -> Net<L>
where
    L: Lattice + Serialize + DeserializeOwned,
    F: FnMut(&mut Net<L>, Rank),
{
    let nodes = 2 + u16::try_from(seed % 6).unwrap();
    let latency = Duration::from_millis([0, 5, 100][usize::try_from(seed % 3).unwrap()]);
    let weather = Weather {
        latency: match seed.is_multiple_of(2) {
            true => Latency::Exponential(latency),
            false => Latency::Constant(latency),
        },
        loss_percent: [0, 10, 30][usize::try_from(seed / 3 % 3).unwrap()],
        repeat_percent: seed % 4 * 5,
    };
    let config = Options { overlay: (faults.overlay)(seed), ..Options::default() };
    let mut net = Net::new(nodes, config, weather, seed);
    for rank in net.ranks() {
        net.nodes[rank.index()].drift = i64::try_from(net.random(101)).unwrap() - 50;
    }
    for _ in 0..150 {
        let rank = Rank(u16::try_from(net.random(u64::from(nodes))).unwrap());
        match net.random(40) {
            0 => net.kill(rank, faults.memory),
            1 | 2 if net.nodes[rank.index()].engine.is_none() => net.boot(rank),
            3 => net.nodes[rank.index()].paused = true,
            4 | 5 => net.nodes[rank.index()].paused = false,
            6 => split(&mut net),
            7 => {
                // One way only.
                let other = Rank(u16::try_from(net.random(u64::from(nodes))).unwrap());
                net.network.cut(rank, other);
            }
            8 => net.network.mend_all(),
            9..20 => add(&mut net, rank),
            _ => {}
        }
        let pause = net.random(150);
        net.run_for(pause);
    }
    heal(&mut net);
    net
}

fn split<L: Lattice + Serialize + DeserializeOwned>(net: &mut Net<L>) {
    let sides = net.random(1 << net.nodes.len());
    let (a, b): (Vec<Rank>, Vec<Rank>) = net.ranks().partition(|r| sides >> r.0 & 1 == 0);
    net.cut(&a, &b);
}

fn heal<L: Lattice + Serialize + DeserializeOwned>(net: &mut Net<L>) {
    net.network.mend_all();
    let weather = &mut net.network.weather;
    (weather.loss_percent, weather.repeat_percent) = (0, 0);
    for rank in net.ranks() {
        net.nodes[rank.index()].paused = false;
        if net.nodes[rank.index()].engine.is_none() {
            net.boot(rank);
        }
    }
    net.run_for(20_000);
}

fn hub(_: u64) -> Overlay {
    Overlay::Hub
}

fn any(seed: u64) -> Overlay {
    match seed % 3 {
        0 => Overlay::Tree(2),
        1 => Overlay::Flood,
        _ => Overlay::Hub,
    }
}

/// Sets: every node ends with the same elements, and with all of them if disks last.
fn sets_agree(seed: u64, faults: Faults) {
    let mut next = 0;
    let mut accepted = Vec::new();
    let net: Net<GrowSet> = storm(seed, faults, |net: &mut Net<_>, rank| {
        if net.nodes[rank.index()].engine.is_some() && !net.nodes[rank.index()].paused {
            next += 1;
            net.add(rank, GrowSet::of(Element::Int(next)));
            accepted.push(next);
        }
    });
    let states = net.states();
    assert!(states.iter().all(|state| *state == states[0]), "seed {seed}: {states:?}");
    let known: Vec<i64> = states[0].ints().collect();
    if faults.memory {
        assert_eq!(known, accepted, "seed {seed}: lost");
    }
    assert!(known.iter().all(|element| accepted.contains(element)), "seed {seed}: invented");
    assert_eq!(net.next(), None, "seed {seed}: not silent");
}

#[test]
fn nothing_is_lost_that_is_on_disk() {
    (0..400).for_each(|seed| sets_agree(seed, Faults { memory: true, overlay: hub }));
}

#[test]
fn all_agree_after_memory_was_lost() {
    (0..400).for_each(|seed| sets_agree(seed, Faults { memory: false, overlay: hub }));
}

#[test]
fn other_overlays_lose_nothing() {
    (0..150).for_each(|seed| sets_agree(seed, Faults { memory: true, overlay: any }));
}

#[test]
fn counters_are_exact() {
    for seed in 0..300 {
        let mut sum = 0;
        let faults = Faults { memory: true, overlay: hub };
        let net = storm(seed, faults, |net: &mut Net<Counter>, rank| {
            let delta = i64::try_from(net.random(10)).unwrap() - 5;
            if net.nodes[rank.index()].paused {
                return;
            }
            if let Some(engine) = &net.nodes[rank.index()].engine {
                let change = engine.state().added(engine.author(), delta).unwrap();
                net.add(rank, change);
                sum += i128::from(delta);
            }
        });
        let values: Vec<i128> = net.states().iter().map(|state| state.value()).collect();
        assert!(values.iter().all(|value| *value == sum), "seed {seed}: {values:?}, not {sum}");
        assert_eq!(net.next(), None, "seed {seed}: not silent");
    }
}
