//! `etcdctl` gets from this server what it gets from etcd: every call of it, with its output and its
//! status. Only ids, hashes, sizes, versions, and the terms and places of logs may differ.
//!
//! `calls.txt` and `members.txt` have the calls. Not among them: `check perf` and `check datascale`
//! measure for a minute, `migrate`, `snapshot status` and `snapshot restore` read files of etcd, and
//! `completion` asks no server. `ETCD` and `ETCDCTL` name other programs than those on the path.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod mask;
mod session;
#[path = "../support/mod.rs"]
mod support;

use session::Session;
use support::{Cluster, has_program};

const OURS: &str = env!("CARGO_BIN_EXE_seaworthy-server");

fn program(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

/// The endpoints that a script's calls have if they name none.
type Endpoints = fn(&Cluster) -> String;

/// Has every cluster go through the calls at once, and compares with what etcd said.
fn compare(script: &'static str, etcd: Cluster, ours: Vec<Cluster>, endpoints: Endpoints) {
    let run = |cluster: Cluster| {
        std::thread::spawn(move || {
            let endpoints = endpoints(&cluster);
            Session::new(cluster, program("ETCDCTL", "etcdctl"), endpoints).run(script)
        })
    };
    let etcd = run(etcd);
    let ours: Vec<_> = ours.into_iter().map(run).collect();
    let wanted = etcd.join().unwrap();
    let mut different = Vec::new();
    for ours in ours {
        let found = ours.join().unwrap();
        assert_eq!(found.len(), wanted.len());
        for ((call, wanted), (_, found)) in wanted.iter().zip(&found) {
            if wanted != found {
                different.push(format!("{call}\n  etcd {wanted:?}\n  ours {found:?}"));
            }
        }
    }
    println!("{} calls", wanted.len());
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}

fn has_etcd() -> bool {
    let found =
        has_program(&program("ETCD", "etcd")) && has_program(&program("ETCDCTL", "etcdctl"));
    if !found {
        println!("skipped: no etcd or etcdctl");
    }
    found
}

#[test]
fn same_as_etcd_in_every_call() {
    if has_etcd() {
        let etcd = Cluster::start(&program("ETCD", "etcd"), 1);
        let ours = [1, 3].map(|count| Cluster::start(OURS, count));
        // One server: a serializable read at another might not see the write before it.
        let first = |cluster: &Cluster| format!("127.0.0.1:{}", cluster.servers[0].port);
        compare(include_str!("calls.txt"), etcd, ours.into(), first);
    }
}

#[test]
fn same_as_etcd_in_calls_about_members() {
    if has_etcd() {
        let etcd = Cluster::start(&program("ETCD", "etcd"), 3);
        let ours = vec![Cluster::start(OURS, 3)];
        compare(include_str!("members.txt"), etcd, ours, Cluster::endpoints);
    }
}
