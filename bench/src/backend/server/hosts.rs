//! A host of its own for each server: a network namespace with a cable to a switch.
//!
//! The switch is a bridge in a namespace of the bench's, from which clients come. Peers reach each
//! other directly, without a proxy. A cut of one direction makes the sender's frames to that peer
//! carry an address that no host has, so that they are lost without a word, as with a packet filter:
//! TCP sends again, ever more seldom, and goes on when the cut ends. Each host is told its neighbours once
//! and asks for none, so that no packet of ARP can heal a cut.
//!
//! No namespace has a name: the kernel takes each away, with its cable, when the last process and
//! file descriptor in it are gone, however the bench ends.

// Threads and programs are the business of this module.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use super::tools;

/// All hosts are in 10.77.0.0/24, the bench at its end.
const NODES_MAX: usize = 200;
const BENCH: &str = "10.77.0.254/24";
/// An address of hardware that no host has.
const NOWHERE: &str = "02:00:00:00:00:ff";

/// The hosts of all nodes, by node.
#[derive(Debug)]
pub(super) struct Hosts {
    /// While such a file is open its namespace is there.
    namespaces: Vec<File>,
    /// The directions that are cut.
    cut: BTreeSet<(usize, usize)>,
}

/// Checks that hosts can be made here, as far as that can be told without making one.
///
/// # Errors
/// The reason why not, as the end of a sentence.
pub(super) fn check(nodes: usize) -> Result<(), String> {
    tools::check("network namespaces take", &["ip", "nsenter"])?;
    if nodes > NODES_MAX {
        return Err(format!("there are addresses for {NODES_MAX} nodes"));
    }
    Ok(())
}

impl Hosts {
    /// Makes the hosts. The calling thread moves to the namespace of the switch, and with it the
    /// threads that it starts.
    ///
    /// # Errors
    /// The step that failed, with the complaint of `ip`.
    pub(super) fn new(nodes: usize) -> io::Result<Hosts> {
        leave_namespace()?;
        let made = || {
            leave_namespace()?;
            File::open("/proc/thread-self/ns/net")
        };
        let namespace = |_| {
            let made = thread::spawn(made).join();
            made.unwrap_or_else(|_| Err(io::Error::other("the thread of a namespace panicked")))
        };
        let namespaces = (0..nodes).map(namespace).collect::<io::Result<_>>()?;
        let hosts = Hosts { namespaces, cut: BTreeSet::new() };
        let mut lines = vec![
            "link set lo up".to_owned(),
            "link add switch type bridge".to_owned(),
            "link set switch up".to_owned(),
            format!("addr add {BENCH} dev switch"),
        ];
        for node in 0..nodes {
            let (path, hardware) = (hosts.path(node), hardware(node));
            lines.push(format!(
                "link add port{node} type veth peer name eth0 address {hardware} netns {path}"
            ));
            lines.push(format!("link set port{node} master switch up"));
        }
        batch(&mut Command::new("ip"), &lines)?;
        for node in 0..nodes {
            let mut lines = vec![
                "link set lo up".to_owned(),
                format!("addr add {}/24 dev eth0", address(node)),
                "link set eth0 up".to_owned(),
            ];
            let others = (0..nodes).filter(|other| *other != node);
            lines.extend(others.map(|other| neighbour(other, &hardware(other))));
            hosts.configure(node, &lines)?;
        }
        Ok(hosts)
    }

    /// A command that runs a program at a node's host, in the same process.
    pub(super) fn command(&self, node: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path(node))).arg("--").arg(program);
        command
    }

    /// From now on exactly these directions are cut.
    ///
    /// # Errors
    /// The node whose host does not obey, with the complaint of `ip`.
    pub(super) fn cut(&mut self, cut: &BTreeSet<(usize, usize)>) -> Result<(), (usize, io::Error)> {
        for node in 0..self.namespaces.len() {
            let changed = self.cut.symmetric_difference(cut).filter(|(from, _)| *from == node);
            let line = |(from, to): &(usize, usize)| match cut.contains(&(*from, *to)) {
                true => neighbour(*to, NOWHERE),
                false => neighbour(*to, &hardware(*to)),
            };
            let lines: Vec<String> = changed.map(line).collect();
            if !lines.is_empty() {
                self.configure(node, &lines).map_err(|e| (node, e))?;
            }
        }
        self.cut.clone_from(cut);
        Ok(())
    }

    fn configure(&self, node: usize, lines: &[String]) -> io::Result<()> {
        batch(&mut self.command(node, Path::new("ip")), lines)
    }

    /// Where other processes find the namespace.
    fn path(&self, node: usize) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespaces[node].as_raw_fd())
    }
}

/// The address of a node's host.
pub(super) fn address(node: usize) -> Ipv4Addr {
    // A run has fewer nodes than a byte has numbers.
    Ipv4Addr::new(10, 77, 0, u8::try_from(node + 1).unwrap_or(u8::MAX))
}

/// The address of its end of the cable.
fn hardware(node: usize) -> String {
    format!("02:00:00:00:00:{:02x}", node + 1)
}

/// The line by which a host is told the hardware of another one.
fn neighbour(node: usize, hardware: &str) -> String {
    format!("neigh replace {} lladdr {hardware} dev eth0 nud permanent", address(node))
}

/// Lets `ip` carry lines out.
fn batch(command: &mut Command, lines: &[String]) -> io::Result<()> {
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it does not read to the end, its status tells.
        let _ = stdin.write_all((lines.join("\n") + "\n").as_bytes());
    }
    tools::succeeded("ip", &child.wait_with_output()?)
}

#[cfg(target_os = "linux")]
fn leave_namespace() -> io::Result<()> {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_NEWNET).map_err(Into::into)
}

#[cfg(not(target_os = "linux"))]
fn leave_namespace() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Whether a host hears another: an echo of ICMP would take a program, and a refused connection
    /// is an answer, too. `bash` dials by itself.
    fn reaches(hosts: &Hosts, from: usize, to: usize) -> bool {
        let dial = format!(": </dev/tcp/{}/9", address(to));
        let mut command = hosts.command(from, Path::new("timeout"));
        let output = command.args(["0.5", "bash", "-c", &dial]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains("refused")
    }

    #[test]
    fn a_cut_loses_packets_of_its_direction_until_it_ends() {
        let made = check(3).and_then(|()| Hosts::new(3).map_err(|e| e.to_string()));
        let mut hosts = match made {
            Ok(hosts) => hosts,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        assert!(reaches(&hosts, 0, 1) && reaches(&hosts, 1, 0) && reaches(&hosts, 0, 2));
        hosts.cut(&BTreeSet::from([(0, 1)])).unwrap();
        // Without its answer a packet that arrives is of no use to its sender.
        assert!(!reaches(&hosts, 0, 1) && !reaches(&hosts, 1, 0));
        assert!(reaches(&hosts, 0, 2) && reaches(&hosts, 2, 1));
        let bench = TcpStream::connect_timeout(
            &SocketAddr::from((address(0), 9)),
            Duration::from_millis(500),
        );
        assert_eq!(bench.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        hosts.cut(&BTreeSet::from([(2, 1)])).unwrap();
        assert!(reaches(&hosts, 0, 1) && !reaches(&hosts, 2, 1));
    }
}
