//! Alarms: troubles that a server has told the cluster, until they are put right.
//!
//! While one of them says that there is no space, nothing that takes space is carried out, on any
//! server; deletions and compactions are. Who raises and lifts alarms is not the store's
//! business (`crate::quota`).

use super::command::Command;
use super::error::Error;
use super::store::Store;
use super::write::header;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;

impl Store {
    /// The active alarms: member and kind.
    pub fn alarms(&self) -> impl Iterator<Item = (u64, pb::AlarmType)> {
        let known = |(member, kind): &(u64, i32)| Some((*member, (*kind).try_into().ok()?));
        self.alarms.iter().filter_map(known)
    }

    /// Whether an alarm of this kind is active.
    pub fn has_alarm(&self, kind: pb::AlarmType) -> bool {
        self.alarms().any(|(_, active)| active == kind)
    }

    /// The alarms of a kind, as answers have them; those of all kinds for `NONE`.
    pub fn list_alarms(&self, kind: pb::AlarmType) -> Vec<pb::AlarmMember> {
        let wanted = self.alarms().filter(|(_, a)| kind == pb::AlarmType::None || *a == kind);
        wanted.map(|(member_id, alarm)| member_of(member_id, alarm)).collect()
    }

    /// Refuses a command that an active alarm forbids.
    pub(super) fn check_alarms(&self, command: &Command) -> Result<(), Error> {
        if matches!(command, Command::Alarm(_)) || self.alarms.is_empty() {
            Ok(())
        } else if self.has_alarm(pb::AlarmType::Corrupt) {
            Err(Error::Corrupt)
        } else if self.has_alarm(pb::AlarmType::Nospace) && command.takes_space() {
            Err(Error::NoSpace)
        } else {
            Ok(())
        }
    }

    /// Raises or lifts an alarm; the answer has it. One that was not there is not lifted.
    pub(super) fn alarm(&mut self, request: &pb::AlarmRequest) -> pb::AlarmResponse {
        let alarm = (request.member_id, request.alarm);
        let changed = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Activate) => {
                self.alarms.insert(alarm);
                true
            }
            Ok(AlarmAction::Deactivate) => self.alarms.remove(&alarm).is_some(),
            _ => false,
        };
        let kind = pb::AlarmType::try_from(request.alarm).unwrap_or_default();
        let alarms = changed.then(|| member_of(request.member_id, kind)).into_iter().collect();
        pb::AlarmResponse { header: header(self.revision), alarms }
    }
}

fn member_of(member_id: u64, alarm: pb::AlarmType) -> pb::AlarmMember {
    pb::AlarmMember { member_id, alarm: alarm as i32 }
}
