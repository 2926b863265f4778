//! Servers that keep their log in PostgreSQL: real processes, and real database servers, which
//! are killed too. Skipped where PostgreSQL is not installed.

#![cfg(feature = "postgres")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../src/storage/postgres/private_cluster.rs"]
mod private_cluster;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use private_cluster::PrivateCluster;
use support::{Cluster, http, wait_for};

/// A database server for tests that end it by accident: on a disk, because it must flush.
fn database() -> Option<PrivateCluster> {
    let database = PrivateCluster::start(Path::new("/tmp"));
    if database.is_none() {
        println!("PostgreSQL is not installed: servers with it are not tested");
    }
    database
}

/// Three servers; `url` tells where each keeps its log.
fn cluster(url: impl Fn(usize) -> String, flags: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3);
    for i in 0..3 {
        cluster.add_flag_to(i, "--store", &url(i));
    }
    for (flag, value) in flags {
        cluster.add_flag(flag, value);
    }
    cluster
}

fn start_all(cluster: &mut Cluster) {
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
}

fn put(cluster: &Cluster, i: usize, key: &str, value: &str) -> bool {
    let answer = http(cluster.servers[i].port, "PUT", &format!("/v1/{key}"), value.as_bytes());
    answer.is_some_and(|(status, _)| status == 200 || status == 201)
}

/// The value that a server has, whether or not it is the latest.
fn own_value(cluster: &Cluster, i: usize, key: &str) -> Option<String> {
    let path = format!("/v1/{key}?consistency=serializable");
    let (status, body) = http(cluster.servers[i].port, "GET", &path, b"")?;
    (status == 200).then(|| String::from_utf8(body).unwrap())
}

/// The server that leads, by its own words.
fn leader(cluster: &Cluster) -> usize {
    let mut found = None;
    wait_for("a leader", Duration::from_secs(20), || {
        found = (0..3).find(|i| {
            let running = cluster.servers[*i].process.is_some();
            let status = running.then(|| http(cluster.servers[*i].port, "GET", "/metrics", b""));
            let text = status.flatten().map(|(_, body)| String::from_utf8(body).unwrap());
            text.is_some_and(|text| text.contains("etcd_server_is_leader 1"))
        });
        found.is_some()
    });
    found.unwrap()
}

/// Waits until a server has ended by itself, and returns the last lines of its log.
fn end_of(cluster: &mut Cluster, i: usize) -> String {
    let mut process = cluster.servers[i].process.take().unwrap();
    let what = format!("the end of n{i}");
    wait_for(&what, Duration::from_secs(20), || process.0.try_wait().unwrap().is_some());
    assert_eq!(process.0.wait().unwrap().code(), Some(1), "it ends with an error");
    let log = cluster.log(&cluster.servers[i].name);
    assert!(!log.contains("panicked"), "{log}");
    log.lines().rev().take(3).collect::<Vec<_>>().join("\n")
}

/// Clients that write rising numbers, each to a key of its own; the last acknowledged ones.
struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<BTreeMap<String, u64>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster, round: usize) -> Load {
        let (stop, told) = (Arc::<AtomicBool>::default(), Arc::default());
        let ports: Vec<u16> = cluster.servers.iter().map(|server| server.port).collect();
        let client = |client: usize| {
            let (stop, ports) = (stop.clone(), ports.clone());
            let told: Arc<Mutex<BTreeMap<String, u64>>> = Arc::clone(&told);
            std::thread::spawn(move || {
                let key = format!("r{round}-c{client}");
                for number in 1_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let port = ports[(client + number as usize) % ports.len()];
                    let text = number.to_string();
                    let answer = http(port, "PUT", &format!("/v1/{key}"), text.as_bytes());
                    if answer.is_some_and(|(status, _)| status == 200 || status == 201) {
                        told.lock().unwrap().insert(key.clone(), number);
                    }
                }
            })
        };
        let threads = (0..8).map(client).collect();
        Load { stop, told, threads }
    }

    fn end(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.told.lock().unwrap().clone()
    }
}

