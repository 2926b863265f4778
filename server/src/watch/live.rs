//! Watches of a running server: between the node's thread and the tasks of the API.
//!
//! The node's thread publishes its state after each turn that changed it, which costs a clone and
//! so nothing, and only while there are watches. One task looks at new events and wakes the streams
//! that they concern. Each stream has a task, which reads the history and sends; when its client
//! does not read, it waits, and holds neither a state nor a queue meanwhile.

// Streams are tasks, and progress is told by the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seaworthy::raft::{RaftId, Term};
use tokio::sync::{Notify, watch};
use tokio_stream::{Stream as Requests, StreamExt};
use tonic::Status;

use super::channel::{Gone, Sender};
use super::{Hub, Stream, WatcherId};
use crate::kv::Store;
use crate::kv::auth::Auth;
use crate::node::Node;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::watch_request::RequestUnion;

/// Who leads, as far as this server knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// The term.
    pub term: Term,
    /// Its leader, if it is known.
    pub leader: Option<RaftId>,
}

/// All watches of a server.
#[derive(Debug)]
pub struct Watches {
    led: watch::Sender<Led>,
    /// Users and roles, as this server knows them.
    auth: watch::Sender<Arc<Auth>>,
    store: watch::Sender<Store>,
    /// How far the hub has looked; every stream has its marks up to there.
    examined: watch::Sender<i64>,
    /// How many streams there are.
    open: AtomicUsize,
    next_stream: AtomicU64,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    hub: Hub,
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
}

/// The marks by which a stream learns of events.
#[derive(Debug, Default)]
struct Mailbox {
    /// The watches that something happened to, and since which revision.
    marks: Mutex<BTreeMap<i64, i64>>,
    bell: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Watches {
    fn default() -> Watches {
        Watches {
            led: watch::Sender::new(Led::default()),
            auth: watch::Sender::new(Arc::default()),
            store: watch::Sender::new(Store::default()),
            examined: watch::Sender::new(0),
            open: AtomicUsize::new(0),
            next_stream: AtomicU64::new(0),
            shared: Mutex::default(),
        }
    }
}

impl Watches {
    /// Publishes a node, at the end of each of its turns.
    pub fn publish(&self, node: &Node) {
        let led = Led { term: node.raft().term(), leader: node.raft().leader() };
        self.led.send_if_modified(|known| std::mem::replace(known, led) != led);
        self.auth.send_if_modified(|known| {
            let auth = node.machine().store.auth();
            let is_new = !Arc::ptr_eq(known, auth);
            if is_new {
                *known = auth.clone();
            }
            is_new
        });
        if self.open.load(Ordering::SeqCst) == 0 {
            return;
        }
        let store = &node.machine().store;
        self.store.send_if_modified(|known| {
            let is_known =
                known.revision() == store.revision() && known.compacted() == store.compacted();
            if !is_known {
                *known = store.clone();
            }
            !is_known
        });
    }

    /// Who leads.
    pub fn led(&self) -> watch::Receiver<Led> {
        self.led.subscribe()
    }

    /// Users and roles, as this server knows them.
    pub fn auth(&self) -> Arc<Auth> {
        self.auth.borrow().clone()
    }

    /// Looks at new events, for ever, and wakes the streams that they concern.
    pub async fn run(self: Arc<Watches>) {
        let mut changes = self.store.subscribe();
        while changes.changed().await.is_ok() {
            let store = changes.borrow_and_update().clone();
            let revision = {
                let mut shared = lock(&self.shared);
                for (watcher, since) in shared.hub.advance(&store) {
                    if let Some(mailbox) = shared.mailboxes.get(&watcher.stream) {
                        lock(&mailbox.marks).entry(watcher.watch).or_insert(since);
                        mailbox.bell.notify_one();
                    }
                }
                shared.hub.revision()
            };
            drop(store);
            // After the marks, so that who sees it has them.
            self.examined.send_replace(revision);
        }
    }

