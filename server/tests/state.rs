//! Servers with their state in a tree on disk: beside others that have it in memory, killed at any
//! moment, and with trees that are damaged, of another directory, or gone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use support::{Cluster, copy_dir, wait_for};
use tokio::runtime::Runtime;

const CLIENTS: usize = 24;
/// So few bytes that snapshots are taken all the time.
const SNAPSHOT_BYTES: &str = "200000";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Three servers, the first of them in memory.
fn mixed() -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3);
    cluster.add_flag("--snapshot-bytes", SNAPSHOT_BYTES);
    (1..3).for_each(|i| cluster.add_flag_to(i, "--state", "fjall"));
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    cluster
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: bytes(key), value: bytes(value), ..Default::default() }
}

/// The revision of a server, and the hash of its state.
async fn hash(cluster: &Cluster, i: usize) -> Option<(i64, u32)> {
    let mut client = MaintenanceClient::new(cluster.channel(i));
    let answer = client.hash_kv(pb::HashKvRequest { revision: 0 }).await.ok()?.into_inner();
    Some((answer.header?.revision, answer.hash))
}

/// Waits until all servers have the same revision. Their hashes must be equal then.
fn wait_for_equal(runtime: &Runtime, cluster: &Cluster) -> (i64, u32) {
    let mut hashes = Vec::new();
    wait_for("the same revision", Duration::from_secs(60), || {
        let all = 0..cluster.servers.len();
        hashes = runtime.block_on(async {
            let mut hashes = Vec::new();
            for i in all {
                hashes.extend(hash(cluster, i).await);
            }
            hashes
        });
        let is_same = hashes.iter().all(|(revision, _)| *revision == hashes[0].0);
        is_same && hashes.len() == cluster.servers.len()
    });
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    hashes[0]
}

/// Clients that put rising numbers, delete, and compact, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<BTreeMap<String, u64>>>,
    count: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster, round: usize) -> Load {
        let (stop, told, count, tasks) = Default::default();
        let mut load = Load { stop, told, count, tasks };
        for client in 0..CLIENTS {
            let mut kv = KvClient::new(cluster.channel(client % cluster.servers.len()));
            let (stop, told, count) = (load.stop.clone(), load.told.clone(), load.count.clone());
            load.tasks.push(tokio::spawn(async move {
                let key = format!("r{round}-c{client}");
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let value = format!("{number:0300}");
                    let Ok(done) = kv.put(put(&key, &value)).await else { continue };
                    told.lock().unwrap().insert(key.clone(), number);
                    count.fetch_add(1, Ordering::Relaxed);
                    let revision = done.into_inner().header.unwrap().revision;
                    // A failure here is not told, and not missed.
                    let gone = format!("gone-{client}-{}", number % 7);
                    let _ = kv.put(put(&gone, &value)).await;
                    if number.is_multiple_of(3) {
                        let key = bytes(&gone);
                        let request = pb::DeleteRangeRequest { key, ..Default::default() };
                        let _ = kv.delete_range(request).await;
                    }
                    if client == 0 && number.is_multiple_of(50) {
                        let request =
                            pb::CompactionRequest { revision: revision - 200, physical: true };
                        let _ = kv.compact(request).await;
                    }
                }
            }));
        }
        load
    }

    fn end(self, runtime: &Runtime) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap());
        println!("{} puts", self.count.load(Ordering::Relaxed));
        self.told.lock().unwrap().clone()
    }
}

/// Panics if a server holds less than was told.
fn check_kept(runtime: &Runtime, cluster: &Cluster, i: usize, told: &BTreeMap<String, u64>) {
    let mut kv = KvClient::new(cluster.channel(i));
    for (key, number) in told {
        let request = pb::RangeRequest { key: bytes(key), ..Default::default() };
        let answer = runtime.block_on(kv.range(request)).unwrap().into_inner();
        let value = answer.kvs.first().and_then(|pair| String::from_utf8(pair.value.to_vec()).ok());
        let value: u64 = value.and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(value >= *number, "{key} is {value}, and {number} was acknowledged");
    }
}

