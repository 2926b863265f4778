//! Three real servers: they start in any order, lose their leader, are killed all at once,
//! and refuse the data of others.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use support::{Cluster, copy_dir, http, http_with, wait_for};
use tonic::transport::Channel;

fn put(key: &str, value: &str) -> pb::PutRequest {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    pb::PutRequest { key, value, ..Default::default() }
}

fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: Bytes::from(key.to_owned()), ..Default::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn status(channel: Channel) -> Option<pb::StatusResponse> {
    MaintenanceClient::new(channel).status(pb::StatusRequest {}).await.ok().map(|a| a.into_inner())
}

/// The place of the server that leads.
async fn leader(cluster: &Cluster) -> usize {
    loop {
        for i in 0..cluster.servers.len() {
            if let Some(status) = status(cluster.channel(i)).await
                && let Some(header) = status.header
                && header.member_id == status.leader
            {
                return i;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_server_alone_waits_and_a_second_one_makes_them_healthy() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3);
    cluster.start_one(2);
    wait_for("the port", Duration::from_secs(10), || {
        http(cluster.servers[2].port, "GET", "/livez", b"").is_some()
    });
    std::thread::sleep(Duration::from_secs(3));
    let alone = runtime.block_on(status(cluster.channel(2))).unwrap();
    assert_eq!((alone.raft_term, alone.leader), (0, 0), "alone it raises no term");
    let began = Instant::now();
    cluster.start_one(0);
    cluster.wait_healthy();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    cluster.start_one(1);
    cluster.wait_healthy();
}

/// The writes that were acknowledged to clients, by key: the highest number.
type Told = Arc<Mutex<BTreeMap<String, u64>>>;

/// Clients that write rising numbers, each to a key of its own, at the server `i`.
struct Load {
    stop: Arc<AtomicBool>,
    told: Told,
    errors: Arc<Mutex<Vec<String>>>,
    longest_ms: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(cluster: &Cluster, servers: &[usize], clients: usize, round: usize) -> Load {
        let load = Load {
            stop: Arc::default(),
            told: Arc::default(),
            errors: Arc::default(),
            longest_ms: Arc::default(),
            tasks: Vec::new(),
        };
        let mut load = load;
        for client in 0..clients {
            let channel = cluster.channel(servers[client % servers.len()]);
            let mut kv = KvClient::new(channel);
            let (stop, told) = (load.stop.clone(), load.told.clone());
            let (errors, longest) = (load.errors.clone(), load.longest_ms.clone());
            load.tasks.push(tokio::spawn(async move {
                let key = format!("r{round}-c{client}");
                for number in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let began = Instant::now();
                    match kv.put(put(&key, &number.to_string())).await {
                        Ok(_) => {
                            told.lock().unwrap().insert(key.clone(), number);
                            let ms = began.elapsed().as_millis() as u64;
                            longest.fetch_max(ms, Ordering::Relaxed);
                        }
                        Err(error) => {
                            errors.lock().unwrap().push(format!("{key}: {error}"));
                            return;
                        }
                    }
                }
            }));
        }
        load
    }

    async fn end(self) -> (BTreeMap<String, u64>, Vec<String>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let told = self.told.lock().unwrap().clone();
        let errors = self.errors.lock().unwrap().clone();
        (told, errors, self.longest_ms.load(Ordering::Relaxed))
    }
}

/// Panics if a server holds less than was told.
async fn check_kept(cluster: &Cluster, i: usize, told: &BTreeMap<String, u64>) {
    let mut kv = KvClient::new(cluster.channel(i));
    for (key, number) in told {
        let answer = kv.range(get(key)).await.unwrap().into_inner();
        let value =
            answer.kvs.first().map(|pair| String::from_utf8_lossy(&pair.value).into_owned());
        let value: u64 = value.and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(value >= *number, "{key} is {value}, and {number} was acknowledged");
    }
}

#[test]
fn a_killed_leader_costs_no_answer() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::start_ours(3);
    let rounds = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    for round in 0..rounds {
        let led = runtime.block_on(leader(&cluster));
        let others: Vec<usize> = (0..3).filter(|i| *i != led).collect();
        let load = Load::start(&cluster, &others, 64, round);
        std::thread::sleep(Duration::from_millis(700));
        cluster.kill(led);
        std::thread::sleep(Duration::from_millis(3500));
        let (told, errors, longest) = runtime.block_on(load.end());
        assert!(errors.is_empty(), "round {round}: {errors:?}");
        assert!(longest < 3000, "round {round}: a put took {longest} ms");
        println!("round {round}: {} keys, the longest put took {longest} ms", told.len());
        cluster.start_one(led);
        cluster.wait_healthy();
        runtime.block_on(check_kept(&cluster, led, &told));
    }
}

