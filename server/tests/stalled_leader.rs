//! A leader that stands still for five seconds, and goes on as if nothing had happened: no
//! linearizable read of it is stale. The bench's checker judges the history of all clients.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy_bench::check::{Verdict, linear};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::{Op, OpType, to_edn_lines};
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use support::{Cluster, Process as Running};
use tonic::transport::Channel;

const KEYS: u64 = 8;
/// Clients at each server.
const CLIENTS: u64 = 12;

/// The history as the clients saw it, in the order of their clocks.
#[derive(Clone)]
struct Recorder {
    began: Instant,
    history: Arc<Mutex<Vec<Op>>>,
    processes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Recorder {
    fn note(&self, kind: OpType, process: u64, f: &str, value: Edn) {
        let mut history = self.history.lock().unwrap();
        let index = history.len();
        let time = self.began.elapsed().as_nanos() as i64;
        history.push(Op { index, time, ..Op::new(kind, process, f, value) });
    }

    fn process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }
}

fn name(key: u64) -> Bytes {
    format!("register-{key}").into()
}

fn number(value: u64) -> Bytes {
    value.to_string().into()
}

fn pair(key: u64, value: Edn) -> Edn {
    Edn::vector([Edn::Int(key as i64), value])
}

/// One read; the answer is whether it came.
async fn read(recorder: &Recorder, kv: &mut KvClient<Channel>, process: u64, key: u64) -> bool {
    recorder.note(OpType::Invoke, process, "read", pair(key, Edn::Nil));
    let answer = kv.range(pb::RangeRequest { key: name(key), ..Default::default() }).await;
    let Ok(answer) = answer else {
        recorder.note(OpType::Fail, process, "read", pair(key, Edn::Nil));
        return false;
    };
    let found = answer.into_inner().kvs.first().map(|pair| pair.value.clone());
    let value = found
        .map_or(Edn::Nil, |bytes| Edn::Int(std::str::from_utf8(&bytes).unwrap().parse().unwrap()));
    recorder.note(OpType::Ok, process, "read", pair(key, value));
    true
}

fn put(key: u64, value: u64) -> pb::PutRequest {
    pb::PutRequest { key: name(key), value: number(value), ..Default::default() }
}

fn swap(key: u64, from: u64, to: u64) -> pb::TxnRequest {
    let compare = pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Value as i32,
        key: name(key),
        target_union: Some(TargetUnion::Value(number(from))),
        ..Default::default()
    };
    let put = pb::request_op::Request::RequestPut(put(key, to));
    let success = vec![pb::RequestOp { request: Some(put) }];
    pb::TxnRequest { compare: vec![compare], success, ..Default::default() }
}

/// A write or a compare-and-set; `None` if its outcome is not known.
async fn change(
    recorder: &Recorder,
    kv: &mut KvClient<Channel>,
    process: u64,
    key: u64,
    [from, to, choice]: [u64; 3],
) -> Option<()> {
    let (f, argument) = match choice.is_multiple_of(3) {
        true => ("write", Edn::Int(to as i64)),
        false => ("cas", Edn::vector([Edn::Int(from as i64), Edn::Int(to as i64)])),
    };
    let value = pair(key, argument);
    recorder.note(OpType::Invoke, process, f, value.clone());
    let succeeded = match f {
        "write" => kv.put(put(key, to)).await.map(|_| true),
        _ => kv.txn(swap(key, from, to)).await.map(|answer| answer.into_inner().succeeded),
    };
    let (kind, known) = match succeeded {
        Ok(true) => (OpType::Ok, Some(())),
        Ok(false) => (OpType::Fail, Some(())),
        Err(_) => (OpType::Info, None),
    };
    recorder.note(kind, process, f, value);
    known
}

async fn client(recorder: Recorder, channel: Channel, seed: u64) {
    let (mut kv, mut draw) = (KvClient::new(channel), Pcg64Mcg::seed_from_u64(seed));
    let mut process = recorder.process();
    while !recorder.stop.load(Ordering::Relaxed) {
        let [key, from, to, choice] = [KEYS, 5, 5, 6].map(|below| draw.next_u64() % below);
        if choice < 3 {
            read(&recorder, &mut kv, process, key).await;
        } else if change(&recorder, &mut kv, process, key, [from, to, choice]).await.is_none() {
            process = recorder.process();
        }
        tokio::time::sleep(Duration::from_millis(draw.next_u64() % 40)).await;
    }
}

fn signal(process: &Running, signal: &str) {
    let id = process.0.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// The leader, among the servers at these places.
async fn leader(cluster: &Cluster, among: &[usize]) -> usize {
    loop {
        for i in among.iter().copied() {
            let mut client = MaintenanceClient::new(cluster.channel(i));
            if let Ok(status) = client.status(pb::StatusRequest {}).await.map(|a| a.into_inner())
                && status.header.as_ref().is_some_and(|h| h.member_id == status.leader)
            {
                return i;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_leader_that_stood_still_for_five_seconds_answers_no_stale_read() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let cluster = Cluster::start_ours(3);
    let recorder = Recorder {
        began: Instant::now(),
        history: Arc::default(),
        processes: Arc::default(),
        stop: Arc::default(),
    };
    let late = runtime.block_on(async {
        let led = leader(&cluster, &[0, 1, 2]).await;
        let clients = (0..3 * CLIENTS).map(|i| {
            let channel = cluster.channel(i as usize % 3);
            tokio::spawn(client(recorder.clone(), channel, i))
        });
        let clients: Vec<_> = clients.collect();
        tokio::time::sleep(Duration::from_millis(700)).await;
        let old = cluster.servers[led].process.as_ref().unwrap();
        signal(old, "-STOP");
        // They are asked all the while, and answered by a leader that does not know that it
        // was deposed.
        let late = (0..100).map(|i| {
            let (recorder, channel) = (recorder.clone(), cluster.channel(led));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(50 * i)).await;
                let process = recorder.process();
                read(&recorder, &mut KvClient::new(channel), process, i % KEYS).await
            })
        });
        let late: Vec<_> = late.collect();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let others: Vec<usize> = (0..3).filter(|i| *i != led).collect();
        leader(&cluster, &others).await;
        signal(old, "-CONT");
        let mut answered = 0;
        for read in late {
            answered += usize::from(read.await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        recorder.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        answered
    });
    let history = recorder.history.lock().unwrap();
    std::fs::write(cluster.dir.path().join("history.edn"), to_edn_lines(&history)).unwrap();
    let ok = history.iter().filter(|op| op.kind == OpType::Ok).count();
    println!("{ok} of {} operations; {late} of 100 late reads answered", history.len() / 2);
    assert!(late >= 90, "{late} of 100 reads of the old leader were answered");
    let outcome = linear::check_lin_kv(&history);
    assert_eq!(outcome.verdict, Verdict::Valid, "{:?}", outcome.findings);
}
