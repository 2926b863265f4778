//! An owned directory notices whose it is, and that something durable is gone.

use super::*;
use crate::storage::file::witness::Owner;

struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { root: scratch() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("n0")
    }

    fn owner(&self, node: &str, fresh: u64) -> Owner {
        Owner { node: node.into(), fresh, beside: self.root.path().join(format!("{node}.durable")) }
    }

    fn open(&self) -> Result<(FileStorage, Recovered), StorageError> {
        FileStorage::open_owned(self.dir(), &self.owner("n0", 7))
    }

    /// The content of stream "s", and why that is not everything.
    fn read(&self) -> (Vec<Vec<u8>>, Option<String>) {
        let log = self.open().unwrap().1.take("s");
        (log.records, log.lost)
    }

    /// Three commits, in a directory of its own.
    fn written() -> Place {
        let place = Place::new();
        let (mut storage, recovered) = place.open().unwrap();
        assert_eq!(recovered, Recovered::default());
        for text in ["first", "again", "third"] {
            block_on(storage.commit(vec![record("s", text)])).unwrap();
        }
        drop(storage);
        assert_eq!(place.read().1, None, "an intact directory is not accused");
        place
    }

    fn segment(&self) -> PathBuf {
        segments(&self.dir())[0].clone()
    }
}

#[test]
fn a_commit_costs_no_further_flush() {
    let place = Place::written();
    let mut storage = place.open().unwrap().0;
    storage.journal();
    block_on(storage.commit(vec![record("s", "a")])).unwrap();
    let name = place.segment().file_name().unwrap().display().to_string();
    let log = [format!("write {name}"), format!("flush {name}")];
    let copies = ["write n0.durable".to_owned(), "write durable".to_owned()];
    assert_eq!(storage.journal(), [log, copies].concat());
}

#[test]
fn a_tail_that_is_cut_anywhere_is_missed() {
    let place = Place::written();
    let whole = fs::read(place.segment()).unwrap();
    let (inside, beside) = (place.dir().join("durable"), place.owner("n0", 0).beside);
    let copies = (fs::read(&inside).unwrap(), fs::read(&beside).unwrap());
    let path = place.segment();
    for len in HEADER_BYTES..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        fs::write(&inside, &copies.0).unwrap();
        fs::write(&beside, &copies.1).unwrap();
        let (records, lost) = place.read();
        let lost = lost.unwrap_or_else(|| panic!("cut to {len} bytes"));
        assert!(lost.contains(&format!("records {} to 3", records.len() + 1)), "{lost}");
        assert!(place.read().1.is_some(), "it is told until something is written");
    }
    let (mut storage, _) = place.open().unwrap();
    block_on(storage.commit(vec![record("s", "noted")])).unwrap();
    drop(storage);
    assert_eq!(place.read().1, None, "the writer has been told");
}

#[test]
fn a_deleted_segment_stream_or_directory_is_missed() {
    let place = Place::written();
    fs::remove_file(place.segment()).unwrap();
    assert!(place.read().1.is_some());
    fs::remove_dir_all(place.dir().join("s")).unwrap();
    assert!(place.read().1.is_some());
    fs::remove_dir_all(place.dir()).unwrap();
    let (records, lost) = place.read();
    assert!(records.is_empty() && lost.is_some());
    // If both are removed, the node is a new one.
    fs::remove_dir_all(place.dir()).unwrap();
    fs::remove_file(place.owner("n0", 0).beside).unwrap();
    assert_eq!(place.read().1, None);
}

#[test]
fn a_checkpoint_that_is_gone_or_older_is_missed() {
    let place = Place::new();
    let (mut storage, _) = place.open().unwrap();
    block_on(storage.commit(vec![checkpoint("s", "A")])).unwrap();
    let path = place.dir().join("s/checkpoint");
    let older = fs::read(&path).unwrap();
    block_on(storage.commit(vec![checkpoint("s", "B")])).unwrap();
    drop(storage);
    fs::write(&path, older).unwrap();
    assert!(place.read().1.is_some());
    fs::remove_file(&path).unwrap();
    assert!(place.read().1.is_some());
}

#[test]
fn an_older_copy_and_one_of_another_cluster_are_noticed() {
    let place = Place::written();
    let older: Vec<_> = contents(&place.dir());
    let (mut storage, _) = place.open().unwrap();
    block_on(storage.commit(vec![record("s", "later")])).unwrap();
    drop(storage);
    older.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    assert!(place.read().1.unwrap().contains("records 4 to 4"));

    let place = Place::written();
    let other = Place::new();
    let (mut storage, _) = FileStorage::open_owned(other.dir(), &other.owner("n0", 8)).unwrap();
    let many = (0..9).map(|_| record("s", "other")).collect();
    block_on(storage.commit(many)).unwrap();
    drop(storage);
    fs::remove_dir_all(place.dir()).unwrap();
    for (path, bytes) in contents(&other.dir()) {
        let to = place.dir().join(path.strip_prefix(other.dir()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    assert!(place.read().1.unwrap().contains("was put in the place of"));
    assert!(place.read().1.is_some(), "it is told until something is written");
}

#[test]
fn the_directory_of_another_node_is_refused() {
    let place = Place::written();
    let owner = place.owner("n2", 9);
    let before = contents(&place.dir());
    let error = FileStorage::open_owned(place.dir(), &owner).map(|_| ()).unwrap_err();
    for name in ["node n0", "node n2", "remove"] {
        assert!(error.reason.contains(name), "{error}");
    }
    assert_eq!(contents(&place.dir()), before);
}

#[test]
fn either_copy_is_enough_and_one_slot_may_be_torn() {
    let place = Place::written();
    for copy in [place.dir().join("durable"), place.owner("n0", 0).beside] {
        fs::remove_file(&copy).unwrap();
        assert_eq!(place.read().1, None);
        assert!(copy.exists(), "it is made anew");
        for at in [10, 4096 + 10] {
            let mut bytes = fs::read(&copy).unwrap();
            bytes[at] ^= 1;
            fs::write(&copy, bytes).unwrap();
            assert_eq!(place.read().1, None);
        }
    }
    for copy in [place.dir().join("durable"), place.owner("n0", 0).beside] {
        fs::write(&copy, "nonsense").unwrap();
    }
    assert!(place.read().1.is_some(), "nothing vouches for it");
}

#[test]
fn a_record_that_was_perhaps_never_flushed_is_written_anew() {
    let place = Place::written();
    let inside = place.dir().join("durable");
    let copies: Vec<_> = [inside, place.owner("n0", 0).beside]
        .into_iter()
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    // A record that follows, and whose successful flush was not noted.
    let (mut storage, _) = place.open().unwrap();
    block_on(storage.commit(vec![record("s", "doubt")])).unwrap();
    drop(storage);
    copies.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    let (mut storage, mut recovered) = place.open().unwrap();
    let name = place.segment().file_name().unwrap().display().to_string();
    let journal = storage.journal();
    assert!(journal.contains(&format!("rename to {name}")), "{journal:?}");
    assert_eq!(recovered.take("s").records.len(), 4);
    drop(storage);
    let journal = place.open().unwrap().0.journal();
    assert!(!journal.contains(&format!("rename to {name}")), "once is enough: {journal:?}");
}
