//! The server backend: real servers, spoken to over sockets by their own API.
//!
//! A run is that of any workload: the world sends its clients' requests to nodes and takes in
//! answers. Here a node is a process with ports. [`spec`] says how it is started; `clients`
//! carries requests out over the `api` that it speaks, in the thread of the world; its peers reach
//! it through a `proxy`, where the network's faults are, and directly in runs without any. Kill,
//! pause and restart are signals to its process group.
//!
//! The first `init` of a node is answered when it is healthy, so that the operations begin with
//! a cluster that serves; a later one is answered at once, since a node that comes back into a
//! partition may not be healthy for long.
//!
//! A node that is removed ends, and one that is added again starts with an empty disk and the
//! members that there are; if it gives up before it has served, it is started again (`joining`). `replace` puts an empty disk under a member that was not removed; servers
//! may refuse to start then, and one that ends before it served a request is no broken test.
//!
//! Where the bench is root, disks can be full (`disks`), and a server can run on a host of its own (`hosts`).
//! Deliberately missing: all other faults of disks. A run that asks for what cannot be had here is
//! refused with the reason.

// Real time and signals are the business of this module.
#![allow(clippy::disallowed_methods)]

mod api;
mod clients;
mod command;
mod disks;
mod faketime;
mod health;
mod hosts;
mod joining;
mod nodes;
mod owner;
mod ports;
mod proxy;
mod reactor;
pub mod spec;
mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::RangeInclusive;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use seaworthy::message::{NodeId, Packet};
use seaworthy::time::Time;
use serde_json::{Value, json};

use super::{Cluster, Live, NodeFault, Outbox, Output, Weather};
use crate::config::{Fault, LatencyDist, NetworkKind, RunConfig};
use api::contract::Place;
use api::members::{Change, Standing, Standings};
use clients::{Clients, Errand, answer, clients, reply};
pub use clients::{Ears, Heard};
pub use command::ServerCommand;
use joining::Joining;
use nodes::Nodes;
use owner::Groups;
use proxy::Proxies;
use spec::Api;
pub use spec::Spec;

/// Servers, one for each node.
pub struct ServerCluster {
    nodes: Nodes,
    clients: Clients,
    /// Between peers; none where they dial each other directly.
    proxies: Option<Proxies>,
    workload: String,
    /// How long a client waits for an answer, and the bench for the first start of a node.
    patience: Duration,
    init_timeout: Duration,
    /// When the servers were last looked at.
    seen: Instant,
    /// The changes of members.
    standings: Standings,
    change: Sender<Change>,
    changes: Receiver<Change>,
    /// The nodes that the nemesis keeps from running.
    down: BTreeSet<usize>,
    /// The nodes whose disk was taken, and how often each had been started then.
    emptied: BTreeMap<usize, u64>,
    /// The members that were added and have not served yet.
    joining: Joining,
}

/// How often it is looked at whether a server has ended by itself: a look is a call of the kernel
/// for each.
const GLANCE: Duration = Duration::from_millis(50);

/// Sizes of a disk in MiB: ext4 with its journal fits into the smallest.
const DISK_MIB: RangeInclusive<u64> = 16..=1 << 20;

/// Returns why this machine cannot have the fault [`Fault::FullDisk`], if it cannot.
pub fn lack_of_disks() -> Option<String> {
    disks::check().err()
}

