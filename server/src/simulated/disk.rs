//! The data directory of a simulated server, and the operator who puts back the wrong one.
//!
//! A simulated disk that forgets durable records stands for one of three mishaps: the log
//! alone was cut short, as a real disk would tell by `log.durable`; the whole directory was
//! emptied; or it was replaced by a copy from the end of an earlier life. Of the last two
//! nothing on the disk tells.
//!
//! They are only played where the server promises to survive them (`docs/server.md`): all
//! others have the last life of this server on their disks.
//!
//! A server that is refused gets its directory back as it was, which is the remedy that the
//! refusal names. It may be killed at any moment meanwhile, and start again with either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_core::Rng;
use seaworthy::node::{Context, Ticket as Written};
use seaworthy::raft::RaftId;
use seaworthy::storage::{Log, WriteData};
use serde::{Deserialize, Serialize};

use super::forest::Forest;
use super::places::Invitations;
use crate::node::Replaces;

/// The stream of everything.
pub(super) const STREAM: &str = "server";

/// A record of a simulated server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// The first record, in the place of a real server's `identity.json`.
    Incarnation(u64),
    /// A life begins: the node's record of it.
    Life(Vec<u8>),
    /// Any other record of the node.
    Node(Vec<u8>),
    /// The lives of members that the log has told of.
    Lives(BTreeMap<RaftId, u64>),
}

/// The contents of the data directory while its server runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Disk {
    /// The random number of the directory.
    pub(super) incarnation: u64,
    /// It is not the one that the server had last: promises made with it are forgotten if the
    /// server gets its own one back.
    #[serde(skip)]
    pub(super) is_doubtful: bool,
    /// The lives of members that were known last.
    pub(super) lives: BTreeMap<RaftId, u64>,
    /// The node's checkpoint.
    state: Option<Vec<u8>>,
    /// Records that a checkpoint was given along.
    records: Vec<Record>,
    /// Writes that are not durable yet.
    #[serde(skip)]
    waiting: VecDeque<(Written, WriteData)>,
}

impl Disk {
    /// Appends a record.
    pub(super) fn persist(&mut self, cx: &mut Context<'_>, record: Record) -> Written {
        let bytes = postcard::to_allocvec(&record).expect("plain data");
        let written = cx.scoped(0, STREAM).persist(bytes.clone());
        self.waiting.push_back((written, WriteData::Record(bytes)));
        if let Record::Lives(lives) = record {
            self.lives = lives;
        }
        written
    }

    /// Tells the ledger of records that have become durable.
    pub(super) fn durable(&mut self, written: Written, id: RaftId, ledger: &mut Ledger) {
        while let Some((_, data)) = self.waiting.pop_front_if(|(at, _)| *at <= written) {
            ledger.write(id, data);
        }
    }

    /// Whether everything that was written is durable.
    pub(super) fn is_flushed(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Marks this place.
    pub(super) fn mark(&mut self, cx: &mut Context<'_>) {
        let written = cx.scoped(0, STREAM).mark();
        self.waiting.push_back((written, WriteData::Mark));
    }

    /// Replaces everything, or everything before the mark, by a state of the node.
    pub(super) fn checkpoint(
        &mut self,
        cx: &mut Context<'_>,
        replaces: Replaces,
        state: Vec<u8>,
    ) -> Written {
        (self.state, self.records) = (Some(state), Vec::new());
        let written = self.write(cx, replaces);
        self.state = None;
        written
    }

    fn write(&mut self, cx: &mut Context<'_>, replaces: Replaces) -> Written {
        let bytes = postcard::to_allocvec(self).expect("plain data");
        let mut cx = cx.scoped(0, STREAM);
        let (written, data) = match replaces {
            Replaces::Everything => (cx.checkpoint(bytes.clone()), WriteData::Checkpoint(bytes)),
            Replaces::UpToMark => {
                (cx.checkpoint_at_mark(bytes.clone()), WriteData::CheckpointAtMark(bytes))
            }
        };
        self.waiting.push_back((written, data));
        written
    }
}

/// The lives of all servers of a run, as each knows them; for the operator's eyes alone.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The last life that each server began.
    begun: BTreeMap<RaftId, u64>,
    /// The random number of that life.
    nonces: BTreeMap<RaftId, u64>,
    /// The lives of the others that are on each server's disk.
    known: BTreeMap<RaftId, BTreeMap<RaftId, u64>>,
    /// Each server's own directory, as far as it is durable.
    directories: BTreeMap<RaftId, Log>,
    /// The directory that a server has in its place, until it is accepted with it.
    others: BTreeMap<RaftId, Log>,
    /// How many records of each server's log stand before its mark.
    marks: BTreeMap<RaftId, usize>,
    /// Servers whose own directory is being put back, and is not durable yet.
    restoring: BTreeSet<RaftId>,
    /// Which server runs on which node.
    pub(super) invitations: Invitations,
    /// The trees of those that have one.
    pub(super) forest: Forest,
}

impl Ledger {
    /// A server was added to the cluster: it is to begin with an empty directory.
    pub(super) fn invite(&mut self, id: RaftId, cluster: u64) {
        if self.invitations.invite(id, cluster) {
            self.restoring.insert(id);
        }
    }

    pub(super) fn begin(&mut self, id: RaftId, life: u64, nonce: u64) {
        self.begun.insert(id, life);
        self.nonces.insert(id, nonce);
    }

