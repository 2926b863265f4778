//! Quota and alarms, and backups, as `etcdctl` has them.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use support::{Cluster, etcdctl, has_program, http, wait_for};
use tonic::Code;

fn has_etcdctl() -> bool {
    let found = has_program("etcdctl");
    if !found {
        println!("skipped: etcdctl is not installed (apt: etcd-client)");
    }
    found
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Puts 100 KiB values until one is refused; the answer is the refusal.
async fn fill(cluster: &Cluster, i: usize) -> tonic::Status {
    let mut kv = KvClient::new(cluster.channel(i));
    for n in 0..1000 {
        let (key, value) = (Bytes::from(format!("k{n}")), vec![b'x'; 100 << 10].into());
        if let Err(refusal) = kv.put(pb::PutRequest { key, value, ..Default::default() }).await {
            return refusal;
        }
    }
    panic!("a quota of 3 MB holds 100 MB");
}

fn call(cluster: &Cluster, words: &str) -> (bool, String, String) {
    etcdctl(&cluster.endpoints(), &words.split(' ').collect::<Vec<_>>(), "")
}

#[test]
fn a_quota_stops_what_takes_space_and_its_alarm_lifts_itself() {
    if !has_etcdctl() {
        return;
    }
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3);
    cluster.add_flag("--quota-backend-bytes", "3000000");
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    let runtime = runtime();
    let refusal = runtime.block_on(fill(&cluster, 0));
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert_eq!(refusal.message(), "etcdserver: mvcc: database space exceeded");
    let list = |cluster: &Cluster| call(cluster, "alarm list").1;
    assert!(list(&cluster).contains("alarm:NOSPACE"), "{}", list(&cluster));
    // On every server, by every way in; a deletion takes none, and is carried out.
    for i in 0..3 {
        let endpoint = format!("127.0.0.1:{}", cluster.servers[i].port);
        let call = |words: &str| etcdctl(&endpoint, &words.split(' ').collect::<Vec<_>>(), "");
        assert!(call("put a b").2.contains("database space exceeded"), "{:?}", call("put a b"));
        assert!(call("lease grant 10").2.contains("database space exceeded"));
        assert!(call("get k0 --keys-only").0 && call("del nothing").0);
        let health = http(cluster.servers[i].port, "GET", "/health", b"").unwrap();
        assert_eq!(health.0, 503, "{}", String::from_utf8_lossy(&health.1));
        let path = "/health?exclude=NOSPACE";
        assert_eq!(http(cluster.servers[i].port, "GET", path, b"").unwrap().0, 200);
        let body = br#"{"key": "YQ==", "value": "Yg=="}"#;
        assert_eq!(http(cluster.servers[i].port, "POST", "/v3/kv/put", body).unwrap().0, 429);
    }
    // Disarming does not help while it is full: as in etcd, the next put raises it again.
    assert!(call(&cluster, "alarm disarm").1.contains("alarm:NOSPACE"));
    // A server that has not heard of the end of the alarm yet refuses without raising one.
    wait_for("the alarm", Duration::from_secs(5), || {
        let refusal = runtime.block_on(fill(&cluster, 1));
        assert_eq!(refusal.message(), "etcdserver: mvcc: database space exceeded");
        list(&cluster).contains("alarm:NOSPACE")
    });
    assert!(call(&cluster, "del k --prefix").0);
    let (_, json, _) = call(&cluster, "get x -w json");
    let revision = json.split("\"revision\":").nth(1).unwrap().split(',').next().unwrap();
    assert!(call(&cluster, &format!("compact {revision}")).0);
    wait_for("the end of the alarm", Duration::from_secs(5), || list(&cluster).is_empty());
    assert!(call(&cluster, "put a b").0, "{:?}", call(&cluster, "put a b"));
    assert!(call(&cluster, "defrag").0);
}

