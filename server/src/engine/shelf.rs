//! The threads that write, send and receive states, so that the node's thread never waits for one.

#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use seaworthy::raft::{Index, Piece, Received, SnapshotMeta};
use seaworthy::storage::StorageError;
use tokio::sync::mpsc::Sender;

use super::Ended;
use super::handle::Arrival;
use crate::node::{Batch, Frozen, Input, Written, piece};
use crate::states::{Beside, Sink, Source, Trouble, read_machine};
use crate::trees::Trees;

/// How many states are held open for servers that are in the middle of them.
const MAX_OPEN: usize = 4;
/// A state of which no piece was asked for this long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// The ways to the threads of one engine.
pub(super) struct Shelf {
    states: Arc<dyn Beside>,
    node: Sender<Arrival>,
    pieces: mpsc::Sender<Piece>,
    received: mpsc::Sender<Received>,
    batches: Option<mpsc::Sender<Box<Batch>>>,
}

impl Shelf {
    /// Starts the threads. They end when this is dropped.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub(super) fn start(
        states: Arc<dyn Beside>,
        trees: Option<Arc<Trees>>,
        node: Sender<Arrival>,
    ) -> std::io::Result<Shelf> {
        let (pieces, wanted) = mpsc::channel();
        let (received, came) = mpsc::channel();
        let open = VecDeque::new();
        let librarian = Librarian { states: states.clone(), node: node.clone(), open };
        let receiver = Receiver {
            states: states.clone(),
            trees: trees.clone(),
            node: node.clone(),
            sink: None,
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        thread("states-out").spawn(move || librarian.run(&wanted))?;
        thread("states-in").spawn(move || receiver.run(&came))?;
        let batches = match trees {
            None => None,
            Some(trees) => {
                let (batches, came) = mpsc::channel();
                let node = node.clone();
                thread("tree").spawn(move || write_batches(&trees, &node, &came))?;
                Some(batches)
            }
        };
        Ok(Shelf { states, node, pieces, received, batches })
    }

    /// Writes a state, in a thread of its own: to let it go can take as long as encoding it.
    pub(super) fn write(&self, frozen: Box<Frozen>) {
        let (states, node) = (self.states.clone(), self.node.clone());
        std::thread::spawn(move || {
            let arrival = match write(*frozen, &*states) {
                Ok(written) => Arrival::Input(Input::Written(written)),
                Err(Trouble::Full | Trouble::Spoilt) => Arrival::Input(Input::Unwritten),
                Err(Trouble::Failed(error)) => Arrival::End(Ended::Disk(error)),
            };
            let _ = node.blocking_send(arrival);
        });
    }

    /// Reads a piece, and has it sent.
    pub(super) fn send(&self, piece: Piece) {
        let _ = self.pieces.send(piece);
    }

    /// Writes a batch to its tree.
    pub(super) fn batch(&self, batch: Box<Batch>) {
        let batches = self.batches.as_ref().expect("a server without a tree has no batches");
        let _ = batches.send(batch);
    }

    /// Stores a piece.
    pub(super) fn receive(&self, received: Received) {
        let _ = self.received.send(received);
    }
}

fn write_batches(trees: &Trees, node: &Sender<Arrival>, batches: &mpsc::Receiver<Box<Batch>>) {
    while let Ok(batch) = batches.recv() {
        let arrival = match trees.write(&batch) {
            Ok(base) => Arrival::Input(Input::Based(base)),
            Err(error) => Arrival::End(Ended::Disk(error)),
        };
        if node.blocking_send(arrival).is_err() {
            return;
        }
    }
}

fn write(frozen: Frozen, states: &dyn Beside) -> Result<Written, Trouble> {
    let mut sink = states.create(frozen.index())?;
    let mut trouble = None;
    frozen.encode(&mut |bytes| {
        trouble = sink.append(bytes).err();
        trouble.is_none()
    });
    match trouble {
        Some(trouble) => Err(trouble),
        None => sink.finish(),
    }
}

/// Reads pieces of states.
struct Librarian {
    states: Arc<dyn Beside>,
    node: Sender<Arrival>,
    /// The states that were read last, the latest first. A file that is removed can still be read.
    open: VecDeque<Box<dyn Source>>,
}

