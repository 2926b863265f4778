//! Real servers that come and go under load: added, removed, replaced, moved to other addresses.
//!
//! `MEMBER_ROUNDS` is the number of rounds.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::kv_client::KvClient;
use serde_json::{Value, json};
use support::{Cluster, free_port, http, wait_for};
use tonic::transport::Channel;

/// The status of a server that was removed.
const REMOVED: Option<i32> = Some(3);
const CLIENTS: usize = 8;
const LIMIT: Duration = Duration::from_secs(30);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The cluster as the server `i` sees it.
fn view(cluster: &Cluster, i: usize) -> Option<Value> {
    let (_, body) = http(cluster.servers[i].port, "GET", "/cluster", b"")?;
    serde_json::from_slice(&body).ok()
}

/// The id of a member, once the server `at` knows it under its name.
fn id_of(cluster: &Cluster, at: usize, name: &str) -> Option<String> {
    let view = view(cluster, at)?;
    let member = view["members"].as_array()?.iter().find(|member| member["name"] == name)?.clone();
    member["id"].as_str().map(str::to_owned)
}

/// Whether a member votes, as the server `at` sees it.
fn votes(cluster: &Cluster, at: usize, name: &str) -> bool {
    let Some(view) = view(cluster, at) else { return false };
    let members = view["members"].as_array().cloned().unwrap_or_default();
    let role = members.iter().find(|member| member["name"] == name).map(|m| m["role"].clone());
    role.is_some_and(|role| role == "follower" || role == "leader")
}

/// The place of the server that leads.
fn leader(cluster: &Cluster, live: &[usize]) -> Option<usize> {
    live.iter().copied().find(|i| view(cluster, *i).is_some_and(|view| view["leads"] == true))
}

