//! The loop against a transport and a disk that obey the test exactly.
//! Every wait is for an event; `settle` lets the loop run until it has nothing to do.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Duration;

use super::*;
use crate::message::{Message, NodeId, Packet};
use crate::node::{Context, Event, Token};
use crate::storage::{Recovered, Storage, StorageError, Write};

/// `save` persists and answers when that is durable, but tells `n1` at once;
/// `now` answers at once; `later` rings after a second; `twice` rings after two timers
/// without delay, the second of which the first sets.
struct Saver;

#[derive(Serialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: &'static str,
}

const SAVED: Kind = Kind { kind: "saved" };
const REPLICATE: Kind = Kind { kind: "replicate" };

impl Workload for Saver {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Message(message) => match message.body.kind.as_str() {
                "save" => {
                    let bytes = message.body.field("bytes").map_or(1, |n| n.get().parse().unwrap());
                    let ticket = cx.persist(vec![0; bytes]);
                    cx.reply_after(ticket, &message.request(), &SAVED);
                    cx.send(&"n1".into(), &REPLICATE);
                }
                "now" => cx.reply(&message.request(), &Kind { kind: "now_ok" }),
                "twice" => cx.set_timer(Token(2), Duration::ZERO),
                _ => cx.set_timer(Token(1), Duration::from_secs(1)),
            },
            Event::Timer(Token(2)) => cx.set_timer(Token(1), Duration::ZERO),
            Event::Timer(_) => cx.send(&"n1".into(), &Kind { kind: "rang" }),
            _ => {}
        }
    }
}

type Commit = (Vec<Write>, oneshot::Sender<Result<(), StorageError>>);

struct Disk(mpsc::UnboundedSender<Commit>);

#[async_trait]
impl Storage for Disk {
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), StorageError> {
        let (done, outcome) = oneshot::channel();
        self.0.send((writes, done)).unwrap();
        outcome.await.unwrap()
    }
}

struct OpenDisk(Option<Disk>);

#[async_trait]
impl Opener for OpenDisk {
    async fn open(&mut self, _: &NodeId) -> Result<(Box<dyn Storage>, Recovered), StorageError> {
        let disk = self.0.take().ok_or_else(broken)?;
        Ok((Box::new(disk), Recovered::default()))
    }
}

fn broken() -> StorageError {
    StorageError { place: "disk".into(), reason: "broken".into() }
}

