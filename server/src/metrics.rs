//! Counters and a histogram, without locks, in the text that Prometheus reads.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::slow::Slow;

/// The counters of the engine.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Flushes of the log.
    pub fsync: Histogram,
    /// How often another server became leader.
    pub leader_changes: AtomicU64,
    /// Writes that got no answer.
    pub proposals_failed: AtomicU64,
    /// Bytes to and from other servers.
    pub peer_sent_bytes: AtomicU64,
    /// Bytes from other servers.
    pub peer_received_bytes: AtomicU64,
    /// Parcels that were dropped, because a peer was slow or away.
    pub peer_dropped: AtomicU64,
    /// The size of the store.
    store_bytes: AtomicU64,
    /// Slow requests.
    pub slow: Slow,
}

/// How long something took. The bounds are etcd's, 1 ms to 8 s, each twice the last.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    count: AtomicU64,
    sum_nanos: AtomicU64,
}

const BUCKETS: usize = 14;

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let ms = took.as_secs_f64() * 1000.0;
        if let Some(place) = (0..BUCKETS).find(|place| ms <= f64::from(1 << place)) {
            self.buckets[place].fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn print(&self, name: &str, help: &str, out: &mut String) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut below = 0;
        for (place, bucket) in self.buckets.iter().enumerate() {
            below += bucket.load(Ordering::Relaxed);
            let le = f64::from(1 << place) / 1000.0;
            let _ = writeln!(out, "{name}_bucket{{le=\"{le}\"}} {below}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {count}");
    }
}

impl Metrics {
    /// Notes the size of the store, after each turn of the node.
    pub fn note_store(&self, bytes: u64) {
        self.store_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The size of the store, as it was after the last turn of the node.
    pub fn store_bytes(&self) -> u64 {
        self.store_bytes.load(Ordering::Relaxed)
    }

    /// Prints the counters, by etcd's names where they mean the same.
    pub fn print(&self, out: &mut String) {
        let fsync = "etcd_disk_wal_fsync_duration_seconds";
        self.fsync.print(fsync, "The latency of a flush of the log.", out);
        let counters = [
            ("etcd_server_leader_changes_seen_total", &self.leader_changes),
            ("etcd_server_proposals_failed_total", &self.proposals_failed),
            ("etcd_network_peer_sent_bytes_total", &self.peer_sent_bytes),
            ("etcd_network_peer_received_bytes_total", &self.peer_received_bytes),
            ("seaworthy_peer_dropped_total", &self.peer_dropped),
        ];
        for (name, value) in counters {
            print(out, name, "counter", value.load(Ordering::Relaxed));
        }
    }
}

/// Prints the kernel's numbers of this process, by Prometheus' usual names.
pub fn print_process(out: &mut String) {
    // The second number is that of resident pages.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    if let Some(pages) = pages {
        print(out, "process_resident_memory_bytes", "gauge", pages * PAGE_BYTES);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        print(out, "process_open_fds", "gauge", open.count() as u64);
    }
}

/// The size of a page, on all machines that this is likely to run on.
const PAGE_BYTES: u64 = 4096;

/// Prints one number.
pub fn print(out: &mut String, name: &str, kind: &str, value: u64) {
    let _ = writeln!(out, "# TYPE {name} {kind}\n{name} {value}");
}