/// Checks that a run asks for nothing that this backend cannot do.
///
/// # Errors
/// A sentence on the first flag that it cannot.
pub fn check(spec: &Spec, config: &RunConfig) -> Result<(), String> {
    let run = &config.args;
    let chaos = &run.chaos;
    let refuse = |what: &str| Err(format!("--server: {what}"));
    if !cfg!(target_os = "linux") {
        return refuse("this needs Linux, whose /proc tells which node opened a connection");
    }
    if let Some(known) = api::workloads(&spec.api)
        && !known.contains(&run.workload.as_str())
    {
        let (name, known) = (&run.workload, known.join(", "));
        return refuse(&format!("no {name} over the API of {}; there are {known}", spec.name));
    }
    if chaos.loss > 0.0 || chaos.duplicate > 0.0 || chaos.reorder > 0.0 {
        return refuse("TCP hides loss, duplicates and disorder: use partition, stall and slow");
    }
    if run.latency_dist != LatencyDist::Constant {
        return refuse("the latency of a stream is constant");
    }
    let disk = chaos.fsync > 0.0 || chaos.torn_writes > 0.0 || chaos.roll_back > 0.0;
    if disk || chaos.no_disk {
        return refuse("faults of the disk need the simulation");
    }
    if chaos.clock_skew > 0.0 && spec.own_clock {
        let why = "asks the kernel for the time, where libfaketime does not reach";
        return refuse(&format!("--clock-skew: {} {why}", spec.name));
    }
    if chaos.clock_skew > 0.0 && faketime::library().is_none() {
        return refuse("--clock-skew needs libfaketime, which is not installed (package faketime)");
    }
    if chaos.network == NetworkKind::Namespaces {
        check_hosts(spec, config).or_else(|why| refuse(&format!("--network namespaces: {why}")))?;
    }
    if config.has(Fault::FullDisk) {
        if !DISK_MIB.contains(&chaos.disk_mib) {
            let (from, to) = (DISK_MIB.start(), DISK_MIB.end());
            return refuse(&format!("--disk-mib must be from {from} to {to}"));
        }
        disks::check().or_else(|why| refuse(&format!("--nemesis full-disk: {why}")))?;
    }
    if config.has(Fault::Membership) {
        if !matches!(spec.api, Api::EtcdV3 { .. }) {
            return refuse("--nemesis membership needs changes of members, which only etcd-v3 has");
        }
        if !spec.can_join() {
            return refuse("--nemesis membership needs a command with {state}: new or existing");
        }
    }
    Ok(())
}

/// Checks that the run is one for servers with hosts of their own.
fn check_hosts(spec: &Spec, config: &RunConfig) -> Result<(), String> {
    for fault in [Fault::Stall, Fault::Slow, Fault::Reset, Fault::Throttle] {
        if config.has(fault) {
            return Err("links are cut or not; stall, slow, reset and throttle need proxies".into());
        }
    }
    if config.args.latency > 0.0 {
        return Err("--latency needs the proxies".into());
    }
    if !spec.has_hosts() {
        return Err(format!("the command of {} has no {{host}} to be reached at", spec.name));
    }
    hosts::check(config.nodes.len())
}

impl ServerCluster {
    /// A cluster whose servers have not been started. For disks that can be full and for hosts the
    /// calling thread moves to namespaces of its own, and has to be that which uses the cluster.
    ///
    /// # Errors
    /// If there are no ports, or no directory.
    pub fn new(
        command: ServerCommand,
        config: &RunConfig,
        patience: Duration,
    ) -> io::Result<(ServerCluster, Ears)> {
        let groups = Groups::new(config.nodes.len());
        let nodes = Nodes::new(command, config, groups.clone())?;
        let proxies = nodes::are_proxied(config)
            .then(|| Proxies::open(&nodes.routes(), &groups))
            .transpose()?;
        let (clients, ears) = clients()?;
        let (change, changes) = mpsc::channel();
        let cluster = ServerCluster {
            nodes,
            proxies,
            clients,
            workload: config.args.workload.clone(),
            patience,
            init_timeout: config.init_timeout,
            seen: Instant::now(),
            standings: Standings::new(config.nodes.len()),
            change,
            changes,
            down: BTreeSet::new(),
            emptied: BTreeMap::new(),
            joining: Joining::default(),
        };
        Ok((cluster, ears))
    }

    /// How many connections between peers were refused because no node had opened them.
    pub fn strangers(&self) -> u64 {
        self.proxies.as_ref().map_or(0, Proxies::strangers)
    }

