//! The content of a replica: the state, its deltas, and the records to be written about
//! them.

use super::lattice::Lattice;
use super::log::{DeltaLog, Runs};
use super::record::{Record, Snapshot};
use super::version::{Author, Versions};

/// State, log and records of one node.
#[derive(Clone, Debug)]
pub(super) struct Store<L> {
    author: Author,
    state: L,
    /// Local deltas that were never sent, joined. They become one delta when the
    /// next message leaves.
    open: Option<L>,
    log: DeltaLog<L>,
    records: Vec<Record<L>>,
}

/// The effect of deltas from another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Learned {
    /// Some were new.
    pub(super) news: bool,
    /// Some could not be used, because earlier ones are missing.
    pub(super) gap: bool,
}

impl<L: Lattice> Store<L> {
    pub(super) fn new(author: Author, keep_deltas: usize) -> Store<L> {
        let log = DeltaLog::new(keep_deltas);
        Store { author, state: L::default(), open: None, log, records: Vec::new() }
    }

    pub(super) fn restore(&mut self, snapshot: Snapshot<L>) {
        self.state.merge(&snapshot.state);
        self.log.jump(&snapshot.versions);
        self.open = snapshot.open;
    }

    pub(super) fn replay(&mut self, record: Record<L>) {
        match record {
            Record::Local(delta) => self.join(delta),
            Record::Numbered(author) => {
                if let Some(delta) = self.open.take() {
                    self.log.push(author, delta);
                }
            }
            Record::Learned(runs) => {
                self.adopt(runs);
            }
            Record::State(state, versions) => {
                self.state.merge(&state);
                self.log.jump(&versions);
            }
        }
    }

    pub(super) fn state(&self) -> &L {
        &self.state
    }

    pub(super) fn versions(&self) -> &Versions {
        self.log.versions()
    }

    pub(super) fn log(&self) -> &DeltaLog<L> {
        &self.log
    }

    /// Whether there are local deltas that were never sent.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn snapshot(&self) -> Snapshot<L> {
        let (state, open) = (self.state.clone(), self.open.clone());
        Snapshot { state, versions: self.versions().clone(), open }
    }

    /// Takes the records since the last call.
    pub(super) fn take_records(&mut self) -> Vec<Record<L>> {
        std::mem::take(&mut self.records)
    }

    /// Adds a delta of this node's own.
    pub(super) fn local(&mut self, delta: L) {
        self.records.push(Record::Local(delta.clone()));
        self.join(delta);
    }

    /// Makes everything local that was never sent the next delta of this node.
    /// Returns whether there was anything.
    pub(super) fn number(&mut self) -> bool {
        let Some(delta) = self.open.take() else { return false };
        self.records.push(Record::Numbered(self.author));
        self.log.push(self.author, delta);
        true
    }

    /// Takes in the new ones of another node's deltas.
    pub(super) fn learn(&mut self, mut runs: Runs<L>) -> Learned {
        // No other node can know more of this incarnation's deltas.
        runs.remove(&self.author);
        let gap = runs.iter().any(|(author, run)| run.0 > self.versions().get(*author));
        let learned = self.adopt(runs);
        let news = !learned.is_empty();
        if news {
            self.records.push(Record::Learned(learned));
        }
        Learned { news, gap }
    }

    /// Takes in the whole state of a node that knows `versions`.
    pub(super) fn learn_state(&mut self, state: L, versions: &Versions) -> bool {
        let mut versions = versions.clone();
        versions.forget(self.author);
        if self.versions().covers(&versions) {
            return false;
        }
        self.state.merge(&state);
        self.log.jump(&versions);
        self.records.push(Record::State(state, versions));
        true
    }

    fn join(&mut self, delta: L) {
        self.state.merge(&delta);
        match &mut self.open {
            Some(open) => open.merge(&delta),
            None => self.open = Some(delta),
        }
    }

    /// Adds the runs that continue the log without a gap, and returns them.
    fn adopt(&mut self, runs: Runs<L>) -> Runs<L> {
        let mut adopted = Runs::new();
        for (author, mut run) in runs {
            let have = self.versions().get(author);
            if run.0 > have || run.last() <= have {
                continue;
            }
            let old = usize::try_from(have - run.0).expect("less than the length of the run");
            run.1.drain(..old);
            run.0 = have;
            for delta in &run.1 {
                self.state.merge(delta);
                self.log.push(author, delta.clone());
            }
            adopted.insert(author, run);
        }
        adopted
    }
}
