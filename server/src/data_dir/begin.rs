//! The state that a log goes on from: in memory, or in a tree.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use seaworthy::raft::Index;
use seaworthy::storage::{Log, StorageError};

use crate::kv::Base;
use crate::node::{Before, Machine, Written, state_before};
use crate::space::Space;
use crate::states::{Beside, Source, States, read_machine};
use crate::trees::Trees;

/// A state in memory, and the last entry in it.
pub(crate) type Begun = (Index, Box<Machine>);

/// Reads the state that the checkpoint names, and removes all others.
#[cfg(feature = "postgres")]
pub(crate) fn state_of(log: &Log, states: &dyn Beside) -> anyhow::Result<Option<Begun>> {
    let before = before(log)?;
    let state = read_beside(before, states)?;
    keep_state(before, states)?;
    Ok(state)
}

/// Reads the state that the checkpoint names, and removes nothing.
#[cfg(feature = "postgres")]
pub(crate) fn look_in_database(log: &Log, states: &dyn Beside) -> anyhow::Result<Option<Begun>> {
    read_beside(before(log)?, states)
}

#[cfg(feature = "postgres")]
fn read_beside(before: Before, states: &dyn Beside) -> anyhow::Result<Option<Begun>> {
    read_state(before, states, &|_| {
        Err(anyhow!("the log goes on from a tree, and there can be none beside a database"))
    })
}

/// Reads the state that the checkpoint names, or a later one, which may be in a tree, and removes all others. The tree
/// that a checkpoint names is kept: no other copy of that state exists.
pub(super) fn state_in(
    path: &Path,
    incarnation: u64,
    log: &Log,
    states: &States,
) -> anyhow::Result<Option<Begun>> {
    let before = before(log)?;
    let state = read_at(before, path, incarnation, states)?;
    keep_state(before, states)?;
    if !matches!(before, Before::Tree(_)) {
        Trees::remove_all(path).map_err(|e| anyhow!("{e}"))?;
    }
    Ok(state)
}

/// Reads the state that the checkpoint names, or a later one, and removes nothing.
pub(super) fn look_at_state(
    path: &Path,
    incarnation: u64,
    log: &Log,
    states: &States,
) -> anyhow::Result<Option<Begun>> {
    read_at(before(log)?, path, incarnation, states)
}

fn read_at(
    before: Before,
    path: &Path,
    incarnation: u64,
    states: &States,
) -> anyhow::Result<Option<Begun>> {
    read_state(before, states, &|first| {
        tracing::info!("reading the state in the tree of {} into memory", path.display());
        Trees::read_out(path, incarnation, first).map_err(|e| anyhow!("{e}"))
    })
}

/// The tree that has the state which the checkpoint names, or a later one.
pub(super) fn tree_of(
    path: &Path,
    incarnation: u64,
    space: &Space,
    log: &Log,
    states: &States,
) -> anyhow::Result<(Arc<Trees>, Arc<dyn Base>)> {
    let before = before(log)?;
    let beside = || match before {
        Before::Beside(wanted) => source_of(wanted, states),
        _ => unreachable!("no other state is beside the log"),
    };
    let space = space.clone();
    let left = Box::new(move || space.left_bytes());
    let opened = Trees::open(path, incarnation, left, (before, &beside));
    let (trees, base) = opened.map_err(|e| anyhow!("{e}"))?;
    if let Err(e) = keep_state(before, states) {
        tracing::warn!("the tree has the state that is missing beside the log: {e}");
    }
    Ok((Arc::new(trees), base))
}

fn before(log: &Log) -> anyhow::Result<Before> {
    state_before(log).map_err(anyhow::Error::msg)
}

fn keep_state(before: Before, states: &dyn Beside) -> anyhow::Result<()> {
    // A group of two checkpoints puts the state of the second among the own ones, and may end, in a
    // crash, after the first.
    if let Before::Beside(written) = before {
        states.adopt(written.index).map_err(|e| anyhow!("{e}"))?;
    }
    states.remove_older(before.index(), true);
    Ok(())
}

fn read_state(
    before: Before,
    states: &dyn Beside,
    tree: &dyn Fn(Index) -> anyhow::Result<Begun>,
) -> anyhow::Result<Option<Begun>> {
    match before {
        Before::Nothing => Ok(None),
        Before::Tree(first) => tree(first).map(Some),
        Before::Beside(wanted) => {
            let state = source_of(wanted, states).and_then(|mut source| read_machine(&mut *source));
            Ok(Some((wanted.index, state.map_err(|e| anyhow!("{e}"))?)))
        }
    }
}

/// Finds the state that the checkpoint names.
fn source_of(wanted: Written, states: &dyn Beside) -> Result<Box<dyn Source>, StorageError> {
    let failed = |place: String, reason: String| StorageError { place, reason };
    let source = states
        .open(wanted.index)
        .map_err(|e| failed(e.place, format!("the log goes on from this state: {}", e.reason)))?;
    match source.written() == wanted {
        true => Ok(source),
        false => {
            let why = "the state is damaged: it is not the one that the log goes on from";
            Err(failed(source.place(), why.to_owned()))
        }
    }
}
