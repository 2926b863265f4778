//! The state that a log goes on from: in memory, or in a tree.

use std::path::Path;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use seaworthy::raft::Index;
use seaworthy::storage::Log;

use crate::kv::Base;
use crate::node::{Machine, state_before};
use crate::space::Space;
use crate::states::{Beside, Source, States, read_machine};
use crate::trees::Trees;

/// Reads the state that the checkpoint names, and removes all others.
pub(crate) fn state_of(log: &Log, states: &dyn Beside) -> anyhow::Result<Option<Box<Machine>>> {
    let (index, state) = read_state(log, states)?;
    keep_state(index, states)?;
    Ok(state)
}

/// The tree with that state, or a later one.
pub(super) fn tree_of(
    path: &Path,
    incarnation: u64,
    space: &Space,
    log: &Log,
    states: &States,
) -> anyhow::Result<(Arc<Trees>, Arc<dyn Base>)> {
    let (index, source) = source_of(log, states)?;
    keep_state(index, states)?;
    let space = space.clone();
    let left = Box::new(move || space.left_bytes());
    let opened = Trees::open(path, incarnation, left, (index, source));
    let (trees, base) = opened.map_err(|e| anyhow!("{e}"))?;
    Ok((Arc::new(trees), base))
}

fn keep_state(index: Index, states: &dyn Beside) -> anyhow::Result<()> {
    // A group of two checkpoints puts the state of the second among the own ones, and may end, in a
    // crash, after the first.
    if index > Index::ZERO {
        states.adopt(index).map_err(|e| anyhow!("{e}"))?;
    }
    states.remove_older(index, true);
    Ok(())
}

/// Reads the state that the checkpoint names, and the last entry in it; changes nothing on disk.
pub(crate) fn read_state(
    log: &Log,
    states: &dyn Beside,
) -> anyhow::Result<(Index, Option<Box<Machine>>)> {
    let (index, source) = source_of(log, states)?;
    let state = source.map(|mut source| read_machine(&mut *source)).transpose();
    Ok((index, state.map_err(|e| anyhow!("{e}"))?))
}

/// Finds the state that the checkpoint names, and the last entry in it.
fn source_of(log: &Log, states: &dyn Beside) -> anyhow::Result<(Index, Option<Box<dyn Source>>)> {
    let Some(tail) = &log.checkpoint else { return Ok((Index::ZERO, None)) };
    let Some(wanted) = state_before(tail).map_err(|e| anyhow!("{e}"))? else {
        return Ok((Index::ZERO, None));
    };
    let source = states.open(wanted.index);
    let source = source.map_err(|e| anyhow!("the log goes on from this state: {e}"))?;
    if source.written() != wanted {
        bail!("the state is damaged: {} is not the one that the log goes on from", source.place());
    }
    Ok((wanted.index, Some(source)))
}
