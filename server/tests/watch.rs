//! Watches and leases of running servers: the promises that the comparison with etcd does not see.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::lease_client::LeaseClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use seaworthy_server::proto::etcdserverpb::watch_client::WatchClient;
use seaworthy_server::proto::etcdserverpb::watch_request::RequestUnion;
use support::{Cluster, http, wait_for};
use tokio_stream::StreamExt;
use tonic::metadata::MetadataValue;
use tonic::{Request, Streaming};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn create(key: &str, end: &str, start_revision: i64) -> pb::WatchCreateRequest {
    let (key, range_end) = (bytes(key), bytes(end));
    pb::WatchCreateRequest { key, range_end, start_revision, ..Default::default() }
}

fn request(union: RequestUnion) -> pb::WatchRequest {
    pb::WatchRequest { request_union: Some(union) }
}

/// A stream with one watch, and the way to ask for more.
struct Watch {
    requests: tokio::sync::mpsc::UnboundedSender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watch {
    async fn open(cluster: &Cluster, i: usize, create: pb::WatchCreateRequest) -> Watch {
        let (requests, stream) = tokio::sync::mpsc::unbounded_channel();
        requests.send(request(RequestUnion::CreateRequest(create))).unwrap();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(stream);
        let mut stream = Request::new(stream);
        stream.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut client = WatchClient::new(cluster.channel(i)).max_decoding_message_size(64 << 20);
        let responses = client.watch(stream).await.unwrap().into_inner();
        let mut watch = Watch { requests, responses };
        assert!(watch.next().await.created);
        watch
    }

    async fn next(&mut self) -> pb::WatchResponse {
        let next = tokio::time::timeout(Duration::from_secs(20), self.responses.next());
        next.await.expect("a response").expect("no end").expect("no error")
    }

    /// The revisions of the next events, until there are `count`.
    async fn revisions(&mut self, count: usize) -> Vec<i64> {
        let mut revisions = Vec::new();
        while revisions.len() < count {
            let response = self.next().await;
            assert!(!response.canceled, "{response:?}");
            revisions.extend(response.events.iter().map(|e| e.kv.as_ref().unwrap().mod_revision));
        }
        revisions
    }
}

async fn put(cluster: &Cluster, i: usize, key: &str, value: &str) -> i64 {
    let (key, value) = (bytes(key), bytes(value));
    let put = pb::PutRequest { key, value, ..Default::default() };
    let answer = KvClient::new(cluster.channel(i)).put(put).await.unwrap().into_inner();
    answer.header.unwrap().revision
}

async fn leader(cluster: &Cluster) -> usize {
    loop {
        for (i, server) in cluster.servers.iter().enumerate() {
            if server.process.is_none() {
                continue;
            }
            let mut client = MaintenanceClient::new(cluster.channel(i));
            let Ok(status) = client.status(pb::StatusRequest {}).await else { continue };
            let status = status.into_inner();
            if status.header.is_some_and(|header| header.member_id == status.leader) {
                return i;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_watch_goes_on_at_another_server_and_a_cut_off_one_says_so() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::start_ours(3);
    let (mut first, led) = runtime.block_on(async {
        let led = leader(&cluster).await;
        let mut watch = Watch::open(&cluster, (led + 1) % 3, create("k", "l", 0)).await;
        let mut sent = Vec::new();
        for n in 0..30 {
            sent.push(put(&cluster, n % 3, &format!("k{n}"), "v").await);
            put(&cluster, n % 3, "other", "v").await;
        }
        assert_eq!(watch.revisions(30).await, sent);
        // Progress at a server is progress of all its watches.
        let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        let last = put(&cluster, (led + 1) % 3, "other", "v").await;
        watch.requests.send(request(progress)).unwrap();
        let response = watch.next().await;
        assert!(response.events.is_empty() && response.watch_id == -1, "{response:?}");
        assert!(response.header.unwrap().revision >= last);
        // It is resumed elsewhere, in the middle.
        let mut resumed = Watch::open(&cluster, led, create("k", "l", sent[10] + 1)).await;
        assert_eq!(resumed.revisions(19).await, sent[11..]);
        (watch, led)
    });
    cluster.kill(led);
    cluster.kill((led + 2) % 3);
    let lost = runtime.block_on(async {
        let end = tokio::time::timeout(Duration::from_secs(15), first.responses.next());
        end.await.expect("it ends").expect("with a reason").expect_err("an error")
    });
    assert_eq!((lost.code(), lost.message()), (tonic::Code::Unavailable, "etcdserver: no leader"));
}

#[test]
fn watches_that_are_not_read_cost_little_and_are_told_everything_later() {
    const WATCHES: usize = 200;
    const PUTS: usize = 3000;
    let runtime = runtime();
    let _guard = runtime.enter();
    let cluster = Cluster::start_ours(1);
    let value = "v".repeat(4 << 10);
    let fill = || async {
        let puts = (0..8).map(|client| {
            let (channel, value) = (cluster.channel(0), value.clone());
            tokio::spawn(async move {
                let mut kv = KvClient::new(channel);
                for _ in 0..PUTS / 8 {
                    let key = bytes(&format!("k{client}"));
                    let put = pb::PutRequest { key, value: bytes(&value), ..Default::default() };
                    kv.put(put).await.unwrap();
                }
            })
        });
        for put in puts.collect::<Vec<_>>() {
            put.await.unwrap();
        }
    };
    let empty = cluster.memory_kib(0);
    runtime.block_on(fill());
    let before = cluster.memory_kib(0);
    let mut watches = runtime.block_on(async {
        let mut watches = Vec::new();
        for _ in 0..WATCHES {
            watches.push(Watch::open(&cluster, 0, create("k", "l", 0)).await);
        }
        watches
    });
    runtime.block_on(fill());
    // As many puts took as much without watches: the rest is theirs. Each would hold 12 MiB, if all were queued.
    let each = cluster.memory_kib(0).saturating_sub(before + before.saturating_sub(empty))
        / WATCHES as u64;
    println!("{each} KiB for each of {WATCHES} watches");
    assert!(each < 70, "{each} KiB");
    runtime.block_on(async {
        for watch in watches.iter_mut().step_by(50) {
            let told = watch.revisions(PUTS).await;
            assert!(told.is_sorted_by(|a, b| a < b) && told.len() == PUTS);
        }
    });
}

#[test]
fn the_gateway_streams_lines_of_json() {
    let cluster = Cluster::start_ours(1);
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.servers[0].port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let body = r#"{"create_request":{"key":"aw==","prev_kv":true}}"#;
    let head = "POST /v3/watch HTTP/1.1\r\nhost: x\r\ncontent-length";
    write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut next = || {
        let line = lines.find(|line| line.starts_with('{')).expect("a line of JSON");
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["result"].take()
    };
    assert_eq!(next()["created"], true);
    for value in ["one", "two"] {
        let status = http(cluster.servers[0].port, "PUT", "/v1/k", value.as_bytes()).unwrap().0;
        assert!(status == 201 || status == 200);
    }
    assert_eq!(next()["events"][0]["kv"]["value"], "b25l");
    let second = next();
    assert_eq!(second["events"][0]["kv"]["value"], "dHdv");
    assert_eq!(second["events"][0]["prev_kv"]["value"], "b25l");
}

#[test]
fn rest_streams_server_sent_events_and_goes_on_after_an_id() {
    let cluster = Cluster::start_ours(1);
    let port = cluster.servers[0].port;
    for (key, value) in [("a/1", "one"), ("b", "other"), ("a/2", "two")] {
        assert_eq!(http(port, "PUT", &format!("/v1/{key}"), value.as_bytes()).unwrap().0, 201);
    }
    let events = |path: &str, header: &str, count: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n").unwrap();
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        let fields = ["id: ", "event: ", "data: "];
        let told = lines.filter(|line| fields.iter().any(|field| line.starts_with(field)));
        told.take(3 * count).collect::<Vec<_>>()
    };
    let all = events("/v1/?watch=true&prefix=a/&revision=1", "", 2);
    assert_eq!(all[..2], ["id: 2", "event: put"]);
    assert!(all[2].contains("\"key\":\"a/1\"") && all[2].contains("\"value\":\"one\""), "{all:?}");
    assert_eq!(all[3..5], ["id: 4", "event: put"]);
    assert_eq!(events("/v1/?watch=true&prefix=a/", "Last-Event-ID: 2\r\n", 1), all[3..]);
    assert_eq!(events("/v1/b?watch=true&revision=2", "", 1)[..2], ["id: 3", "event: put"]);
}

#[test]
fn a_lease_outlives_its_leader_and_ends_without_signs_of_life() {
    let runtime = runtime();
    let _guard = runtime.enter();
    let mut cluster = Cluster::start_ours(3);
    let led = runtime.block_on(leader(&cluster));
    let other = (led + 1) % 3;
    let channel = cluster.channel(other);
    runtime.block_on(async {
        let mut leases = LeaseClient::new(channel.clone());
        let grant = pb::LeaseGrantRequest { id: 7, ttl: 1 };
        let granted = leases.lease_grant(grant).await.unwrap().into_inner();
        assert_eq!((granted.id, granted.ttl), (7, 2), "one and a half election timeouts");
        let (key, value) = (bytes("held"), bytes("v"));
        let put = pb::PutRequest { key, value, lease: 7, ..Default::default() };
        KvClient::new(channel.clone()).put(put).await.unwrap();
    });
    let keep_alive = async {
        let requests = tokio_stream::iter([pb::LeaseKeepAliveRequest { id: 7 }]);
        let mut leases = LeaseClient::new(channel.clone());
        let answer = leases.lease_keep_alive(requests).await.unwrap().into_inner().next().await;
        answer.unwrap().unwrap().ttl
    };
    cluster.kill(led);
    let began = Instant::now();
    // Answered by the next leader.
    assert_eq!(runtime.block_on(keep_alive), 2);
    let renewed = Instant::now();
    println!("the next leader answered after {:?}", began.elapsed());
    let count = |port| http(port, "GET", "/v1/?prefix=held", b"").unwrap().1;
    let port = cluster.servers[other].port;
    wait_for("the end of the lease", Duration::from_secs(10), || {
        String::from_utf8_lossy(&count(port)).contains("\"count\":0")
    });
    assert!(renewed.elapsed() > Duration::from_millis(1900), "{:?}", renewed.elapsed());
}
