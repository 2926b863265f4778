//! The servers' processes, with their ports, directories and logs.

// Real time, threads and signals are the business of this module.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use seaworthy::message::NodeId;

use super::api::members::Peer;
use super::command::ServerCommand;
use super::disks::Disks;
use super::faketime::Clocks;
use super::hosts::{self, Hosts};
use super::owner::Groups;
use super::ports::Ports;
use super::proxy::Route;
use super::spec::{EXISTING, NEW, STATE, Spec, Stop, Values, fill};
use crate::backend::log;
use crate::backend::process::{Children, echo, tell_status};
use crate::config::{Fault, NetworkKind, RunConfig};

/// How long nodes have to end in order when a run is over.
const FAREWELL: Duration = Duration::from_secs(2);

/// The processes of a run. None of them outlives this value.
pub(super) struct Nodes {
    command: ServerCommand,
    clocks: Option<Clocks>,
    groups: Groups,
    nodes: Vec<Node>,
    /// The nodes' hosts, if each has its own.
    hosts: Option<Hosts>,
    /// After the nodes' end they are unmounted.
    disks: Option<Disks>,
    _ports: Ports,
}

/// Whether nodes reach each other through proxies: if a run has faults between them, and they have no hosts of
/// their own.
pub(super) fn are_proxied(config: &RunConfig) -> bool {
    use Fault::{OneWay, Partition, Reset, Slow, Stall, Throttle};
    let faults = [OneWay, Partition, Reset, Slow, Stall, Throttle];
    let has_lasting = config.args.chaos.lasting_fault;
    let is_hurt = config.args.latency > 0.0
        || has_lasting
        || faults.into_iter().any(|fault| config.has(fault));
    is_hurt && config.args.chaos.network == NetworkKind::Proxies
}

struct Node {
    name: NodeId,
    client_address: SocketAddr,
    route: Route,
    values: Values,
    lives: u64,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// Kills the child's group when the bench is killed: it reads this pipe to its end.
    watcher: Option<Watcher>,
}

