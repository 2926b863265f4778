//! The node and the bench do not pay for the server: a build of the default members compiles
//! none of its crates.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::process::Command;

/// Crates that only the server needs.
const CRATES: [&str; 8] =
    ["seaworthy-server", "axum", "fjall", "imbl", "postcard", "prost", "protox", "tonic"];

fn crates(of: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--locked", "--prefix", "none", "--edges", "normal,build"]);
    let output = cargo.args(of).current_dir("..").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_default_members_need_no_crate_of_the_server() {
    let server = crates(&["-p", "seaworthy-server"]);
    let others = crates(&[]);
    assert!(others.iter().any(|name| name == "seaworthy-bench"), "{others:?}");
    for name in CRATES {
        assert!(server.iter().any(|known| known == name), "the server needs {name} no longer");
        assert!(!others.iter().any(|known| known == name), "a default member needs {name}");
    }
}
