//! Automatic compaction, so that old revisions do not fill the memory: revisions older than
//! a period go, and so do those beyond a number.
//!
//! Only the leader does it, as a client would: by a command in the log.

// Waiting is a shell's business.
#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::engine::Handle;
use crate::kv::Command;
use crate::node::{Reply, Request};
use crate::proto::etcdserverpb::CompactionRequest;

/// The part of the past that is kept. Both limits hold; zero is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Revisions that were replaced longer ago go.
    pub period: Duration,
    /// At most this many revisions are kept.
    pub revisions: i64,
}

/// How often the number of revisions is looked at.
const TURN: Duration = Duration::from_secs(10);
/// How finely a period is measured, in parts of it.
const SAMPLES: u32 = 10;

/// The time of a look at the store, and its revision then.
type Sample = (Duration, i64);

/// Looks after the past, for ever.
pub async fn run(node: Handle, retention: Retention) {
    let start = Instant::now();
    let mut samples: VecDeque<Sample> = VecDeque::new();
    loop {
        tokio::time::sleep(TURN).await;
        let Reply::View(view) = node.ask(Request::Inspect).await else { continue };
        let (now, revision) = (start.elapsed(), view.store.revision());
        let is_due = samples.back().is_none_or(|(at, _)| now - *at >= retention.period / SAMPLES);
        if is_due {
            samples.push_back((now, revision));
        }
        let target = target(&mut samples, now, revision, retention);
        let leads = view.status.leader == Some(view.status.id);
        let Some(target) = target.filter(|target| leads && *target > view.store.compacted()) else {
            continue;
        };
        let mut command = Vec::new();
        let request = CompactionRequest { revision: target, physical: false };
        Command::Compact(request).encode(&mut command);
        match node.ask(Request::Write(command)).await {
            Reply::Done(_, Ok(_)) => tracing::info!("compacted up to revision {target}"),
            // A client may have compacted meanwhile.
            other => tracing::debug!("did not compact up to revision {target}: {other:?}"),
        }
    }
}

/// The revision to compact to, if any. Samples that are too old to be needed are dropped.
fn target(
    samples: &mut VecDeque<Sample>,
    now: Duration,
    revision: i64,
    retention: Retention,
) -> Option<i64> {
    let mut by_age = None;
    if !retention.period.is_zero() {
        while let Some((_, old)) = samples.pop_front_if(|(at, _)| now - *at >= retention.period) {
            by_age = Some(old);
        }
        // The newest of the old ones says the same until there is a newer one.
        if let Some(old) = by_age {
            samples.push_front((now.saturating_sub(retention.period), old));
        }
    } else {
        samples.clear();
    }
    let is_many = |compact: &i64| *compact > 0 && retention.revisions > 0;
    let by_number = Some(revision - retention.revisions).filter(is_many);
    by_age.max(by_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    #[test]
    fn what_is_older_than_the_period_goes() {
        let retention = Retention { period: hours(1), revisions: 0 };
        let mut samples = VecDeque::from([(hours(0), 5), (hours(1), 9), (hours(2), 30)]);
        assert_eq!(target(&mut samples, hours(0), 5, retention), None);
        assert_eq!(target(&mut samples, hours(2), 30, retention), Some(9));
        assert_eq!(target(&mut samples, hours(4), 30, retention), Some(30));
    }

    #[test]
    fn what_is_beyond_the_number_goes() {
        let retention = Retention { period: Duration::ZERO, revisions: 100 };
        assert_eq!(target(&mut VecDeque::new(), hours(1), 90, retention), None);
        assert_eq!(target(&mut VecDeque::new(), hours(1), 250, retention), Some(150));
        let none = Retention { period: Duration::ZERO, revisions: 0 };
        assert_eq!(target(&mut VecDeque::new(), hours(1), 250, none), None);
    }
}
