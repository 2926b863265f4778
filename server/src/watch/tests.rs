//! A model of the live layer in one thread: changes, looks of the hub, marks and steps of a
//! stream in any order; and a client that knows all that ever happened.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::stream::Outgoing;
use super::{Hub, Stream, WatcherId};
use crate::kv::{Command, KeyRange, Store, Wanted};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::request_op::Request;
use crate::proto::mvccpb::Event;

#[derive(Clone, Debug)]
enum Step {
    Change(Command),
    /// The hub looks at the state, and makes its marks.
    Look,
    /// The stream takes the marks.
    Take,
    /// The stream takes a watch further.
    Serve,
    Create {
        key: &'static str,
        end: &'static str,
        start: i64,
        no_deletes: bool,
        prev_kv: bool,
    },
    Progress,
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "d"])
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    pb::PutRequest { key, value, ..Default::default() }
}

fn delete(key: &str, end: &str) -> pb::DeleteRangeRequest {
    let (key, range_end) = (Bytes::from(key.to_owned()), Bytes::from(end.to_owned()));
    pb::DeleteRangeRequest { key, range_end, ..Default::default() }
}

fn change() -> impl Strategy<Value = Command> {
    let op = |request| pb::RequestOp { request: Some(request) };
    prop_oneof![
        6 => (key(), "[a-z]{0,3}").prop_map(|(k, v)| Command::Put(put(k, &v))),
        2 => (key(), prop::sample::select(vec!["", "d", "\0"]))
            .prop_map(|(k, end)| Command::DeleteRange(delete(k, end))),
        2 => (key(), key()).prop_map(move |(one, other)| {
            let success = [one, other].map(|k| op(Request::RequestPut(put(k, "txn"))));
            Command::Txn(pb::TxnRequest { success: success.into(), ..Default::default() })
        }).prop_filter("no key twice", |txn| {
            !matches!(txn, Command::Txn(t) if crate::kv::check_txn(t, 9).is_err())
        }),
        1 => (1_i64..40).prop_map(|revision| {
            Command::Compact(pb::CompactionRequest { revision, physical: false })
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let ends = prop::sample::select(vec!["", "c", "z", "\0"]);
    prop_oneof![
        8 => change().prop_map(Step::Change),
        3 => Just(Step::Look),
        3 => Just(Step::Take),
        4 => Just(Step::Serve),
        2 => (key(), ends, 0_i64..40, any::<bool>(), any::<bool>()).prop_map(
            |(key, end, start, no_deletes, prev_kv)| {
                Step::Create { key, end, start, no_deletes, prev_kv }
            }
        ),
        1 => Just(Step::Progress),
    ]
}

/// A watch as its client sees it.
struct Seen {
    keys: KeyRange,
    from: i64,
    wanted: Wanted,
    events: Vec<Event>,
    ended: Option<i64>,
}

#[derive(Default)]
struct World {
    store: Store,
    hub: Hub,
    stream: Stream,
    /// The marks that the stream has not taken.
    marks: BTreeMap<i64, i64>,
    /// Everything that ever happened, with the pairs before.
    all: Vec<Event>,
    seen: BTreeMap<i64, Seen>,
}

fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |pair| pair.mod_revision)
}

impl World {
    fn change(&mut self, command: &Command) {
        let before = self.store.revision();
        if self.store.apply(command).is_err() {
            return;
        }
        let everything = KeyRange::of(&Bytes::new(), &Bytes::from_static(b"\0")).unwrap();
        let wanted = Wanted { prev_kv: true, ..Wanted::default() };
        if self.store.revision() > before {
            let changes = self.store.changes(&everything, before + 1, wanted).unwrap();
            assert_eq!(changes.upto, self.store.revision());
            self.all.extend(changes.events);
        }
    }

    fn look(&mut self) {
        for (watcher, since) in self.hub.advance(&self.store) {
            self.marks.entry(watcher.watch).or_insert(since);
        }
    }

    fn take(&mut self) {
        for (watch, since) in std::mem::take(&mut self.marks) {
            self.hub.wake(WatcherId { stream: 0, watch });
            self.stream.mark(watch, since);
        }
    }

    fn create(&mut self, request: &pb::WatchCreateRequest, wanted: Wanted) {
        let Ok((id, keys)) = self.stream.admit(request) else { return };
        self.hub.add(WatcherId { stream: 0, watch: id }, keys.clone());
        let created = self.stream.begin((id, keys.clone()), request, &self.store);
        assert!(created.created && created.watch_id == id);
        let now = self.store.revision() + 1;
        let from = if request.start_revision == 0 { now } else { request.start_revision };
        let seen = Seen { keys, from, wanted, events: Vec::new(), ended: None };
        self.seen.insert(id, seen);
    }

    fn serve(&mut self) {
        let Some(Outgoing { response, .. }) = self.stream.step(&self.store) else { return };
        let seen = self.seen.get_mut(&response.watch_id).unwrap();
        assert_eq!(seen.ended, None, "a watch that has ended says nothing");
        if response.canceled {
            assert_eq!(response.compact_revision, self.store.compacted());
            seen.ended = Some(response.compact_revision);
            return;
        }
        let last = revision(response.events.last().unwrap());
        assert!(response.header.unwrap().revision >= last);
        seen.events.extend(response.events);
    }

    /// Asserts that a watch has seen exactly the events that it must, up to a revision.
    fn check(&self, id: i64, upto: i64) {
        let seen = &self.seen[&id];
        let is_in = |event: &&Event| {
            let kv = event.kv.as_ref().unwrap();
            let is_wanted = event.r#type == 0 || !seen.wanted.no_deletes;
            (seen.from..=upto).contains(&kv.mod_revision) && seen.keys.has(&kv.key) && is_wanted
        };
        let due: Vec<&Event> = self.all.iter().filter(is_in).collect();
        let told: Vec<&Event> = seen.events.iter().filter(|e| revision(e) <= upto).collect();
        assert_eq!(told.len(), due.len(), "watch {id} from {} up to {upto}", seen.from);
        for (told, due) in told.iter().zip(&due) {
            assert_eq!((told.r#type, &told.kv), (due.r#type, &due.kv));
            // A pair before may be compacted by now, but never be another.
            if seen.wanted.prev_kv {
                assert!(told.prev_kv == due.prev_kv || told.prev_kv.is_none());
            } else {
                assert_eq!(told.prev_kv, None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_watch_is_told_everything_once_and_in_order(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Change(command) => world.change(&command),
                Step::Look => world.look(),
                Step::Take => world.take(),
                Step::Serve => world.serve(),
                Step::Create { key, end, start, no_deletes, prev_kv } => {
                    let request = pb::WatchCreateRequest {
                        key: key.into(),
                        range_end: end.into(),
                        start_revision: start,
                        filters: if no_deletes { vec![1] } else { Vec::new() },
                        prev_kv,
                        ..Default::default()
                    };
                    let wanted = Wanted { no_deletes, prev_kv, ..Wanted::default() };
                    world.create(&request, wanted);
                }
                Step::Progress => {
                    let examined = world.hub.revision();
                    world.take();
                    if let Some(response) = world.stream.progress(examined) {
                        let upto = response.header.unwrap().revision;
                        let live = world.seen.iter().filter(|(_, seen)| seen.ended.is_none());
                        live.for_each(|(id, _)| world.check(*id, upto));
                    }
                }
            }
        }
        world.look();
        world.take();
        while world.stream.is_behind() {
            world.serve();
        }
        let now = world.store.revision();
        for (id, seen) in &world.seen {
            match seen.ended {
                None => world.check(*id, now),
                // Its events before its end are whole up to the last one.
                Some(_) => world.check(*id, seen.events.last().map_or(0, revision)),
            }
        }
    }
}

fn create(key: &str, start_revision: i64, watch_id: i64) -> pb::WatchCreateRequest {
    let key = Bytes::from(key.to_owned());
    pb::WatchCreateRequest { key, start_revision, watch_id, ..Default::default() }
}

#[test]
fn ids_are_chosen_or_given_and_no_two_watches_have_the_same() {
    let mut world = World::default();
    let mut id = |request: &pb::WatchCreateRequest| match world.stream.admit(request) {
        Ok((id, keys)) => Ok(world.stream.begin((id, keys), request, &world.store).watch_id),
        Err(refusal) => Err((refusal.watch_id, refusal.canceled, refusal.cancel_reason)),
    };
    assert_eq!(id(&create("a", 0, 0)), Ok(0));
    assert_eq!(id(&create("a", 0, 1)), Ok(1));
    assert_eq!(id(&create("a", 0, 0)), Ok(2));
    let reason = "mvcc: duplicate watch ID provided on the WatchStream".to_owned();
    assert_eq!(id(&create("a", 0, 1)), Err((-1, true, reason)));
    let empty = pb::WatchCreateRequest { range_end: Bytes::from_static(b"a"), ..create("b", 0, 7) };
    assert_eq!(id(&empty), Err((-1, true, "mvcc: watcher range is empty".to_owned())));
}

#[test]
fn an_idle_watch_outlives_a_compaction_and_a_slow_one_does_not() {
    let mut world = World::default();
    world.create(&create("idle", 0, 1), Wanted::default());
    world.create(&create("slow", 0, 2), Wanted::default());
    for n in 0..5 {
        world.change(&Command::Put(put("slow", &n.to_string())));
        world.look();
        world.take();
    }
    let revision = world.store.revision();
    world.change(&Command::Compact(pb::CompactionRequest { revision, physical: false }));
    world.change(&Command::Put(put("idle", "awake")));
    world.look();
    world.take();
    while world.stream.is_behind() {
        world.serve();
    }
    assert_eq!(world.seen[&2].ended, Some(revision));
    assert_eq!(world.seen[&1].ended, None);
    assert_eq!(world.seen[&1].events.len(), 1);
}

#[test]
fn a_watch_that_was_named_sleeps_until_it_is_woken() {
    let mut world = World::default();
    for (key, id) in [("a", 1), ("b", 2)] {
        world.create(&create(key, 0, id), Wanted::default());
    }
    let named = |world: &mut World, key: &str| {
        world.change(&Command::Put(put(key, "v")));
        let named = world.hub.advance(&world.store);
        named.into_iter().map(|(watcher, since)| (watcher.watch, since)).collect::<Vec<_>>()
    };
    assert_eq!(named(&mut world, "a"), [(1, 2)]);
    assert_eq!(named(&mut world, "a"), [], "it is asleep");
    assert_eq!(named(&mut world, "b"), [(2, 4)]);
    let watcher = WatcherId { stream: 0, watch: 1 };
    world.hub.wake(watcher);
    assert_eq!(named(&mut world, "a"), [(1, 5)]);
    world.hub.remove(watcher);
    world.hub.wake(watcher);
    assert_eq!(named(&mut world, "a"), [], "it is gone");
}

#[test]
fn a_large_response_is_fragmented_only_for_those_who_asked() {
    let mut store = Store::default();
    let op = |n: usize| pb::RequestOp {
        request: Some(Request::RequestPut(put(&format!("k{n}"), &"v".repeat(1000)))),
    };
    let txn = pb::TxnRequest { success: (0..20).map(op).collect(), ..Default::default() };
    store.apply(&Command::Txn(txn)).unwrap();
    for (fragment, parts) in [(false, 1), (true, 7)] {
        let mut stream = Stream::default();
        let request = pb::WatchCreateRequest {
            range_end: Bytes::from_static(b"\0"),
            fragment,
            ..create("k", 1, 0)
        };
        let (id, keys) = stream.admit(&request).unwrap();
        stream.begin((id, keys), &request, &store);
        let sent = stream.step(&store).unwrap().fragments(3500);
        assert_eq!(sent.len(), parts);
        assert_eq!(sent.iter().map(|part| part.events.len()).sum::<usize>(), 20);
        let marked = sent.iter().filter(|part| part.fragment).count();
        assert_eq!(marked, parts - 1, "the last one is not marked");
        assert!(!sent[parts - 1].fragment);
    }
}
