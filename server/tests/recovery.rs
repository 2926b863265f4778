//! Data without servers: a backup becomes a cluster, the last of three servers too, and the log is
//! printed.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use seaworthy_server::proto::etcdserverpb::watch_client::WatchClient;
use support::{Cluster, copy_dir, etcdctl, has_program, http, wait_for};
use tonic::transport::Channel;

const PROGRAM: &str = env!("CARGO_BIN_EXE_seaworthy-server");

/// The program with these words; whether it succeeded, stdout and stderr.
fn run(words: &[&str]) -> (bool, String, String) {
    let output = Command::new(PROGRAM).args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn put(kv: &mut KvClient<Channel>, key: &str, value: &str) -> i64 {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    let answer = kv.put(pb::PutRequest { key, value, ..Default::default() }).await.unwrap();
    answer.into_inner().header.unwrap().revision
}

/// All pairs, and the header.
async fn all(channel: Channel) -> (Vec<(String, String)>, pb::ResponseHeader) {
    let any = Bytes::from_static(b"\0");
    let request = pb::RangeRequest { key: any.clone(), range_end: any, ..Default::default() };
    let answer = KvClient::new(channel).range(request).await.unwrap().into_inner();
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let pairs = answer.kvs.iter().map(|pair| (text(&pair.key), text(&pair.value))).collect();
    (pairs, answer.header.unwrap())
}

async fn save(channel: Channel) -> Vec<u8> {
    let pieces = MaintenanceClient::new(channel).snapshot(pb::SnapshotRequest {}).await.unwrap();
    let (mut pieces, mut backup) = (pieces.into_inner(), Vec::new());
    while let Some(piece) = pieces.message().await.unwrap() {
        backup.extend_from_slice(&piece.blob);
    }
    backup
}

/// Makes the data directory of a server out of a backup.
fn restore(file: &Path, cluster: &Cluster, i: usize, bump: &str) -> (bool, String, String) {
    let peers =
        cluster.servers.iter().map(|s| format!("{}=http://127.0.0.1:{}", s.name, s.peer_port));
    let (peers, server) = (peers.collect::<Vec<_>>().join(","), &cluster.servers[i]);
    let (dir, peer) = (cluster.data_dir(i), format!("http://127.0.0.1:{}", server.peer_port));
    let (file, dir) = (file.display().to_string(), dir.display().to_string());
    let flags = ["--data-dir", &dir, "--name", &server.name, "--initial-cluster", &peers];
    let more = ["--initial-advertise-peer-urls", &peer, "--bump-revision", bump];
    run(&[&["snapshot", "restore", &file][..], &flags, &more].concat())
}

#[test]
fn a_backup_becomes_a_cluster_of_its_own() {
    let old = Cluster::start_ours(1);
    let (runtime, file) = (runtime(), old.dir.path().join("backup"));
    let _guard = runtime.enter();
    let (before, header) = runtime.block_on(async {
        let mut kv = KvClient::new(old.channel(0));
        for n in 0..3000 {
            put(&mut kv, &format!("k{}", n % 1000), &format!("{n}{}", "x".repeat(1000))).await;
        }
        all(old.channel(0)).await
    });
    match has_program("etcdctl") {
        true => {
            let args = ["snapshot", "save", &file.display().to_string()];
            let (ok, _, why) = etcdctl(&old.endpoints(), &args, "");
            assert!(ok, "{why}");
        }
        false => std::fs::write(&file, runtime.block_on(save(old.channel(0)))).unwrap(),
    }
    let path = file.display().to_string();
    let (ok, status, why) = run(&["snapshot", "status", &path]);
    assert!(ok, "{why}");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((&status["revision"], &status["keys"]), (&3001.into(), &1000.into()));

    let mut new = Cluster::new(PROGRAM, 3);
    for i in 0..3 {
        let (ok, _, why) = restore(&file, &new, i, "0");
        assert!(ok, "{why}");
        let (ok, _, why) = restore(&file, &new, i, "0");
        assert!(!ok && why.contains("is not empty"), "{why}");
        new.start_one(i);
    }
    new.wait_healthy();
    runtime.block_on(async {
        let (after, now) = all(new.channel(2)).await;
        assert_eq!((after, now.revision), (before, header.revision), "the revision is kept");
        assert_ne!(now.cluster_id, header.cluster_id);
        assert_eq!(put(&mut KvClient::new(new.channel(1)), "k1", "new").await, 3002);
    });
    (0..3).for_each(|i| new.kill(i));
    (0..3).for_each(|i| new.start_one(i));
    new.wait_healthy();
    let (after, _) = runtime.block_on(all(new.channel(0)));
    assert_eq!(after[1], ("k1".to_owned(), "new".to_owned()));

    let mut bytes = std::fs::read(&file).unwrap();
    bytes[5000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (ok, _, why) = run(&["snapshot", "status", &path]);
    assert!(!ok && why.contains("its checksum does not match"), "{why}");
}

#[test]
fn the_last_of_three_servers_becomes_a_cluster_and_the_others_are_refused() {
    let mut cluster = Cluster::start_ours(3);
    let runtime = runtime();
    let _guard = runtime.enter();
    let (told, old) = runtime.block_on(async {
        for n in 0..300 {
            let mut kv = KvClient::new(cluster.channel(n % 3));
            put(&mut kv, &format!("k{n}"), &format!("{n}")).await;
        }
        all(cluster.channel(0)).await
    });
    // Two of three disks are deleted; that of the third is copied, to come back later.
    let copy = cluster.dir.path().join("old-n1");
    (0..3).for_each(|i| cluster.kill(i));
    copy_dir(&cluster.data_dir(1), &copy);
    std::fs::remove_dir_all(cluster.data_dir(1)).unwrap();
    std::fs::remove_dir_all(cluster.data_dir(2)).unwrap();

    let began = Instant::now();
    let dir = cluster.data_dir(0).display().to_string();
    let (ok, text, why) = run(&["recover", &dir]);
    assert!(ok && text.contains("index of its last entry 3"), "{text} {why}");
    let (ok, text, why) = run(&["recover", &dir, "--make-cluster"]);
    assert!(ok && text.contains("made a new cluster of n0 alone: 300 keys"), "{text} {why}");
    cluster.start_one(0);
    cluster.wait_healthy();
    println!("served again {:?} after the first command", began.elapsed());
    let (kept, header) = runtime.block_on(all(cluster.channel(0)));
    assert_eq!(kept, told);
    assert_ne!(header.cluster_id, old.cluster_id);
    assert!(header.revision >= old.revision + 1_000_000_000);
    runtime.block_on(async {
        put(&mut KvClient::new(cluster.channel(0)), "after", "it").await;
        // A watch that goes on after a revision of the old cluster is told that it is gone.
        let create = pb::WatchCreateRequest {
            key: "k1".into(),
            start_revision: old.revision + 1,
            ..Default::default()
        };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        let request = pb::WatchRequest { request_union: Some(union) };
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(request).await.unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let answers = WatchClient::new(cluster.channel(0)).watch(requests).await.unwrap();
        let mut answers = answers.into_inner();
        assert!(answers.message().await.unwrap().unwrap().created);
        let canceled = answers.message().await.unwrap().unwrap();
        assert!(canceled.canceled && canceled.compact_revision > old.revision, "{canceled:?}");
    });

    // A server of the old cluster comes back, and is not listened to.
    copy_dir(&copy, &cluster.data_dir(1));
    cluster.start_one(1);
    wait_for("the refusal", Duration::from_secs(10), || {
        let log = cluster.log("n1");
        log.contains("neither listens to the other") || log.contains("no member")
    });
    let (kept, _) = runtime.block_on(all(cluster.channel(0)));
    assert_eq!(kept.len(), 301);
    cluster.kill(1);
    cluster.kill(0);
    cluster.start_one(0);
    cluster.servers[1].process = None;
    cluster.wait_healthy();
    assert_eq!(runtime.block_on(all(cluster.channel(0))).0.len(), 301);
    let (ok, _, why) = run(&["recover", &dir]);
    assert!(!ok && why.contains("a server runs on"), "{why}");
}

#[test]
fn a_state_in_a_tree_alone_is_recovered() {
    let mut cluster = Cluster::new(PROGRAM, 3);
    cluster.add_flag("--state", "fjall");
    cluster.add_flag("--snapshot-bytes", "20000");
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    let runtime = runtime();
    let _guard = runtime.enter();
    runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        for n in 0..400 {
            put(&mut kv, &format!("k{}", n % 150), &format!("{n}{}", "x".repeat(500))).await;
        }
    });
    // A batch is due after a second, and a checkpoint after the batch.
    std::thread::sleep(Duration::from_millis(1500));
    let (told, old) = runtime.block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        for n in 0..100 {
            put(&mut kv, &format!("l{n}"), &"y".repeat(500)).await;
        }
        all(cluster.channel(0)).await
    });
    (0..3).for_each(|i| cluster.kill(i));
    let path = cluster.data_dir(0);
    assert_eq!(std::fs::read_dir(path.join("states")).unwrap().count(), 0, "no other state");
    let dir = path.display().to_string();
    let without = cluster.dir.path().join("without");
    copy_dir(&path, &without);
    std::fs::remove_dir_all(without.join("trees")).unwrap();
    let (ok, _, why) = run(&["recover", &without.display().to_string(), "--make-cluster"]);
    assert!(!ok && why.contains("no tree has it"), "the log goes on from the tree: {why}");
    let (ok, text, why) = run(&["recover", &dir, "--make-cluster"]);
    assert!(ok && text.contains("made a new cluster of n0 alone: 250 keys"), "{text} {why}");
    assert!(path.join("before-recovery/trees").exists() && !path.join("trees").exists());
    for kind in ["fjall", "memory", "fjall"] {
        cluster.set_flag(0, "--state", kind);
        cluster.start_one(0);
        cluster.wait_healthy();
        let (kept, header) = runtime.block_on(all(cluster.channel(0)));
        assert_eq!(kept, told, "{kind}");
        assert!(header.revision >= old.revision + 1_000_000_000);
        cluster.kill(0);
    }
}