impl Nodes {
    pub(super) fn new(
        command: ServerCommand,
        config: &RunConfig,
        groups: Groups,
    ) -> io::Result<Nodes> {
        let names = &config.nodes;
        let has_hosts = config.args.chaos.network == NetworkKind::Namespaces;
        let is_proxied = are_proxied(config);
        let made = has_hosts.then(|| {
            Hosts::new(names.len())
                .map_err(|e| io::Error::other(format!("no hosts can be made here: {e}")))
        });
        let hosts = made.transpose()?;
        let mut ports = Ports::reserve(config.seed.0)?;
        fs::create_dir_all(&command.data_dir)?;
        let mib = config.args.chaos.disk_mib;
        let disks = config.has(Fault::FullDisk).then(|| {
            Disks::new(&command.data_dir, names, mib)
                .map_err(|e| io::Error::other(format!("no disk can be mounted here: {e}")))
        });
        let disks = disks.transpose()?;
        let mut nodes = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let client_port = ports.take()?;
            let peer_port = ports.take()?;
            // A proxy takes processor time from the servers.
            let proxy_port = if is_proxied { ports.take()? } else { peer_port };
            let route = Route { peer_port, proxy_port };
            let host = if has_hosts { hosts::address(index) } else { Ipv4Addr::LOCALHOST };
            let listen = if has_hosts { Ipv4Addr::UNSPECIFIED } else { host };
            let parent = disks.as_ref().map_or(&*command.data_dir, |disks| disks.dir(index));
            let values = Values::from([
                ("name", name.to_string()),
                ("index", index.to_string()),
                ("count", names.len().to_string()),
                ("data", parent.join(name.as_str()).display().to_string()),
                ("host", host.to_string()),
                ("listen", listen.to_string()),
                ("client_port", client_port.to_string()),
                ("peer_port", route.peer_port.to_string()),
                ("proxy_port", route.proxy_port.to_string()),
                ("spare_port", ports.take()?.to_string()),
                ("bench_dir", bench_dir().unwrap_or_default().display().to_string()),
                ("token", format!("run-{}", ports.first())),
                (
                    "spec_dir",
                    command.spec.dir.as_deref().unwrap_or(Path::new("")).display().to_string(),
                ),
            ]);
            let name = name.clone();
            nodes.push(Node {
                name,
                client_address: (host, client_port).into(),
                route,
                values,
                lives: 0,
                running: None,
            });
        }
        let member = |node: &Node| fill(&command.spec.member, &node.values);
        let members: Vec<String> = nodes.iter().map(member).collect();
        let cluster = members.join(&command.spec.separator);
        for node in &mut nodes {
            node.values.insert("cluster", cluster.clone());
            node.values.insert(STATE, NEW.to_owned());
        }
        let clocks = Clocks::new(config.seed, config.args.chaos.clock_skew);
        Ok(Nodes { command, clocks, groups, nodes, hosts, disks, _ports: ports })
    }

    /// Whether each node has a host of its own.
    pub(super) fn have_hosts(&self) -> bool {
        self.hosts.is_some()
    }

    pub(super) fn routes(&self) -> Vec<Route> {
        self.nodes.iter().map(|node| node.route).collect()
    }

    pub(super) fn spec(&self) -> &Spec {
        &self.command.spec
    }

    pub(super) fn children(&self) -> &Children {
        &self.command.children
    }

    pub(super) fn client_address(&self, node: usize) -> SocketAddr {
        self.nodes[node].client_address
    }

    /// From now on exactly these directions between hosts are cut.
    pub(super) fn cut(&mut self, cut: &BTreeSet<(usize, usize)>) -> Result<(), (usize, io::Error)> {
        self.hosts.as_mut().map_or(Ok(()), |hosts| hosts.cut(cut))
    }

    pub(super) fn values(&self, node: usize) -> &Values {
        &self.nodes[node].values
    }

    /// All nodes as they know each other.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let peer = |node: &Node| Peer {
            name: node.name.to_string(),
            member: fill(&self.command.spec.member, &node.values),
        };
        self.nodes.iter().map(peer).collect()
    }

    /// The next start of a node is one into this cluster, which is there already.
    pub(super) fn join(&mut self, node: usize, cluster: String) {
        let values = &mut self.nodes[node].values;
        values.insert("cluster", cluster);
        values.insert(STATE, EXISTING.to_owned());
    }

    /// Takes the disk of a node that does not run away: everything in the directory of the data
    /// that has its name. An empty disk has space.
    pub(super) fn wipe(&mut self, node: usize) {
        if let Some(disks) = &mut self.disks {
            disks.replaced(node, Instant::now());
        }
        let name = self.nodes[node].name.as_str();
        let entries = fs::read_dir(self.parent(node)).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let own = path.file_name().and_then(|file| file.to_str()).is_some_and(|file| {
                file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            // The server says what it thinks of files that could not be removed.
            let _ = match own {
                true if path.is_dir() => fs::remove_dir_all(&path),
                true => fs::remove_file(&path),
                false => Ok(()),
            };
        }
    }

    /// The directory in which a node's data is.
    fn parent(&self, node: usize) -> &Path {
        self.disks.as_ref().map_or(&*self.command.data_dir, |disks| disks.dir(node))
    }

    /// Takes all free space of a node's disk; without disks of their own nothing happens.
    pub(super) fn fill_disk(&mut self, node: usize) -> io::Result<()> {
        self.disks.as_mut().map_or(Ok(()), |disks| disks.fill(node))
    }

    /// Gives it back.
    pub(super) fn free_disk(&mut self, node: usize) -> io::Result<()> {
        self.disks.as_mut().map_or(Ok(()), |disks| disks.free(node, Instant::now()))
    }

    /// Whether a node that has ended by itself may have done so because its disk is full.
    pub(super) fn excuses_by_disk(&mut self, node: usize, now: Instant) -> bool {
        self.disks.as_mut().is_some_and(|disks| disks.excuses(node, now))
    }

    /// The nodes that had ended so and have space now.
    pub(super) fn freed(&mut self, now: Instant) -> Vec<usize> {
        self.disks.as_mut().map_or_else(Vec::new, |disks| disks.due(now))
    }

    /// How many times it was started.
    pub(super) fn lives(&self, node: usize) -> u64 {
        self.nodes[node].lives
    }

    /// Where a party of this name logs.
    pub(super) fn log_of(&self, name: &NodeId) -> PathBuf {
        self.command.log_dir.join(format!("{name}.log"))
    }

    pub(super) fn last_lines(&self, node: usize) -> Vec<String> {
        log::last_lines(&self.log_of(&self.nodes[node].name))
    }

    /// Starts a node that does not run; its directory is as it left it.
    pub(super) fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].running.is_some() {
            return Ok(());
        }
        let spec = &self.command.spec;
        let values = &self.nodes[node].values;
        let words: Vec<String> = spec.command.iter().map(|word| fill(word, values)).collect();
        let program = program(&words[0], spec.dir.as_deref());
        let named = |e: io::Error| format!("{}: {e}", program.display());
        let log = log::open(&self.log_of(&self.nodes[node].name)).map_err(|e| e.to_string())?;
        let at_host = self.hosts.as_ref().map(|hosts| hosts.command(node, &program));
        let mut command = at_host.unwrap_or_else(|| Command::new(&program));
        command.args(&words[1..]).args(&self.command.args).current_dir(self.parent(node));
        command.envs(spec.env.iter().map(|(name, value)| (name, fill(value, values))));
        if let Some(clocks) = &self.clocks {
            command.envs(clocks.variables(node, self.nodes[node].lives));
        }
        command.stdin(Stdio::null());
        if self.command.echo_logs {
            // Both of its outputs pass through the bench, in the order in which it wrote.
            let (read, write) = io::pipe().map_err(named)?;
            command.stdout(write.try_clone().map_err(named)?).stderr(write);
            let name = self.nodes[node].name.clone();
            thread::spawn(move || echo(read, Some(log), &name));
        } else {
            command.stdout(log.try_clone().map_err(named)?).stderr(log);
        }
        // Before the child: a bench that is killed now leaves neither.
        let mut watcher = Watcher::start().ok();
        let child = self.command.children.spawn(&mut command).map_err(named)?;
        if let Some(watcher) = &mut watcher {
            watcher.watch(&child);
        }
        self.groups.set(node, Some(child.id()));
        let node = &mut self.nodes[node];
        node.lives += 1;
        node.running = Some(Running { child, watcher });
        Ok(())
    }

    pub(super) fn kill(&mut self, node: usize) {
        if let Some(disks) = &mut self.disks {
            disks.forget(node);
        }
        let Some(mut running) = self.nodes[node].running.take() else { return };
        self.groups.set(node, None);
        drop(running.watcher.take());
        // The end of a node that was killed is not reported.
        let _ = self.command.children.kill(&mut running.child);
    }

    pub(super) fn pause(&self, node: usize) {
        self.signal(node, Signal::SIGSTOP);
    }

    pub(super) fn resume(&self, node: usize) {
        self.signal(node, Signal::SIGCONT);
    }

    fn signal(&self, node: usize, signal: Signal) {
        if let Some(running) = &self.nodes[node].running {
            self.command.children.signal(&running.child, signal);
        }
    }

    /// The nodes that have ended by themselves since the last call, and how.
    pub(super) fn ended(&mut self) -> Vec<(usize, String)> {
        let mut ended = Vec::new();
        for node in 0..self.nodes.len() {
            let slot = &mut self.nodes[node].running;
            let status = slot.as_mut().and_then(|running| running.child.try_wait().ok().flatten());
            if let Some(status) = status {
                ended.push((node, tell_status(status)));
                // Whatever it started is ended, too.
                self.kill(node);
            }
        }
        ended
    }

    /// Asks all nodes to end in order, and gives them some time.
    fn terminate(&mut self) {
        for node in 0..self.nodes.len() {
            self.signal(node, Signal::SIGTERM);
            self.signal(node, Signal::SIGCONT);
        }
        let until = Instant::now() + FAREWELL;
        let lives = |node: &mut Node| {
            node.running.as_mut().is_some_and(|r| matches!(r.child.try_wait(), Ok(None)))
        };
        while Instant::now() < until && self.nodes.iter_mut().any(lives) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if self.command.spec.stop == Stop::Terminate {
            self.terminate();
        }
        for node in 0..self.nodes.len() {
            self.kill(node);
        }
    }
}

