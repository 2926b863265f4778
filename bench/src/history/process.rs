//! Which process an operation belongs to, where the history does not say.

use std::collections::BTreeSet;

use super::words::shortened;
use super::{Op, OpType, Process};
use crate::edn::Edn;

/// The process that a value names.
pub(super) fn process(value: &Edn) -> Result<Process, String> {
    let id = match value {
        // Programs that know only one kind of number.
        Edn::Float(id) if id.fract() == 0.0 => Some(*id as i64),
        Edn::Str(digits) => digits.parse().ok(),
        other => other.as_int(),
    };
    if let Some(id) = id.and_then(|id| u64::try_from(id).ok()) {
        return Ok(Process::Client(id));
    }
    match value.as_text().map(|name| name.strip_prefix(':').unwrap_or(name)) {
        Some("nemesis") => Ok(Process::Nemesis),
        _ => Err(format!(":process is {}, neither a number nor :nemesis", shortened(value))),
    }
}

/// Whether the operations of the clients so far name their processes: all of them do, or
/// none does.
#[derive(Default)]
pub(super) struct Processes {
    named: bool,
    unnamed: bool,
}

impl Processes {
    /// The process of the next operation; one that is not named gets its own later.
    pub(super) fn of(&mut self, named: Option<Process>) -> Result<Process, String> {
        match named {
            Some(Process::Nemesis) => return Ok(Process::Nemesis),
            Some(Process::Client(id)) if self.unnamed => {
                return Err(format!(":process {id}, although earlier operations have none"));
            }
            Some(Process::Client(_)) => self.named = true,
            None if self.named => return Err("no :process".to_owned()),
            None => self.unnamed = true,
        }
        Ok(named.unwrap_or(Process::Client(0)))
    }

    /// Whether the clients of the operations so far are named.
    pub(super) fn are_named(&self) -> bool {
        !self.unnamed
    }

    /// Gives processes to operations that name none: a completion belongs to the open
    /// invocation that it fits.
    ///
    /// # Errors
    /// The position of a completion that fits no open invocation, or more than one: to
    /// choose one of them would be to choose the verdict.
    pub(super) fn assign(&self, ops: &mut [Op]) -> Result<(), (usize, String)> {
        if !self.unnamed {
            return Ok(());
        }
        let mut open: Vec<(usize, u64)> = Vec::new();
        let (mut free, mut count) = (BTreeSet::new(), 0);
        for index in 0..ops.len() {
            if ops[index].process == Process::Nemesis {
                continue;
            }
            let id = if ops[index].kind == OpType::Invoke {
                let id = free.pop_first().unwrap_or(count);
                count = count.max(id + 1);
                open.push((index, id));
                id
            } else {
                let slot = completed(&open, ops, index)?;
                let (_, id) = open.remove(slot);
                // An indeterminate operation may still take effect, so its process is not used again.
                if ops[index].kind != OpType::Info {
                    free.insert(id);
                }
                id
            };
            ops[index].process = Process::Client(id);
        }
        Ok(())
    }
}

/// Which of the open invocations this completion completes.
fn completed(open: &[(usize, u64)], ops: &[Op], index: usize) -> Result<usize, (usize, String)> {
    let op = &ops[index];
    let fits = |&(_, (invoked, _)): &(usize, &(usize, u64))| {
        ops[*invoked].f == op.f && (op.value.is_nil() || is_answer(&ops[*invoked].value, &op.value))
    };
    let mut candidates = open.iter().enumerate().filter(fits);
    match (candidates.next(), candidates.next()) {
        (Some((slot, _)), None) => Ok(slot),
        (None, _) => Err((index, format!("no :process, and no :{} is open that it fits", op.f))),
        (Some((_, (a, _))), Some((_, (b, _)))) => {
            Err((index, format!("no :process, and operations {a} and {b} are open that it fits")))
        }
    }
}

/// Whether a completion with the value `answer` can be of an invocation with `asked`:
/// each nil is filled in, and the rest is repeated.
fn is_answer(asked: &Edn, answer: &Edn) -> bool {
    if asked.is_nil() || asked == answer {
        return true;
    }
    match (asked.as_seq(), answer.as_seq()) {
        (Some(asked), Some(answer)) => {
            asked.len() <= answer.len() && asked.iter().zip(answer).all(|(a, b)| is_answer(a, b))
        }
        // A message that was sent comes back with its offset.
        (None, Some([.., last])) => last == asked,
        _ => false,
    }
}