    fn write(&mut self, id: RaftId, data: WriteData) {
        if self.restoring.remove(&id) {
            self.others.remove(&id);
        }
        let log = match self.others.get_mut(&id) {
            Some(other) => other,
            None => self.directories.entry(id).or_default(),
        };
        match data {
            WriteData::Record(bytes) => log.records.push(bytes),
            WriteData::Checkpoint(bytes) => {
                (log.checkpoint, log.records) = (Some(bytes), Vec::new());
                self.marks.remove(&id);
            }
            WriteData::Mark => _ = self.marks.insert(id, log.records.len()),
            WriteData::CheckpointAtMark(bytes) => {
                let before = self.marks.remove(&id).expect("the mark was set before");
                log.records.drain(..before);
                log.checkpoint = Some(bytes);
            }
        }
    }

    /// A server was accepted with the directory that it has in the life of this number.
    pub(super) fn accept(&mut self, id: RaftId, nonce: u64) {
        if self.nonces.get(&id) == Some(&nonce)
            && let Some(other) = self.others.remove(&id)
        {
            self.directories.insert(id, other);
            self.forest.accept(id);
        }
    }

    pub(super) fn knows(&mut self, id: RaftId, lives: BTreeMap<RaftId, u64>) {
        self.known.insert(id, lives);
    }

    /// Whether all others of `count` servers know of the last life of this one. So there is one
    /// such mishap at a time: a server that had one knows nothing until it is accepted.
    /// With members that come and go that is not looked at: there are none then.
    fn is_known_everywhere(&self, id: RaftId, count: usize) -> bool {
        if self.invitations.is_any() {
            return false;
        }
        let last = self.begun.get(&id).copied().unwrap_or(0);
        let others = self.known.iter().filter(|(other, _)| **other != id);
        let knowing = others.filter(|(_, lives)| lives.get(&id).is_some_and(|life| *life >= last));
        knowing.count() + 1 == count
    }
}

/// Reads the stored log; the answer is the directory, and the log for the node.
pub(super) fn open(
    cx: &mut Context<'_>,
    log: Log,
    ledger: &mut Ledger,
    id: RaftId,
    count: usize,
) -> (Disk, Log) {
    ledger.marks.remove(&id);
    let is_whole = log.lost.is_none();
    let is_restoring = ledger.restoring.contains(&id);
    if is_restoring || (!is_whole && !ledger.is_known_everywhere(id, count)) {
        return reopen(cx, ledger, id);
    }
    let (mut disk, mut lost) = (Disk::read(&log), log.lost.clone());
    if !is_whole {
        let mishap = cx.rng().next_u64() % 3;
        if mishap != 0 {
            lost = None;
            if mishap == 1 || !disk.end_before_last_life() {
                disk = Disk::default();
            }
            disk.write(cx, Replaces::Everything);
        }
        // The knowledge that it told the others of may be among the lost records.
        ledger.known.remove(&id);
        ledger.others.insert(id, Log { lost: None, ..log });
    } else if let Some(other) = ledger.others.get_mut(&id) {
        *other = log;
    } else {
        ledger.directories.insert(id, log);
    }
    disk.is_doubtful = ledger.others.contains_key(&id);
    begin(cx, disk, ledger, id, is_whole, lost)
}

/// Puts back the directory of a server as it was last.
pub(super) fn reopen(cx: &mut Context<'_>, ledger: &mut Ledger, id: RaftId) -> (Disk, Log) {
    ledger.restoring.insert(id);
    ledger.marks.remove(&id);
    ledger.forest.put_back(id);
    let mut disk = Disk::read(&ledger.directories.get(&id).cloned().unwrap_or_default());
    disk.write(cx, Replaces::Everything);
    begin(cx, disk, ledger, id, true, None)
}

fn begin(
    cx: &mut Context<'_>,
    mut disk: Disk,
    ledger: &mut Ledger,
    id: RaftId,
    is_whole: bool,
    lost: Option<String>,
) -> (Disk, Log) {
    let mut records = Vec::new();
    for record in std::mem::take(&mut disk.records) {
        match record {
            Record::Incarnation(number) => disk.incarnation = number,
            Record::Life(bytes) | Record::Node(bytes) => records.push(bytes),
            Record::Lives(lives) => disk.lives = lives,
        }
    }
    if is_whole && !disk.is_doubtful {
        ledger.knows(id, disk.lives.clone());
    }
    if disk.incarnation == 0 {
        disk.incarnation = cx.rng().next_u64().max(1);
        disk.persist(cx, Record::Incarnation(disk.incarnation));
    }
    let log = Log { checkpoint: disk.state.take(), records, lost };
    (disk, log)
}

impl Disk {
    fn read(log: &Log) -> Disk {
        let read = "this program wrote it, and storage has checked it";
        let checkpoint = log.checkpoint.as_ref();
        let checkpoint = checkpoint.map(|bytes| postcard::from_bytes::<Disk>(bytes).expect(read));
        let mut disk = checkpoint.unwrap_or_default();
        let records = log.records.iter().map(|bytes| postcard::from_bytes(bytes).expect(read));
        disk.records.extend(records);
        disk
    }

    /// Becomes a copy from the end of an earlier life. False if there is none: a checkpoint
    /// holds no end of a life.
    fn end_before_last_life(&mut self) -> bool {
        let last = self.records.iter().rposition(|record| matches!(record, Record::Life(_)));
        self.records.truncate(last.unwrap_or(0));
        last.is_some()
    }
}
