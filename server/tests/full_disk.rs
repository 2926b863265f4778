//! Disks that are full, or stand still: on loop mounts, so for root on Linux only.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use support::Cluster;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A file system of its own, in a file.
struct Mount {
    dir: TempDir,
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

impl Mount {
    /// `None`, with a line that says so, where mounting is not allowed.
    fn new(mib: u64) -> Option<Mount> {
        let dir = TempDir::new().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("disk"));
        std::fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        std::fs::create_dir(&at).unwrap();
        let (image, at) = (image.display().to_string(), at.display().to_string());
        let made = run("mkfs.ext4", &["-q", "-F", &image])
            .and_then(|()| run("mount", &["-o", "loop", &image, &at]));
        match made {
            Ok(()) => Some(Mount { dir }),
            Err(why) => {
                println!("skipped: no loop mount can be made here: {why}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// All writes to it wait until it is thawed.
    fn freeze(&self, action: &str) {
        run("fsfreeze", &[action, &self.path().display().to_string()]).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.path().display().to_string();
        let _ = run("fsfreeze", &["-u", &path]);
        run("umount", &["-l", &path]).unwrap();
    }
}

/// Another program fills the disk to the last byte.
fn fill(path: &Path) -> PathBuf {
    let path = path.join("ballast");
    let mut ballast = std::fs::File::create(&path).unwrap();
    for piece in [&[7; 1 << 20][..], &[7; 512]] {
        while ballast.write_all(piece).is_ok() {}
    }
    path
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

const VALUE_BYTES: usize = 100 << 10;
/// How many keys are deleted while nothing is free.
const DELETED: i64 = 150;

/// A value of a key that no tree can make smaller.
fn noise(key: &str) -> Vec<u8> {
    let mut state = key.bytes().fold(1, |sum: u64, byte| sum.wrapping_mul(257) + u64::from(byte));
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(VALUE_BYTES / 8).flatten().collect()
}

async fn put(kv: &mut KvClient<Channel>, key: &str) -> Result<(), Status> {
    let (key, value) = (Bytes::from(key.to_owned()), noise(key).into());
    kv.put(pb::PutRequest { key, value, ..Default::default() }).await.map(|_| ())
}

async fn count(kv: &mut KvClient<Channel>) -> i64 {
    let request = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        count_only: true,
        ..Default::default()
    };
    kv.range(request).await.unwrap().into_inner().count
}

async fn delete(kv: &mut KvClient<Channel>, key: &str, end: &str) -> i64 {
    let (key, range_end) = (Bytes::from(key.to_owned()), Bytes::from(end.to_owned()));
    let request = pb::DeleteRangeRequest { key, range_end, prev_kv: false };
    kv.delete_range(request).await.unwrap().into_inner().deleted
}

/// Puts until the disk is full; the answer is how many were acknowledged.
async fn put_until_refused(cluster: &Cluster) -> i64 {
    let mut kv = KvClient::new(cluster.channel(0));
    for n in 0..2000 {
        if let Err(error) = put(&mut kv, &format!("k{n:04}")).await {
            assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
            assert_eq!(error.message(), "etcdserver: mvcc: database space exceeded");
            return n;
        }
    }
    panic!("the disk holds 200 MB");
}

/// Waits until puts are taken again.
async fn wait_for_room(kv: &mut KvClient<Channel>) -> Duration {
    let began = Instant::now();
    while let Err(error) = put(kv, "again").await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

fn one_server(disk: &Mount) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 1);
    cluster.set_data_dir(0, &disk.path().join("data"));
    cluster.start_one(0);
    cluster.wait_healthy();
    cluster
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let Some(disk) = Mount::new(64) else { return };
    let mut cluster = one_server(&disk);
    let runtime = runtime();
    let told = runtime.block_on(put_until_refused(&cluster));
    println!("{told} puts of 100 KiB fit on 64 MiB");
    let ballast = fill(&disk.path());
    runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        assert_eq!(count(&mut kv).await, told, "reads go on");
        assert_eq!(put(&mut kv, "more").await.unwrap_err().code(), Code::ResourceExhausted);
        // Not a block is free but for the reserve; the deletions need several.
        for n in 0..DELETED {
            assert_eq!(delete(&mut kv, &format!("k{n:04}"), "").await, 1);
        }
        assert_eq!(count(&mut kv).await, told - DELETED);
    });
    let log = cluster.log("n0");
    assert!(log.contains("the reserve is given free"), "{log}");
    // A crash, and a start on the full disk.
    cluster.kill(0);
    cluster.start_one(0);
    cluster.wait_healthy();
    runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        assert_eq!(count(&mut kv).await, told - DELETED, "nothing was lost, and nothing came back");
        assert_eq!(put(&mut kv, "more").await.unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(delete(&mut kv, &format!("k{DELETED:04}"), "").await, 1);
        std::fs::remove_file(&ballast).unwrap();
        // A snapshot of the rest must fit beside the log that it replaces.
        delete(&mut kv, "k", &format!("k{:04}", told - 20)).await;
        compact(&mut kv).await;
        let took = wait_for_room(&mut kv).await;
        println!("writes were taken again {took:?} after there was space");
        assert_eq!(count(&mut kv).await, 20 + 1);
    });
}

async fn compact(kv: &mut KvClient<Channel>) {
    let now = kv.range(pb::RangeRequest { key: "x".into(), ..Default::default() }).await.unwrap();
    let revision = now.into_inner().header.unwrap().revision;
    kv.compact(pb::CompactionRequest { revision, physical: false }).await.unwrap();
}

