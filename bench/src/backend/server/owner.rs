//! Which node opened a connection.
//!
//! Peers dial each other's proxies from ports that the kernel picks, and most protocols do not
//! say who dials. The kernel knows: `/proc/net/tcp` has the number of the socket with that port,
//! and the process that has it open is a node, or was started by one. Linux only.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The process groups of the nodes that run, by node.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups(Arc<Mutex<Vec<Option<u32>>>>);

impl Groups {
    pub(super) fn new(nodes: usize) -> Groups {
        Groups(Arc::new(Mutex::new(vec![None; nodes])))
    }

    /// Notes the process that leads a node's group; none if it does not run.
    pub(super) fn set(&self, node: usize, leader: Option<u32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[node] = leader;
    }

    /// The node that opened the connection from `peer` to `own`, if it is one.
    pub(super) fn owner(&self, peer: SocketAddr, own: SocketAddr) -> Option<usize> {
        let inode = inode(&fs::read_to_string("/proc/net/tcp").ok()?, peer, own)?;
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let leads = |(node, leader): (usize, &Option<u32>)| Some((node, (*leader)?));
        let leaders: Vec<(usize, u32)> = groups.iter().enumerate().filter_map(leads).collect();
        // Most servers are one process.
        let direct = leaders.iter().find(|(_, leader)| has_open(*leader, inode));
        direct.map(|(node, _)| *node).or_else(|| {
            let member = |pid: u32| {
                let group = group_of(pid)?;
                let (node, _) = leaders.iter().find(|(_, leader)| *leader == group)?;
                has_open(pid, inode).then_some(*node)
            };
            processes().find_map(member)
        })
    }
}

/// The number of the socket on the dialling side, from the text of `/proc/net/tcp`: columns are
/// a number, the local and the remote address in hexadecimal, and eight columns on, the inode.
fn inode(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (hexadecimal(local)?, hexadecimal(remote)?);
    table.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let found = columns.next()? == local && columns.next()? == remote;
        // Zero is a socket that no process holds any more.
        let inode = columns.nth(6)?.parse().ok()?;
        (found && inode != 0).then_some(inode)
    })
}

/// An address as the kernel prints it: the bytes of the address as a number of this machine.
fn hexadecimal(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

fn has_open(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.as_os_str() == wanted.as_str())
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process group: the third column behind the name, which stands in parentheses and may
/// hold anything.
fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_of_this_process_is_recognised() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let dialler = TcpStream::connect(own).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let groups = Groups::new(2);
        assert_eq!(groups.owner(peer, own), None, "no node runs");
        groups.set(1, Some(std::process::id()));
        assert_eq!(groups.owner(peer, own), Some(1));
        // Tests may run in a group that another process leads.
        groups.set(1, group_of(std::process::id()));
        assert_eq!(groups.owner(peer, own), Some(1));
        drop(dialler);
        assert_eq!(groups.owner(peer, own), None, "its owner has closed it");
        drop(accepted);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:2710 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 77 1 x\n\
             1: 0100007F:9C40 0100007F:2710 01 00000000:00000000 00:00000000 00000000     0        0 78 1 x\n\
             2: 0100007F:9C41 0100007F:2710 06 00000000:00000000 00:00000000 00000000     0        0 0 1 x\n";
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(inode(table, at(40_000), at(10_000)), Some(78));
        assert_eq!(inode(table, at(40_001), at(10_000)), None);
        assert_eq!(inode(table, at(40_002), at(10_000)), None);
    }
}
