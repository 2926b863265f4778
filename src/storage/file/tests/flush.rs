//! The order of changes. Killing a process loses nothing that the kernel has, so
//! only looking at the calls shows that power may go between any two of them.

use super::*;

const SEGMENT_1: &str = "00000000000000000001.log";
const SEGMENT_2: &str = "00000000000000000002.log";

fn commit(storage: &mut FileStorage, writes: Vec<Write>) -> Vec<String> {
    storage.journal();
    block_on(storage.commit(writes)).unwrap();
    storage.journal()
}

fn creation(name: &str, writes: usize) -> Vec<String> {
    let mut changes = vec![format!("create {name}.tmp")];
    changes.extend(vec![format!("write {name}.tmp"); writes]);
    changes.push(format!("flush {name}.tmp"));
    changes.push(format!("rename to {name}"));
    changes.push("flush directory s".to_owned());
    changes
}

fn appending(name: &str) -> Vec<String> {
    vec![format!("write {name}"), format!("flush {name}")]
}

#[test]
fn a_commit_is_one_write_and_one_flush_a_stream() {
    let dir = written(FileOptions::default(), &[vec![record("s", "a"), record("t", "a")]]);
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    let group = (0..100).flat_map(|_| [record("s", "b"), record("t", "b")]).collect();
    let expected = [appending(SEGMENT_1), appending(SEGMENT_1)].concat();
    assert_eq!(commit(&mut storage, group), expected);
    assert!(commit(&mut storage, vec![]).is_empty(), "nothing to write, nothing to flush");
}

#[test]
fn new_names_are_flushed_before_the_writes_under_them() {
    let dir = scratch();
    let root = dir.path().file_name().unwrap().display().to_string();
    let (mut storage, _) = FileStorage::open_with(dir.path(), TINY).unwrap();
    let stream = vec!["create directory s".to_owned(), format!("flush directory {root}")];
    let expected = [stream, creation(SEGMENT_1, 1), appending(SEGMENT_1)].concat();
    assert_eq!(commit(&mut storage, vec![record("s", "a")]), expected);
    let expected = [creation(SEGMENT_2, 1), appending(SEGMENT_2)].concat();
    assert_eq!(commit(&mut storage, vec![record("s", "b")]), expected);
}

#[test]
fn old_segments_go_after_the_checkpoint_has_come() {
    let dir = written(TINY, &[vec![record("s", "a")], vec![record("s", "b")]]);
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    let removals = vec![format!("remove {SEGMENT_1}"), format!("remove {SEGMENT_2}")];
    let expected = [creation("checkpoint", 2), removals].concat();
    let writes = vec![record("s", "skipped"), checkpoint("s", "AB")];
    assert_eq!(commit(&mut storage, writes), expected);
}

#[test]
fn a_mark_costs_nothing_and_a_checkpoint_there_writes_no_record_again() {
    let dir = written(TINY, &[vec![record("s", "a")]]);
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    assert!(commit(&mut storage, vec![mark("s")]).is_empty());
    let expected = [creation(SEGMENT_2, 1), appending(SEGMENT_2)].concat();
    assert_eq!(commit(&mut storage, vec![record("s", "b")]), expected);
    let removals = vec![format!("remove {SEGMENT_1}")];
    let expected = [creation("checkpoint", 2), removals, appending(SEGMENT_2)].concat();
    let writes = vec![checkpoint_at_mark("s", "A"), record("s", "c")];
    assert_eq!(commit(&mut storage, writes), expected);
}

#[test]
fn opening_flushes_what_it_hands_out_before_anything_is_removed() {
    let commits = [vec![checkpoint("s", "A")], vec![record("s", "a")]];
    let dir = written(TINY, &commits);
    let root = dir.path().file_name().unwrap().display().to_string();
    let stream = dir.path().join("s");
    fs::write(stream.join("checkpoint.tmp"), "unfinished").unwrap();
    let mut torn = fs::read(stream.join(SEGMENT_2)).unwrap();
    torn.push(0);
    fs::write(stream.join(SEGMENT_2), torn).unwrap();
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    let first = ["flush directory s".to_owned(), "remove checkpoint.tmp".to_owned()];
    let last = [format!("flush directory {root}")];
    // The torn segment is written anew: its flush may have failed.
    assert_eq!(storage.journal(), [&first[..], &creation(SEGMENT_2, 1), &last].concat());
}