#[test]
fn all_killed_at_once_lose_nothing_that_was_acknowledged() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::start_ours(3);
    let rounds = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let mut all = BTreeMap::new();
    for round in 0..rounds {
        let load = Load::start(&cluster, &[0, 1, 2], 48, round);
        std::thread::sleep(Duration::from_millis(600));
        (0..3).for_each(|i| cluster.kill(i));
        let (told, _, _) = runtime.block_on(load.end());
        assert!(!told.is_empty(), "round {round}: there was no load");
        all.extend(told);
        (0..3).for_each(|i| cluster.start_one(i));
        cluster.wait_healthy();
        runtime.block_on(check_kept(&cluster, round % 3, &all));
    }
}

#[test]
fn any_bytes_are_kept_over_a_restart() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::start_ours(1);
    let long = vec![b'k'; 64 << 10];
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"empty".to_vec(), b"".to_vec()),
        (b"\0".to_vec(), b"\0\0".to_vec()),
        (b"a b\tc\nd".to_vec(), b"\n\r\t ".to_vec()),
        (b"\xff\xfe".to_vec(), b"\xff".to_vec()),
        (long, b"long key".to_vec()),
        (b"large".to_vec(), vec![7; (3 << 19) - 100]),
    ];
    runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        for (key, value) in &pairs {
            let (key, value) = (key.clone().into(), value.clone().into());
            kv.put(pb::PutRequest { key, value, ..Default::default() }).await.unwrap();
        }
        for (key, value, message) in [
            (&b""[..], 1, "etcdserver: key is not provided"),
            (b"large", 3 << 19, "etcdserver: request is too large"),
        ] {
            let (key, value) = (key.to_vec().into(), vec![1; value].into());
            let put = kv.put(pb::PutRequest { key, value, ..Default::default() }).await;
            assert_eq!(put.unwrap_err().message(), message);
        }
    });
    cluster.kill(0);
    cluster.start_one(0);
    cluster.wait_healthy();
    runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0)).max_decoding_message_size(16 << 20);
        for (key, value) in &pairs {
            let request = pb::RangeRequest { key: key.clone().into(), ..Default::default() };
            let answer = kv.range(request).await.unwrap().into_inner();
            assert_eq!(answer.kvs[0].value, value);
        }
    });
}

#[test]
fn a_restart_goes_on_from_the_last_state_and_a_damaged_one_is_named() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 1);
    cluster.add_flag("--snapshot-bytes", "20000");
    cluster.start_one(0);
    cluster.wait_healthy();
    let mut kv = KvClient::new(cluster.channel(0));
    let value = "x".repeat(200);
    for i in 0..500 {
        runtime.block_on(kv.put(put(&format!("key-{i}"), &value))).unwrap();
    }
    let dir = cluster.data_dir(0).join("states");
    let states = || -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(&dir).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_none()).collect()
    };
    wait_for("one state is kept", Duration::from_secs(10), || states().len() == 1);
    for _ in 0..2 {
        cluster.kill(0);
        cluster.start_one(0);
        cluster.wait_healthy();
        let mut kv = KvClient::new(cluster.channel(0));
        for i in 0..500 {
            let answer = runtime.block_on(kv.range(get(&format!("key-{i}")))).unwrap();
            assert_eq!(answer.into_inner().kvs.len(), 1, "key-{i}");
        }
    }
    cluster.kill(0);
    let state = states().pop().unwrap();
    let mut bytes = std::fs::read(&state).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let log = refusal(&mut cluster, 0);
    assert_says(&log, &["damaged", &state.display().to_string()]);
    std::fs::remove_file(&state).unwrap();
    let log = refusal(&mut cluster, 0);
    assert_says(&log, &["the log goes on from this state", &state.display().to_string()]);
}