#[test]
fn deleting_and_compacting_makes_room_on_a_disk_that_the_server_filled_itself() {
    let Some(disk) = Mount::new(64) else { return };
    let mut cluster = one_server(&disk);
    let runtime = runtime();
    for round in 0..2 {
        let told = runtime.block_on(put_until_refused(&cluster));
        assert!(told > 100, "{told} puts in round {round}");
        runtime.block_on(async {
            let mut kv = KvClient::new(cluster.channel(0));
            delete(&mut kv, "a", "z").await;
            compact(&mut kv).await;
            println!("round {round}: {told} puts; room after {:?}", wait_for_room(&mut kv).await);
        });
    }
    cluster.kill(0);
    cluster.start_one(0);
    cluster.wait_healthy();
    runtime.block_on(async {
        assert_eq!(count(&mut KvClient::new(cluster.channel(0))).await, 1);
    });
}

async fn status(cluster: &Cluster, i: usize) -> pb::StatusResponse {
    let mut client = MaintenanceClient::new(cluster.channel(i));
    client.status(pb::StatusRequest {}).await.unwrap().into_inner()
}

/// Rising numbers, each client in a key of its own, for as long as `stop` is not set.
async fn write(channel: Channel, client: usize, stop: Arc<AtomicBool>, told: Told) {
    let mut kv = KvClient::new(channel);
    for number in 1u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (key, value) = (format!("c{client}"), number.to_string());
        let request = pb::PutRequest { key: key.into(), value: value.into(), ..Default::default() };
        kv.put(request).await.unwrap();
        told.lock().unwrap().insert(client, number);
    }
}

type Told = Arc<Mutex<BTreeMap<usize, u64>>>;

#[test]
fn a_disk_that_stands_still_for_two_seconds_costs_the_leader_nothing() {
    let disks: Vec<Mount> = std::iter::repeat_with(|| Mount::new(64)).take(3).flatten().collect();
    if disks.len() < 3 {
        return;
    }
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3);
    for (i, disk) in disks.iter().enumerate() {
        cluster.set_data_dir(i, &disk.path().join("data"));
        cluster.start_one(i);
    }
    cluster.wait_healthy();
    let (stop, told) = (Arc::new(AtomicBool::default()), Told::default());
    let runtime = runtime();
    let (before, after) = runtime.block_on(async {
        let before = status(&cluster, 0).await;
        let mut led = 0;
        while status(&cluster, led).await.header.unwrap().member_id != before.leader {
            led += 1;
        }
        let clients = (0..12).map(|client| {
            let channel = cluster.channel(client % 3);
            tokio::spawn(write(channel, client, stop.clone(), told.clone()))
        });
        let clients: Vec<_> = clients.collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        disks[led].freeze("-f");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let early: u64 = told.lock().unwrap().values().sum();
        tokio::time::sleep(Duration::from_millis(1700)).await;
        let late: u64 = told.lock().unwrap().values().sum();
        disks[led].freeze("-u");
        println!("{} writes while the disk of the leader stood still", late - early);
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        (before, status(&cluster, led).await)
    });
    assert!(after.raft_term <= before.raft_term + 1, "terms {before:?} {after:?}");
    let logs = ["n0", "n1", "n2"].map(|name| cluster.log(name)).concat();
    assert!(logs.contains("the disk is slow"), "{logs}");
    // Also after a crash of all.
    (0..3).for_each(|i| cluster.kill(i));
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        let told = told.lock().unwrap().clone();
        for (client, number) in &told {
            let key = Bytes::from(format!("c{client}"));
            let found = kv.range(pb::RangeRequest { key, ..Default::default() }).await.unwrap();
            let value = found.into_inner().kvs[0].value.clone();
            let value: u64 = std::str::from_utf8(&value).unwrap().parse().unwrap();
            assert!(value >= *number, "{value} of {number} acknowledged writes");
        }
    });
}

/// The log and the journal of the tree have 64 MiB each, and then the tables have no space.
#[test]
fn a_full_disk_with_a_tree_is_freed_by_deletions() {
    let Some(mount) = Mount::new(250) else { return };
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 1);
    cluster.add_flag("--state", "fjall");
    cluster.set_data_dir(0, &mount.path().join("n0"));
    cluster.start_one(0);
    cluster.wait_healthy();
    let acknowledged = runtime.block_on(put_until_refused(&cluster));
    let mut kv = KvClient::new(cluster.channel(0));
    assert_eq!(runtime.block_on(count(&mut kv)), acknowledged, "reads go on");
    cluster.kill(0);
    cluster.start_one(0);
    cluster.wait_healthy();
    let mut kv = KvClient::new(cluster.channel(0));
    assert_eq!(runtime.block_on(count(&mut kv)), acknowledged, "and nothing is lost");
    assert_eq!(runtime.block_on(delete(&mut kv, "k", "l")), acknowledged);
    runtime.block_on(async {
        let revision = kv.range(pb::RangeRequest { key: "k".into(), ..Default::default() }).await;
        let revision = revision.unwrap().into_inner().header.unwrap().revision;
        let request = pb::CompactionRequest { revision, physical: true };
        kv.compact(request).await.unwrap();
    });
    support::wait_for("space", Duration::from_secs(60), || {
        runtime.block_on(put(&mut kv, "new")).is_ok()
    });
    cluster.kill(0);
    cluster.start_one(0);
    cluster.wait_healthy();
    let mut kv = KvClient::new(cluster.channel(0));
    assert_eq!(runtime.block_on(count(&mut kv)), 1);
}
