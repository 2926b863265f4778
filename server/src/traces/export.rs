//! Sending spans: a bounded queue, and one task that empties it.
//!
//! A span that does not fit is dropped and counted. So is a batch that the collector does not take: spans
//! are worth less than the memory that they would need until it comes back.

// The task and its pauses are the shell's business.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How many spans may wait to be sent.
const QUEUE: usize = 8192;
/// The most spans of one message.
const BATCH: usize = 512;
/// How long spans are gathered for a message.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector may take for a message.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// How long a server that stops may go on sending.
const FAREWELL: Duration = Duration::from_secs(2);

/// Spans, counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// The end of the queue at which spans come in.
#[derive(Debug)]
pub(super) struct Inlet {
    spans: mpsc::Sender<SpanData>,
    counts: Arc<Counts>,
}

impl SpanProcessor for Inlet {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // A closed queue is that of a server that has stopped.
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.spans.try_send(span) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that sends.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) counts: Arc<Counts>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

impl Outlet {
    /// Starts the task, which sends to `place` through `exporter`.
    pub(super) fn start(place: String, exporter: impl SpanExporter + 'static) -> (Inlet, Outlet) {
        let (inlet, spans) = mpsc::channel(QUEUE);
        let (stop, stopped) = mpsc::channel(1);
        let counts = Arc::new(Counts::default());
        let sending =
            Sending { place, exporter, counts: counts.clone(), lost: 0, has_failed: false };
        tokio::spawn(sending.run(spans, stopped));
        (Inlet { spans: inlet, counts: counts.clone() }, Outlet { counts, stop })
    }

    /// Sends the spans that are left, for a bounded time.
    pub(super) async fn stop(&self) {
        let (done, is_done) = oneshot::channel();
        let farewell = async {
            if self.stop.send(done).await.is_ok() {
                let _ = is_done.await;
            }
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("the last traces were not sent within {} s", FAREWELL.as_secs());
        }
    }
}

struct Sending<E> {
    place: String,
    exporter: E,
    counts: Arc<Counts>,
    /// The dropped ones of which the log knows.
    lost: u64,
    has_failed: bool,
}

impl<E: SpanExporter> Sending<E> {
    async fn run(
        mut self,
        mut spans: mpsc::Receiver<SpanData>,
        mut stopped: mpsc::Receiver<oneshot::Sender<()>>,
    ) {
        let mut batch = Vec::new();
        let mut done = None;
        while done.is_none() {
            tokio::select! {
                got = spans.recv_many(&mut batch, BATCH) => {
                    if got == 0 {
                        return;
                    }
                }
                asked = stopped.recv() => done = asked,
            }
            if batch.len() < BATCH && done.is_none() {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    asked = stopped.recv() => done = asked,
                }
                while batch.len() < BATCH
                    && let Ok(span) = spans.try_recv()
                {
                    batch.push(span);
                }
            }
            self.send(&mut batch).await;
        }
        spans.close();
        while spans.recv_many(&mut batch, BATCH).await > 0 {
            self.send(&mut batch).await;
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Sends a batch, which is empty afterwards. Failures have a line when they begin and when they end.
    async fn send(&mut self, batch: &mut Vec<SpanData>) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let sent = timeout(ANSWER, self.exporter.export(std::mem::take(batch))).await;
        let sent = sent.unwrap_or(Err(OTelSdkError::Timeout(ANSWER)));
        let place = &self.place;
        match sent {
            Ok(()) => {
                self.counts.sent.fetch_add(count, Ordering::Relaxed);
                let lost = self.counts.dropped.load(Ordering::Relaxed);
                if self.has_failed {
                    let missing = lost - self.lost;
                    tracing::info!("{place} takes traces again: {missing} spans were dropped");
                    self.lost = lost;
                }
                self.has_failed = false;
            }
            Err(why) => {
                self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                if !self.has_failed {
                    tracing::warn!(
                        "{place} takes no traces ({why}): spans are dropped until it does, and counted in \
                         seaworthy_trace_spans_dropped_total"
                    );
                }
                self.has_failed = true;
            }
        }
    }
}
