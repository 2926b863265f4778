//! When leases end, as the leader of a term knows it.
//!
//! Which leases there are is decided by the log and held by the store of every server
//! ([`crate::kv::Lease`]). When they end is known to the leader alone, by its own monotonic
//! clock, and is in no log: a new leader gives every lease its full time again. So no lease ends
//! early, and after a change of leader it may live for up to twice its time.
//!
//! Pure: the time is an argument.

mod planted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use seaworthy::time::Time;
use serde::{Deserialize, Serialize};

use crate::kv::{Lease, Store};
use crate::planted::guard;

/// A lease whose time is over: its id, and the number of its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ended {
    /// The lease.
    pub id: i64,
    /// Which of the grants under this id; see [`Lease::serial`].
    pub serial: u64,
}

#[derive(Debug)]
struct Held {
    serial: u64,
    full: Duration,
    until: Time,
}

/// The ends of all leases.
#[derive(Debug, Default)]
pub struct Deadlines {
    leases: BTreeMap<i64, Held>,
    /// Those whose end has not been proposed, by time.
    queue: BTreeSet<(Time, i64)>,
}

impl Deadlines {
    /// Every lease of the store gets its full time.
    pub fn begin(now: Time, store: &Store) -> Deadlines {
        let mut deadlines = Deadlines::default();
        store.leases().for_each(|(id, lease)| deadlines.grant(now, id, lease));
        deadlines
    }

    /// A lease was granted.
    pub fn grant(&mut self, now: Time, id: i64, lease: &Lease) {
        let full = Duration::from_secs(u64::try_from(lease.seconds()).unwrap_or(0));
        let held = Held { serial: lease.serial(), full, until: now + full };
        self.queue.insert((held.until, id));
        let before = self.leases.insert(id, held);
        assert!(before.is_none(), "a lease is granted once");
    }

    /// A lease is no more.
    pub fn forget(&mut self, id: i64) {
        if let Some(held) = self.leases.remove(&id) {
            self.queue.remove(&(held.until, id));
        }
    }

    /// A sign of life: the lease gets its full time, which is the answer. `None` if there is no
    /// such lease, or if its time is over: then its end may already stand in the log.
    pub fn renew(&mut self, now: Time, id: i64) -> Option<Duration> {
        let held = self.leases.get_mut(&id)?;
        // Guard: a lease that may have ended must not be promised to live.
        if !guard!(held.until > now, RenewEnded) {
            return None;
        }
        self.queue.remove(&(held.until, id));
        held.until = planted::renewed(now + held.full, held.until);
        self.queue.insert((held.until, id));
        Some(held.full)
    }

    /// How long a lease still has; zero if its time is over.
    pub fn left(&self, now: Time, id: i64) -> Option<Duration> {
        self.leases.get(&id).map(|held| held.until - now)
    }

    /// When the next lease ends whose end has not been proposed.
    pub fn next(&self) -> Time {
        self.queue.first().map_or(Time::MAX, |(until, _)| *until)
    }

    /// Up to `count` leases whose time is over, and whose end has not been proposed.
    pub fn ended(&self, now: Time, count: usize) -> Vec<Ended> {
        let over = self.queue.iter().take_while(|(until, _)| *until <= now).take(count);
        over.map(|(_, id)| Ended { id: *id, serial: self.leases[id].serial }).collect()
    }

    /// The end of these was proposed, and will be decided in this term.
    pub fn proposed(&mut self, ended: &[Ended]) {
        for Ended { id, .. } in ended {
            let until = self.leases[id].until;
            self.queue.remove(&(until, *id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Command;
    use crate::proto::etcdserverpb as pb;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn store(leases: &[(i64, i64)]) -> Store {
        let mut store = Store::default();
        for (id, ttl) in leases {
            let grant = pb::LeaseGrantRequest { id: *id, ttl: *ttl };
            store.apply(&Command::LeaseGrant(grant)).unwrap();
        }
        store
    }

    fn ids(ended: &[Ended]) -> Vec<i64> {
        ended.iter().map(|ended| ended.id).collect()
    }

    #[test]
    fn a_lease_ends_when_its_time_is_over_and_not_before() {
        let mut deadlines = Deadlines::begin(at(0), &store(&[(7, 2), (8, 3)]));
        assert_eq!(deadlines.next(), at(2000));
        assert!(deadlines.ended(at(1999), 9).is_empty());
        assert_eq!(deadlines.renew(at(1999), 7), Some(Duration::from_secs(2)));
        assert_eq!(deadlines.next(), at(3000));
        let ended = deadlines.ended(at(3500), 9);
        assert_eq!(ids(&ended), [8]);
        // The end is proposed once, and from then on nothing brings the lease back.
        deadlines.proposed(&ended);
        assert!(deadlines.ended(at(3500), 9).is_empty());
        assert_eq!(deadlines.renew(at(3500), 8), None);
        assert_eq!(deadlines.left(at(3500), 8), Some(Duration::ZERO));
        deadlines.forget(8);
        assert_eq!(deadlines.left(at(3500), 8), None);
        assert_eq!(deadlines.next(), at(3999));
    }

    #[test]
    fn a_lease_whose_time_is_over_is_not_renewed_even_before_its_end_is_proposed() {
        let mut deadlines = Deadlines::begin(at(0), &store(&[(7, 2)]));
        assert_eq!(deadlines.renew(at(2000), 7), None);
        assert_eq!(ids(&deadlines.ended(at(2000), 9)), [7]);
    }

    #[test]
    fn the_end_of_a_grant_is_not_the_end_of_the_next_one_under_its_id() {
        let mut store = store(&[(7, 2)]);
        let ended = Deadlines::begin(at(0), &store).ended(at(5000), 9);
        store.apply(&Command::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 })).unwrap();
        let grant = pb::LeaseGrantRequest { id: 7, ttl: 2 };
        store.apply(&Command::LeaseGrant(grant)).unwrap();
        store.expire(7, ended[0].serial);
        assert!(store.lease(7).is_some());
        store.expire(7, ended[0].serial + 1);
        assert!(store.lease(7).is_none());
    }
}
