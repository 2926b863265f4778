//! The bug that can be planted in polls (see [`seaworthy::planted`]).

use seaworthy::planted::{Mutant, is};
use seaworthy::shell::raft::{Replica, StateMachine};

use super::logs::Logs;

/// The logs that are shown in the place of the committed ones: as they will be if
/// everything that this node holds is committed.
pub(super) fn uncommitted(replica: &Replica<Logs>) -> Option<Logs> {
    if !is(Mutant::PollUncommitted) {
        return None;
    }
    let mut logs = Logs::new(None);
    let copied = logs.restore(&replica.machine().snapshot());
    copied.expect("the snapshot was taken a moment ago");
    replica.unapplied().for_each(|command| drop(logs.apply(&command)));
    Some(logs)
}