/// Channels as a transport; one permit of `gate` lets one write through.
struct Wire {
    input: mpsc::Receiver<Arrival>,
    output: mpsc::UnboundedSender<Vec<Packet>>,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl Transport for Wire {
    async fn receive(&mut self, inbox: &mut Vec<Arrival>) -> io::Result<usize> {
        Ok(self.input.recv_many(inbox, 16).await)
    }

    async fn send(&mut self, outbox: &mut Vec<Packet>) -> io::Result<()> {
        self.gate.acquire().await.unwrap().forget();
        let sent = self.output.send(std::mem::take(outbox));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A node in its loop, and our ends of everything it touches.
struct Rig {
    input: mpsc::Sender<Arrival>,
    output: mpsc::UnboundedReceiver<Vec<Packet>>,
    commits: mpsc::UnboundedReceiver<Commit>,
    gate: Arc<Semaphore>,
    result: JoinHandle<Result<(), DriverError>>,
}

impl Rig {
    /// A started node on a scripted disk.
    async fn start() -> Rig {
        let (disk, commits) = mpsc::unbounded_channel();
        let mut rig = Rig::with(OpenDisk(Some(Disk(disk))), commits);
        rig.init();
        assert_eq!(rig.written().await, ["init_ok"]);
        rig
    }

    fn with(opener: impl Opener + 'static, commits: mpsc::UnboundedReceiver<Commit>) -> Rig {
        let (input, to_node) = mpsc::channel(16);
        let (from_node, output) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(1000));
        let wire = Wire { input: to_node, output: from_node, gate: gate.clone() };
        let result = tokio::spawn(run(Node::new(Box::new(Saver), 1), wire, opener));
        Rig { input, output, commits, gate, result }
    }

    fn init(&mut self) {
        self.say(r#""type":"init","node_id":"n0","node_ids":["n0","n1"]"#);
    }

    fn say(&mut self, body: &str) {
        let line = format!(r#"{{"src":"c1","dest":"n0","body":{{"msg_id":1,{body}}}}}"#);
        self.input.try_send(Message::from_line(line.as_bytes())).unwrap();
    }

    fn save(&mut self, bytes: usize) {
        self.say(&format!(r#""type":"save","bytes":{bytes}"#));
    }

    /// The types of the messages in the next write.
    async fn written(&mut self) -> Vec<String> {
        let write = self.output.recv().await.unwrap();
        write.into_iter().map(|p| Message::from_packet(p).unwrap().body.kind.into()).collect()
    }
}

/// Runs everything that can run without further input.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn messages_leave_while_a_flush_is_running() {
    let mut rig = Rig::start().await;
    rig.save(1);
    assert_eq!(rig.written().await, ["replicate"]);
    let (writes, done) = rig.commits.recv().await.unwrap();
    assert_eq!(writes.len(), 1);
    rig.say(r#""type":"now""#);
    assert_eq!(rig.written().await, ["now_ok"], "saved must wait, this must not");
    done.send(Ok(())).unwrap();
    assert_eq!(rig.written().await, ["saved"]);
}

#[tokio::test(start_paused = true)]
async fn records_during_a_flush_are_the_next_group() {
    let mut rig = Rig::start().await;
    rig.save(1);
    let (_, first) = rig.commits.recv().await.unwrap();
    rig.save(1);
    settle().await;
    rig.save(1);
    settle().await;
    assert!(rig.commits.try_recv().is_err(), "one flush at a time");
    first.send(Ok(())).unwrap();
    let (writes, second) = rig.commits.recv().await.unwrap();
    assert_eq!(writes.len(), 2);
    second.send(Ok(())).unwrap();
    let mut sent = Vec::new();
    while sent.iter().filter(|kind| *kind == "saved").count() < 3 {
        sent.extend(rig.written().await);
    }
    assert_eq!(sent, ["replicate", "replicate", "replicate", "saved", "saved", "saved"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_takes_everything_and_writes_once() {
    let mut rig = Rig::with(Volatile, mpsc::unbounded_channel().1);
    rig.init();
    rig.save(1);
    rig.say(r#""type":"now""#);
    assert_eq!(rig.written().await, ["init_ok", "replicate", "now_ok", "saved"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_input_sends_everything_that_waits() {
    let mut rig = Rig::start().await;
    rig.save(1);
    drop(rig.input);
    let (_, done) = rig.commits.recv().await.unwrap();
    settle().await;
    assert!(!rig.result.is_finished());
    done.send(Ok(())).unwrap();
    rig.result.await.unwrap().unwrap();
    let sent: Vec<usize> =
        std::iter::from_fn(|| rig.output.try_recv().ok().map(|w| w.len())).collect();
    assert_eq!(sent, [1, 1], "replicate, then saved");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_too_much_waits_for_the_disk() {
    let mut rig = Rig::start().await;
    rig.save(9 << 20);
    let (_, done) = rig.commits.recv().await.unwrap();
    assert_eq!(rig.written().await, ["replicate"]);
    rig.say(r#""type":"now""#);
    settle().await;
    assert!(rig.output.try_recv().is_err());
    assert_eq!(rig.input.capacity(), 15, "the message was not taken");
    done.send(Ok(())).unwrap();
    assert_eq!(rig.written().await, ["saved"]);
    assert_eq!(rig.written().await, ["now_ok"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_the_output_is_blocked() {
    let mut rig = Rig::start().await;
    rig.gate.forget_permits(1000);
    rig.say(r#""type":"now""#);
    settle().await;
    rig.say(r#""type":"now""#);
    settle().await;
    assert_eq!(rig.input.capacity(), 15, "the second message was not taken");
    rig.gate.add_permits(2);
    assert_eq!(rig.written().await, ["now_ok"]);
    assert_eq!(rig.written().await, ["now_ok"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_stops_the_node_and_acknowledges_nothing() {
    let mut rig = Rig::start().await;
    rig.save(1);
    assert_eq!(rig.written().await, ["replicate"]);
    let (_, done) = rig.commits.recv().await.unwrap();
    done.send(Err(broken())).unwrap();
    assert!(matches!(rig.result.await.unwrap(), Err(DriverError::Storage(_))));
    assert!(rig.output.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn storage_that_does_not_open_means_no_init_ok() {
    let mut rig = Rig::with(OpenDisk(None), mpsc::unbounded_channel().1);
    rig.init();
    rig.init();
    assert_eq!(rig.written().await, ["error", "error"], "the reason, to both");
    assert!(matches!(rig.result.await.unwrap(), Err(DriverError::Storage(_))));
    assert!(rig.output.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_went_away_ends_the_node_in_peace() {
    let mut rig = Rig::start().await;
    rig.output.close();
    rig.say(r#""type":"now""#);
    rig.result.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn timers_go_off_without_input() {
    let mut rig = Rig::start().await;
    let before = tokio::time::Instant::now();
    rig.say(r#""type":"later""#);
    assert_eq!(rig.written().await, ["rang"]);
    assert!(before.elapsed() >= Duration::from_secs(1), "not early");
    assert!(before.elapsed() < Duration::from_millis(1010), "and not late");
}

#[tokio::test(start_paused = true)]
async fn a_timer_without_delay_does_not_wait_for_the_next_millisecond() {
    let mut rig = Rig::start().await;
    tokio::time::advance(Duration::from_micros(300)).await;
    let before = tokio::time::Instant::now();
    rig.say(r#""type":"twice""#);
    assert_eq!(rig.written().await, ["rang"]);
    assert_eq!(before.elapsed(), Duration::ZERO);
}