    /// Begins to publish states, for one more stream.
    fn enter(&self) -> (u64, Arc<Mailbox>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let mailbox = Arc::<Mailbox>::default();
        lock(&self.shared).mailboxes.insert(stream, mailbox.clone());
        (stream, mailbox)
    }

    fn leave(&self, stream: u64) {
        let mut shared = lock(&self.shared);
        shared.hub.remove_stream(stream);
        shared.mailboxes.remove(&stream);
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            // A state that is held when there are no watches would grow into a second one.
            self.store.send_modify(|known| *known = Store::default());
        }
    }
}

/// Tells whether the client of a stream may watch, or why not. That may wait for the leader: the
/// rules may have changed at another server.
type Permit = Box<dyn Fn(pb::WatchCreateRequest) -> Permitted + Send + Sync>;
/// The answer to that, once it is known.
pub type Permitted = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// A stream of watches, and its end.
pub struct Session {
    permit: Permit,
    watches: Arc<Watches>,
    number: u64,
    mailbox: Arc<Mailbox>,
    stream: Stream,
    responses: Sender,
    max_bytes: usize,
    progress_interval: Duration,
    /// The client wants to hear how far all its watches are, once they are this far.
    wanted_progress: Option<i64>,
    /// How many events the last response had.
    last_events: usize,
}

/// So many events take little more in memory than as a message.
const FEW_EVENTS: usize = 16;

impl Drop for Session {
    fn drop(&mut self) {
        self.watches.leave(self.number);
    }
}

/// A refusal of a watch, in etcd's form.
fn denied(status: &Status) -> pb::WatchResponse {
    pb::WatchResponse {
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: format!("rpc error: code = {:?} desc = {}", status.code(), status.message()),
        ..Default::default()
    }
}

/// Waits until the hub has looked at everything up to `revision`.
async fn reaches(examined: &mut watch::Receiver<i64>, revision: i64) {
    // The sender lives as long as the server.
    let _ = examined.wait_for(|upto| *upto >= revision).await;
}

impl Session {
    /// Opens a stream. Afterwards the node must take a turn before the stream is served, so that
    /// its state is published.
    pub fn open(
        watches: &Arc<Watches>,
        max_bytes: usize,
        progress_interval: Duration,
        responses: Sender,
        permit: Permit,
    ) -> Session {
        let (number, mailbox) = watches.enter();
        Session {
            permit,
            watches: watches.clone(),
            number,
            mailbox,
            stream: Stream::default(),
            responses,
            max_bytes,
            progress_interval,
            wanted_progress: None,
            last_events: 0,
        }
    }

    /// Serves the stream until the client is gone, or `end` tells why it must end.
    pub async fn serve(
        mut self,
        requests: impl Requests<Item = Result<pb::WatchRequest, Status>>,
        end: impl Future<Output = Status>,
    ) {
        let responses = self.responses.clone();
        tokio::select! {
            _ = self.run(requests) => {}
            () = responses.closed() => {}
            status = end => drop(responses.send(Err(status)).await),
        }
    }

    async fn run(
        &mut self,
        requests: impl Requests<Item = Result<pb::WatchRequest, Status>>,
    ) -> Result<(), Gone> {
        let mut requests = std::pin::pin!(requests.fuse());
        let mut are_over = false;
        let mut round = tokio::time::interval(self.progress_interval);
        round.reset();
        let mut examined = self.watches.examined.subscribe();
        loop {
            let is_behind = self.stream.is_behind();
            let progress = self.wanted_progress.filter(|_| !is_behind);
            tokio::select! {
                // Requests come before events, or a watch that is behind could not be ended.
                biased;
                request = requests.next(), if !are_over => match request {
                    Some(Ok(request)) => self.take(request).await?,
                    Some(Err(status)) => {
                        let _ = self.responses.send(Err(status)).await;
                        return Err(Gone);
                    }
                    // A client that has nothing more to ask goes on to listen.
                    None => are_over = true,
                },
                () = std::future::ready(()), if is_behind => self.step().await?,
                () = self.mailbox.bell.notified() => self.take_marks(),
                () = reaches(&mut examined, progress.unwrap_or(i64::MAX)), if progress.is_some() => {
                    self.tell_progress().await?;
                }
                _ = round.tick() => self.progress_round().await?,
            }
        }
    }

