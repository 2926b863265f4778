//! Crashes and failures: the remains that are allowed, and those that are not.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

#[test]
fn a_last_record_torn_at_any_byte_is_cut_off() {
    let commits = ["first", "again", "third"].map(|text| vec![record("s", text)]);
    let dir = written(FileOptions::default(), &commits);
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    let last = offset_of(2, 5);
    for len in last..whole.len() {
        let half = whole[..len].to_vec();
        // Both a short file, which a kill leaves, and the remains of a power cut: the full length
        // with zeros, or anything, where the data did not arrive.
        let (mut zeros, mut garbage) = (half.clone(), half.clone());
        zeros.resize(whole.len() + 4096, 0);
        garbage.resize(whole.len(), 0xa5);
        for torn in [&half, &zeros, &garbage] {
            fs::write(path, torn).unwrap();
            let repairs = usize::from(torn.len() > last);
            assert_eq!(reopen(dir.path()).unwrap(), (log(None, &["first", "again"]), repairs));
            assert_eq!(fs::read(path).unwrap(), whole[..last], "repaired in place");
        }
    }
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    block_on(storage.commit(vec![record("s", "after")])).unwrap();
    drop(storage);
    assert_eq!(reopen(dir.path()).unwrap(), (log(None, &["first", "again", "after"]), 0));
}

#[test]
fn a_hole_in_the_last_flush_is_torn_and_in_an_earlier_one_is_damage() {
    let last = vec![record("s", "bbbbb"), record("s", "ccccc"), record("s", "ddddd")];
    let dir = written(FileOptions::default(), &[vec![record("s", "aaaaa")], last]);
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    for (n, survivors) in [(1, &["aaaaa"][..]), (2, &["aaaaa", "bbbbb"][..])] {
        let mut holed = whole.clone();
        holed[offset_of(n, 5)..offset_of(n + 1, 5)].fill(0);
        fs::write(path, &holed).unwrap();
        assert_eq!(reopen(dir.path()).unwrap(), (log(None, survivors), 1));
    }
    fs::write(path, &whole).unwrap();
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    block_on(storage.commit(vec![record("s", "eeeee")])).unwrap();
    drop(storage);
    let mut holed = fs::read(path).unwrap();
    holed[offset_of(2, 5)..offset_of(3, 5)].fill(0);
    fs::write(path, &holed).unwrap();
    let text = format!("at byte {}: record 3 does not verify, but", offset_of(2, 5));
    assert_refused(dir.path(), path, &text);
}

#[test]
fn a_torn_record_may_contain_an_image_of_a_later_one() {
    // Record 3 of a log, flushed after record 2, as the content of record 2.
    let dir = written(FileOptions::default(), &["a", "b", "c"].map(|t| vec![record("s", t)]));
    let image = fs::read(&segments(dir.path())[0]).unwrap()[offset_of(2, 1)..].to_vec();
    let payload = [&image[..], &[0; 8]].concat();
    let dir =
        written(FileOptions::default(), &[vec![record("s", "a")], vec![record("s", payload)]]);
    let path = &segments(dir.path())[0];
    let mut torn = fs::read(path).unwrap();
    torn.pop();
    fs::write(path, torn).unwrap();
    assert_eq!(reopen(dir.path()).unwrap(), (log(None, &["a"]), 1));
}

/// Rotation, marks, checkpoints with and without records around them, two streams.
fn eventful() -> Vec<Vec<Write>> {
    vec![
        vec![record("a", "1"), record("a", "2"), record("b", "x")],
        vec![record("a", "3")],
        vec![record("a", "4"), checkpoint("a", "1-4"), record("a", "5")],
        vec![checkpoint("a", "1-5"), checkpoint("b", "x")],
        vec![record("a", "6"), record("b", "y")],
        vec![checkpoint("a", "1-6")],
        vec![record("a", "7"), mark("a"), record("a", "8"), mark("b")],
        vec![record("a", "9"), record("b", "z")],
        vec![checkpoint_at_mark("a", "1-7"), record("a", "10"), checkpoint_at_mark("b", "x-y")],
        vec![record("a", "11")],
    ]
}

#[test]
fn a_disk_that_fails_at_any_change_loses_nothing_committed() {
    for segment_bytes in [1, 1 << 20] {
        let options = FileOptions { segment_bytes };
        // Ends when a run gets through without having reached its failure.
        let failures = (0..).take_while(|changes| fail_and_recover(*changes, options)).count();
        assert!(failures > 30, "only {failures} places to fail at");
    }
}