    /// Lets the changes of members that were made take effect on processes.
    fn follow_changes(&mut self) -> Vec<(usize, Output)> {
        let mut outputs = Vec::new();
        while let Ok(change) = self.changes.try_recv() {
            match change {
                Change::Left(node) => {
                    self.nodes.kill(node);
                    self.joining.forget(node);
                }
                // Two requests may have seen that it was to be added.
                Change::Joins { node, .. } if self.standings.get(node) == Standing::Member => {}
                Change::Joins { node, cluster } => {
                    self.nodes.kill(node);
                    self.nodes.wipe(node);
                    self.nodes.join(node, cluster);
                    self.standings.set(node, Standing::Member);
                    self.emptied.remove(&node);
                    self.joining.begin(node, self.nodes.lives(node));
                    if !self.down.contains(&node) {
                        outputs.extend(self.begin(node));
                    }
                }
            }
        }
        outputs
    }

    /// A node whose disk was taken may refuse to start, and end. One that has served since then was
    /// let in again: its end is its own fault, as that of any other member.
    fn note_service(&mut self, heard: &Heard) {
        if heard.is_served {
            self.joining.served(heard.node, heard.life);
        }
        let Some(lives) = self.emptied.get(&heard.node) else { return };
        if heard.is_served && heard.life > *lives {
            self.emptied.remove(&heard.node);
            if self.standings.get(heard.node) == Standing::Emptied {
                self.standings.set(heard.node, Standing::Member);
            }
        }
    }

    /// Starts the nodes again that ended by themselves for a reason that is over.
    fn begin_again(&mut self, now: Instant) -> Vec<(usize, Output)> {
        let due = self.joining.due(now).into_iter().chain(self.nodes.freed(now));
        let due: BTreeSet<usize> = due.filter(|node| !self.down.contains(node)).collect();
        due.into_iter().filter_map(|node| self.begin(node)).collect()
    }

    /// Starts a node that is to run; its fault if it cannot be.
    fn begin(&mut self, node: usize) -> Option<(usize, Output)> {
        if self.standings.get(node) == Standing::Out {
            return None;
        }
        let reason = self.nodes.start(node).err()?;
        Some((node, Output::Fault(NodeFault::NotStarted { reason })))
    }

    /// Carries a change of members out.
    fn send_change(&mut self, errand: Errand) {
        let (nodes, workload, node) = (&self.nodes, self.workload.as_str(), errand.node);
        let address: NodeId = errand.packet.src.clone();
        let log = nodes.log_of(&address);
        let place = Place {
            spec: nodes.spec(),
            workload,
            address: nodes.client_address(node),
            values: nodes.values(node),
            children: nodes.children(),
            log: &log,
        };
        let (standings, change) = (self.standings.clone(), self.change.clone());
        // Runs that ask other APIs for this are refused.
        if let Some(speaker) = api::members(place, nodes.peers(), standings, change) {
            self.clients.send(errand, || speaker);
        }
    }

    /// Carries a request out on the way of its client.
    fn send(&mut self, errand: Errand) {
        let (nodes, workload, node) = (&self.nodes, self.workload.as_str(), errand.node);
        let address: NodeId = errand.packet.src.clone();
        self.clients.send(errand, || {
            api::speaker(Place {
                spec: nodes.spec(),
                workload,
                address: nodes.client_address(node),
                values: nodes.values(node),
                children: nodes.children(),
                log: &nodes.log_of(&address),
            })
        });
    }
}

impl Cluster for ServerCluster {
    fn start(&mut self, _now: Time, node: usize, out: &mut Outbox) {
        self.down.remove(&node);
        out.outputs.extend(self.begin(node));
    }

    fn deliver(&mut self, now: Time, node: usize, _id: u64, packet: Packet, out: &mut Outbox) {
        let request: Value = serde_json::from_str(&packet.body).unwrap_or_default();
        let f = request["type"].as_str().unwrap_or_default();
        let is_change = matches!(f, "add_member" | "remove_member" | "change_members");
        let patience = if f == "init" { self.init_timeout } else { self.patience };
        let life = self.nodes.lives(node);
        let errand = |packet, request| Errand {
            node,
            packet,
            request,
            life,
            until: now + patience,
            deadline: Instant::now() + patience,
        };
        if f != "init" {
            let errand = errand(packet, request);
            return if is_change { self.send_change(errand) } else { self.send(errand) };
        }
        if life > 1 || self.standings.get(node) != Standing::Member {
            let body = answer(Ok(json!({"type": "init_ok"})), &request);
            return out.outputs.push((node, Output::Send(reply(packet, &body))));
        }
        let (address, health) = (self.nodes.client_address(node), self.nodes.spec().health.clone());
        self.clients
            .send(errand(packet, request), || Box::new(health::Waiting::new(address, health)));
    }