#[test]
fn rest_and_its_conditions() {
    let cluster = Cluster::start_ours(1);
    let port = cluster.servers[0].port;
    let call = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let (status, head, body) = http_with(port, method, path, headers, body).unwrap();
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).map(str::to_owned);
        (status, tag.unwrap_or_default(), body)
    };
    assert_eq!(call("GET", "/v1/k", &[], b"").0, 404);
    let (status, first, _) = call("PUT", "/v1/k", &[("if-none-match", "*")], b"\0one");
    assert_eq!(status, 201);
    assert_eq!(call("PUT", "/v1/k", &[("if-none-match", "*")], b"no").0, 412);
    let (status, second, _) = call("PUT", "/v1/k", &[("if-match", &first)], b"two");
    assert_eq!(status, 200);
    assert_ne!(first, second);
    assert_eq!(call("PUT", "/v1/k", &[("if-match", &first)], b"no").0, 412);
    assert_eq!(call("GET", "/v1/k?consistency=serializable", &[], b"").2, b"two");
    assert_eq!(call("GET", "/v1/k?consistency=what", &[], b"").0, 400);
    assert_eq!(call("DELETE", "/v1/k", &[("if-match", &first)], b"").0, 412);
    assert_eq!(call("DELETE", "/v1/k", &[("if-match", &second)], b"").0, 200);
    assert_eq!(call("DELETE", "/v1/k", &[("if-match", &second)], b"").0, 404);
    assert_eq!(call("DELETE", "/v1/k", &[], b"").0, 200);
    assert_eq!(call("PUT", "/v1/large", &[], &vec![0; 3 << 19]).0, 413);
}

#[test]
fn the_peer_port_answers_http_with_a_sentence() {
    let cluster = Cluster::start_ours(1);
    let (status, body) = http(cluster.servers[0].peer_port, "GET", "/", b"").unwrap();
    assert_eq!(status, 400);
    let text = String::from_utf8(body).unwrap();
    assert!(
        text.contains(&format!(
            "Clients are served at http://127.0.0.1:{}",
            cluster.servers[0].port
        )),
        "{text}"
    );
}

#[test]
fn the_demonstration_runs_three_servers_and_leaves_nothing_behind() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"));
    let child = command.arg("demo").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut demo = support::Process(child);
    let mut lines = std::io::BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let mut told = String::new();
    while !told.contains("Stop with Ctrl-C") {
        told.push_str(&lines.next().expect("it goes on until it has told everything").unwrap());
        told.push('\n');
    }
    let ports = told.lines().filter_map(|line| line.strip_prefix("  n"));
    let ports = ports.filter_map(|line| line.split("127.0.0.1:").nth(1)?.split(' ').next());
    let ports: Vec<u16> = ports.map(|port| port.parse().unwrap()).collect();
    assert_eq!(ports.len(), 3, "{told}");
    assert_eq!(http(ports[0], "PUT", "/v1/note", b"from a test").unwrap().0, 201);
    assert_eq!(http(ports[2], "GET", "/v1/note", b"").unwrap().1, b"from a test");
    let (status, page) = http(ports[1], "GET", "/", b"").unwrap();
    assert!(status == 200 && String::from_utf8_lossy(&page).contains("<title>seaworthy"));
    let (_, state) = http(ports[1], "GET", "/cluster", b"").unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["members"].as_array().unwrap().len(), 3, "{state}");
    let directory = told.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(std::path::Path::new(&directory).is_dir(), "{directory}");
    let pid = demo.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    wait_for("its end", Duration::from_secs(10), || demo.0.try_wait().unwrap().is_some());
    assert!(!std::path::Path::new(&directory).exists(), "{directory}");
    interrupt_at_the_start();
}

/// Interrupts a demonstration whose first server is just being started.
fn interrupt_at_the_start() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"));
    let child = command.arg("demo").env("TMPDIR", temporary.path()).spawn().unwrap();
    let mut demo = support::Process(child);
    let has_begun = || {
        let made = std::fs::read_dir(temporary.path()).unwrap().next();
        made.is_some_and(|directory| directory.unwrap().path().join("n1.log").exists())
    };
    wait_for("its first server", Duration::from_secs(10), has_begun);
    let pid = demo.0.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    wait_for("its end", Duration::from_secs(20), || demo.0.try_wait().unwrap().is_some());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// Starts a server that must refuse, and returns its log.
