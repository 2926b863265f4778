//! Kafka on several nodes: the promises to a client, and their costs.
//!
//! The nodes are joined by a network that delivers at once and in order, unless a link
//! is cut. Time passes only when nothing is on its way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::VecDeque;
use std::time::Duration;

use seaworthy::message::Message;
use seaworthy::node::{Effect, Input, Node};
use seaworthy::shell::raft;
use seaworthy::storage::{Recovered, WriteData};
use seaworthy::testing::{Flight, Network, Weather};
use seaworthy::time::Time;
use seaworthy_workloads::{Options, build};
use serde_json::{Value, json};

struct Cluster {
    nodes: Vec<Node>,
    now: Time,
    /// Bodies on their way.
    network: Network<String, String>,
    /// The messages to clients: the node and the body, oldest first.
    told: VecDeque<(usize, Value)>,
    /// Messages between nodes so far.
    sent: usize,
    /// The size of the first node's disk, in bytes: its checkpoint and the records
    /// after it.
    disk: (usize, usize),
    next_id: u64,
}

fn name(node: usize) -> String {
    format!("n{node}")
}

impl Cluster {
    fn new(size: usize, options: &Options) -> Cluster {
        let make = |seed| Node::new(build(Some("kafka"), options).unwrap(), seed as u64);
        let nodes = (0..size).map(make).collect();
        let network = Network::new(Weather::fair(0), 1);
        let (told, now, disk) = (VecDeque::new(), Time::from_millis(1), (0, 0));
        let mut cluster = Cluster { nodes, now, network, told, sent: 0, disk, next_id: 1 };
        let ids: Vec<String> = (0..size).map(name).collect();
        for node in 0..size {
            cluster.ask(node, json!({"type": "init", "node_id": name(node), "node_ids": ids}));
        }
        cluster.pass(300);
        cluster.told.clear();
        cluster
    }

    /// Sends a client's request; the answers are in `told`.
    fn ask(&mut self, node: usize, mut body: Value) {
        body["msg_id"] = json!(self.next_id);
        self.next_id += 1;
        self.network.send(self.now, "c1".to_owned(), name(node), body.to_string());
        self.deliver();
    }