/// Waits until every server holds at least what was acknowledged, by itself.
fn assert_kept(cluster: &Cluster, told: &BTreeMap<String, u64>) {
    assert!(!told.is_empty(), "nothing was acknowledged");
    for i in 0..3 {
        for (key, number) in told {
            let what = format!("{key} at n{i}, of which {number} was acknowledged");
            wait_for(&what, Duration::from_secs(20), || {
                own_value(cluster, i, key)
                    .is_some_and(|value| value.parse::<u64>().unwrap() >= *number)
            });
        }
    }
}

#[test]
fn a_killed_database_stops_its_server_loudly_and_nothing_acknowledged_is_lost() {
    let Some(first) = database() else { return };
    let mut databases = [first, database().unwrap(), database().unwrap()];
    let mut cluster = cluster(|i| databases[i].url("postgres", "seaworthy"), &[]);
    start_all(&mut cluster);
    let mut told = BTreeMap::new();
    // The leader's database, then all of them.
    for round in 0..2 {
        let led = leader(&cluster);
        let load = Load::start(&cluster, round);
        std::thread::sleep(Duration::from_secs(2));
        let victims: Vec<usize> = if round == 0 { vec![led] } else { vec![0, 1, 2] };
        for i in &victims {
            databases[*i].tell("kill");
        }
        for i in &victims {
            let last = end_of(&mut cluster, *i);
            assert!(last.contains("schema seaworthy of database postgres"), "{last}");
            assert!(
                last.contains("the session with the database ended") || last.contains("FATAL"),
                "{last}"
            );
        }
        std::thread::sleep(Duration::from_secs(2));
        told.extend(load.end());
        for i in &victims {
            databases[*i].tell("start");
            cluster.start_one(*i);
        }
        cluster.wait_healthy();
        assert_kept(&cluster, &told);
    }
    println!("{} keys, the highest at {:?}", told.len(), told.values().max());
    // An idle server notices too.
    std::thread::sleep(Duration::from_secs(1));
    databases[1].tell("kill");
    end_of(&mut cluster, 1);
    // Without its database it does not start, and says why.
    cluster.start_one(1);
    let last = end_of(&mut cluster, 1);
    assert!(last.contains("cannot connect") && last.contains("schema seaworthy"), "{last}");
}

/// Index, term, operation and key of the entries in force, above an index.
fn log_view(database: &PrivateCluster, i: usize, above: u64) -> String {
    let columns = "index, term, operation, key";
    database.sql("postgres", &format!("SELECT {columns} FROM n{i}.log WHERE index > {above}"))
}

#[test]
fn a_conflicting_log_is_repaired_and_a_restart_of_all_changes_nothing() {
    let Some(database) = database() else { return };
    let mut cluster = cluster(|i| database.url("postgres", &format!("n{i}")), &[]);
    start_all(&mut cluster);
    for key in ["a", "b/c", "with%20blank", "%00%09"] {
        assert!(put(&cluster, 0, key, "1"));
    }
    let led = leader(&cluster);
    let others: Vec<usize> = (0..3).filter(|i| *i != led).collect();
    // The others are gone, so this is in one log alone.
    others.iter().for_each(|i| cluster.kill(*i));
    let port = cluster.servers[led].port;
    let lonely = std::thread::spawn(move || http(port, "PUT", "/v1/lonely", b"1"));
    wait_for("the entry in the view", Duration::from_secs(5), || {
        log_view(&database, led, 0).contains("|put|lonely")
    });
    cluster.kill(led);
    assert!(lonely.join().unwrap().is_none_or(|(status, _)| status >= 400));
    others.iter().for_each(|i| cluster.start_one(*i));
    cluster.wait_healthy();
    assert!(put(&cluster, others[0], "later", "2"));
    cluster.start_one(led);
    for i in 0..3 {
        wait_for("the later value", Duration::from_secs(20), || {
            own_value(&cluster, i, "later").as_deref() == Some("2")
        });
        assert_eq!(own_value(&cluster, i, "lonely"), None, "n{i} holds what was never committed");
    }
    // All three logs say the same, in words that people can read.
    wait_for("equal logs", Duration::from_secs(10), || {
        let logs = [0, 1, 2].map(|i| log_view(&database, i, 0));
        logs[0] == logs[1] && logs[1] == logs[2]
    });
    let log = log_view(&database, led, 0);
    for part in [
        "|put|a\n",
        "|put|b/c\n",
        "|put|with blank\n",
        "|put|\\x00\\x09\n",
        "|put|later",
        "|open|n1",
    ] {
        assert!(log.contains(part), "{part:?} is not in\n{log}");
    }
    assert!(!log.contains("lonely"), "{log}");
    let votes =
        (0..3).map(|i| database.sql("postgres", &format!("SELECT term, voted_for FROM n{i}.vote")));
    assert!(votes.into_iter().all(|row| row.contains('|')), "each has a term and a vote");
    (0..3).for_each(|i| cluster.kill(i));
    start_all(&mut cluster);
    for (key, value) in [("a", "1"), ("with%20blank", "1"), ("%00%09", "1"), ("later", "2")] {
        let (_, body) = http(cluster.servers[1].port, "GET", &format!("/v1/{key}"), b"").unwrap();
        assert_eq!(body, value.as_bytes(), "{key}");
    }
}

