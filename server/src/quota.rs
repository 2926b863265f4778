//! The quota of the store: an alarm when it is reached, and its end when there is space again.
//!
//! Every server compares a request that takes space with the size of its own store. The one that
//! finds the quota exceeded raises the alarm NOSPACE, through the log, so all refuse from
//! then on (`crate::kv`). The leader lifts it when its store is smaller than the quota again, by a
//! margin. Nothing has to be defragmented or disarmed for that.

// Waiting is a shell's business.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use crate::engine::Handle;
use crate::kv::{Command, Store};
use crate::node::{Reply, Request};
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;

/// How often the leader looks whether an alarm can be lifted.
const TURN: Duration = Duration::from_secs(1);
/// The part of the quota that must be free, so that an alarm that was lifted stays so for a while.
const MARGIN: u64 = 20;

/// The most bytes of the store, as [`Store::size_bytes`] counts them; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota(pub Option<u64>);

impl Quota {
    /// Whether a store of this size may not grow by `more` bytes.
    pub fn is_exceeded(self, size: u64, more: usize) -> bool {
        self.0.is_some_and(|quota| size + more as u64 > quota)
    }

    fn has_room(self, size: u64) -> bool {
        self.0.is_none_or(|quota| size <= quota - quota / MARGIN)
    }
}

/// The command that raises or lifts an alarm of a member.
pub fn alarm(action: AlarmAction, member_id: u64, kind: pb::AlarmType) -> Command {
    let (action, alarm) = (action as i32, kind as i32);
    Command::Alarm(pb::AlarmRequest { action, member_id, alarm })
}

/// Lifts the alarms that are over, for ever.
pub async fn run(node: Handle, quota: Quota) {
    loop {
        tokio::time::sleep(TURN).await;
        let Reply::View(view) = node.ask(Request::Inspect).await else { continue };
        if view.status.leader != Some(view.status.id) {
            continue;
        }
        for member in over(&view.store, quota) {
            let mut bytes = Vec::new();
            alarm(AlarmAction::Deactivate, member, pb::AlarmType::Nospace).encode(&mut bytes);
            if let Reply::Done(..) = node.ask(Request::Write(bytes)).await {
                let mib = view.store.size_bytes() >> 20;
                tracing::info!(
                    "the store has {mib} MiB, less than its quota: puts are taken again"
                );
            }
        }
    }
}

/// The members whose alarms of lacking space can be lifted.
fn over(store: &Store, quota: Quota) -> Vec<u64> {
    let full = store.alarms().filter(|(_, kind)| *kind == pb::AlarmType::Nospace);
    full.filter(|_| quota.has_room(store.size_bytes())).map(|(member, _)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Error;

    fn put(value: usize) -> Command {
        let (key, value) = ("k".into(), vec![b'x'; value].into());
        Command::Put(pb::PutRequest { key, value, ..Default::default() })
    }

    #[test]
    fn an_alarm_stops_what_takes_space_until_there_is_some() {
        let (mut store, quota) = (Store::default(), Quota(Some(10_000)));
        store.apply(&put(9_500)).unwrap();
        assert!(quota.is_exceeded(store.size_bytes(), 1000));
        let raise = alarm(AlarmAction::Activate, 7, pb::AlarmType::Nospace);
        store.apply(&raise).unwrap();
        assert_eq!(store.apply(&put(1)).unwrap_err(), Error::NoSpace);
        assert!(over(&store, quota).is_empty());
        let mut bytes = Vec::new();
        store.encode(&mut bytes);
        let mut store = Store::decode(&bytes).unwrap();
        assert_eq!(store.alarms().collect::<Vec<_>>(), [(7, pb::AlarmType::Nospace)]);
        let delete = pb::DeleteRangeRequest { key: "k".into(), ..Default::default() };
        store.apply(&Command::DeleteRange(delete)).unwrap();
        let compact = pb::CompactionRequest { revision: store.revision(), physical: false };
        store.apply(&Command::Compact(compact)).unwrap();
        assert_eq!(over(&store, quota), [7]);
        store.apply(&alarm(AlarmAction::Deactivate, 7, pb::AlarmType::Nospace)).unwrap();
        store.apply(&put(1)).unwrap();
    }
}
