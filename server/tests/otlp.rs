//! Traces: requests become spans at a collector, below the traces of their clients, and a collector that
//! is away costs no request.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use support::{Cluster, free_port, http, http_with, wait_for};
use tonic::{Request, Response, Status, async_trait};

/// Attributes as text.
type Attributes = BTreeMap<String, String>;

/// A collector: the spans that it was sent, each with the attributes of its server.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<(Span, Attributes)>>>,
}

fn attributes(all: &[KeyValue]) -> Attributes {
    let text = |pair: &KeyValue| match pair.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let server = attributes(&resource.resource.unwrap_or_default().attributes);
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| (span, server.clone())));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens at a port of its own.
    async fn listen(&self) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let service = TraceServiceServer::new(self.clone());
        let router = Router::new().route_service(path, service);
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    /// The spans of a trace.
    fn spans(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        let own = spans.iter().filter(|(span, _)| hex(&span.trace_id) == trace);
        own.map(|(span, _)| span.clone()).collect()
    }

    /// Waits for the span of this name in a trace.
    async fn span(&self, trace: &str, name: &str) -> Span {
        let begin = Instant::now();
        loop {
            let found = self.spans(trace).into_iter().find(|span| span.name == name);
            if let Some(span) = found {
                return span;
            }
            let names: Vec<String> = self.spans(trace).into_iter().map(|span| span.name).collect();
            assert!(begin.elapsed() < Duration::from_secs(15), "no {name} in {trace}: {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The spans below another one, by name. Of several with one name the last counts.
    fn children(&self, parent: &Span) -> BTreeMap<String, Span> {
        let spans = self.spans(&hex(&parent.trace_id)).into_iter();
        let own = spans.filter(|span| span.parent_span_id == parent.span_id);
        own.map(|span| (span.name.clone(), span)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request with a trace of its client's: its number, and whether the client samples it.
fn traced<T>(message: T, trace: &str, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
}

/// Servers that send to a collector at this port.
fn servers(count: usize, port: u16, flags: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), count);
    cluster.add_flag("--otlp-endpoint", &format!("http://127.0.0.1:{port}"));
    flags.iter().for_each(|(flag, value)| cluster.add_flag(flag, value));
    (0..count).for_each(|i| cluster.start_one(i));
    cluster
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "a secret value".into(), ..Default::default() }
}

/// Asserts that a span lies within another one, but for the rounding of the clocks.
fn assert_within(inner: &Span, outer: &Span) {
    assert!(inner.start_time_unix_nano <= inner.end_time_unix_nano, "{inner:?}");
    assert!(inner.start_time_unix_nano >= outer.start_time_unix_nano, "{inner:?} in {outer:?}");
    assert!(inner.end_time_unix_nano <= outer.end_time_unix_nano, "{inner:?} in {outer:?}");
}

const PUT: &str = "4bf92f3577b34da6a3ce929d0e0e4701";
const RANGE: &str = "4bf92f3577b34da6a3ce929d0e0e4702";
const REST: &str = "4bf92f3577b34da6a3ce929d0e0e4703";
const UNSAMPLED: &str = "4bf92f3577b34da6a3ce929d0e0e4704";
const REFUSED: &str = "4bf92f3577b34da6a3ce929d0e0e4705";

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_spans_below_the_traces_of_their_clients_with_what_they_waited_for() {
    let collector = Collector::default();
    let cluster = servers(3, collector.listen().await, &[("--otlp-sampling-rate", "0")]);
    tokio::task::block_in_place(|| cluster.wait_healthy());
    let mut kv = KvClient::new(cluster.channel(0));
    kv.put(traced(put("unsampled"), UNSAMPLED, "00")).await.unwrap();
    kv.put(put("of no trace")).await.unwrap();
    let answer = kv.put(traced(put("a secret key"), PUT, "01")).await.unwrap().into_inner();
    let header = answer.header.unwrap();
    let range = pb::RangeRequest {
        key: b"a".as_slice().into(),
        range_end: b"z".as_slice().into(),
        ..Default::default()
    };
    let found = kv.range(traced(range, RANGE, "01")).await.unwrap().into_inner();
    assert_eq!(found.kvs.len(), 3);
    kv.put(traced(put(""), REFUSED, "01")).await.unwrap_err();
    let parent = format!("00-{REST}-00f067aa0ba902b7-01");
    let rest = [("traceparent", parent.as_str())];
    let port = cluster.servers[1].port;
    let asked = move || http_with(port, "PUT", "/v1/a%20secret%20key", &rest, b"a secret value");
    assert_eq!(tokio::task::block_in_place(asked).unwrap().0, 200);

    // A write waits for the node's thread, for the quorum and meanwhile for the disk, and is applied.
    for (trace, name, code) in [
        (PUT, "etcdserverpb.KV/Put", ("rpc.grpc.status_code", "0")),
        (REST, "PUT /v1/*", ("http.response.status_code", "200")),
    ] {
        let span = collector.span(trace, name).await;
        assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
        let told = attributes(&span.attributes);
        assert_eq!(told.get(code.0).map(String::as_str), Some(code.1), "{told:?}");
        let bytes: usize = told["seaworthy.write_bytes"].parse().unwrap();
        assert!((26..200).contains(&bytes), "key and value, and little else: {told:?}");
        let children = collector.children(&span);
        for wait in ["queue", "quorum", "apply"] {
            let wait = children.get(wait).unwrap_or_else(|| panic!("no {wait}: {children:?}"));
            assert_within(wait, &span);
        }
        let (queue, quorum) = (&children["queue"], &children["quorum"]);
        assert_eq!(queue.end_time_unix_nano, quorum.start_time_unix_nano);
        assert_eq!(quorum.end_time_unix_nano, children["apply"].start_time_unix_nano);
    }
    let span = collector.span(PUT, "etcdserverpb.KV/Put").await;
    let told = attributes(&span.attributes);
    assert_eq!(told["seaworthy.revision"], header.revision.to_string());
    assert_eq!(told["seaworthy.member_id"], format!("{:016x}", header.member_id));
    assert_eq!((&*told["seaworthy.keys"], &*told["rpc.method"]), ("1", "Put"));

    // A read is confirmed by a quorum, and waits for no disk.
    let span = collector.span(RANGE, "etcdserverpb.KV/Range").await;
    assert_eq!(attributes(&span.attributes)["seaworthy.keys"], "3");
    let names: Vec<String> = collector.children(&span).into_keys().collect();
    assert_eq!(names, ["queue", "quorum"]);
    let span = collector.span(REFUSED, "etcdserverpb.KV/Put").await;
    assert_eq!(attributes(&span.attributes)["rpc.grpc.status_code"], "3");
    assert!(collector.children(&span).is_empty(), "it never came to the node");

    assert!(collector.spans(UNSAMPLED).is_empty());
    let spans = collector.spans.lock().unwrap();
    let known = [PUT, RANGE, REST, REFUSED];
    for (span, server) in spans.iter() {
        assert!(known.contains(&&*hex(&span.trace_id)), "not in the sample: {span:?}");
        assert_eq!(server["service.name"], "seaworthy");
        assert!(["n0", "n1"].contains(&&*server["service.instance.id"]), "{server:?}");
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_the_flush_of_its_server_and_the_last_spans_are_sent_at_the_end() {
    let collector = Collector::default();
    let mut cluster = servers(1, collector.listen().await, &[]);
    tokio::task::block_in_place(|| cluster.wait_healthy());
    let mut kv = KvClient::new(cluster.channel(0));
    let began = Instant::now();
    kv.put(traced(put("k"), PUT, "01")).await.unwrap();
    let process = cluster.servers[0].process.take().unwrap();
    kill(Pid::from_raw(process.0.id() as i32), Signal::SIGTERM).unwrap();
    let mut process = process;
    assert!(tokio::task::block_in_place(|| process.0.wait()).unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // They were all there before the server ended.
    let spans = collector.spans(PUT);
    let put = spans.iter().find(|span| span.name == "etcdserverpb.KV/Put").unwrap();
    let quorum = collector.children(put)["quorum"].clone();
    let fsync = &collector.children(&quorum)["fsync"];
    assert_within(fsync, &quorum);
}

/// The number of a metric.
fn metric(cluster: &Cluster, name: &str) -> u64 {
    let (_, text) = http(cluster.servers[0].port, "GET", "/metrics", b"").unwrap();
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Puts, of which none waits for a collector; each is a span of its own with four below it.
async fn put_many(cluster: &Cluster, count: usize) {
    let clients = (0..16).map(|_| {
        let mut kv = KvClient::new(cluster.channel(0));
        tokio::spawn(async move {
            for _ in 0..count / 16 {
                kv.put(put("k")).await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

/// Tells a server to stop; how long it takes.
fn stop(cluster: &mut Cluster) -> Duration {
    let mut process = cluster.servers[0].process.take().unwrap();
    let began = Instant::now();
    kill(Pid::from_raw(process.0.id() as i32), Signal::SIGTERM).unwrap();
    assert!(process.0.wait().unwrap().success());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_no_request_and_one_line_of_the_log() {
    let mut cluster = servers(1, free_port(), &[]);
    tokio::task::block_in_place(|| cluster.wait_healthy());
    for _ in 0..3 {
        put_many(&cluster, 320).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    tokio::task::block_in_place(|| {
        wait_for("drops", Duration::from_secs(10), || {
            metric(&cluster, "seaworthy_trace_spans_dropped_total") >= 3 * 320
        });
        assert_eq!(metric(&cluster, "seaworthy_trace_spans_sent_total"), 0);
        let took = stop(&mut cluster);
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
    let log = cluster.log("n0");
    assert_eq!(log.matches("takes no traces").count(), 1, "{log}");
    assert!(log.lines().count() < 20, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_up_neither_requests_nor_the_end() {
    // Connections are accepted by the kernel, and nothing is read.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut cluster = servers(1, deaf.local_addr().unwrap().port(), &[]);
    tokio::task::block_in_place(|| cluster.wait_healthy());
    let began = Instant::now();
    // More spans than the queue holds.
    put_many(&cluster, 4000).await;
    let took = began.elapsed();
    tokio::task::block_in_place(|| {
        assert!(metric(&cluster, "seaworthy_trace_spans_dropped_total") > 0, "in {took:?}");
        let took = stop(&mut cluster);
        assert!(took < Duration::from_secs(6), "{took:?}");
    });
}
