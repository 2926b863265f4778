//! The same answers as etcd: both get the same requests, and every answer is compared, but
//! for ids, terms, versions and sizes.
//!
//! Needs `etcd` and `etcdctl` (Debian: `etcd-server`, `etcd-client`); without them the test
//! says so and does nothing. `ORACLE_SCRIPTS` is the number of random scripts.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod oracle_scripts;
mod support;

use std::time::Duration;

use bytes::Bytes;
use oracle_scripts::{Op, Side, compared, script};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::cluster_client::ClusterClient;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use support::{Cluster, etcdctl, has_program};

fn has_etcd() -> bool {
    let found = has_program("etcd") && has_program("etcdctl");
    if !found {
        println!("skipped: etcd and etcdctl are not installed (apt: etcd-server etcd-client)");
    }
    found
}

/// `etcdctl` calls of KV, leases and status; words are split at blanks, `\0` stands for a NUL byte
/// and `""` for nothing.
const CALLS: &[&str] = &[
    "get a",
    "put a 1",
    "put a 2 --prev-kv",
    "put b x",
    "put b --ignore-value",
    "put nokey --ignore-value",
    "put b y --ignore-lease",
    "put b z --ignore-value",
    "put c v --lease=1234",
    "put ab 1",
    "put abc 2",
    "put abd 3",
    "put B 4",
    "get a",
    "get a -w json",
    "get a --prefix",
    "get a --prefix --keys-only",
    "get a --prefix --limit=2 -w json",
    "get a --prefix --limit=4 -w json",
    "get a --prefix --limit=5 -w json",
    "get a --prefix --count-only -w fields",
    "get a c",
    "get c a",
    "get b --from-key",
    "get a --prefix --order=DESCEND --sort-by=KEY",
    "get a --prefix --order=DESCEND --sort-by=VERSION",
    "get a --prefix --order=ASCEND --sort-by=MODIFY",
    "get a --prefix --order=ASCEND --sort-by=VALUE",
    "get a --prefix --sort-by=CREATE --limit=2 -w json",
    "get a --rev=2",
    "get a --rev=3",
    "get a --rev=1",
    "get a --rev=100",
    "get a --consistency=s",
    "get a --print-value-only",
    "del nothing",
    "del ab --prev-kv",
    "del abc abe",
    "get a --prefix",
    "get ab --rev=5",
    "put ab again",
    "get ab -w json",
    "del a --prefix --prev-kv -w json",
    "put k1 v1",
    "put k2 v2",
    "put k3 v3",
    "compaction 3",
    "compaction 3",
    "compaction 1000",
    "get a --rev=2",
    "get a --rev=3",
    "get a --rev=4",
    "del k2 --from-key -w json",
    "get k --prefix -w json",
    "put empty --",
    "lease grant 100",
    "lease timetolive 7b",
    "lease timetolive 7b --keys -w json",
    "lease revoke 7b",
    "lease keep-alive --once 7b",
    "lease list",
    "lease grant",
    "lease grant x",
    "lease grant 9000000001",
    "lease grant 9999999999999999999",
    "member list -w fields",
    "endpoint status -w json",
    "endpoint health",
    "get",
];

/// Transactions, as `etcdctl txn` reads them.
const TXNS: &[&str] = &[
    "mod(\"k1\") > \"0\"\n\nput k1 new\nget k1\n\nget k1\n\n",
    "value(\"k1\") = \"other\"\n\nput k1 no\n\nput k9 yes\nget k1\n\n",
    "create(\"k9\") = \"0\"\n\nput k9 no\n\ndel k9\nget k9\n\n",
    "version(\"nothing\") = \"0\"\n\nput x 1\n\n\n",
    "version(\"x\") = \"1\"\n\nput x 1\nput x 2\n\n\n",
    "version(\"x\") = \"1\"\n\nput x 1\ndel x\n\n\n",
];

/// The fields that differ between any two clusters.
const OWN: &[&str] = &[
    "cluster_id",
    "member_id",
    "raft_term",
    "ClusterID",
    "MemberID",
    "RaftTerm",
    "ID",
    "version",
    "dbSize",
    "dbSizeInUse",
    "raftIndex",
    "raftAppliedIndex",
    "raftTerm",
    "leader",
    "Endpoint",
    "PeerURL",
    "ClientURL",
    "Name",
];

fn normalised(text: &str, port: u16) -> String {
    let text = text.replace(&port.to_string(), "PORT");
    if let Ok(mut json) = serde_json::from_str::<serde_json::Value>(&text) {
        blank(&mut json);
        return json.to_string();
    }
    let own = |line: &&str| !OWN.iter().any(|name| line.contains(&format!("\"{name}\"")));
    let took = |line: &str| line.split("took = ").next().unwrap_or_default().to_owned();
    // The warnings of etcdctl's own log begin with the time.
    let text = without_lease_ids(&text);
    let lines = text.lines().filter(own).filter(|line| !line.starts_with("{\"level\""));
    lines.map(took).collect::<Vec<_>>().join("\n")
}