fn refusal(cluster: &mut Cluster, i: usize) -> String {
    let before = cluster.log(&cluster.servers[i].name).len();
    cluster.start_one(i);
    let mut process = cluster.servers[i].process.take().unwrap();
    let what = format!("n{i} ends");
    wait_for(&what, Duration::from_secs(15), || process.0.try_wait().unwrap().is_some());
    let code = process.0.try_wait().unwrap().unwrap().code();
    let log = cluster.log(&cluster.servers[i].name)[before..].to_owned();
    assert_eq!(code, Some(1), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    log
}

fn assert_says(log: &str, parts: &[&str]) {
    for part in parts {
        assert!(log.contains(part), "{part:?} is missing in: {log}");
    }
}

#[test]
fn six_mix_ups_are_six_refusals() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::start_ours(3);
    let older = cluster.dir.path().join("older");
    cluster.kill(2);
    copy_dir(&cluster.data_dir(2), &older);
    cluster.start_one(2);
    cluster.wait_healthy();
    let ports = (cluster.servers[2].port, cluster.servers[2].peer_port);
    two_on_one_directory_and_on_a_copy(&mut cluster);

    // An older copy.
    cluster.set_ports(2, ports);
    cluster.set_data_dir(2, &older);
    for _ in 0..3 {
        let log = refusal(&mut cluster, 2);
        assert_says(&log, &["n2", "older copy", "remove it from the cluster"]);
    }

    // An emptied directory.
    cluster.set_data_dir(2, &cluster.dir.path().join("empty"));
    let log = refusal(&mut cluster, 2);
    assert_says(&log, &["n2", "incarnation", "remove it from the cluster"]);

    // Another server's.
    cluster.kill(1);
    let theirs = cluster.data_dir(1);
    cluster.set_data_dir(2, &theirs);
    let log = refusal(&mut cluster, 2);
    assert_says(&log, &["\"n1\"", "\"n2\"", "--name"]);
    a_directory_of_another_cluster(&mut cluster, &runtime);
}

/// Starts a second process for n2: on the directory of the first, and on a copy of it.
fn two_on_one_directory_and_on_a_copy(cluster: &mut Cluster) {
    let running = cluster.servers[2].process.take().unwrap();
    cluster.move_to_free_ports(2);
    let log = refusal(cluster, 2);
    assert_says(&log, &["n2", "in use"]);

    let data = cluster.data_dir(2);
    let copy = cluster.dir.path().join("copy");
    copy_dir(&data, &copy);
    std::fs::remove_file(copy.join("log/lock")).unwrap();
    cluster.set_data_dir(2, &copy);
    cluster.start_one(2);
    let copied = cluster.servers[2].process.take().unwrap();
    let mut both = [running, copied];
    wait_for("one of both ends", Duration::from_secs(15), || {
        both.iter_mut().any(|process| process.0.try_wait().unwrap().is_some())
    });
    std::thread::sleep(Duration::from_millis(500));
    let alive = both.iter_mut().map(|p| p.0.try_wait().unwrap()).filter(Option::is_none).count();
    assert_eq!(alive, 1, "exactly one of both goes on");
    assert_says(&cluster.log("n2"), &["n2", "copy", "directory"]);
}

/// Starts n1 on the data of a server of the same name in another cluster.
fn a_directory_of_another_cluster(cluster: &mut Cluster, runtime: &tokio::runtime::Runtime) {
    let foreign = Cluster::start_ours(3);
    wait_for("the identity of the other cluster", Duration::from_secs(10), || {
        let status = runtime.block_on(status(foreign.channel(1)));
        status.and_then(|status| status.header).is_some_and(|header| header.cluster_id != 0)
    });
    // It is in the log with the flush after that.
    std::thread::sleep(Duration::from_millis(500));
    let copy = foreign.dir.path().join("n1-copy");
    cluster.set_data_dir(1, &copy);
    copy_dir(&foreign.data_dir(1), &copy);
    drop(foreign.servers);
    cluster.start_one(1);
    wait_for("a refusal", Duration::from_secs(10), || {
        cluster.log("n0").contains("neither listens")
    });
    assert_says(&cluster.log("n0"), &["n0 is of cluster", "n1 is of cluster", "--initial-cluster"]);
    drop(foreign.dir);
}
