//! The abilities of the simulated disk alone: to wait, and to crash by the dice.

use proptest::prelude::*;
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::storage::suite::{Model, any_writes, checkpoint, log, record};

const PREFIX: CrashModel = CrashModel { unsynced: Unsynced::Prefix, tear_percent: 50 };

fn staged(writes: impl IntoIterator<Item = Write>) -> (MemoryStorage, Vec<Position>) {
    let mut storage = MemoryStorage::new();
    let positions = writes.into_iter().map(|write| storage.stage(write).unwrap()).collect();
    (storage, positions)
}

fn crashed(storage: &MemoryStorage, seed: u64, model: CrashModel) -> (Lost, Recovered, usize) {
    let mut storage = storage.clone();
    let lost = storage.crash(&mut Pcg64Mcg::seed_from_u64(seed), model);
    let recovered = storage.recover();
    (lost, recovered, storage.repairs())
}

#[test]
fn a_flush_covers_what_was_staged_up_to_its_position() {
    let writes = [record("s", "a"), record("t", "b"), record("s", "c"), record("t", "d")];
    let (mut storage, positions) = staged(writes);
    storage.sync_to(positions[1]).unwrap();
    // An older flush that ends later has nothing left to do.
    storage.sync_to(positions[0]).unwrap();
    assert_eq!(storage.unsynced(), 2);
    let model = CrashModel { unsynced: Unsynced::Lost, tear_percent: 0 };
    let (lost, mut recovered, repairs) = crashed(&storage, 1, model);
    assert_eq!((lost, repairs), (Lost { writes: 2, torn: 0 }, 0));
    assert_eq!(recovered.take("s"), log(None, &["a"]));
    assert_eq!(recovered.take("t"), log(None, &["b"]));
    let model = CrashModel { unsynced: Unsynced::Kept, tear_percent: 100 };
    let (lost, mut recovered, repairs) = crashed(&storage, 1, model);
    assert_eq!((lost, repairs), (Lost::default(), 0));
    assert_eq!(recovered.take("s"), log(None, &["a", "c"]));
    assert_eq!(recovered.take("t"), log(None, &["b", "d"]));
}

#[test]
fn every_prefix_and_every_kind_of_tear_happens_and_is_counted() {
    let (storage, _) = staged(["a", "b", "c"].map(|text| record("s", text)));
    let mut seen = BTreeMap::new();
    for seed in 0..400 {
        let (lost, mut recovered, repairs) = crashed(&storage, seed, PREFIX);
        let records = recovered.take("s").records.len();
        assert_eq!(lost, Lost { writes: 3 - records, torn: repairs });
        *seen.entry((records, repairs)).or_insert(0) += 1;
        assert_eq!((lost, repairs), {
            let (lost, _, repairs) = crashed(&storage, seed, PREFIX);
            (lost, repairs)
        });
    }
    // Nothing is left to be torn where everything survives.
    let expected = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)];
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expected);
}

#[test]
fn a_tear_may_be_a_hole_with_a_later_record_behind_it() {
    let (storage, _) = staged([record("s", "a"), record("s", "later")]);
    let model = CrashModel { unsynced: Unsynced::Lost, tear_percent: 100 };
    let mut holes = 0;
    for seed in 0..64 {
        let mut storage = storage.clone();
        storage.crash(&mut Pcg64Mcg::seed_from_u64(seed), model);
        holes += usize::from(storage.disk["s"].last().bytes.ends_with(b"later"));
        assert_eq!(storage.recover(), Recovered::default());
        assert_eq!(storage.repairs(), 1);
    }
    assert!((1..64).contains(&holes), "{holes} holes");
}

#[test]
fn a_checkpoint_in_flight_is_there_or_not() {
    let (mut storage, _) = staged([record("s", "a")]);
    storage.sync().unwrap();
    storage.stage(checkpoint("s", "A")).unwrap();
    let model = CrashModel { tear_percent: 100, ..PREFIX };
    let mut seen = [0, 0];
    for seed in 0..64 {
        let (lost, mut recovered, repairs) = crashed(&storage, seed, model);
        assert_eq!(repairs, 0);
        match lost.writes {
            0 => assert_eq!(recovered.take("s"), log(Some("A"), &[])),
            _ => assert_eq!(recovered.take("s"), log(None, &["a"])),
        }
        seen[lost.writes] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn a_full_disk_and_a_failed_flush_last_until_the_next_start() {
    let mut storage = MemoryStorage::new();
    storage.set_free_bytes(Some(30));
    storage.stage(record("s", "0123456789")).unwrap();
    let error = storage.stage(record("s", "")).unwrap_err();
    assert!(error.reason.contains("no space left"), "{error}");
    storage.sync().unwrap_err();
    storage.set_free_bytes(None);
    storage.stage(record("s", "a")).unwrap_err();
    storage.crash(&mut Pcg64Mcg::seed_from_u64(0), PREFIX);
    storage.recover();
    storage.fail_next_sync();
    let position = storage.stage(record("s", "b")).unwrap();
    storage.sync_to(position).unwrap_err();
    storage.sync_to(position).unwrap_err();
    // It was not acknowledged, and yet it may have arrived.
    let model = CrashModel { unsynced: Unsynced::Kept, tear_percent: 0 };
    let (_, mut recovered, _) = crashed(&storage, 0, model);
    assert_eq!(recovered.take("s").records.last().unwrap(), b"b");
}

#[test]
fn a_record_is_durable_once_a_node_has_recovered_it() {
    let kept = CrashModel { unsynced: Unsynced::Kept, tear_percent: 0 };
    let mut lost = 0;
    for seed in 0..16 {
        let rng = &mut Pcg64Mcg::seed_from_u64(seed);
        // No flush of this record was ever confirmed.
        let (mut storage, _) = staged([record("s", "a")]);
        storage.crash(rng, kept);
        let mut unread = storage.clone();
        assert_eq!(unread.roll_back(rng), 0, "a crash may take it");
        assert_eq!(unread.recover().take("s").lost, None);

        assert_eq!(storage.recover().take("s").records, [b"a"]);
        let missing = storage.roll_back(rng);
        assert_eq!(storage.recover().take("s").lost.is_some(), missing > 0);
        lost += missing;
    }
    assert!(lost > 0);
}

#[test]
#[should_panic(expected = "before its last incarnation has ended")]
fn writes_in_flight_cannot_be_forgotten() {
    staged([record("s", "a")]).0.recover();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Flushes that cover some of the staged writes, between crashes.
    #[test]
    fn delayed_flushes_agree_with_the_model(
        lives in proptest::collection::vec((any_writes(), 0..6_usize, any_writes(), any::<u64>()), 1..6)
    ) {
        let (mut storage, mut model) = (MemoryStorage::new(), Model::default());
        for (early, flushed, late, seed) in lives {
            let early_and_late = model.with_marks([&early[..], &late[..]].concat());
            let (early, late) = early_and_late.split_at(early.len());
            let positions: Vec<_> =
                early.iter().map(|write| storage.stage(write.clone()).unwrap()).collect();
            let flushed = flushed.min(early.len());
            if let Some(last) = flushed.checked_sub(1) {
                storage.sync_to(positions[last]).unwrap();
            }
            for write in late {
                storage.stage(write.clone()).unwrap();
            }
            early[..flushed].iter().for_each(|write| model.apply(write));
            storage.crash(&mut Pcg64Mcg::seed_from_u64(seed), PREFIX);
            let in_flight = [&early[flushed..], late].concat();
            model.adopt(storage.recover(), &in_flight);
        }
    }
}