/// Where a program is: a name without a slash is looked for beside the bench, then where the
/// shell would; a path is relative to the directory of its spec.
fn program(word: &str, dir: Option<&Path>) -> PathBuf {
    if word.contains('/') {
        return dir.map_or_else(|| PathBuf::from(word), |dir| dir.join(word));
    }
    let beside = bench_dir().map(|dir| dir.join(word));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(word))
}

/// The directory of the bench's own program.
fn bench_dir() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// A shell that kills a group of processes once the bench is gone, however that ended.
struct Watcher {
    shell: Child,
    stdin: ChildStdin,
}

impl Watcher {
    fn start() -> io::Result<Watcher> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read -r group && { read -r _; kill -9 \"-$group\"; }"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut shell = command.spawn()?;
        let stdin = shell.stdin.take().expect("stdin is piped");
        Ok(Watcher { shell, stdin })
    }

    /// Names the group. A shell that was killed by others watches nothing.
    fn watch(&mut self, leader: &Child) {
        let _ = writeln!(self.stdin, "{}", leader.id());
    }
}

impl Drop for Watcher {
    /// Goes before the group that it watches, whose number may be another one's afterwards. Its stdin closes last.
    fn drop(&mut self) {
        // It may have been killed by others; then there is nothing to end.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunArgs;
    use crate::seed::Seed;

    fn config(flags: &str) -> RunConfig {
        let typed = flags.split(' ').filter(|flag| !flag.is_empty());
        RunConfig::new(RunArgs::from_flags(typed).expect("flags"), Seed(0)).expect("a run")
    }

    #[test]
    fn proxies_are_for_faults_between_nodes() {
        let hosts = "--nemesis partition --network namespaces";
        for flags in ["", "--nemesis kill,pause,membership,clients,replace --clock-skew 0.1", hosts]
        {
            assert!(!are_proxied(&config(flags)), "{flags}");
        }
        let faults = ["partition", "one-way", "slow", "stall", "reset", "throttle"];
        let faults = faults.iter().map(|fault| format!("--nemesis kill,{fault}"));
        for flags in faults.chain(["--latency 1".into(), "--lasting-fault".into()]) {
            assert!(are_proxied(&config(&flags)), "{flags}");
        }
    }
}