    /// Cuts a node off from all others.
    fn cut(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.network.cut(name(node), name(other));
            self.network.cut(name(other), name(node));
        }
    }

    /// Delivers until nothing is on its way and no timer is due.
    fn deliver(&mut self) {
        // A write that becomes durable in a round of ticks may be news for the next round.
        let mut quiet_rounds = 0;
        while quiet_rounds < 2 {
            quiet_rounds += 1;
            while let Some(Flight { from, to, message: body }) = self.network.arrived(self.now) {
                let node: usize = to[1..].parse().unwrap();
                let line = format!(r#"{{"src":"{from}","dest":"{to}","body":{body}}}"#);
                let message = Message::from_line(line.as_bytes()).unwrap();
                self.step(node, Input::Message(message));
                quiet_rounds = 0;
            }
            for node in 0..self.nodes.len() {
                self.step(node, Input::Tick);
            }
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let mut effects = Vec::new();
        self.nodes[node].step(self.now, input, &mut effects);
        let mut durable = None;
        for effect in &effects {
            match effect {
                Effect::Send(packet) | Effect::SendAfter(_, packet) => {
                    let (src, dest) = (packet.src.to_string(), packet.dest.to_string());
                    if dest.starts_with('c') {
                        let body = serde_json::from_str(&packet.body).unwrap();
                        self.told.push_back((node, body));
                        continue;
                    }
                    self.sent += 1;
                    self.network.send(self.now, src, dest, packet.body.clone());
                }
                Effect::Persist(ticket, write) => {
                    durable = Some(*ticket);
                    match &write.data {
                        _ if node > 0 => {}
                        WriteData::Record(bytes) => self.disk.1 += bytes.len(),
                        WriteData::Checkpoint(bytes) => self.disk = (bytes.len(), 0),
                        other => panic!("not written by this shell: {other:?}"),
                    }
                }
                Effect::Open(_) => self.step(node, Input::Recovered(Recovered::default())),
            }
        }
        if let Some(ticket) = durable {
            self.step(node, Input::Durable(ticket));
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + Duration::from_millis(1);
            self.deliver();
        }
    }

    /// The next thing a client was told, which must have this type.
    fn told(&mut self, kind: &str) -> Value {
        let (_, body) = self.told.pop_front().expect("nothing came back");
        assert_eq!(body["type"], kind, "{body}");
        body
    }

    fn send(&mut self, node: usize, message: u64) -> u64 {
        self.ask(node, json!({"type": "send", "key": "k", "msg": message}));
        self.told("send_ok")["offset"].as_u64().unwrap()
    }

    fn poll(&mut self, node: usize, offset: u64) -> Value {
        self.ask(node, json!({"type": "poll", "offsets": {"k": offset}}));
        self.told("poll_ok")["msgs"].clone()
    }

    fn commit(&mut self, node: usize, offset: u64) {
        self.ask(node, json!({"type": "commit_offsets", "offsets": {"k": offset}}));
    }

    fn committed(&mut self, node: usize) -> Value {
        self.ask(node, json!({"type": "list_committed_offsets", "keys": ["k", "x"]}));
        self.told("list_committed_offsets_ok")["offsets"].clone()
    }
}

#[test]
fn a_client_with_an_offset_finds_the_message_on_the_same_node() {
    let mut cluster = Cluster::new(3, &Options::default());
    for offset in 0..20 {
        let node = (offset % 3) as usize;
        assert_eq!(cluster.send(node, 100 + offset), offset);
        let expected = json!({"k": [[offset, 100 + offset]]});
        assert_eq!(cluster.poll(node, offset), expected, "n{node} does not show its own send");
    }
}

#[test]
fn a_node_that_is_cut_off_serves_polls_and_nothing_else() {
    let mut cluster = Cluster::new(3, &Options::default());
    cluster.send(2, 7);
    cluster.commit(2, 0);
    cluster.pass(5);
    cluster.told("commit_offsets_ok");
    cluster.cut(2);
    cluster.send(0, 8);
    assert_eq!(cluster.poll(2, 0), json!({"k": [[0, 7]]}));
    // A commit of the same offsets needs no other node either.
    cluster.commit(2, 0);
    cluster.told("commit_offsets_ok");
    cluster.commit(2, 1);
    cluster.ask(2, json!({"type": "send", "key": "k", "msg": 9}));
    cluster.pass(2000);
    assert!(cluster.told.is_empty(), "promised without a majority: {:?}", cluster.told);
    cluster.network.mend_all();
    cluster.pass(3000);
    cluster.told("commit_offsets_ok");
    assert_eq!(cluster.told("send_ok")["offset"], 2);
    assert_eq!(cluster.committed(0), json!({"k": 1}));
}

#[test]
fn a_commit_is_never_refused_for_certain() {
    let mut cluster = Cluster::new(3, &Options::default());
    cluster.cut(2);
    cluster.send(0, 1);
    cluster.pass(2000);
    cluster.commit(2, 0);
    cluster.ask(2, json!({"type": "send", "key": "k", "msg": 2}));
    cluster.pass(1500);
    cluster.told.make_contiguous().sort_by_key(|(_, body)| body["in_reply_to"].as_u64());
    assert_eq!(cluster.told("error")["code"], 0, "the poll before it did not fail");
    assert_eq!(cluster.told("error")["code"], 11, "a send that left nothing anywhere");
}

#[test]
fn a_commit_leaves_at_once_and_costs_no_more_than_a_send() {
    let mut cluster = Cluster::new(2, &Options::default());
    for node in 0..2 {
        cluster.send(node, 1);
        let before = cluster.sent;
        let offset = cluster.send(node, 2);
        let send = cluster.sent - before;
        assert!(send <= 4, "a send at n{node} costs {send} messages");
        let before = cluster.sent;
        cluster.commit(node, offset);
        cluster.told("commit_offsets_ok");
        assert_eq!(cluster.sent - before, send, "a commit at n{node}");
        assert_eq!(cluster.committed(1 - node), json!({"k": offset}));
    }
}

#[test]
fn snapshots_and_a_limit_bound_the_disk() {
    let bounds = Options {
        retain: Some(5),
        raft: raft::Options { compact_bytes: 4000, keep_entries: 10, ..raft::Options::default() },
        ..Options::default()
    };
    let mut cluster = Cluster::new(2, &bounds);
    let (mut checkpoint, mut log, mut sent) = (0, 0, 0);
    for n in 0..2000 {
        sent += cluster_send_bytes(&mut cluster, n);
        checkpoint = checkpoint.max(cluster.disk.0);
        log = log.max(cluster.disk.1);
    }
    assert!(sent > 200_000, "only {sent} bytes were sent");
    // Ten entries kept, five messages, and the requests since the last acknowledgement.
    assert!(checkpoint > 0 && checkpoint < 6000, "a checkpoint of {checkpoint} bytes");
    assert!(log < 20_000, "{log} bytes of log after a checkpoint");
}

/// Sends a message of a hundred bytes; how many bytes the request had.
fn cluster_send_bytes(cluster: &mut Cluster, n: u64) -> usize {
    let body = json!({"type": "send", "key": "k", "msg": format!("{n:0100}")});
    cluster.ask(0, body.clone());
    assert_eq!(cluster.told("send_ok")["offset"], n);
    body.to_string().len()
}

#[test]
fn requests_of_the_wrong_shape_are_refused() {
    let mut cluster = Cluster::new(1, &Options::default());
    for wrong in [
        json!({"type": "send", "key": 1, "msg": 2}),
        json!({"type": "send", "key": "k"}),
        json!({"type": "poll", "offsets": {"k": -1}}),
        json!({"type": "poll", "offsets": {"k": "0"}}),
        json!({"type": "commit_offsets", "offsets": []}),
        json!({"type": "list_committed_offsets", "keys": "k"}),
    ] {
        cluster.ask(0, wrong.clone());
        assert_eq!(cluster.told("error")["code"], 12, "{wrong}");
    }
    assert_eq!(cluster.send(0, 1), 0, "nothing of it was done");
}