#[test]
fn a_server_that_comes_back_late_gets_the_snapshot() {
    let Some(database) = database() else { return };
    let flags = [("--snapshot-bytes", "200000")];
    let mut cluster = cluster(|i| database.url("postgres", &format!("n{i}")), &flags);
    start_all(&mut cluster);
    cluster.kill(2);
    // More than the entries that stay in a log for those that are behind.
    let value = "v".repeat(200);
    let writers = (0..16).map(|writer| {
        let ports = [cluster.servers[0].port, cluster.servers[1].port];
        let value = value.clone();
        std::thread::spawn(move || {
            for n in 0..700 {
                let path = format!("/v1/k{writer}-{n}");
                let answer = http(ports[n % 2], "PUT", &path, value.as_bytes());
                assert!(answer.is_some_and(|(status, _)| status == 201), "{path}");
            }
        })
    });
    writers.collect::<Vec<_>>().into_iter().for_each(|writer| writer.join().unwrap());
    cluster.start_one(2);
    for _ in 0..2 {
        wait_for("the last values", Duration::from_secs(30), || {
            (0..16).all(|w| own_value(&cluster, 2, &format!("k{w}-699")).as_deref() == Some(&value))
        });
        assert!(cluster.log("n2").contains("took a snapshot of everything"), "by entries");
        let pieces = database.sql("postgres", "SELECT sum(length(bytes)) FROM n2.piece");
        assert!(pieces.parse::<u64>().unwrap() > 1_000_000, "{pieces} bytes of snapshot");
        // It starts again from the snapshot that it was given.
        cluster.kill(2);
        cluster.start_one(2);
    }
}

#[test]
fn a_schema_that_is_not_its_own_is_refused_with_both_names() {
    let Some(database) = database() else { return };
    let mut cluster = cluster(|_| database.url("postgres", "shared"), &[]);
    cluster.start_one(0);
    wait_for("n0", Duration::from_secs(10), || {
        http(cluster.servers[0].port, "GET", "/livez", b"").is_some()
    });
    // Another server while the first one runs; and when it is gone.
    cluster.start_one(1);
    let last = end_of(&mut cluster, 1);
    assert!(last.contains("in use") && last.contains("seaworthy n0"), "{last}");
    cluster.kill(0);
    cluster.start_one(1);
    let last = end_of(&mut cluster, 1);
    for part in ["belongs to node n0", "this is node n1", "schema of its own"] {
        assert!(last.contains(part), "{last}");
    }
    // The same name in another cluster.
    cluster.add_flag_to(0, "--initial-cluster-token", "another");
    cluster.start_one(0);
    let last = end_of(&mut cluster, 0);
    assert!(last.contains("seaworthy-cluster") && last.contains("another"), "{last}");
}

/// Copies a schema, as a backup would.
fn copy_schema(database: &PrivateCluster, from: &str, to: &str) {
    let tables = ["node", "stream", "record", "checkpoint", "piece"].map(|table| {
        format!(
            "CREATE TABLE {to}.{table} (LIKE {from}.{table} INCLUDING ALL);
             INSERT INTO {to}.{table} SELECT * FROM {from}.{table};"
        )
    });
    database.sql("postgres", &format!("CREATE SCHEMA {to}; {}", tables.concat()));
}