/// Clients that write rising numbers, each to a key of its own, at any server that lives.
struct Load {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<BTreeMap<String, u64>>>,
    live: Arc<Mutex<Vec<Channel>>>,
    /// When a write was acknowledged last, and the longest time without one, in milliseconds.
    last_ms: Arc<AtomicU64>,
    longest_ms: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(channels: Vec<Channel>) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            told: Arc::default(),
            live: Arc::new(Mutex::new(channels)),
            last_ms: Arc::default(),
            longest_ms: Arc::default(),
            tasks: Vec::new(),
        };
        let began = Instant::now();
        for client in 0..CLIENTS {
            let (stop, told, live) = (load.stop.clone(), load.told.clone(), load.live.clone());
            let (last, longest) = (load.last_ms.clone(), load.longest_ms.clone());
            load.tasks.push(tokio::spawn(async move {
                let key = format!("c{client}");
                let (mut number, mut turn) = (1_u64, client);
                while !stop.load(Ordering::Relaxed) {
                    let channel = {
                        let live = live.lock().unwrap();
                        live[turn % live.len()].clone()
                    };
                    let (key_bytes, value) =
                        (Bytes::from(key.clone()), Bytes::from(number.to_string()));
                    let put = pb::PutRequest { key: key_bytes, value, ..Default::default() };
                    if KvClient::new(channel).put(put).await.is_err() {
                        // It may have happened: the same number is written elsewhere.
                        turn += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                    told.lock().unwrap().insert(key.clone(), number);
                    number += 1;
                    let now = began.elapsed().as_millis() as u64;
                    let before = last.swap(now, Ordering::Relaxed);
                    longest.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        load
    }

    /// Tells the clients which servers there are. Not those that are about to go.
    fn set_live(&self, cluster: &Cluster, live: &[usize]) {
        *self.live.lock().unwrap() = live.iter().map(|i| cluster.channel(*i)).collect();
    }

    /// The last number that was acknowledged, of each client.
    async fn end(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.told.lock().unwrap().clone()
    }
}

/// A cluster whose members come and go, and which servers are members.
struct Fleet {
    cluster: Cluster,
    live: Vec<usize>,
    load: Load,
}

impl Fleet {
    /// Starts one more server by one command.
    fn join(&mut self) {
        let url = format!("http://127.0.0.1:{}", self.cluster.servers[self.live[0]].port);
        let name = format!("n{}", self.cluster.servers.len());
        let i = self.cluster.add_server(&name, &[("--join", &url)]);
        self.cluster.start_one(i);
        let (cluster, at) = (&self.cluster, self.live[0]);
        let what = format!("{name} to vote");
        wait_for(&what, LIMIT, || votes(cluster, at, &name) && votes(cluster, i, &name));
        self.live.push(i);
        self.load.set_live(&self.cluster, &self.live);
    }

    /// Asks for the removal of a member until it is granted: members may have to be heard first.
    fn remove(&mut self, gone: usize) {
        self.live.retain(|i| *i != gone);
        self.load.set_live(&self.cluster, &self.live);
        let (cluster, name) = (&self.cluster, &self.cluster.servers[gone].name);
        let id = self.live.iter().find_map(|at| id_of(cluster, *at, name)).unwrap();
        let (path, live) = (format!("/cluster/members/{id}"), &self.live);
        let mut turn = 0;
        wait_for(&format!("{name} to leave"), LIMIT, || {
            turn += 1;
            let at = live[turn % live.len()];
            let answer = http(cluster.servers[at].port, "DELETE", &path, b"");
            answer.is_some_and(|(status, _)| status == 200 || status == 404)
        });
    }

    fn remove_running(&mut self, gone: usize) {
        self.remove(gone);
        let status = self.cluster.wait_for_end(gone);
        assert_eq!(status, REMOVED, "{}", self.cluster.log(&self.cluster.servers[gone].name));
    }

    fn round(&mut self, round: usize) {
        match round % 4 {
            0 => self.join(),
            1 => {
                let leads = leader(&self.cluster, &self.live);
                let gone = self.live.iter().copied().find(|i| Some(*i) != leads).unwrap();
                self.remove_running(gone);
            }
            2 => {
                self.join();
                let gone = leader(&self.cluster, &self.live).unwrap_or(self.live[0]);
                self.remove_running(gone);
            }
            _ => {
                let dead = self.live[round % self.live.len()];
                self.cluster.kill(dead);
                self.remove(dead);
                self.join();
            }
        }
    }
}

/// Every number that was acknowledged is there, at each server.
async fn check(cluster: &Cluster, live: &[usize], told: &BTreeMap<String, u64>) {
    for i in live {
        let mut kv = KvClient::new(cluster.channel(*i));
        for (key, number) in told {
            let request = pb::RangeRequest { key: Bytes::from(key.clone()), ..Default::default() };
            let pairs = kv.range(request).await.unwrap().into_inner().kvs;
            let found: u64 = std::str::from_utf8(&pairs[0].value).unwrap().parse().unwrap();
            assert!(found >= *number, "{key}: {number} was acknowledged, {found} is there");
        }
    }
}

#[test]
fn members_come_and_go_under_load_and_nothing_is_lost() {
    let rounds = std::env::var("MEMBER_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(4);
    let runtime = runtime();
    let _guard = runtime.enter();
    let cluster = Cluster::start_ours(3);
    let live = vec![0, 1, 2];
    let load = Load::start(live.iter().map(|i| cluster.channel(*i)).collect());
    let mut fleet = Fleet { cluster, live, load };
    let mut silences = Vec::new();
    for round in 0..rounds {
        fleet.load.longest_ms.store(0, Ordering::Relaxed);
        fleet.round(round);
        silences.push((fleet.load.longest_ms.load(Ordering::Relaxed), round));
        println!("round {round}: longest silence {} ms", silences[round].0);
    }
    let Fleet { cluster, live, load } = fleet;
    let told = runtime.block_on(load.end());
    assert_eq!(told.len(), CLIENTS, "every client wrote something");
    runtime.block_on(check(&cluster, &live, &told));
    let written: u64 = told.values().sum();
    let elections = |round: usize| round % 4 >= 2;
    for with in [false, true] {
        let longest = silences.iter().filter(|(_, round)| elections(*round) == with).max();
        println!("{rounds} rounds, {written} writes, with elections {with}: longest {longest:?}");
    }
    let longest = silences.iter().max().unwrap();
    assert!(longest.0 < 8000, "no write for {} ms in round {}", longest.0, longest.1);
}

#[test]
fn a_member_that_was_told_of_starts_as_in_etcd_and_one_that_left_stays_away() {
    let mut cluster = Cluster::start_ours(1);
    let founder = format!("n0=http://127.0.0.1:{}", cluster.servers[0].peer_port);
    let i = cluster.add_server("n1", &[("--initial-cluster-state", "existing")]);
    let (url, port) =
        (format!("http://127.0.0.1:{}", cluster.servers[i].peer_port), cluster.servers[0].port);
    let all = format!("{founder},n1={url}");
    cluster.add_flag("--initial-cluster", &all);
    // No member was told of it: it says how to add it, and ends.
    cluster.start_one(i);
    assert_eq!(cluster.wait_for_end(i), Some(1));
    assert!(cluster.log("n1").contains("member add"), "{}", cluster.log("n1"));
    let body = json!({ "peerURLs": [url] }).to_string();
    let (status, answer) = http(port, "POST", "/v3/cluster/member/add", body.as_bytes()).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    // It costs no quorum before it is there.
    let (status, _) = http(port, "PUT", "/v1/k", b"v").unwrap();
    assert_eq!(status, 201);
    cluster.start_one(i);
    wait_for("n1 to vote", LIMIT, || votes(&cluster, 0, "n1"));
    assert_eq!(http(cluster.servers[i].port, "GET", "/v1/k", b"").unwrap().1, b"v");
    let id = id_of(&cluster, 0, "n1").unwrap();
    wait_for("n1 to be removed", LIMIT, || {
        let path = format!("/cluster/members/{id}");
        http(port, "DELETE", &path, b"").is_some_and(|(status, _)| status == 200)
    });
    assert_eq!(cluster.wait_for_end(i), REMOVED, "{}", cluster.log("n1"));
    // Started once more it hears the same from the others.
    cluster.start_one(i);
    assert_eq!(cluster.wait_for_end(i), REMOVED, "{}", cluster.log("n1"));
    assert!(cluster.log("n1").contains("was removed from its cluster"));
}

#[test]
fn all_addresses_are_changed_one_after_the_other() {
    let mut cluster = Cluster::start_ours(3);
    for i in 0..3 {
        let (name, other) = (format!("n{i}"), (i + 1) % 3);
        let id = id_of(&cluster, other, &name).unwrap();
        let new = free_port();
        let url = format!("http://127.0.0.1:{new}");
        let id = u64::from_str_radix(&id, 16).unwrap().to_string();
        let body = json!({ "ID": id, "peerURLs": [url] }).to_string();
        let port = cluster.servers[other].port;
        let (status, _) = http(port, "POST", "/v3/cluster/member/update", body.as_bytes()).unwrap();
        assert_eq!(status, 200);
        cluster.kill(i);
        cluster.set_peer_port(i, new);
        cluster.start_one(i);
        cluster.wait_healthy();
    }
    // Nothing of the addresses they began with is needed any more.
    for i in 0..3 {
        cluster.kill(i);
    }
    for i in 0..3 {
        cluster.start_one(i);
    }
    cluster.wait_healthy();
    let seen = view(&cluster, 0).unwrap();
    for server in &cluster.servers {
        let url = format!("http://127.0.0.1:{}", server.peer_port);
        let members = seen["members"].as_array().unwrap();
        assert!(members.iter().any(|member| member["peer_urls"][0] == url.as_str()), "{seen}");
    }
}

/// Else the place of the learner would be taken until a person frees it.
#[test]
fn a_server_that_cannot_listen_is_not_added() {
    let mut cluster = Cluster::start_ours(1);
    let member = format!("http://127.0.0.1:{}", cluster.servers[0].port);
    let i = cluster.add_server("late", &[("--join", &member)]);
    cluster.set_flag(i, "--listen-client-urls", &member);
    cluster.start_one(i);
    assert_eq!(cluster.wait_for_end(i), Some(1));
    assert!(cluster.log("late").contains("cannot listen"), "{}", cluster.log("late"));
    let view = view(&cluster, 0).unwrap();
    assert_eq!(view["members"].as_array().unwrap().len(), 1, "{view}");
}

/// With that member's addresses no greeting would fit into its frame, and no server could join.
#[test]
fn a_member_with_very_many_addresses_is_refused() {
    let cluster = Cluster::start_ours(1);
    let urls: Vec<String> = (1..9000).map(|port| format!("http://host.example:{port}")).collect();
    let body = json!({ "peer_urls": urls }).to_string();
    let answer = http(cluster.servers[0].port, "POST", "/cluster/members", body.as_bytes());
    let (status, why) = answer.unwrap();
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&why).contains("given member URLs are invalid"));
}
