//! Nodes that are wrong, or unavailable, only where the network is cut in a certain way.

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::message::{Message, NodeId, Request};
use seaworthy::node::{Context, Event, Token, Workload};
use seaworthy_bench::check::Verdict;
use seaworthy_bench::seed::Seed;
use serde_json::{Value, json};

use crate::{Act, acts_of, model, run};

/// A counter that passes each addition on until it is acknowledged, and adds up whatever
/// comes: an addition of which only the acknowledgement is lost counts twice.
#[derive(Default)]
struct CountsTwice {
    total: i64,
    sent: u64,
    unacknowledged: BTreeMap<u64, (NodeId, i64)>,
}

const PATIENCE: Duration = Duration::from_millis(300);

impl CountsTwice {
    fn send(&self, cx: &mut Context<'_>, number: u64) {
        let Some((peer, delta)) = self.unacknowledged.get(&number) else { return };
        let forward = json!({"type": "forward", "delta": delta});
        cx.rpc(peer, &forward, PATIENCE, Token(number));
    }

    fn add(&mut self, cx: &mut Context<'_>, message: &Message) -> i64 {
        let delta = message.body.field("delta").and_then(|raw| raw.get().parse().ok());
        let delta = delta.expect("additions have a delta");
        self.total += delta;
        let kind = format!("{}_ok", message.body.kind);
        cx.reply(&message.request(), &json!({"type": kind}));
        delta
    }
}

impl Workload for CountsTwice {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Message(message) => match message.body.kind.as_str() {
                "read" => {
                    let read = json!({"type": "read_ok", "value": self.total});
                    cx.reply(&message.request(), &read);
                }
                "forward" => drop(self.add(cx, &message)),
                _ => {
                    let delta = self.add(cx, &message);
                    let peers: Vec<NodeId> = cx.peers().cloned().collect();
                    for peer in peers {
                        self.sent += 1;
                        self.unacknowledged.insert(self.sent, (peer, delta));
                        self.send(cx, self.sent);
                    }
                }
            },
            Event::Reply { token, result: Ok(_) } => drop(self.unacknowledged.remove(&token.0)),
            Event::Reply { token, .. } => self.send(cx, token.0),
            _ => {}
        }
    }
}

/// Unique ids that all come from the first node.
#[derive(Default)]
struct OneOwner {
    issued: u64,
    asked: BTreeMap<u64, Request>,
}

impl Workload for OneOwner {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Message(message) if cx.id().as_str() == "n0" => {
                self.issued += 1;
                let ok = json!({"type": "generate_ok", "id": self.issued});
                cx.reply(&message.request(), &ok);
            }
            Event::Message(message) => {
                self.issued += 1;
                self.asked.insert(self.issued, message.request());
                let ask = json!({"type": "generate"});
                cx.rpc(&"n0".into(), &ask, Duration::from_secs(60), Token(self.issued));
            }
            Event::Reply { token, result } => {
                let id = result.ok().and_then(|body| body.field("id")?.get().parse::<u64>().ok());
                if let (Some(request), Some(id)) = (self.asked.remove(&token.0), id) {
                    let ok: Value = json!({"type": "generate_ok", "id": id});
                    cx.reply(&request, &ok);
                }
            }
            _ => {}
        }
    }
}

const SEEDS: u64 = 200;

/// Returns the acts of the nemesis in each of some runs, and whether the run was valid.
fn runs<W: Workload + Send + Default + 'static>(flags: &str) -> Vec<(Vec<Act>, Verdict)> {
    let flags = format!("--node-count 3 --time-limit 20 --nemesis partition {flags}");
    let one = |seed| {
        let nodes = Box::new(|| Box::new(W::default()) as Box<dyn Workload + Send>);
        let (outcome, report) = run(&format!("{flags} --seed {seed}"), nodes);
        (acts_of(&report), outcome.verdict)
    };
    (0..SEEDS).map(one).collect()
}

/// Whether a cut of this kind lasted for at least a second, before `limit`.
fn lasted(acts: &[Act], is_it: impl Fn(&str) -> bool, limit: f64) -> bool {
    let ends = acts.iter().skip(1).map(|(at, _)| *at).chain([limit]);
    let is_it = |cut: &Option<(String, _)>| cut.as_ref().is_some_and(|(kind, _)| is_it(kind));
    acts.iter().zip(ends).any(|((at, cut), end)| is_it(cut) && end - at >= 1.0)
}

/// Of runs that have something and those that have not: how many are invalid, of how many.
fn split(runs: &[(Vec<Act>, Verdict)], has: impl Fn(&[Act]) -> bool) -> [(usize, usize); 2] {
    [true, false].map(|wanted| {
        let these = || runs.iter().filter(|(acts, _)| has(acts) == wanted);
        let invalid = these().filter(|(_, verdict)| *verdict == Verdict::Invalid).count();
        (invalid, these().count())
    })
}

#[test]
fn who_counts_twice_is_found_by_the_ring_and_by_the_ring_alone() {
    let runs = runs::<CountsTwice>("-w g-counter --nemesis-interval 3");
    let ring = |kind: &str| kind == "majorities-ring";
    let [(found, of), _] = split(&runs, |acts| lasted(acts, ring, 19.0));
    assert!(found * 100 >= of * 90, "{found} of {of} runs with a ring are invalid");
    // One in four cuts is a ring, and such a run has four.
    assert!(of as u64 * 100 >= SEEDS * 45, "only {of} of {SEEDS} runs have a ring");
    let [_, (found, of)] =
        split(&runs, |acts| acts.iter().any(|(_, cut)| cut.as_ref().is_some_and(|c| ring(&c.0))));
    assert_eq!(found, 0, "of {of} runs without a ring");
}

#[test]
fn where_messages_take_time_any_cut_can_lose_an_acknowledgement() {
    let flags = "-w g-counter --nemesis-interval 3 --rate 200 --latency 100";
    let [(found, of), _] = split(&runs::<CountsTwice>(flags), |_| true);
    assert!(found * 100 >= of * 90, "{found} of {of} runs are invalid");
}

#[test]
fn ids_of_one_owner_are_not_available_while_anything_is_cut() {
    let runs = runs::<OneOwner>("-w unique-ids --nemesis-interval 3 --availability total");
    let cuts = |kind: &str| kind != "minority-third";
    let [(found, of), (_, rest)] = split(&runs, |acts| lasted(acts, cuts, 20.0));
    assert_eq!(found, of, "runs in which something was cut");
    // Of three nodes a minority third is none, and some runs draw nothing else: as many as
    // under Jepsen's rules.
    let draw = &mut Seed(79).stream("model", 0);
    let whole = (0..20 * SEEDS).filter(|_| !lasted(&model::acts(3, 3.0, 20.0, draw), cuts, 20.0));
    let expected = whole.count() as f64 / 20.0;
    let noise = 4.0 * expected.sqrt();
    assert!((rest as f64 - expected).abs() <= noise, "{rest} runs are whole, not {expected:.1}");
}