impl Librarian {
    fn run(mut self, wanted: &mpsc::Receiver<Piece>) {
        loop {
            let arrival = match wanted.recv_timeout(IDLE) {
                Ok(wanted) => self.read(wanted),
                Err(RecvTimeoutError::Timeout) => {
                    self.open.clear();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.node.blocking_send(arrival).is_err() {
                return;
            }
        }
    }

    fn read(&mut self, wanted: Piece) -> Arrival {
        let source = match self.source(&wanted.meta) {
            Ok(source) => source,
            Err(why) => {
                tracing::warn!("{why}");
                return Arrival::Input(Input::Lost(wanted.meta));
            }
        };
        let len = usize::try_from(wanted.len_bytes).unwrap_or(usize::MAX);
        match source.read_at(wanted.offset, len) {
            Ok(data) => {
                let (to, class, bytes) = piece(wanted, data);
                Arrival::Send(to, class, bytes)
            }
            Err(e) => {
                let (place, reason) = (source.place(), format!("cannot read a state: {e}"));
                Arrival::End(Ended::Disk(StorageError { place, reason }))
            }
        }
    }

    fn source(&mut self, meta: &SnapshotMeta) -> Result<&mut Box<dyn Source>, String> {
        let wanted = Written::of(meta);
        let found = match self.open.iter().position(|source| source.written() == wanted) {
            Some(at) => self.open.remove(at),
            None => {
                let source = self.states.open(wanted.index).map_err(|e| e.to_string())?;
                let is_it = source.written() == wanted;
                Some(source).filter(|_| is_it)
            }
        };
        let source = found.ok_or_else(|| format!("state {} is another one now", wanted.index))?;
        self.open.push_front(source);
        self.open.truncate(MAX_OPEN);
        Ok(&mut self.open[0])
    }
}

/// Stores pieces of a state.
struct Receiver {
    states: Arc<dyn Beside>,
    /// Where a state is read to, if not into memory.
    trees: Option<Arc<Trees>>,
    node: Sender<Arrival>,
    /// None before the first piece, and after a state was spoilt.
    sink: Option<Box<dyn Sink>>,
}

impl Receiver {
    fn run(mut self, came: &mpsc::Receiver<Received>) {
        while let Ok(received) = came.recv() {
            let arrivals = match self.take(&received) {
                Ok(inputs) => inputs.into_iter().map(Arrival::Input).collect(),
                Err(error) => vec![Arrival::End(Ended::Disk(error))],
            };
            for arrival in arrivals {
                if self.node.blocking_send(arrival).is_err() {
                    return;
                }
            }
        }
    }

    /// Stores a piece. Waits as long as the disk is full.
    fn take(&mut self, received: &Received) -> Result<Vec<Input>, StorageError> {
        let index = received.meta.last.index;
        loop {
            match self.try_take(received) {
                Ok(inputs) => return Ok(inputs),
                Err(Trouble::Failed(error)) => return Err(error),
                Err(_) if !self.states.make_room() => return Err(no_space(index)),
                Err(Trouble::Full) => {}
                Err(Trouble::Spoilt) => {
                    self.sink = None;
                    return Ok(vec![Input::Arrived(received.meta.clone(), None)]);
                }
            }
        }
    }

    fn try_take(&mut self, received: &Received) -> Result<Vec<Input>, Trouble> {
        let Received { meta, offset, data } = received;
        if *offset == 0 {
            // The other's file goes before this one is made.
            self.sink = None;
            self.sink = Some(self.states.receive(meta.last.index)?);
        }
        let Some(sink) = &mut self.sink else { return Ok(Vec::new()) };
        sink.append(data.as_bytes())?;
        let stored = Input::Stored(meta.clone(), received.end());
        let Some(sink) = self.sink.take_if(|_| received.is_last()) else { return Ok(vec![stored]) };
        // Before it is looked at, which takes long.
        let _ = self.node.blocking_send(Arrival::Input(stored));
        if sink.finish()? != Written::of(meta) {
            tracing::warn!("a state from another server came damaged, and is fetched again");
            return Ok(vec![Input::Arrived(meta.clone(), None)]);
        }
        let source = self.states.open(meta.last.index);
        let machine = source.and_then(|mut source| match &self.trees {
            None => read_machine(&mut *source),
            Some(trees) => trees.read(&mut *source, meta.last.index),
        });
        Ok(vec![Input::Arrived(meta.clone(), Some(machine.map_err(Trouble::Failed)?))])
    }
}

fn no_space(index: Index) -> StorageError {
    let reason = "no space is left for a state from another server".to_owned();
    StorageError { place: format!("state {index}"), reason }
}

#[cfg(test)]
mod tests;
