//! Pieces that come and go: of two states, after a restart, on a full disk, of a state that is gone.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use seaworthy::raft::{Command, Config, HardState, LogId, Options, Raft, RaftId, Restored, Term};
use tempfile::TempDir;
use tokio::sync::mpsc::{Receiver as Queue, channel};

use super::*;
use crate::kv::Store;
use crate::node::{Member, offline};
use crate::states::States;

/// The length of a piece, in bytes.
const PIECE: usize = 16;

/// A disk that has a trouble of its own at each append, as long as there are any.
#[derive(Debug)]
struct Ailing {
    states: States,
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
    has_room: AtomicBool,
}

impl Beside for Ailing {
    fn create(&self, index: Index) -> Result<Box<dyn Sink>, Trouble> {
        self.states.create(index)
    }

    fn receive(&self, index: Index) -> Result<Box<dyn Sink>, Trouble> {
        let (sink, troubles) = (self.states.receive(index)?, self.troubles.clone());
        Ok(Box::new(AilingSink { sink, troubles }))
    }

    fn adopt(&self, index: Index) -> Result<(), StorageError> {
        self.states.adopt(index)
    }

    fn open(&self, index: Index) -> Result<Box<dyn Source>, StorageError> {
        self.states.open(index)
    }

    fn make_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    fn remove_older(&self, index: Index, unfinished: bool) {
        self.states.remove_older(index, unfinished);
    }
}

struct AilingSink {
    sink: Box<dyn Sink>,
    troubles: Arc<Mutex<VecDeque<Trouble>>>,
}

impl Sink for AilingSink {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        match self.troubles.lock().unwrap().pop_front() {
            Some(trouble) => Err(trouble),
            None => self.sink.append(bytes),
        }
    }

    fn finish(self: Box<Self>) -> Result<Written, Trouble> {
        self.sink.finish()
    }
}

struct Desk {
    dir: TempDir,
    disk: Arc<Ailing>,
    receiver: Receiver,
    /// The inputs that overtake those of the answer.
    queue: Queue<Arrival>,
}

fn ailing(dir: &TempDir) -> Arc<Ailing> {
    let (states, troubles) = (States::open(dir.path()).unwrap(), Arc::default());
    Arc::new(Ailing { states, troubles, has_room: AtomicBool::new(true) })
}

fn desk() -> Desk {
    let dir = TempDir::new().unwrap();
    let (disk, (node, queue)) = (ailing(&dir), channel(100));
    let receiver = Receiver { states: disk.clone(), trees: None, node, sink: None };
    Desk { dir, disk, receiver, queue }
}

/// A state up to the entry `index`, and its name.
fn state(index: u64) -> (SnapshotMeta, Vec<u8>) {
    let member = Member { name: format!("the member of {index}"), ..Member::default() };
    let at = LogId::new(Term(1), Index(index));
    let state = offline::found(Store::default(), BTreeMap::from([(RaftId(1), member)]), at).state;
    (SnapshotMeta::new(at, Arc::new(Config::of_voters([RaftId(1)])), &state), state)
}

fn pieces((meta, state): &(SnapshotMeta, Vec<u8>)) -> Vec<Received> {
    let piece = |(i, data): (usize, &[u8])| {
        let (offset, data) = ((i * PIECE) as u64, Command::from(data.to_vec()));
        Received { meta: meta.clone(), offset, data }
    };
    state.chunks(PIECE).enumerate().map(piece).collect()
}