#[test]
fn a_log_is_a_line_an_entry_whatever_is_in_it() {
    let mut cluster = Cluster::start_ours(1);
    runtime().block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        put(&mut kv, "a\tb\n", "x y\0\\").await;
        let delete =
            pb::DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: true };
        kv.delete_range(delete).await.unwrap();
        let (key, value) = (Bytes::from_static(b"\xff"), Bytes::new());
        kv.put(pb::PutRequest { key, value, ..Default::default() }).await.unwrap();
    });
    let dir = cluster.data_dir(0).display().to_string();
    let lines = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    };
    let tail = [["put", "a\\tb\\n", "x y\\x00\\\\"], ["delete", "a", "c"], ["put", "\\xff", ""]];
    // While the server runs, and after it was killed.
    for _ in 0..2 {
        let (ok, text, why) = run(&["log", &dir]);
        assert!(ok, "{why}");
        let lines = lines(&text);
        assert!(lines.iter().all(|line| line.len() == 5), "{text}");
        let last: Vec<&[String]> = lines[lines.len() - 3..].iter().map(|l| &l[2..]).collect();
        assert_eq!(last, tail, "{text}");
        cluster.kill(0);
    }
    // A torn tail costs the last line, and no more; nothing is changed.
    let log = std::fs::read_dir(format!("{dir}/log/raft")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&log).unwrap();
    std::fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let (ok, text, _) = run(&["log", &dir]);
    assert!(ok && text.contains("\tdelete\t"), "{text}");
    assert_eq!(std::fs::metadata(&log).unwrap().len() as usize, whole.len() - 3);
    // Damage in the middle, and a directory of another kind, is told in a sentence.
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&log, &damaged).unwrap();
    let (ok, _, why) = run(&["log", &dir]);
    assert!(!ok && why.contains("does not verify"), "{why}");
    let other = cluster.dir.path().display().to_string();
    for words in [&["log", &other][..], &["recover", &other], &["log", "/nonexistent"]] {
        let (ok, _, why) = run(words);
        assert!(!ok && why.contains("is no data directory of seaworthy-server"), "{why}");
        assert!(!why.contains("panicked"), "{why}");
    }
}