/// The ids of leases are random.
fn without_lease_ids(text: &str) -> String {
    match text.strip_prefix("lease ").and_then(|rest| rest.split_once(" granted with ")) {
        Some((_, rest)) => rest.to_owned(),
        None if text.starts_with("found ") => text.lines().take(1).collect(),
        None => text.to_owned(),
    }
}

fn blank(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(fields) => {
            fields.retain(|name, _| !OWN.contains(&name.as_str()));
            fields.values_mut().for_each(blank);
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(blank),
        _ => {}
    }
}

fn compare_calls(theirs: &Cluster, ours: &Cluster) {
    let calls = CALLS.iter().map(|call| (call.split(' ').collect(), ""));
    let txns = TXNS.iter().map(|input| (vec!["txn"], *input));
    let mut differences = Vec::new();
    for (args, input) in calls.chain(txns) {
        let args: Vec<&str> = args;
        if args[0] == "member" && ours.servers.len() > 1 {
            continue;
        }
        let run = |cluster: &Cluster| {
            let port = cluster.servers[0].port;
            let (ok, out, err) = etcdctl(&format!("127.0.0.1:{port}"), &args, input);
            (ok, normalised(&out, port), normalised(&err, port))
        };
        let (them, us) = (run(theirs), run(ours));
        if them != us {
            differences.push(format!("{args:?} {input:?}\n  etcd: {them:?}\n  ours: {us:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn compare_scripts(theirs: &Cluster, ours: &Cluster, default: u32) {
    let scripts = std::env::var("ORACLE_SCRIPTS").ok().and_then(|n| n.parse().ok());
    let scripts = scripts.unwrap_or(default);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sides = runtime.block_on(async {
        let side = |cluster: &Cluster| {
            let channels = (0..cluster.servers.len()).map(|i| cluster.channel(i));
            Side::new(channels.collect())
        };
        (side(theirs), side(ours))
    });
    let config = Config { cases: scripts, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&script(), |ops: Vec<Op>| {
        runtime.block_on(compared(&sides.0, &sides.1, &ops)).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        let tail = |cluster: &Cluster| {
            let log = cluster.log("n0");
            log[log.len().saturating_sub(1500)..].to_owned()
        };
        panic!("{error}\netcd's log: {}\nour log: {}", tail(theirs), tail(ours));
    }
    println!("{scripts} scripts: every answer is the same");
}

#[test]
fn one_server_answers_as_etcd_does() {
    if !has_etcd() {
        return;
    }
    let (theirs, ours) = (Cluster::start("etcd", 1), Cluster::start_ours(1));
    compare_calls(&theirs, &ours);
    compare_scripts(&theirs, &ours, 200);
}

/// Requests go to the three servers in turn, so most are forwarded to the leader.
#[test]
fn three_servers_answer_as_etcd_does() {
    if !has_etcd() {
        return;
    }
    let (theirs, ours) = (Cluster::start("etcd", 1), Cluster::start_ours(3));
    compare_calls(&theirs, &ours);
    compare_scripts(&theirs, &ours, 100);
}

/// The answers to changes of members, one after the other, but for ids and ports.
async fn change_members(cluster: &Cluster) -> Vec<String> {
    let mut members = ClusterClient::new(cluster.channel(0));
    let own = format!("http://127.0.0.1:{}", cluster.servers[0].peer_port);
    let urls = |url: &str| vec![url.to_owned()];
    let (mut answers, mut learner) = (Vec::new(), 0);
    for (url, is_learner) in [
        ("nonsense", true),
        ("http://127.0.0.1", true),
        ("http://127.0.0.1:1/path", true),
        ("ftp://127.0.0.1:1", true),
        (own.as_str(), false),
        ("http://127.0.0.1:1", true),
        ("http://127.0.0.1:1", true),
        ("http://127.0.0.1:2", true),
    ] {
        // etcd makes an id of addresses and the second: in the next one it is another.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let request = pb::MemberAddRequest { peer_ur_ls: urls(url), is_learner };
        let added = members.member_add(request).await.map(|answer| answer.into_inner());
        let id = added.as_ref().ok().and_then(|added| added.member.as_ref()).map(|m| m.id);
        learner = id.unwrap_or(learner);
        answers.push(told(cluster, added.map(|added| (added.member, added.members))));
    }
    let none = members.member_add(pb::MemberAddRequest::default()).await;
    answers.push(told(cluster, none.map(|added| added.into_inner().members)));
    let own_id = members.member_list(pb::MemberListRequest::default()).await.unwrap();
    let own_id = own_id.into_inner().members.iter().find(|m| m.id != learner).unwrap().id;
    for id in [7, learner, own_id] {
        let promoted = members.member_promote(pb::MemberPromoteRequest { id }).await;
        answers.push(told(cluster, promoted.map(|answer| answer.into_inner().members)));
    }
    // An update makes etcd 3.4 forget that a member is a learner, and a bad address in one panic.
    for (id, url) in [(7, "http://127.0.0.1:3"), (learner, &own), (own_id, &own)] {
        let request = pb::MemberUpdateRequest { id, peer_ur_ls: urls(url) };
        let updated = members.member_update(request).await;
        answers.push(told(cluster, updated.map(|answer| answer.into_inner().members)));
    }
    for id in [7, own_id, learner, learner] {
        let removed = members.member_remove(pb::MemberRemoveRequest { id }).await;
        answers.push(told(cluster, removed.map(|answer| answer.into_inner().members)));
    }
    let mut leaders = MaintenanceClient::new(cluster.channel(0));
    for target_id in [7, own_id] {
        let moved = leaders.move_leader(pb::MoveLeaderRequest { target_id }).await;
        answers.push(told(cluster, moved.map(|_| ())));
    }
    answers
}

/// An answer, without the parts of one cluster.
fn told<T: Members>(cluster: &Cluster, answer: Result<T, tonic::Status>) -> String {
    let (port, peer) = (cluster.servers[0].port, cluster.servers[0].peer_port);
    let text = match answer {
        Ok(answer) => answer.told(),
        Err(status) => format!("{:?} {}", status.code(), status.message()),
    };
    let text = text.replace(&port.to_string(), "PORT").replace(&peer.to_string(), "PEER");
    // etcd 3.4 has a code for it, and forgets to send it.
    text.replace("Unknown etcdserver: re-conf", "FailedPrecondition etcdserver: re-conf")
}

trait Members {
    fn told(&self) -> String;
}

impl Members for () {
    fn told(&self) -> String {
        "done".to_owned()
    }
}

impl Members for pb::Member {
    fn told(&self) -> String {
        format!("{} {:?} {:?} {}", self.name, self.peer_ur_ls, self.client_ur_ls, self.is_learner)
    }
}

/// In the order of their ids, which are random.
impl Members for Vec<pb::Member> {
    fn told(&self) -> String {
        let mut all: Vec<String> = self.iter().map(Members::told).collect();
        all.sort();
        all.join("; ")
    }
}

impl Members for (Option<pb::Member>, Vec<pb::Member>) {
    fn told(&self) -> String {
        format!("{:?} of {}", self.0.as_ref().map(Members::told), self.1.told())
    }
}

#[test]
fn members_are_changed_as_in_etcd() {
    if !has_etcd() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clusters = [Cluster::start("etcd", 1), Cluster::start_ours(1)];
    let [theirs, ours] = clusters.each_ref().map(|c| runtime.block_on(change_members(c)));
    for (place, (them, us)) in theirs.iter().zip(&ours).enumerate() {
        assert_eq!(them, us, "answer {place}: etcd's, and ours");
    }
}

/// Keys and values that shells, texts and limits have trouble with.
fn odd_pairs() -> Vec<(Vec<u8>, Vec<u8>)> {
    let long = |len: usize| vec![b'x'; len];
    let text = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    vec![
        text("", "an empty key"),
        text("empty value", ""),
        text("\0", "\0\0"),
        text("a b\tc\nd ", " \n\r\t "),
        (b"\xff\xfe".to_vec(), b"\xff\0\xc3".to_vec()),
        (long(64 << 10), b"64 KiB of key".to_vec()),
        (b"at most".to_vec(), long((3 << 19) - 256)),
        (b"too large".to_vec(), long(3 << 19)),
        (b"too large by one".to_vec(), long((3 << 19) + 1)),
    ]
}

/// How a put of each pair is answered, and each key is read.
async fn put_and_read(cluster: &Cluster, puts: bool) -> Vec<String> {
    let mut kv = KvClient::new(cluster.channel(0)).max_decoding_message_size(16 << 20);
    let mut answers = Vec::new();
    for (key, value) in odd_pairs() {
        let (key, value) = (Bytes::from(key), Bytes::from(value));
        if puts {
            let put = pb::PutRequest { key: key.clone(), value, ..Default::default() };
            let answer = kv.put(put).await.map(|a| a.into_inner().header.map(|h| h.revision));
            answers.push(format!("{:?}", answer.map_err(|e| (e.code(), e.message().to_owned()))));
        }
        let answer = kv.range(pb::RangeRequest { key, ..Default::default() }).await;
        let pairs = answer.map(|a| a.into_inner().kvs);
        answers.push(format!("{:?}", pairs.map_err(|e| (e.code(), e.message().to_owned()))));
    }
    answers
}

#[test]
fn odd_bytes_are_answered_as_etcd_does_and_the_same_after_a_restart() {
    if !has_etcd() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clusters = [Cluster::start("etcd", 1), Cluster::start_ours(1)];
    let [before, after] = [true, false].map(|first| {
        let [theirs, ours] = clusters.each_ref().map(|c| runtime.block_on(put_and_read(c, first)));
        for (place, (them, us)) in theirs.iter().zip(&ours).enumerate() {
            let cut = |text: &str| text.chars().take(300).collect::<String>();
            assert!(them == us, "answer {place}: etcd {}, ours {}", cut(them), cut(us));
        }
        ours
    });
    let reads: Vec<&String> = before.iter().skip(1).step_by(2).collect();
    assert!(reads == after.iter().collect::<Vec<_>>());
    let [_, mut ours] = clusters;
    ours.kill(0);
    ours.start_one(0);
    ours.wait_healthy();
    let restarted = runtime.block_on(put_and_read(&ours, false));
    assert!(restarted == after, "other answers after the restart");
}