#[test]
fn an_older_backup_of_a_schema_is_refused_by_the_others() {
    let Some(database) = database() else { return };
    let mut cluster = cluster(|i| database.url("postgres", &format!("n{i}")), &[]);
    start_all(&mut cluster);
    cluster.kill(2);
    copy_schema(&database, "n2", "older");
    cluster.start_one(2);
    cluster.wait_healthy();
    assert!(put(&cluster, 2, "a", "1"));
    cluster.kill(2);
    database.sql("postgres", "DROP SCHEMA n2 CASCADE; ALTER SCHEMA older RENAME TO n2");
    cluster.start_one(2);
    let last = end_of(&mut cluster, 2);
    assert!(last.contains("older copy") && last.contains("remove it from the cluster"), "{last}");
}

/// The program with these words: whether it succeeded, and all that it said.
fn run(words: &[&str]) -> (bool, String) {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"));
    let output = program.args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_log_in_a_database_is_printed_and_the_last_of_three_becomes_a_cluster() {
    let Some(database) = database() else { return };
    let url = |i: usize| database.url("postgres", &format!("n{i}"));
    // Small enough that a state stands beside the log.
    let mut cluster = cluster(url, &[("--snapshot-bytes", "20000")]);
    start_all(&mut cluster);
    let value = "v".repeat(1000);
    for n in 0..60 {
        assert!(put(&cluster, n % 3, &format!("k{n}"), &value));
    }
    wait_for("a state", Duration::from_secs(20), || {
        let count = "SELECT count(*) FROM n0.checkpoint WHERE stream = ':states'";
        database.sql("postgres", count) != "0"
    });
    assert!(put(&cluster, 0, "last", "1"));
    // Both are asked while the server runs: to print is harmless, to recover is not.
    wait_for("the entry", Duration::from_secs(5), || {
        let (ok, log) = run(&["log", &url(0)]);
        assert!(ok, "{log}");
        log.contains("\tput\tlast\t1\n")
    });
    let (ok, why) = run(&["recover", &url(0), "--make-cluster"]);
    assert!(!ok && why.contains("in use") && why.contains("Stop that process"), "{why}");
    let (ok, why) = run(&["log", &database.url("postgres", "n9")]);
    assert!(!ok && why.contains("schema n9") && why.contains("?schema=NAME"), "{why}");
    (0..3).for_each(|i| cluster.kill(i));

    let (ok, text) = run(&["recover", &url(0)]);
    assert!(ok && text.contains("index of its last entry"), "{text}");
    assert_eq!(database.sql("postgres", "SELECT cluster FROM n0.node"), "seaworthy-cluster");
    let (ok, text) = run(&["recover", &url(0), "--make-cluster"]);
    assert!(ok && text.contains("made a new cluster of n0 alone: 61 keys"), "{text}");
    assert!(text.contains("in the schema n0_before_recovery"), "{text}");
    let old = database.sql("postgres", "SELECT key FROM n0_before_recovery.log WHERE key = 'last'");
    assert_eq!(old, "last", "the view reads the tables that were renamed with it");
    let (ok, why) = run(&["recover", &url(0), "--make-cluster"]);
    assert!(!ok && why.contains("n0_before_recovery is there already"), "{why}");
    // It starts with the flags that it had, twice, and a server of the old cluster is refused.
    for _ in 0..2 {
        cluster.start_one(0);
        wait_for("the new cluster", Duration::from_secs(20), || put(&cluster, 0, "after", "2"));
        assert_eq!(own_value(&cluster, 0, "k0").as_deref(), Some(&*value));
        assert_eq!(own_value(&cluster, 0, "last").as_deref(), Some("1"));
        cluster.kill(0);
    }
    cluster.start_one(0);
    cluster.start_one(1);
    wait_for("the refusal", Duration::from_secs(20), || {
        let log = cluster.log("n1");
        log.contains("neither listens to the other") || log.contains("no member")
    });
}

#[test]
fn a_backup_is_restored_into_a_database() {
    use seaworthy_server::proto::etcdserverpb::SnapshotRequest;
    use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
    let Some(database) = database() else { return };
    let old = Cluster::start_ours(1);
    for n in 0..20 {
        assert!(put(&old, 0, &format!("k{n}"), "kept"));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backup = runtime.block_on(async {
        let answer = MaintenanceClient::new(old.channel(0)).snapshot(SnapshotRequest {}).await;
        let (mut pieces, mut backup) = (answer.unwrap().into_inner(), Vec::new());
        while let Some(piece) = pieces.message().await.unwrap() {
            backup.extend_from_slice(&piece.blob);
        }
        backup
    });
    let file = old.dir.path().join("backup").display().to_string();
    std::fs::write(&file, backup).unwrap();
    let mut new = cluster(|i| database.url("postgres", &format!("r{i}")), &[]);
    for i in 0..3 {
        let flags: Vec<&str> = new.servers[i].command[1..].iter().map(String::as_str).collect();
        let words = [&["snapshot", "restore", &file][..], &flags].concat();
        let (ok, why) = run(&words);
        assert!(ok && why.contains("holds 20 keys at revision 21"), "{why}");
        let (ok, why) = run(&words);
        assert!(!ok && why.contains("is not empty: nothing was changed there"), "{why}");
    }
    start_all(&mut new);
    assert_eq!(own_value(&new, 2, "k19").as_deref(), Some("kept"));
    assert!(put(&new, 1, "k20", "new"));
    (0..3).for_each(|i| new.kill(i));
    start_all(&mut new);
    let (status, _) = http(new.servers[0].port, "GET", "/v1/k20", b"").unwrap();
    assert_eq!(status, 200);
}

/// The members that vote, by the words of a server.
fn voters(cluster: &Cluster, i: usize) -> usize {
    let (_, body) = http(cluster.servers[i].port, "GET", "/cluster", b"").unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let members = answer["members"].as_array().unwrap();
    let roles = members.iter().filter_map(|member| member["role"].as_str());
    roles.filter(|role| ["leader", "follower"].contains(role)).count()
}

#[test]
fn one_command_joins_a_server_with_its_log_in_a_database() {
    let Some(database) = database() else { return };
    // A founder with files, whose log begins with a snapshot, and whose token is another than the default.
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 1);
    cluster.add_flag("--snapshot-bytes", "20000");
    cluster.add_flag("--initial-cluster-token", "another");
    cluster.start_one(0);
    cluster.wait_healthy();
    let value = "v".repeat(1000);
    for n in 0..60 {
        assert!(put(&cluster, 0, &format!("k{n}"), &value));
    }
    let join = format!("http://127.0.0.1:{}", cluster.servers[0].port);
    for name in ["n1", "n2"] {
        let store = database.url("postgres", name);
        let i = cluster.add_server(name, &[("--join", &join), ("--store", &store)]);
        cluster.start_one(i);
        wait_for("its promotion", Duration::from_secs(30), || voters(&cluster, 0) == i + 1);
        wait_for("the last value", Duration::from_secs(20), || {
            own_value(&cluster, i, "k59").as_deref() == Some(&value)
        });
    }
    // The flags stay: neither is added again. With both it is a majority without the founder.
    for _ in 0..2 {
        for i in [1, 2] {
            cluster.kill(i);
            cluster.start_one(i);
        }
        cluster.wait_healthy();
    }
    assert_eq!(voters(&cluster, 2), 3);
    cluster.kill(0);
    wait_for("a majority", Duration::from_secs(20), || put(&cluster, 1, "later", "2"));
    wait_for("the entry", Duration::from_secs(20), || {
        own_value(&cluster, 2, "later").as_deref() == Some("2")
    });
    assert!(log_view(&database, 1, 0).contains("|put|later"));
    assert_eq!(database.sql("postgres", "SELECT about->>'token' FROM n1.node"), "another");
    // Another cluster's flags are refused, as for a founder.
    cluster.kill(1);
    cluster.add_flag_to(1, "--initial-cluster-token", "third");
    cluster.start_one(1);
    let last = end_of(&mut cluster, 1);
    assert!(last.contains("third"), "{last}");
}
