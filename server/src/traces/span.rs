//! The spans of a request: one for itself, and one for each of its waits.

// Spans have times by the wall clock, and requests by the monotonic one.
#![allow(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    SpanBuilder, SpanKind, Status, TraceContextExt, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{RetryPolicy, SpanExporter as Otlp, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter};
use seaworthy::raft::RaftId;

use super::Settings;
use super::export::{ANSWER, Outlet};
use super::record::{self, Facts, Record, Wait};
use crate::metrics;
use crate::slow::Kind;

/// The longest name of a span, in bytes. The client chooses the path.
const NAME_BYTES: usize = 100;

/// Traces of requests, on their way to a collector.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
    outlet: Outlet,
    member: String,
}

impl Traces {
    /// Begins to trace the requests of a member. The collector need not be there yet. To be called in a runtime.
    ///
    /// # Errors
    /// If an environment variable of OTLP is wrong.
    pub fn start(settings: &Settings, member: RaftId) -> anyhow::Result<Traces> {
        let mut exporter = Otlp::builder()
            .with_tonic()
            .with_endpoint(&settings.endpoint)
            .with_timeout(ANSWER)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let resource = Resource::builder()
            .with_service_name(settings.service.clone())
            .with_attribute(KeyValue::new("service.instance.id", settings.instance.clone()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        let (inlet, outlet) = Outlet::start(settings.endpoint.clone(), exporter);
        // The client's decision counts; without one a share is drawn by the number of the trace.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.share)));
        let provider = SdkTracerProvider::builder()
            .with_span_processor(inlet)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        tracing::info!("requests are traced, for the collector at {}", settings.endpoint);
        Ok(Traces {
            tracer: provider.tracer("seaworthy-server"),
            propagator: TraceContextPropagator::new(),
            outlet,
            member: format!("{:016x}", member.0),
        })
    }

    /// Begins to follow a request; `None` if it is not in the sample.
    pub fn begin(
        self: &Arc<Traces>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Followed> {
        let is_grpc = is_grpc(headers);
        let name = name(is_grpc, method, path);
        let parent = self.propagator.extract_with_context(&Context::new(), &Headers(headers));
        let clock = Clock::now();
        let builder = SpanBuilder::from_name(name.clone())
            .with_kind(SpanKind::Server)
            .with_start_time(clock.1)
            .with_attributes(called(is_grpc, method, &name));
        let context = parent.with_span(self.tracer.build_with_context(builder, &parent));
        let is_followed = context.span().is_recording();
        is_followed.then(|| Followed { traces: self.clone(), context, clock, is_grpc })
    }

    /// Makes spans of a wait: for the node's thread, for a quorum and within it for flushes here, and for
    /// the change to be carried out.
    fn tell(&self, request: &Context, clock: Clock, wait: &Wait) {
        let taken = wait.taken.unwrap_or(wait.ended);
        self.wait(request, clock, "queue", (wait.began, taken));
        if matches!(wait.kind, Kind::Local) || wait.taken.is_none() {
            return;
        }
        let turn = wait.turn.unwrap_or(wait.ended);
        let quorum = self.open(request, clock, "quorum", taken);
        if let Some((ended, took)) = wait.election {
            let ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
            let election = vec![KeyValue::new("seaworthy.without_leader_ms", ms)];
            quorum.span().add_event_with_timestamp("election", clock.time(ended), election);
        }
        if matches!(wait.kind, Kind::Write(_)) {
            for (began, ended) in &wait.flushes {
                self.wait(&quorum, clock, "fsync", ((*began).max(taken), *ended));
            }
            self.wait(request, clock, "apply", (turn, wait.ended));
        }
        quorum.span().end_with_timestamp(clock.time(turn));
    }

    /// A span below another one.
    fn wait(
        &self,
        parent: &Context,
        clock: Clock,
        name: &'static str,
        (start, end): (Instant, Instant),
    ) {
        self.open(parent, clock, name, start).span().end_with_timestamp(clock.time(end));
    }

    /// The beginning of a span below another one.
    fn open(&self, parent: &Context, clock: Clock, name: &'static str, start: Instant) -> Context {
        let builder = SpanBuilder::from_name(name)
            .with_kind(SpanKind::Internal)
            .with_start_time(clock.time(start));
        parent.with_span(self.tracer.build_with_context(builder, parent))
    }

    /// Prints the counters.
    pub fn print(&self, out: &mut String) {
        let counts = &self.outlet.counts;
        for (name, count) in [("sent", &counts.sent), ("dropped", &counts.dropped)] {
            let name = format!("seaworthy_trace_spans_{name}_total");
            metrics::print(out, &name, "counter", count.load(Ordering::Relaxed));
        }
    }

    /// Sends the spans that are left, for a bounded time.
    pub async fn stop(&self) {
        self.outlet.stop().await;
    }
}

/// A request whose span is open. It ends at the latest when this is dropped, with the connection.
#[derive(Debug)]
pub struct Followed {
    traces: Arc<Traces>,
    context: Context,
    clock: Clock,
    is_grpc: bool,
}

impl Followed {
    /// Serves the request, and tells how that went.
    ///
    /// # Errors
    /// None.
    pub async fn serve(
        self,
        work: impl Future<Output = Result<Response, Infallible>>,
    ) -> Result<Response, Infallible> {
        let Followed { traces, context, clock, is_grpc } = self;
        let record = Arc::new(Record::default());
        let answer = record::with(record.clone(), work).await;
        let Facts { numbers, waits } = record.take();
        waits.iter().for_each(|wait| traces.tell(&context, clock, wait));
        let span = context.span();
        span.set_attribute(KeyValue::new("seaworthy.member_id", traces.member.clone()));
        for (name, number) in numbers {
            span.set_attribute(KeyValue::new(name, number));
        }
        if let Ok(response) = &answer {
            let (attribute, status) = outcome(is_grpc, response);
            span.set_attribute(attribute);
            span.set_status(status);
        }
        span.end_with_timestamp(clock.time(Instant::now()));
        answer
    }
}

/// The same moment by two clocks.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant, SystemTime);

impl Clock {
    fn now() -> Clock {
        Clock(Instant::now(), SystemTime::now())
    }

    /// The time of a moment.
    fn time(self, at: Instant) -> SystemTime {
        let Clock(instant, time) = self;
        match at.checked_duration_since(instant) {
            Some(later) => time + later,
            None => time - instant.duration_since(at),
        }
    }
}

/// Headers, or gRPC's metadata, which are the same.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// The name of a request, without keys: they are the clients' own.
fn name(is_grpc: bool, method: &Method, path: &str) -> String {
    let path = match path {
        _ if path.starts_with("/v1/") => "/v1/*",
        _ if path.starts_with("/cluster/members/") => "/cluster/members/*",
        path => &path[..path.floor_char_boundary(NAME_BYTES)],
    };
    match is_grpc {
        true => path.trim_start_matches('/').to_owned(),
        false => format!("{method} {path}"),
    }
}

/// The attributes that say what was called, by OpenTelemetry's names.
fn called(is_grpc: bool, method: &Method, name: &str) -> Vec<KeyValue> {
    let (first, second) = name.split_once(if is_grpc { '/' } else { ' ' }).unwrap_or((name, ""));
    match is_grpc {
        true => vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", first.to_owned()),
            KeyValue::new("rpc.method", second.to_owned()),
        ],
        false => vec![
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("http.route", second.to_owned()),
        ],
    }
}

/// gRPC's codes that are failures of a server: unknown, deadline exceeded, unimplemented, internal,
/// unavailable, data loss.
const FAILURES: [i64; 6] = [2, 4, 12, 13, 14, 15];

/// The code of an answer, and whether it is an error of the server.
fn outcome(is_grpc: bool, response: &Response) -> (KeyValue, Status) {
    let (name, code, is_failure) = match is_grpc {
        true => {
            // An answer with content has its code behind it, and that is 0.
            let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok());
            let code = code.and_then(|code| code.parse().ok()).unwrap_or(0);
            ("rpc.grpc.status_code", code, FAILURES.contains(&code))
        }
        false => {
            let status = response.status();
            ("http.response.status_code", i64::from(status.as_u16()), status.is_server_error())
        }
    };
    let why = response.headers().get("grpc-message").and_then(|why| why.to_str().ok());
    let why: Cow<'static, str> = why.unwrap_or_default().to_owned().into();
    let status = if is_failure { Status::error(why) } else { Status::Unset };
    (KeyValue::new(name, code), status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_keys() {
        let name = |is_grpc, path| name(is_grpc, &Method::PUT, path);
        assert_eq!(name(true, "/etcdserverpb.KV/Put"), "etcdserverpb.KV/Put");
        assert_eq!(name(false, "/v1/secret/key"), "PUT /v1/*");
        assert_eq!(name(false, "/cluster/members/8e9e"), "PUT /cluster/members/*");
        assert_eq!(name(false, &format!("/{}", "ü".repeat(200))).len(), NAME_BYTES + 3);
    }
}
