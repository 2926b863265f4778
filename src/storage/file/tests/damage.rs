//! Damage: bytes that a crash does not explain are refused, by file and place.

use super::*;

const THREE: [&str; 3] = ["first", "again", "third"];

fn three() -> TempDir {
    written(FileOptions::default(), &THREE.map(|text| vec![record("s", text)]))
}

#[test]
fn a_flipped_bit_in_a_middle_record_is_refused() {
    let dir = three();
    let path = &segments(dir.path())[0];
    let good = fs::read(path).unwrap();
    let middle = offset_of(1, 5);
    for at in middle..offset_of(2, 5) {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(path, &bad).unwrap();
            assert_refused(dir.path(), path, &format!("at byte {middle}: record 2"));
        }
    }
    fs::write(path, &good).unwrap();
    assert_eq!(reopen(dir.path()).unwrap(), (log(None, &THREE), 0));
}

#[test]
fn a_flipped_bit_in_a_header_is_refused() {
    let dir = written(TINY, &[vec![checkpoint("s", "state")], vec![record("s", "a")]]);
    for path in [segments(dir.path())[0].clone(), dir.path().join("s/checkpoint")] {
        let good = fs::read(&path).unwrap();
        for at in 0..HEADER_BYTES {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            assert_refused(dir.path(), &path, "at byte ");
        }
        for len in 0..HEADER_BYTES {
            fs::write(&path, &good[..len]).unwrap();
            assert_refused(dir.path(), &path, &format!("at byte {len}: "));
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(reopen(dir.path()).unwrap(), (log(Some("state"), &["a"]), 0));
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let dir = written(TINY, &[vec![checkpoint("s", "state")]]);
    let path = dir.path().join("s/checkpoint");
    let good = fs::read(&path).unwrap();
    for at in HEADER_BYTES..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_refused(dir.path(), &path, "does not match its checksum");
        fs::write(&path, &good[..at]).unwrap();
        assert_refused(dir.path(), &path, "does not match its checksum");
    }
}

#[test]
fn a_torn_record_in_a_segment_that_is_not_the_last_is_refused() {
    let dir = written(TINY, &THREE.map(|text| vec![record("s", text)]));
    let path = &segments(dir.path())[1];
    let good = fs::read(path).unwrap();
    for len in HEADER_BYTES + 1..good.len() {
        fs::write(path, &good[..len]).unwrap();
        assert_refused(dir.path(), path, &format!("at byte {HEADER_BYTES}: record 2"));
    }
    let longer = [&good[..], b"more"].concat();
    fs::write(path, longer).unwrap();
    assert_refused(dir.path(), path, "record 3 does not verify, and a later segment follows");
    // Cut exactly between two records it looks whole; only the numbers tell.
    fs::write(path, &good[..HEADER_BYTES]).unwrap();
    assert_refused(dir.path(), path, "record 2 is missing");
}

#[test]
fn a_missing_segment_is_refused() {
    for missing in [0, 1] {
        let dir = written(TINY, &THREE.map(|text| vec![record("s", text)]));
        fs::remove_file(&segments(dir.path())[missing]).unwrap();
        let error = reopen(dir.path()).unwrap_err();
        let text = format!("record {} is missing", missing + 1);
        assert!(error.reason.contains(&text), "{error}");
    }
}

#[test]
fn a_missing_checkpoint_is_refused_if_records_follow_it() {
    let commits = [vec![record("s", "a")], vec![checkpoint("s", "A")], vec![record("s", "b")]];
    let dir = written(TINY, &commits);
    let path = dir.path().join("s/checkpoint");
    fs::remove_file(&path).unwrap();
    assert_refused(dir.path(), &path, "record 1 is missing");
}

#[test]
fn another_format_is_refused_by_its_number() {
    let dir = written(TINY, &[vec![checkpoint("s", "state")], vec![record("s", "a")]]);
    for path in [segments(dir.path())[0].clone(), dir.path().join("s/checkpoint")] {
        let good = fs::read(&path).unwrap();
        for format in [1_u32, 3] {
            let mut other = good.clone();
            other[8..12].copy_from_slice(&format.to_le_bytes());
            fs::write(&path, &other).unwrap();
            assert_refused(dir.path(), &path, &format!("format {format} is unknown"));
        }
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn a_record_in_the_place_of_another_is_refused() {
    let dir = three();
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes.copy_within(offset_of(0, 5)..offset_of(1, 5), offset_of(1, 5));
    fs::write(path, &bytes).unwrap();
    let text = format!("at byte {}: record 2", offset_of(1, 5));
    assert_refused(dir.path(), path, &text);
}

#[test]
fn a_segment_of_another_stream_is_refused() {
    let dir = written(TINY, &[vec![record("s", "a"), record("t", "b")]]);
    let path = &segments(dir.path())[0];
    fs::copy(dir.path().join("t").join(path.file_name().unwrap()), path).unwrap();
    assert_refused(dir.path(), path, "does not match its checksum");
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let dir = written(TINY, &[vec![record("s", "a")], vec![record("s", "b")]]);
    let paths = segments(dir.path());
    fs::copy(&paths[0], &paths[1]).unwrap();
    assert_refused(dir.path(), &paths[1], "at byte 0: the header says that record 1");
}

#[test]
fn a_length_beyond_the_end_costs_no_memory_and_no_panic() {
    let dir = three();
    let path = &segments(dir.path())[0];
    let good = fs::read(path).unwrap();
    for len in [0x3fff_ffff_u32, 0x4000_0001, u32::MAX] {
        let mut bad = good.clone();
        let at = offset_of(1, 5) + 4;
        bad[at..at + 4].copy_from_slice(&len.to_le_bytes());
        fs::write(path, &bad).unwrap();
        assert_refused(dir.path(), path, "record 2 does not verify");
    }
}
