//! Programs that use etcd's clients get from this server what they get from etcd: one script for
//! each client, its output compared. `docs/server.md` tells how to install the clients.
//!
//! Those of other languages are looked for in `target/clients` (`CLIENTS` names another directory);
//! `cargo build -p etcd-client-script` builds the one of Rust. A missing one is skipped, with a line.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{Cluster, has_program};

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn installed() -> PathBuf {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/clients");
    std::env::var_os("CLIENTS").map_or_else(default, PathBuf::from)
}

/// Compares what a script prints with etcd, with one server of ours, and with one of three.
fn compare(script: impl Fn(u16) -> String) {
    let etcd = Cluster::start("etcd", 1);
    let wanted = script(etcd.servers[0].port);
    println!("{} lines", wanted.lines().count());
    for count in [1, 3] {
        let ours = Cluster::start_ours(count);
        let found = script(ours.servers[count - 1].port);
        let mut lines = wanted.lines().zip(found.lines());
        let different = lines.find(|(wanted, found)| wanted != found);
        assert_eq!(different, None, "the first line that differs: etcd's and ours");
        assert_eq!(wanted, found);
    }
}

/// The output of a command to which the port is added. It must succeed.
fn output(command: &[&str], port: u16) -> String {
    let done = Command::new(command[0])
        .args(&command[1..])
        .arg(port.to_string())
        .env("NODE_PATH", installed().join("node_modules"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// Whether a command succeeds, which needs the client and nothing else.
fn has(command: &[&str]) -> bool {
    let mut program = Command::new(command[0]);
    let program = program.args(&command[1..]).env("NODE_PATH", installed().join("node_modules"));
    let found = has_program("etcd") && program.output().is_ok_and(|done| done.status.success());
    if !found {
        println!("skipped: no etcd, or not {command:?}");
    }
    found
}

fn compare_python(client: &str) {
    let python = installed().join("bin/python3").display().to_string();
    if has(&[&python, "-c", &format!("import {client}")]) {
        let script = scripts().join(format!("{client}_script.py")).display().to_string();
        compare(|port| output(&[&python, &script], port));
    }
}

#[test]
fn same_as_etcd_for_etcd3gw_of_python() {
    compare_python("etcd3gw");
}

#[test]
fn same_as_etcd_for_aetcd_of_python() {
    compare_python("aetcd");
}

#[test]
fn same_as_etcd_for_etcd3_of_node() {
    if has(&["node", "-e", "require('etcd3')"]) {
        let script = scripts().join("etcd3_script.js").display().to_string();
        compare(|port| output(&["node", &script], port));
    }
}

#[test]
fn same_as_etcd_for_etcd_client_of_rust() {
    // Beside the directory of this test's program, where it is built.
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().with_file_name("etcd-client-script");
    if !has_program("etcd") || !program.exists() {
        return println!("skipped: no etcd, or no etcd-client-script");
    }
    compare(|port| output(&[program.to_str().unwrap()], port));
}