/// The one who looks after a cluster without a majority wants a backup first of all; and one who has
/// the wrong address wants to hear so at once.
#[test]
fn a_server_without_a_majority_gives_a_backup() {
    if !has_etcdctl() {
        return;
    }
    let mut cluster = Cluster::start_ours(3);
    // The server that is asked has what it acknowledged.
    let port = cluster.servers[0].port;
    assert_eq!(http(port, "PUT", "/v1/a", b"b").unwrap().0, 201);
    [1, 2].into_iter().for_each(|i| cluster.kill(i));
    wait_for("no leader", Duration::from_secs(10), || {
        http(port, "GET", "/health", b"").is_some_and(|(status, _)| status == 503)
    });
    let file = cluster.dir.path().join("backup").display().to_string();
    let endpoint = format!("127.0.0.1:{port}");
    let save =
        |file: &str| etcdctl(&endpoint, &["--command-timeout=20s", "snapshot", "save", file], "");
    assert!(save(&file).0, "{:?}", save(&file));
    let program = env!("CARGO_BIN_EXE_seaworthy-server");
    let about = std::process::Command::new(program).args(["snapshot", "status", &file]).output();
    let about = String::from_utf8(about.unwrap().stdout).unwrap();
    assert!(about.contains("\"keys\": 1,"), "{about}");
    // One that has just started does not know the commit index, and gives none that may be old.
    cluster.kill(0);
    cluster.start_one(0);
    wait_for("a port", Duration::from_secs(10), || http(port, "GET", "/version", b"").is_some());
    let (status, _) = http(port, "POST", "/v3/maintenance/snapshot", b"").unwrap();
    assert_eq!(status, 503);
}

/// Clients of etcd 3.4 put the URL in the place of host and port.
#[test]
fn etcdctl_takes_endpoints_as_urls() {
    if !has_etcdctl() {
        return;
    }
    let cluster = Cluster::start_ours(1);
    let url = format!("http://{}", cluster.endpoints());
    for words in [
        "endpoint status --cluster",
        "endpoint hashkv",
        "defrag --cluster",
        "endpoint health",
        "put a b",
    ] {
        let answer = etcdctl(&url, &words.split(' ').collect::<Vec<_>>(), "");
        assert!(answer.0, "{words}: {answer:?}");
    }
    let (_, _, refusal) = etcdctl(&url, &["move-leader", "1"], "");
    assert!(refusal.contains("bad leader transferee"), "{refusal}");
}

#[test]
fn servers_agree_on_a_hash_and_refuse_that_of_a_revision_they_lack() {
    let cluster = Cluster::start_ours(3);
    runtime().block_on(async {
        let mut kv = KvClient::new(cluster.channel(0));
        for n in 0..20 {
            let (key, value) = (Bytes::from(format!("k{}", n % 7)), format!("{n}").into());
            kv.put(pb::PutRequest { key, value, ..Default::default() }).await.unwrap();
        }
        kv.compact(pb::CompactionRequest { revision: 5, physical: true }).await.unwrap();
        let mut hashes = Vec::new();
        for i in 0..3 {
            // A linearizable read waits until this server has applied the writes.
            let key = Bytes::from_static(b"k1");
            let read = pb::RangeRequest { key, ..Default::default() };
            KvClient::new(cluster.channel(i)).range(read).await.unwrap();
            let mut client = MaintenanceClient::new(cluster.channel(i));
            let mut hash = async |revision| client.hash_kv(pb::HashKvRequest { revision }).await;
            let [all, some] = [hash(0).await, hash(10).await].map(|h| h.unwrap().into_inner());
            assert_eq!((all.compact_revision, all.header.unwrap().revision), (5, 21));
            assert_ne!(all.hash, some.hash);
            hashes.push((all.hash, some.hash));
            assert_eq!(hash(4).await.unwrap_err().code(), Code::OutOfRange);
            assert_eq!(hash(22).await.unwrap_err().code(), Code::OutOfRange);
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    });
}