#[test]
fn flags_that_would_not_find_the_backup_again_are_refused() {
    let two = "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380";
    let twice = "n1=http://10.0.0.1:2380,n2=http://10.0.0.1:2380";
    let cases: [(&[&str], &str); 4] = [
        (&["--initial-cluster-state", "existing"], "begins a new cluster"),
        (&["--join", "http://127.0.0.1:1"], "begins a new cluster"),
        (&["--name", "n1", "--initial-cluster", two], "--initial-advertise-peer-urls says"),
        (&["--name", "n1", "--initial-cluster", twice], "both n1 and n2"),
    ];
    for (flags, wanted) in cases {
        let (ok, _, why) = run(&[&["snapshot", "restore", "missing"][..], flags].concat());
        assert!(!ok && why.contains(wanted), "{flags:?}: {why}");
    }
    // A server refuses the same, before it listens.
    let dir = tempfile::TempDir::new().unwrap();
    let dir = dir.path().join("data").display().to_string();
    let (ok, _, why) = run(&["--data-dir", &dir, "--name", "n1", "--initial-cluster", two]);
    assert!(!ok && why.contains("--initial-advertise-peer-urls says"), "{why}");
    assert!(!Path::new(&dir).exists());
}

/// Its directory does not know the founders' flags, and its id is not made of them.
#[test]
fn a_server_that_joined_becomes_a_cluster() {
    let mut cluster = Cluster::start_ours(3);
    let member = format!("http://127.0.0.1:{}", cluster.servers[0].port);
    let i = cluster.add_server("late", &[("--join", &member)]);
    cluster.start_one(i);
    let votes = || {
        let about = http(cluster.servers[0].port, "GET", "/cluster", b"").unwrap().1;
        let about: serde_json::Value = serde_json::from_slice(&about).unwrap();
        let mut members = about["members"].as_array().unwrap().iter();
        members.any(|member| member["name"] == "late" && member["role"] == "follower")
    };
    wait_for("a fourth voter", Duration::from_secs(20), votes);
    let port = cluster.servers[0].port;
    assert_eq!(http(port, "PUT", "/v1/k", b"kept").unwrap().0, 201);
    // The joined server answers for itself.
    let late = cluster.servers[i].port;
    assert_eq!(http(late, "GET", "/v1/k", b"").unwrap(), (200, b"kept".to_vec()));
    (0..=i).for_each(|i| cluster.kill(i));
    let dir = cluster.data_dir(i).display().to_string();
    let (ok, told, why) = run(&["recover", &dir, "--make-cluster"]);
    assert!(ok && told.contains("1 keys"), "{told}{why}");
    cluster.start_one(i);
    cluster.wait_healthy();
    assert_eq!(http(late, "GET", "/v1/k", b"").unwrap(), (200, b"kept".to_vec()));
    // The others are of the old cluster; what they decide has no effect here.
    (0..i).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    assert_eq!(http(port, "PUT", "/v1/k", b"old").unwrap().0, 200);
    assert_eq!(http(late, "GET", "/v1/k", b"").unwrap(), (200, b"kept".to_vec()));
}