    fn wake(&mut self, _now: Time, _node: usize, _out: &mut Outbox) {}

    fn kill(&mut self, _now: Time, node: usize) {
        self.down.insert(node);
        self.nodes.kill(node);
    }

    fn wipe(&mut self, node: usize) {
        self.nodes.wipe(node);
        self.standings.set(node, Standing::Emptied);
        self.emptied.insert(node, self.nodes.lives(node));
        self.joining.forget(node);
    }

    fn fill_disk(&mut self, node: usize, out: &mut Outbox) {
        if let Err(e) = self.nodes.fill_disk(node) {
            out.outputs.push((node, unhurt(&e)));
        }
    }

    fn free_disk(&mut self, node: usize, out: &mut Outbox) {
        match self.nodes.free_disk(node) {
            Ok(()) => out.outputs.extend(self.begin_again(Instant::now())),
            Err(e) => out.outputs.push((node, unhurt(&e))),
        }
    }

    fn pause(&mut self, _now: Time, node: usize) {
        self.nodes.pause(node);
    }

    fn resume(&mut self, _now: Time, node: usize, _out: &mut Outbox) {
        self.nodes.resume(node);
    }

    fn expose(&mut self, weather: &dyn Fn() -> Weather, out: &mut Outbox) {
        match &self.proxies {
            Some(proxies) => proxies.expose(weather()),
            None if self.nodes.have_hosts() => {
                let failed = self.nodes.cut(&weather().cut).err();
                out.outputs.extend(failed.map(|(node, e)| (node, unhurt(&e))));
            }
            None => {
                assert_eq!(
                    weather(),
                    Weather::default(),
                    "a run without proxies has no such fault"
                );
            }
        }
    }

    fn may_answer_late(&self) -> bool {
        true
    }

    fn mute(&mut self, _node: usize) {}

    fn last_lines(&self, node: usize) -> Vec<String> {
        self.nodes.last_lines(node)
    }
}

impl Live for ServerCluster {
    type Heard = Heard;

    fn take(&mut self, now: Time, heard: Heard) -> Outbox {
        let mut outputs = self.follow_changes();
        self.note_service(&heard);
        let Heard { node, packet, until, .. } = heard;
        // Its client has given up, or does so in this moment.
        if now < until {
            outputs.push((node, Output::Send(packet)));
        }
        Outbox { outputs, wakes: Vec::new() }
    }

    fn glance(&mut self) -> Outbox {
        if self.seen.elapsed() < GLANCE {
            return Outbox::default();
        }
        self.seen = Instant::now();
        let mut out = self.quitters();
        out.outputs.extend(self.follow_changes());
        out.outputs.extend(self.begin_again(self.seen));
        out
    }

    fn quitters(&mut self) -> Outbox {
        // A node that is no member any more ends, and one without its disk may refuse to start:
        // until a server has served with the disk that it has now.
        let is_member = |(node, _): &(usize, String)| self.standings.get(*node) == Standing::Member;
        let ended = self.nodes.ended().into_iter().filter(is_member);
        let ended: Vec<(usize, String)> = ended.collect();
        // A member that joins may give up, and a full disk may end any: it is started again, and
        // the run goes on.
        let (joining, nodes, now) = (&mut self.joining, &mut self.nodes, Instant::now());
        let ended = ended
            .into_iter()
            .filter(|(node, _)| !nodes.excuses_by_disk(*node, now) && !joining.gave_up(*node, now));
        let tell = |(node, status)| (node, Output::Fault(NodeFault::Exited { status }));
        Outbox { outputs: ended.map(tell).collect(), wakes: Vec::new() }
    }
}

/// The fault of a node whose disk or host does not obey the bench.
fn unhurt(error: &io::Error) -> Output {
    Output::Fault(NodeFault::Unhurt { reason: error.to_string() })
}