    async fn send(&self, response: pb::WatchResponse) -> Result<(), Gone> {
        self.responses.send(Ok(response)).await
    }

    fn take_marks(&mut self) {
        let marks = std::mem::take(&mut *lock(&self.mailbox.marks));
        if marks.is_empty() {
            return;
        }
        // Guard: marks are taken first. A mark that the hub made between both would be taken, and its watch
        // sleep on.
        let hub = &mut lock(&self.watches.shared).hub;
        for (watch, since) in marks {
            hub.wake(WatcherId { stream: self.number, watch });
            self.stream.mark(watch, since);
        }
    }

    fn store(&self) -> Store {
        self.watches.store.borrow().clone()
    }

    async fn take(&mut self, request: pb::WatchRequest) -> Result<(), Gone> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(&request).await,
            Some(RequestUnion::CancelRequest(request)) => {
                let id = request.watch_id;
                let Some(response) = self.stream.cancel(id, &self.store()) else { return Ok(()) };
                self.forget(id);
                self.send(response).await
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.wanted_progress = Some(self.store().revision());
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, request: &pb::WatchCreateRequest) -> Result<(), Gone> {
        let permitted = (self.permit)(request.clone()).await.map_err(|status| denied(&status));
        let response = match permitted.and_then(|()| self.stream.admit(request)) {
            Ok((id, keys)) => {
                let watcher = WatcherId { stream: self.number, watch: id };
                // Guard: the hub knows of the watch before the state is read, so that it looks at
                // everything after it.
                lock(&self.watches.shared).hub.add(watcher, keys.clone());
                self.stream.begin((id, keys), request, &self.store())
            }
            Err(mut refusal) => {
                let revision = self.store().revision();
                refusal.header = Some(pb::ResponseHeader { revision, ..Default::default() });
                refusal
            }
        };
        self.send(response).await
    }

    fn forget(&self, watch: i64) {
        lock(&self.watches.shared).hub.remove(WatcherId { stream: self.number, watch });
    }

    /// Takes a watch that is behind a piece further.
    async fn step(&mut self) -> Result<(), Gone> {
        // Guard: a place for the events, so that a watch whose client does not read holds none that wait for one. If they
        // are many, the connection has to wait for them as well; a few are made while it writes those before.
        let place = match self.last_events > FEW_EVENTS {
            true => self.responses.asked().await?,
            false => self.responses.place().await?,
        };
        let Some(outgoing) = self.stream.step(&self.store()) else { return Ok(()) };
        self.last_events = outgoing.response.events.len();
        let id = outgoing.response.watch_id;
        if !self.stream.has(id) {
            self.forget(id);
        }
        let mut responses = outgoing.fragments(self.max_bytes).into_iter();
        if let Some(response) = responses.next() {
            place.send(Box::new(Ok(response)));
        }
        for response in responses {
            self.send(response).await?;
        }
        Ok(())
    }

    /// How far the hub has looked; all marks up to there are made.
    fn examined(&mut self) -> i64 {
        let examined = *self.watches.examined.borrow();
        self.take_marks();
        examined
    }

    async fn tell_progress(&mut self) -> Result<(), Gone> {
        let examined = self.examined();
        let Some(response) = self.stream.progress(examined) else { return Ok(()) };
        self.wanted_progress = None;
        self.send(response).await
    }

    async fn progress_round(&mut self) -> Result<(), Gone> {
        let examined = self.examined();
        for response in self.stream.progress_round(examined) {
            self.send(response).await?;
        }
        Ok(())
    }
}