impl Desk {
    /// Hands in pieces, and returns what the node is told of their end.
    fn take(&mut self, pieces: &[Received]) -> Vec<(Index, bool)> {
        let mut ends = Vec::new();
        for piece in pieces {
            for input in self.receiver.take(piece).unwrap() {
                match input {
                    Input::Arrived(meta, machine) => {
                        ends.push((meta.last.index, machine.is_some()))
                    }
                    Input::Stored(meta, upto) => {
                        assert_eq!((meta, upto), (piece.meta.clone(), piece.end()))
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        ends
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("states")).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn the_last_piece_is_told_before_the_state_is_decoded() {
    let (mut desk, seven) = (desk(), state(7));
    assert!(pieces(&seven).len() > 3);
    assert_eq!(desk.take(&pieces(&seven)), [(Index(7), true)]);
    let Ok(Arrival::Input(Input::Stored(_, upto))) = desk.queue.try_recv() else { panic!() };
    assert_eq!(upto, seven.0.len_bytes);
    assert_eq!(desk.names(), ["7.received"]);
}

#[test]
fn a_state_that_begins_takes_the_place_of_half_of_another() {
    let (mut desk, seven, nine) = (desk(), pieces(&state(7)), pieces(&state(9)));
    assert_eq!(desk.take(&seven[..2]), []);
    assert_eq!(desk.names(), ["7.received.tmp"]);
    assert_eq!(desk.take(&nine[..1]), []);
    assert_eq!(desk.names(), ["9.received.tmp"]);
    // From the beginning again, as after a damaged one.
    assert_eq!(desk.take(&nine), [(Index(9), true)]);
    assert_eq!(desk.names(), ["9.received"]);
}

#[test]
fn a_damaged_state_is_none() {
    let (mut desk, mut seven) = (desk(), state(7));
    *seven.1.last_mut().unwrap() ^= 1;
    assert_eq!(desk.take(&pieces(&seven)), [(Index(7), false)]);
    *seven.1.last_mut().unwrap() ^= 1;
    assert_eq!(desk.take(&pieces(&seven)), [(Index(7), true)]);
}

#[test]
fn a_full_disk_holds_pieces_up_and_spoils_none() {
    let (mut desk, seven) = (desk(), pieces(&state(7)));
    desk.disk.troubles.lock().unwrap().extend([Trouble::Full, Trouble::Full]);
    assert_eq!(desk.take(&seven[..1]), []);
    desk.disk.troubles.lock().unwrap().push_back(Trouble::Full);
    assert_eq!(desk.take(&seven[1..]), [(Index(7), true)]);
}

#[test]
fn a_state_that_a_full_disk_has_spoilt_is_begun_anew_without_its_other_pieces() {
    let (mut desk, seven) = (desk(), pieces(&state(7)));
    assert_eq!(desk.take(&seven[..1]), []);
    desk.disk.troubles.lock().unwrap().push_back(Trouble::Spoilt);
    // The pieces that were on their way already belong to the one that is spoilt.
    assert_eq!(desk.take(&seven[1..]), [(Index(7), false)]);
    assert_eq!(desk.names(), [""; 0]);
    assert_eq!(desk.take(&seven), [(Index(7), true)]);
}

#[test]
fn a_disk_without_hope_for_space_ends_the_server() {
    let (mut desk, seven) = (desk(), pieces(&state(7)));
    desk.disk.has_room.store(false, Ordering::Relaxed);
    desk.disk.troubles.lock().unwrap().push_back(Trouble::Full);
    let error = desk.receiver.take(&seven[0]).unwrap_err();
    assert!(error.to_string().contains("no space is left"), "{error}");
}

#[test]
fn a_piece_without_its_beginning_is_not_stored() {
    let (mut desk, seven) = (desk(), pieces(&state(7)));
    assert_eq!(desk.take(&seven[1..]), []);
    assert_eq!(desk.names(), [""; 0]);
}

/// The pieces that the leader of a compacted log wants sent to a server that has nothing.
fn wanted(meta: &SnapshotMeta) -> Vec<Piece> {
    let config = Arc::new(Config::of_voters([RaftId(1), RaftId(2)]));
    let restored = Restored {
        hard_state: HardState { term: meta.last.term, vote: None },
        snapshot: Some(SnapshotMeta { config: config.clone(), ..meta.clone() }),
        base: meta.last,
        base_config: Some(config.clone()),
        entries: Vec::new(),
    };
    let options = Options { snapshot_chunk_bytes: PIECE, ..Options::default() };
    let (config, other) = (Config::clone(&config), Restored::default());
    let mut servers = [(1, restored), (2, other)]
        .map(|(id, restored)| Raft::new(RaftId(id), config.clone(), id, options.clone(), restored));
    servers[0].campaign();
    for _ in 0..20 {
        for i in 0..2 {
            let ready = servers[i].ready();
            ready.persist.iter().for_each(|persist| servers[i].persisted(persist.id));
            if !ready.pieces.is_empty() {
                return ready.pieces;
            }
            for message in ready.messages.into_iter().chain(ready.messages_after) {
                servers[1 - i].step(message);
            }
        }
    }
    panic!("it sends no snapshot: {:?}", servers[0].status());
}

fn librarian(disk: &Arc<Ailing>) -> Librarian {
    Librarian { states: disk.clone(), node: channel(1).0, open: VecDeque::new() }
}

fn write_state(disk: &Ailing, (meta, state): &(SnapshotMeta, Vec<u8>)) {
    let mut sink = disk.create(meta.last.index).unwrap();
    sink.append(state).unwrap();
    assert_eq!(sink.finish().unwrap(), Written::of(meta));
}

fn is_sent(arrival: &Arrival) -> bool {
    match arrival {
        Arrival::Send(RaftId(2), ..) => true,
        Arrival::Input(Input::Lost(meta)) => {
            assert_eq!(meta.last.index, Index(7));
            false
        }
        _ => panic!("neither sent nor lost"),
    }
}

#[test]
fn a_transfer_goes_on_when_the_log_names_the_next_state_and_not_after_a_restart() {
    let (dir, seven) = (TempDir::new().unwrap(), state(7));
    let disk = ailing(&dir);
    write_state(&disk, &seven);
    let pieces = wanted(&seven.0);
    let mut before = librarian(&disk);
    assert!(is_sent(&before.read(pieces[0].clone())));
    write_state(&disk, &state(9));
    disk.remove_older(Index(9), false);
    assert!(is_sent(&before.read(pieces[1].clone())), "it was open");
    assert!(!is_sent(&librarian(&disk).read(pieces[1].clone())));
}

#[test]
fn a_torn_or_another_state_is_not_sent() {
    let (dir, seven) = (TempDir::new().unwrap(), state(7));
    let disk = ailing(&dir);
    let piece = wanted(&seven.0)[0].clone();
    let (_, another) = state(5);
    let meta = SnapshotMeta::new(seven.0.last, seven.0.config.clone(), &another);
    write_state(&disk, &(meta, another));
    assert!(!is_sent(&librarian(&disk).read(piece.clone())));
    write_state(&disk, &seven);
    assert!(is_sent(&librarian(&disk).read(piece.clone())));
    let file = dir.path().join("states/7");
    let len = std::fs::metadata(&file).unwrap().len();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(len - 1).unwrap();
    assert!(!is_sent(&librarian(&disk).read(piece.clone())));
    let mut opened = librarian(&disk);
    write_state(&disk, &seven);
    assert!(is_sent(&opened.read(piece.clone())));
    std::fs::File::options().write(true).open(&file).unwrap().set_len(40).unwrap();
    // It was whole when it was opened: the disk is not to be trusted.
    let Arrival::End(Ended::Disk(error)) = opened.read(piece) else { panic!("it was read") };
    assert!(error.to_string().contains("cannot read a state"), "{error}");
}