fn tree_dirs(cluster: &Cluster, i: usize) -> Vec<String> {
    let entries = std::fs::read_dir(cluster.data_dir(i).join("trees")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn killed_at_any_moment_all_servers_hold_the_same_in_memory_and_in_trees() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = mixed();
    let rounds = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let mut all = BTreeMap::new();
    for round in 0..rounds {
        let load = Load::start(&cluster, round);
        // Anywhere between two batches, which are a second apart.
        std::thread::sleep(Duration::from_millis(700 + round as u64 * 379 % 1000));
        let doomed = [&[1][..], &[1, 2], &[0, 1, 2]][round % 3];
        doomed.iter().for_each(|i| cluster.kill(*i));
        if round % 3 == 0 {
            // Long enough that its log ends before those of the others begin.
            std::thread::sleep(Duration::from_millis(1500));
        }
        let told = load.end_after(&runtime, doomed.len() > 1);
        assert!(!told.is_empty(), "round {round}: there was no load");
        all.extend(told);
        doomed.iter().for_each(|i| cluster.start_one(*i));
        cluster.wait_healthy();
        let (revision, hash) = wait_for_equal(&runtime, &cluster);
        println!("round {round}: revision {revision}, hash {hash:08x}");
        check_kept(&runtime, &cluster, 1 + round % 2, &all);
        assert_eq!(tree_dirs(&cluster, 1).len(), 1, "trees that are not needed any more are gone");
    }
    assert!(!cluster.log("n1").contains("reading the state into a tree"), "its tree was not used");
}

#[test]
fn a_state_from_another_server_is_read_into_a_tree_that_takes_the_place_of_the_old_one() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = mixed();
    let load = Load::start(&cluster, 0);
    wait_for("some puts", Duration::from_secs(60), || load.count.load(Ordering::Relaxed) > 100);
    cluster.kill(1);
    // More entries than a leader keeps for those that are behind.
    wait_for("many puts", Duration::from_secs(120), || load.count.load(Ordering::Relaxed) > 3000);
    cluster.start_one(1);
    wait_for("a snapshot", Duration::from_secs(60), || {
        cluster.log("n1").contains("took a snapshot")
    });
    let told = load.end(&runtime);
    wait_for_equal(&runtime, &cluster);
    check_kept(&runtime, &cluster, 1, &told);
    wait_for("the old tree's end", Duration::from_secs(10), || tree_dirs(&cluster, 1) != ["0"]);
    (0..3).for_each(|i| cluster.kill(i));
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    wait_for_equal(&runtime, &cluster);
    assert_eq!(tree_dirs(&cluster, 1).len(), 1);
    assert!(!cluster.log("n1").contains("reading the state into a tree"), "its tree was not used");
}

impl Load {
    /// Without a quorum no put comes back before its time is over.
    fn end_after(self, runtime: &Runtime, is_stuck: bool) -> BTreeMap<String, u64> {
        if is_stuck {
            self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
            return self.told.lock().unwrap().clone();
        }
        self.end(runtime)
    }
}

/// Damages a file of each kind in a tree.
fn damage(tree: &Path) {
    for entry in std::fs::read_dir(tree).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(&path, b"nothing of use").unwrap();
        }
    }
}

#[test]
fn a_tree_that_is_of_no_use_is_made_anew() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = mixed();
    let load = Load::start(&cluster, 0);
    std::thread::sleep(Duration::from_millis(2500));
    let told = load.end(&runtime);
    let before = wait_for_equal(&runtime, &cluster);
    let trees = |cluster: &Cluster, i: usize| cluster.data_dir(i).join("trees");
    let only = |cluster: &Cluster, i: usize| trees(cluster, i).join(&tree_dirs(cluster, i)[0]);
    for trouble in 0..4 {
        (0..3).for_each(|i| cluster.kill(i));
        match trouble {
            0 => damage(&only(&cluster, 1)),
            1 => std::fs::remove_dir_all(trees(&cluster, 1)).unwrap(),
            2 => {
                std::fs::remove_dir_all(trees(&cluster, 1)).unwrap();
                copy_dir(&trees(&cluster, 2), &trees(&cluster, 1));
            }
            // From memory to a tree, and the other way round.
            _ => {
                cluster.add_flag_to(0, "--state", "fjall");
                cluster.set_flag(1, "--state", "memory");
            }
        }
        (0..3).for_each(|i| cluster.start_one(i));
        cluster.wait_healthy();
        assert_eq!(wait_for_equal(&runtime, &cluster), before, "trouble {trouble}");
    }
    check_kept(&runtime, &cluster, 1, &told);
    let log = cluster.log("n1");
    assert!(log.contains("it is not of this data directory"), "{log}");
    assert!(log.matches("is made anew").count() >= 2, "{log}");
    assert!(!trees(&cluster, 1).exists(), "a server in memory keeps no tree");
    assert!(trees(&cluster, 0).exists());
}

#[test]
fn a_tree_and_a_log_in_a_database_exclude_each_other() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"))
        .args(["--state", "fjall", "--store", "postgres://nobody@127.0.0.1:1/none"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("--store file"), "{text}");
}
