//! Good weather: messages per operation and latency, counted as Maelstrom does.

use std::time::Duration;

use super::net::Net;
use crate::gossip::{Element, GrowSet, Options, Overlay, Rank};
use crate::testing::{Latency, Weather};
use crate::time::Time;

/// The figures that Maelstrom would report.
#[derive(Debug)]
struct Report {
    /// Server messages by all client operations.
    per_op: f64,
    median_ms: u64,
    max_ms: u64,
}

/// `rate` operations a second for 20 s on nodes in turn at random, half of them reads,
/// then 10 s of quiet.
fn measure(nodes: u16, rate: u64, weather: Weather, config: Options) -> Report {
    let mut net: Net<GrowSet> = Net::new(nodes, config, weather, 7);
    net.run_for(300);
    let start = net.now;
    let ops = 20 * rate;
    let mut elements: Vec<(Time, Option<Time>)> = Vec::new();
    for op in 0..ops {
        let jitter = net.random(1_000_000 / rate);
        net.run_until(start + Duration::from_micros(op * 1_000_000 / rate + jitter));
        let rank = Rank(u16::try_from(net.random(u64::from(nodes))).unwrap());
        if net.random(2) == 0 {
            let element = i64::try_from(elements.len()).unwrap();
            net.add(rank, GrowSet::of(Element::Int(element)));
            elements.push((net.now, None));
        } else {
            let state = net.nodes[rank.index()].engine.as_ref().unwrap().state();
            for (value, element) in (0i64..).zip(&mut elements) {
                if !state.contains(&Element::Int(value)) {
                    element.1 = Some(net.now);
                }
            }
        }
    }
    net.run_for(10_000);
    assert!(net.states().iter().all(|s| s.ints().count() == elements.len()), "not converged");
    assert_eq!(net.next(), None, "not silent");
    let mut latencies: Vec<u64> = elements
        .iter()
        .map(|(known, missed)| {
            u64::try_from((missed.unwrap_or(*known) - *known).as_millis()).unwrap()
        })
        .collect();
    latencies.sort_unstable();
    let per_op = net.sent as f64 / ops as f64;
    Report { per_op, median_ms: latencies[latencies.len() / 2], max_ms: *latencies.last().unwrap() }
}

fn budget(millis: u64) -> Options {
    Options { latency_budget: Duration::from_millis(millis), ..Options::default() }
}

#[test]
fn default_settings() {
    let report = measure(25, 100, Weather::fair(100), Options::default());
    println!("{report:?}");
    assert!(report.per_op <= 1.2, "{report:?}");
    assert!(report.median_ms < 400 && report.max_ms < 600, "{report:?}");
}

#[test]
fn generous_budget() {
    let report = measure(25, 100, Weather::fair(100), budget(2000));
    println!("{report:?}");
    assert!(report.per_op <= 0.55, "{report:?}");
    assert!(report.median_ms < 1000 && report.max_ms < 2000, "{report:?}");
}

#[test]
fn three_nodes_without_latency() {
    let report = measure(3, 100, Weather::fair(0), Options::default());
    println!("{report:?}");
    assert!(report.per_op <= 0.3, "{report:?}");
}

#[test]
fn messages_grow_linearly() {
    let exponential =
        Weather { latency: Latency::Exponential(Duration::from_millis(100)), ..Weather::fair(100) };
    for nodes in [5, 25, 50] {
        for weather in [Weather::fair(100), exponential] {
            let report = measure(nodes, 100, weather, Options::default());
            println!("{nodes} {report:?}");
            assert!(report.per_op / f64::from(nodes) < 0.07, "{nodes} nodes: {report:?}");
        }
    }
}

#[test]
fn other_overlays() {
    for overlay in [Overlay::Tree(4), Overlay::Tree(24), Overlay::Flood] {
        let config = Options { overlay, ..Options::default() };
        let report = measure(25, 20, Weather::fair(100), config.clone());
        println!("{:?} {report:?}", config.overlay);
        assert!(report.max_ms < 1200, "{report:?}");
    }
}
