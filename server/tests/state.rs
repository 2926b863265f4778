//! Servers with their state in a tree on disk: beside others that have it in memory, killed at any
//! moment, and refused if their tree is damaged, of another directory, or gone.

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

/// Starts a server that must refuse to, and returns its log.
fn refusal(cluster: &mut Cluster, i: usize) -> String {
    cluster.start_one(i);
    let code = cluster.wait_for_end(i);
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    cluster.log(&format!("n{i}"))
}

/// The files beside a log that hold a whole state.
fn states_beside(cluster: &Cluster, i: usize) -> Vec<String> {
    let entries = std::fs::read_dir(cluster.data_dir(i).join("states")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_log_that_goes_on_from_a_tree_has_no_state_beside_it_and_needs_that_tree() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = mixed();
    let load = Load::start(&cluster, 0);
    wait_for("many puts", Duration::from_secs(120), || load.count.load(Ordering::Relaxed) > 3000);
    let told = load.end(&runtime);
    let before = wait_for_equal(&runtime, &cluster);
    wait_for("a checkpoint", Duration::from_secs(10), || !states_beside(&cluster, 0).is_empty());
    assert_eq!(states_beside(&cluster, 1), [""; 0], "nothing was copied");
    (0..3).for_each(|i| cluster.kill(i));
    let trees = cluster.data_dir(1).join("trees");
    let aside = cluster.data_dir(1).with_extension("aside");
    copy_dir(&trees, &aside);
    for trouble in 0..3 {
        match trouble {
            0 => damage(&trees.join(&tree_dirs(&cluster, 1)[0])),
            1 => std::fs::remove_dir_all(&trees).unwrap(),
            _ => {
                std::fs::remove_dir_all(&trees).unwrap();
                copy_dir(&cluster.data_dir(2).join("trees"), &trees);
            }
        }
        for kind in ["fjall", "memory"] {
            cluster.set_flag(1, "--state", kind);
            let log = refusal(&mut cluster, 1);
            assert!(log.contains("no tree has it"), "trouble {trouble}: {log}");
            assert!(log.contains("empty its data directory, and add it anew"), "{log}");
        }
        let _ = std::fs::remove_dir_all(&trees);
        copy_dir(&aside, &trees);
    }
    assert!(cluster.log("n1").contains("it is not of this data directory"));
    // Into memory, and back; the one that began in memory gets a tree.
    for kind in ["memory", "fjall", "fjall"] {
        cluster.set_flag(1, "--state", kind);
        (0..3).for_each(|i| cluster.start_one(i));
        cluster.wait_healthy();
        assert_eq!(wait_for_equal(&runtime, &cluster), before, "{kind}");
        check_kept(&runtime, &cluster, 1, &told);
        (0..3).for_each(|i| cluster.kill(i));
        if kind == "memory" {
            cluster.add_flag_to(0, "--state", "fjall");
        }
    }
}

/// Has a tree say that another version of the program wrote it.
fn change_format(tree: &Path) {
    let database = fjall::Database::builder(tree).open().unwrap();
    let rest = database.keyspace("rest", fjall::KeyspaceCreateOptions::default).unwrap();
    let mut machine = rest.get("machine").unwrap().unwrap().to_vec();
    machine[0] += 1;
    rest.insert("machine", machine).unwrap();
    database.persist(fjall::PersistMode::SyncAll).unwrap();
}

/// Kills a server, takes its tree from it in several ways, and starts it: each time it makes a tree anew, says so with
/// the next of `ends`, and is equal to the others.
fn make_anew(runtime: &Runtime, cluster: &mut Cluster, i: usize, ends: &[&str]) {
    let before = wait_for_equal(runtime, cluster);
    for (trouble, end) in ends.iter().enumerate() {
        // A tree without a batch is unfinished, and the first one is due after a second.
        std::thread::sleep(Duration::from_millis(1500));
        cluster.kill(i);
        let trees = cluster.data_dir(i).join("trees");
        let own = trees.join(&tree_dirs(cluster, i)[0]);
        let lines = cluster.log(&format!("n{i}")).matches(end).count();
        match trouble {
            0 => damage(&own),
            1 => change_format(&own),
            _ => std::fs::remove_dir_all(&trees).unwrap(),
        }
        cluster.start_one(i);
        cluster.wait_healthy();
        assert_eq!(wait_for_equal(runtime, cluster), before, "trouble {trouble}");
        let log = cluster.log(&format!("n{i}"));
        assert_eq!(log.matches(end).count(), lines + 1, "trouble {trouble}: {log}");
        assert_eq!(tree_dirs(cluster, i).len(), 1, "trouble {trouble}");
    }
}

#[test]
fn a_tree_is_made_anew_where_the_log_goes_on_from_a_file_or_from_nothing() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = mixed();
    // It makes no checkpoint of its own: until the end its log goes on from nothing, and then from the file that came.
    cluster.set_flag(1, "--snapshot-bytes", "200000000");
    cluster.kill(1);
    cluster.start_one(1);
    cluster.wait_healthy();
    let mut kv = KvClient::new(cluster.channel(0));
    (0..20).for_each(|n| {
        runtime.block_on(kv.put(put(&format!("few-{n}"), "value"))).unwrap();
    });
    // So little that each log has it from its first entry on. A tree that is removed leaves no line.
    let anew = "it is made anew";
    make_anew(&runtime, &mut cluster, 1, &[anew, "another version of this program wrote the tree"]);
    let load = Load::start(&cluster, 0);
    cluster.kill(1);
    wait_for("many puts", Duration::from_secs(120), || load.count.load(Ordering::Relaxed) > 3000);
    let told = load.end(&runtime);
    cluster.start_one(1);
    wait_for("a snapshot", Duration::from_secs(60), || {
        cluster.log("n1").contains("took a snapshot")
    });
    wait_for_equal(&runtime, &cluster);
    assert_eq!(states_beside(&cluster, 1).len(), 1, "the state that came is beside the log");
    make_anew(&runtime, &mut cluster, 1, &["reading the state into a tree"; 3]);
    check_kept(&runtime, &cluster, 1, &told);
    // From here on its log goes on from the tree again, and the file is gone.
    cluster.set_flag(1, "--snapshot-bytes", SNAPSHOT_BYTES);
    cluster.kill(1);
    cluster.start_one(1);
    cluster.wait_healthy();
    let load = Load::start(&cluster, 1);
    wait_for("no file", Duration::from_secs(60), || states_beside(&cluster, 1).is_empty());
    load.end(&runtime);
    wait_for_equal(&runtime, &cluster);
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