/// Whether the disk did fail.
fn fail_and_recover(changes: u32, options: FileOptions) -> bool {
    let dir = scratch();
    let (mut storage, _) = FileStorage::open_with(dir.path(), options).unwrap();
    storage.fail_after(changes);
    let mut model = Model::default();
    let mut failed = false;
    for writes in eventful() {
        if block_on(storage.commit(writes.clone())).is_ok() {
            assert!(!failed, "a commit succeeded after one that failed");
            writes.iter().for_each(|write| model.apply(write));
        } else if !failed {
            failed = true;
            let copy = copy_of(dir.path());
            let (mut next, recovered) = FileStorage::open_with(copy.path(), options).unwrap();
            model.adopt(recovered, &writes);
            // The recovered content can be built on, and none of it was an accident of
            // the page cache.
            for stream in ["a", "b"] {
                block_on(next.commit(vec![record(stream, "more")])).unwrap();
                model.apply(&record(stream, "more"));
            }
            drop(next);
            let (_, recovered) = FileStorage::open_with(copy.path(), options).unwrap();
            model.adopt(recovered, &[]);
        }
    }
    failed
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = scratch();
    for (path, bytes) in contents(dir) {
        let to = copy.path().join(path.strip_prefix(dir).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    copy
}

#[test]
fn an_open_that_fails_at_any_change_can_be_repeated() {
    let dir = written(TINY, &eventful());
    // Everything there is to repair: a torn tail, an unfinished file, a segment that
    // the checkpoint stands for.
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let tail = fs::read_dir(&b).unwrap().map(|e| e.unwrap().path());
    let tail = tail.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap();
    let torn = [fs::read(&tail).unwrap(), b"torn".to_vec()].concat();
    let mut failures = 0;
    loop {
        fs::write(&tail, &torn).unwrap();
        fs::write(a.join("checkpoint.tmp"), "unfinished").unwrap();
        fs::write(a.join("00000000000000000001.log"), "superfluous, so not even read").unwrap();
        match FileStorage::open_on(Disk::failing_after(failures), dir.path(), TINY, None) {
            Err(_) => failures += 1,
            Ok((_, mut recovered)) => {
                assert_eq!(recovered.take("a"), log(Some("1-7"), &["8", "9", "10", "11"]));
                assert_eq!(recovered.take("b"), log(Some("x-y"), &["z"]));
                break;
            }
        }
    }
    assert!(failures >= 6, "only {failures} places to fail at");
    assert!(!a.join("checkpoint.tmp").exists() && !a.join("00000000000000000001.log").exists());
}

#[test]
fn one_directory_has_one_user() {
    let dir = scratch();
    let first = FileStorage::open(dir.path()).unwrap();
    let error = FileStorage::open(dir.path()).map(|_| ()).unwrap_err();
    assert!(error.reason.contains("in use"), "{error}");
    drop(first);
    FileStorage::open(dir.path()).unwrap();
}

#[test]
fn a_place_that_cannot_be_a_directory_is_named() {
    let dir = scratch();
    fs::write(dir.path().join("file"), "").unwrap();
    let below = dir.path().join("file/data");
    let error = FileStorage::open(&below).map(|_| ()).unwrap_err();
    assert!(error.place.contains("file") && error.reason.contains("directory"), "{error}");

    fs::write(dir.path().join("s"), "in the way of a stream").unwrap();
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    let error = block_on(storage.commit(vec![record("s", "a")])).unwrap_err();
    assert_eq!(error.place, dir.path().join("s").display().to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_final() {
    let dir = scratch();
    fs::create_dir(dir.path().join("s")).unwrap();
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    let full = dir.path().join("s/00000000000000000001.log.tmp");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let error = block_on(storage.commit(vec![record("s", "a")])).unwrap_err();
    assert!(error.reason.contains("No space left on device"), "{error}");
    assert!(!full.exists(), "it would keep the space");
    let error = block_on(storage.commit(vec![record("s", "b")])).unwrap_err();
    assert!(error.reason.contains("an earlier commit failed"), "{error}");
    assert!(error.reason.contains("No space left on device"), "the cause: {error}");
    drop(storage);
    assert_eq!(reopen(dir.path()).unwrap(), (Log::default(), 0));
}

#[test]
fn a_commit_that_is_given_up_is_the_last() {
    let dir = scratch();
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    let runtime = Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        // The only blocking thread is taken, so the commit cannot have been quicker.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        {
            let commit = pin!(storage.commit(vec![record("s", "a")]));
            let polled = commit.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
        }
        let error = storage.commit(vec![record("s", "b")]).await.unwrap_err();
        assert!(error.reason.contains("given up"), "{error}");
        drop(storage);
        // Abandoned work may still write, so the directory is still taken.
        let error = FileStorage::open(dir.path()).map(|_| ()).unwrap_err();
        assert!(error.reason.contains("in use"), "{error}");
        drop(release);
        busy.await.unwrap().unwrap_err();
    });
    drop(runtime);
    let (found, _) = reopen(dir.path()).unwrap();
    assert!([log(None, &["a"]), Log::default()].contains(&found), "{found:?}");
}

/// Room that there is after a while.
#[derive(Debug, Default)]
struct Later(std::sync::atomic::AtomicU32);

impl Room for Later {
    fn make(&self) -> bool {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        true
    }
}

#[test]
fn a_full_disk_stops_no_commit_for_good_and_leaves_no_trace() {
    for changes in 0..60 {
        let (dir, room) = (scratch(), std::sync::Arc::new(Later::default()));
        let (storage, _) = FileStorage::open_with(dir.path(), TINY).unwrap();
        let mut storage = storage.with_room(room.clone());
        storage.fill_after(changes, 3);
        let mut model = Model::default();
        for writes in eventful() {
            block_on(storage.commit(writes.clone())).unwrap();
            writes.iter().for_each(|write| model.apply(write));
        }
        drop(storage);
        let (storage, recovered) = FileStorage::open_with(dir.path(), TINY).unwrap();
        model.adopt(recovered, &[]);
        assert_eq!(storage.repairs(), 0, "after {changes} changes");
        let waits = room.0.load(std::sync::atomic::Ordering::Relaxed);
        assert!(waits == 3 || changes > 20, "{waits} waits after {changes} changes");
    }
}

#[test]
fn without_room_a_full_disk_fails_the_commit() {
    let dir = scratch();
    let (mut storage, _) = FileStorage::open(dir.path()).unwrap();
    storage.fill_after(3, 1);
    block_on(storage.commit(vec![record("s", "a")])).unwrap_err();
    block_on(storage.commit(vec![record("s", "a")])).unwrap_err();
}
