//! Reading: which versions a range means, and in which order.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use super::error::Error;
use super::key::Key;
use super::layer::Ends;
use super::store::Store;
use super::version::{Revision, Version};
use super::views::Visit;
use crate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};

/// The keys that a request names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    begin: &'a [u8],
    end: End<'a>,
}

#[derive(Clone, Copy, Debug)]
enum End<'a> {
    /// Only the key itself.
    Single,
    /// Everything from there on.
    Open,
    Before(&'a [u8]),
}

impl<'a> Keys<'a> {
    /// Reads `key` and `range_end` of a request: no end is the key alone, and one NUL byte
    /// is no end at all.
    pub(super) fn of(begin: &'a [u8], range_end: &'a [u8]) -> Keys<'a> {
        let end = match range_end {
            [] => End::Single,
            [0] => End::Open,
            end => End::Before(end),
        };
        Keys { begin, end }
    }

    /// Its ends, unless no key can be between them.
    fn span(self) -> Option<Ends<'a>> {
        let begin = Bound::Included(self.begin);
        match self.end {
            End::Single => Some((begin, begin)),
            End::Open => Some((begin, Bound::Unbounded)),
            End::Before(end) => (end > self.begin).then_some((begin, Bound::Excluded(end))),
        }
    }

    pub(super) fn has(&self, key: &[u8]) -> bool {
        match self.end {
            End::Single => key == self.begin,
            End::Open => key >= self.begin,
            End::Before(end) => key >= self.begin && key < end,
        }
    }
}

impl Store {
    /// Answers a range from this state of the store.
    ///
    /// # Errors
    /// If the revision asked for is gone, or is not there yet.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.range_at(request, self.revision)
    }

    /// Answers a range as it stands when the last change is `now`: within a transaction
    /// that has changed something that is one more than before it.
    pub(super) fn range_at(
        &self,
        request: &RangeRequest,
        now: i64,
    ) -> Result<RangeResponse, Error> {
        let revision = match request.revision {
            r if r > now => return Err(Error::FutureRevision),
            r if r <= 0 => now,
            r => r,
        };
        if revision < self.compacted {
            return Err(Error::Compacted);
        }
        let keys = Keys::of(&request.key, &request.range_end);
        let header = Some(ResponseHeader { revision: now, ..ResponseHeader::default() });
        if request.count_only {
            let count = self.count(keys, revision, now) as i64;
            return Ok(RangeResponse { header, count, ..RangeResponse::default() });
        }
        let (found, count) = self.collect(keys, revision, now, fetch_limit(request));
        let mut found = found;
        found.retain(|version| passes(request, version));
        sort(request, &mut found);
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let more = limit > 0 && found.len() > limit;
        if more {
            found.truncate(limit);
        }
        let kvs = found.iter().filter_map(|v| v.to_pair(request.keys_only)).collect();
        Ok(RangeResponse { header, kvs, more, count: count as i64 })
    }

    /// The first `limit` versions of `keys` that exist at `revision`, and how many there are.
    fn collect(
        &self,
        keys: Keys<'_>,
        revision: i64,
        now: i64,
        limit: usize,
    ) -> (Vec<Arc<Version>>, usize) {
        let mut found = Vec::new();
        if revision == now {
            self.present(keys, &mut |version| {
                let has_room = found.len() < limit;
                has_room.then(|| found.push(version.clone()));
                has_room
            });
            let is_all = found.len() < limit;
            let count = if is_all { found.len() } else { self.count_present(keys) };
            return (found, count);
        }
        let mut count = 0;
        self.past(keys, revision, &mut |version| {
            count += 1;
            if found.len() < limit {
                found.push(version.clone());
            }
            true
        });
        (found, count)
    }

    fn count(&self, keys: Keys<'_>, revision: i64, now: i64) -> usize {
        match revision == now {
            true => self.count_present(keys),
            false => self.collect(keys, revision, now, 0).1,
        }
    }

    /// How many of `keys` exist now: no version is read for it.
    fn count_present(&self, keys: Keys<'_>) -> usize {
        match keys.end {
            End::Single => usize::from(self.views.has(keys.begin)),
            _ => keys.span().map_or(0, |ends| self.views.count_current(ends)),
        }
    }

    /// Visits the versions of `keys` that exist now, in order of their keys.
    pub(super) fn present(&self, keys: Keys<'_>, visit: &mut Visit<'_>) {
        if let End::Single = keys.end {
            self.views.current(keys.begin).iter().all(visit);
        } else if let Some(ends) = keys.span() {
            self.views.visit_current(ends, visit);
        }
    }

    /// Visits the versions of `keys` that existed at `revision`, in order of their keys. Two
    /// seeks for each key, however many versions it has.
    fn past(&self, keys: Keys<'_>, revision: i64, visit: &mut Visit<'_>) {
        let upto = Revision::end_of(revision);
        let mut next = self.views.next_key(Bound::Included(&Key::from(keys.begin)));
        while let Some(key) = next.filter(|key| keys.has(key)) {
            let newest = self.views.newest(&key, upto).filter(|version| version.body.is_some());
            if newest.is_some_and(|version| !visit(&version)) {
                break;
            }
            next = self.views.next_key(Bound::Excluded(&key));
        }
    }
}

/// How many versions are needed to answer: with a filter or an order all of them, and
/// otherwise one more than asked for, which tells whether there are more.
fn fetch_limit(request: &RangeRequest) -> usize {
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    let needs_all = request.sort_order != SortOrder::None as i32 || filters != [0; 4];
    match usize::try_from(request.limit) {
        Ok(limit) if limit > 0 && !needs_all => limit.saturating_add(1),
        _ => usize::MAX,
    }
}

fn passes(request: &RangeRequest, version: &Version) -> bool {
    let Some(body) = &version.body else { return false };
    let within =
        |min: i64, max: i64, value: i64| (max == 0 || value <= max) && (min == 0 || value >= min);
    within(request.min_mod_revision, request.max_mod_revision, version.at.main)
        && within(request.min_create_revision, request.max_create_revision, body.create_revision)
}

/// Sorts as asked. A target without an order sorts the fetched versions upwards; with a
/// limit these are the first keys. etcd does so, and clients may rely on it.
fn sort(request: &RangeRequest, found: &mut [Arc<Version>]) {
    let (order, target) = (request.sort_order(), request.sort_target());
    let by = |a: &Arc<Version>, b: &Arc<Version>| {
        let (Some(x), Some(y)) = (&a.body, &b.body) else { return Ordering::Equal };
        match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => x.version.cmp(&y.version),
            SortTarget::Create => x.create_revision.cmp(&y.create_revision),
            SortTarget::Mod => a.at.main.cmp(&b.at.main),
            SortTarget::Value => x.value.cmp(&y.value),
        }
    };
    match order {
        SortOrder::None if target == SortTarget::Key => {}
        SortOrder::None | SortOrder::Ascend => found.sort_by(by),
        SortOrder::Descend => found.sort_by(|a, b| by(b, a)),
    }
}
