//! Tests of states in files.

#![allow(clippy::unwrap_used)]

use super::*;

fn write(states: &States, index: u64, state: &[u8]) -> Written {
    let mut sink = states.create(Index(index)).unwrap();
    state.chunks(1 << 20).for_each(|piece| sink.append(piece).unwrap());
    sink.finish().unwrap()
}

fn read(states: &States, index: u64) -> Result<Vec<u8>, StorageError> {
    let mut source = states.open(Index(index))?;
    let Written { len_bytes, checksum, .. } = source.written();
    let bytes = source.read_at(0, len_bytes as usize).unwrap();
    match crc32fast::hash(&bytes) == checksum {
        true => Ok(bytes),
        false => Err(failed(Path::new(""), "the state is damaged".to_owned())),
    }
}

#[test]
fn a_state_comes_back_and_a_damaged_one_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let states = States::open(dir.path()).unwrap();
    let state: Vec<u8> = (0..FLUSH_BYTES + 5).map(|i| i as u8).collect();
    let written = write(&states, 7, &state);
    assert_eq!((written.len_bytes, written.index), (state.len() as u64, Index(7)));
    assert_eq!(read(&states, 7).unwrap(), state);
    let mut source = states.open(Index(7)).unwrap();
    assert_eq!(source.read_at(9, 3).unwrap(), state[9..12]);
    assert!(source.read_at(state.len() as u64 - 1, 2).is_err(), "beyond the end");
    write(&states, 8, b"");
    assert_eq!(read(&states, 8).unwrap(), b"");
    let file = dir.path().join("states/7");
    let whole = fs::read(&file).unwrap();
    for place in [0, 9, 17, 25, 30, HEADER_BYTES, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!(read(&states, 7).unwrap_err().to_string().contains("damaged"), "at {place}");
    }
    for len in [0, 10, HEADER_BYTES, whole.len() - 1] {
        fs::write(&file, &whole[..len]).unwrap();
        assert!(read(&states, 7).is_err(), "cut at {len}");
    }
    fs::rename(dir.path().join("states/8"), dir.path().join("states/9")).unwrap();
    assert!(read(&states, 9).is_err(), "another state");
    assert!(read(&states, 10).unwrap_err().to_string().contains("missing"));
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("states")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[test]
fn older_states_go_and_a_newer_one_may_be_on_its_way() {
    let dir = tempfile::TempDir::new().unwrap();
    let states = States::open(dir.path()).unwrap();
    (5..9).for_each(|index| _ = write(&states, index, b"state"));
    fs::write(dir.path().join("states/9.tmp"), b"sta").unwrap();
    fs::write(dir.path().join("states/6.received"), b"sta").unwrap();
    fs::write(dir.path().join("states/9.received"), b"sta").unwrap();
    states.remove_older(Index(7), false);
    assert_eq!(names(dir.path()), ["7", "8", "9.received", "9.tmp"]);
    states.remove_older(Index(7), true);
    assert_eq!(names(dir.path()), ["7"]);
}

#[test]
fn an_old_state_is_cut_unless_it_is_being_read() {
    let dir = tempfile::TempDir::new().unwrap();
    let states = States::open(dir.path()).unwrap();
    let state = vec![7; 2 * CUT_BYTES as usize + 5];
    write(&states, 5, &state);
    write(&states, 6, &state);
    let [unread, read] = [5, 6].map(|index| File::open(states.path(Index(index))).unwrap());
    let mut source = states.open(Index(6)).unwrap();
    states.remove_older(Index(7), false);
    assert_eq!(names(dir.path()), Vec::<String>::new());
    let whole = state.len() as u64 + HEADER_BYTES as u64;
    let lens = [unread, read].map(|file| file.metadata().unwrap().len());
    assert_eq!(lens, [whole - 2 * CUT_BYTES, whole]);
    assert_eq!(source.read_at(state.len() as u64 - 1, 1).unwrap(), [7]);
}

#[test]
fn a_state_that_is_being_cut_is_missing() {
    let dir = tempfile::TempDir::new().unwrap();
    let states = States::open(dir.path()).unwrap();
    write(&states, 5, b"state");
    let cutter = File::open(states.path(Index(5))).unwrap();
    cutter.try_lock().unwrap();
    let why = states.open(Index(5)).err().unwrap().to_string();
    assert!(why.contains("missing"), "{why}");
    drop(cutter);
    assert!(read(&states, 5).is_ok());
}

#[test]
fn a_received_state_is_kept_apart_until_it_is_adopted_and_a_dropped_one_leaves_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let states = States::open(dir.path()).unwrap();
    write(&states, 7, b"own");
    let receive = |index: u64, bytes: &[u8]| {
        let mut sink = states.receive(Index(index)).unwrap();
        sink.append(bytes).unwrap();
        sink
    };
    drop(receive(7, b"half of"));
    assert_eq!(names(dir.path()), ["7"]);
    receive(7, b"other").finish().unwrap();
    states.adopt(Index(7)).unwrap();
    assert_eq!(read(&states, 7).unwrap(), b"own", "the log may name it");
    receive(9, b"other").finish().unwrap();
    assert_eq!(read(&states, 9).unwrap(), b"other");
    states.adopt(Index(9)).unwrap();
    states.adopt(Index(9)).unwrap();
    assert!(states.adopt(Index(10)).is_err(), "a log must not name a state that is nowhere");
    assert_eq!(read(&states, 9).unwrap(), b"other");
    assert_eq!(names(dir.path()), ["7", "7.received", "9"]);
}
