//! Leases in the loop of `tests`: virtual time, lost parcels, leaders that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::Rng;
use seaworthy::raft::{Index, RaftId};
use seaworthy::time::Time;

use super::tests::{World, id};
use super::{Options, Question, Reply, Request, Token};
use crate::kv::{Command, Response};
use crate::proto::etcdserverpb as pb;

impl World {
    fn command(&mut self, at: RaftId, command: &Command) -> Token {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.ask(at, Request::Write(bytes))
    }

    fn grant(&mut self, at: RaftId, lease: i64, seconds: i64) -> Token {
        self.command(at, &Command::LeaseGrant(pb::LeaseGrantRequest { id: lease, ttl: seconds }))
    }

    fn put_with(&mut self, at: RaftId, key: &'static str, lease: i64) -> Token {
        let (key, value) = (key.into(), "v".into());
        self.command(at, &Command::Put(pb::PutRequest { key, value, lease, ..Default::default() }))
    }

    fn keep_alive(&mut self, at: RaftId, lease: i64) -> Token {
        self.ask(at, Request::Lease(lease, Question::KeepAlive))
    }

    fn has_lease(&self, at: RaftId, lease: i64) -> bool {
        let node = self.hosts[&at].node.as_ref().unwrap();
        node.machine().store.lease(lease).is_some()
    }

    /// The answer to a question about a lease, if it was answered.
    fn left(&self, token: Token) -> Option<Option<Duration>> {
        match self.replies.get(&token) {
            Some(Reply::Lease(_, left)) => Some(*left),
            _ => None,
        }
    }
}

fn calm(count: u64) -> World {
    let mut world = World::new(3, count, Options::default());
    world.run(3000);
    world
}

#[test]
fn a_lease_ends_in_time_at_every_server_and_takes_its_keys_along() {
    for count in [1, 3] {
        let mut world = calm(count);
        let last = id(count - 1);
        let granted = world.grant(last, 7, 5);
        world.run(50);
        let put = world.put_with(last, "k", 7);
        world.run(50);
        assert!(matches!(world.replies[&granted], Reply::Done(_, Ok(Response::LeaseGrant(_)))));
        assert!(matches!(world.replies[&put], Reply::Done(_, Ok(Response::Put(_)))));
        world.run(4800);
        assert!((0..count).all(|n| world.has_lease(id(n), 7)), "never early");
        world.run(400);
        assert!((0..count).all(|n| !world.has_lease(id(n), 7)), "and not much later");
        assert!((0..count).all(|n| world.version_of(id(n), "k") == 0), "without its keys");
    }
}

#[test]
fn signs_of_life_at_any_server_keep_a_lease_alive() {
    let mut world = calm(3);
    world.grant(id(0), 7, 2);
    world.run(100);
    for round in 0..10 {
        let sign = world.keep_alive(id(round % 3), 7);
        world.run(1500);
        assert_eq!(world.left(sign), Some(Some(Duration::from_secs(2))), "round {round}");
        assert!(world.has_lease(id(0), 7));
    }
    world.run(1000);
    let late = world.keep_alive(id(1), 7);
    world.run(100);
    assert_eq!(world.left(late), Some(None), "what has ended is not brought back");
}

#[test]
fn a_sign_of_life_that_comes_when_time_is_over_waits_for_the_end() {
    let mut world = calm(3);
    let leader = world.leader().unwrap();
    world.grant(leader, 7, 2);
    world.run(1995);
    // The end cannot be decided: the others are gone.
    let others: Vec<RaftId> = world.hosts.keys().copied().filter(|n| *n != leader).collect();
    others.iter().for_each(|n| world.kill(*n));
    world.run(200);
    let late = world.keep_alive(leader, 7);
    world.run(300);
    assert_eq!(world.left(late), None);
    others.iter().for_each(|n| world.start(*n));
    world.run(4000);
    // The leader of that time has decided: it was renewed and lives, or it is gone and was not.
    let is_renewed = world.left(late).expect("answered by now").is_some();
    assert!(!is_renewed || world.has_lease(leader, 7));
}

#[test]
fn a_new_leader_gives_the_full_time_again() {
    let mut world = calm(3);
    world.grant(id(0), 7, 4);
    world.run(3500);
    let old = world.leader().unwrap();
    world.kill(old);
    let other = (0..3).map(id).find(|n| *n != old).unwrap();
    // Of the first four seconds half a one was left.
    world.run(3900);
    assert!(world.has_lease(other, 7));
    world.run(4000);
    assert!(!world.has_lease(other, 7));
}

/// Leases as clients see them, and as the log has decided.
#[derive(Default)]
struct Ledger {
    /// The questions, each with its lease and its time.
    asked: Vec<(Token, i64, Time)>,
    /// When the last grant or sign of life was sent that was answered well.
    promised: BTreeMap<i64, Time>,
    renewed: usize,
    /// The leases after the last entry that any server has ever applied.
    decided: (Index, BTreeSet<i64>),
}

/// How long leases live here.
const SECONDS: i64 = 3;

impl Ledger {
    fn update(&mut self, world: &World) {
        for (token, lease, at) in &self.asked {
            let is_renewal = match world.replies.get(token) {
                Some(Reply::Done(_, Ok(Response::LeaseGrant(_)))) => false,
                Some(Reply::Lease(_, Some(_))) => true,
                _ => continue,
            };
            self.renewed += usize::from(is_renewal);
            let known = self.promised.entry(*lease).or_insert(*at);
            *known = (*known).max(*at);
        }
        self.asked.retain(|(token, ..)| !world.replies.contains_key(token));
        for node in world.hosts.values().filter_map(|host| host.node.as_ref()) {
            let applied = node.raft().status().applied;
            if applied > self.decided.0 {
                let leases = node.machine().store.leases().map(|(id, _)| id);
                self.decided = (applied, leases.collect());
            }
        }
    }

    fn check(&mut self, seed: u64, now: Time) {
        let full = Duration::from_secs(SECONDS as u64);
        self.promised.retain(|_, since| now - *since < full);
        for (lease, since) in &self.promised {
            let age = now - *since;
            assert!(self.decided.1.contains(lease), "seed {seed}: {lease} ended at {age:?}");
        }
    }
}

#[test]
fn no_lease_ends_early_whatever_happens() {
    let mut renewed = 0;
    for seed in 0..60 {
        let options = Options { snapshot_bytes: 2000, ..Options::default() };
        let mut world = World::new(seed, 3, options);
        world.network.weather.loss_percent = seed % 20;
        let mut ledger = Ledger::default();
        for round in 0..300_i64 {
            let at = id(world.rng.next_u64() % 3);
            let dice = world.rng.next_u64() % 30;
            let is_up = world.hosts[&at].node.is_some();
            let lease = 1 + round % 7;
            match dice {
                0 => world.kill(at),
                1..=3 if !is_up => world.start(at),
                4..=7 if is_up => {
                    let token = world.grant(at, lease, SECONDS);
                    ledger.asked.push((token, lease, world.now));
                }
                8..=19 if is_up => {
                    let token = world.keep_alive(at, lease);
                    ledger.asked.push((token, lease, world.now));
                }
                _ => {}
            }
            let ms = world.rng.next_u64() % 120;
            world.run(ms);
            ledger.update(&world);
            ledger.check(seed, world.now);
        }
        renewed += ledger.renewed;
    }
    assert!(renewed > 1000, "{renewed} signs of life were answered");
}
