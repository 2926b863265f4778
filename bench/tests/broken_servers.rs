//! The server with bugs of its own, as real processes over sockets: each bug is found by a run, with a story,
//! and the same binary without a bug passes the same runs.
//!
//! `cargo test -p seaworthy-bench --features planted-servers --test broken_servers`. An answer before
//! `fsync` is not among the bugs: a file on a real disk keeps what was written when its process is killed,
//! so the simulation looks for that. A database that is killed does lose it.

// A test may fail by unwrapping; it runs real processes, and tells what it skips.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

const SERVER: &str = include_str!("../specs/seaworthy-server.toml");
const IN_POSTGRES: &str = include_str!("../specs/seaworthy-server-postgres.toml");
const PLANTED: &str = env!("CARGO_BIN_EXE_planted-server");

/// A shipped spec whose server can have bugs.
fn planted(spec: &str) -> String {
    assert_eq!(spec.matches("\"seaworthy-server\",").count(), 1);
    spec.replace("\"seaworthy-server\",", &format!("\"{PLANTED}\","))
}

/// A directory that the user of a database can reach, too.
fn directory() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The status of a run, and its output.
fn run(spec: &str, seed: u64, flags: &str) -> (Option<i32>, String) {
    let dir = directory();
    let file = dir.path().join("spec.toml");
    fs::write(&file, spec).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["test", "--no-report", "--seed", &seed.to_string(), "--server"])
        .args([&file, Path::new("--store"), dir.path()])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

/// A bug, the run that finds it, and a part of the story that the bench tells about it.
struct Bug {
    name: &'static str,
    flags: &'static str,
    story: &'static str,
}

/// Cuts that last for several elections: a deposed leader serves its clients beside the next one.
const CUT: &str = "-w lin-kv --node-count 3 --concurrency 4n --rate 200 --time-limit 7 \
                   --nemesis partition --nemesis-interval 1 -- --election-timeout 300";
/// The partitions of this seed isolate each node in turn, so that the leader is isolated, whichever node it is.
const EACH_ISOLATED: u64 = 108;
const NOT_LINEAR: &str = "is not linearizable: this operation cannot have happened";
const BUGS: [Bug; 5] = [
    Bug { name: "ReadLocal", flags: CUT, story: NOT_LINEAR },
    Bug { name: "ReadDeposed", flags: CUT, story: NOT_LINEAR },
    // Each client waits at the deposed leader from its first append on: it takes many to have readers left.
    Bug {
        name: "ReadDeposed",
        flags: "-w txn-list-append --node-count 3 --concurrency 40n --max-txn-length 1 --key-count 3 --rate 200 \
                --time-limit 7 --nemesis partition --nemesis-interval 1 -- --election-timeout 300",
        story: "realtime",
    },
    Bug {
        name: "WatchSkipsPast",
        flags: "-w watch --node-count 3 --concurrency 2n --rate 60 --time-limit 5 --",
        story: "lacks revision",
    },
    Bug {
        name: "RenewForgotten",
        flags: "-w lease --node-count 3 --concurrency 2n --rate 60 --time-limit 8 --",
        story: "Leases: expired early.",
    },
];
/// How often a run is tried that says nothing. A machine that starves the servers may hold no election
/// during a cut.
const TRIES: usize = 4;

fn assert_found(bug: &Bug) {
    let Bug { name, flags, story } = bug;
    let flags = format!("{flags} --planted {name}");
    let mut runs = (0..TRIES).map(|_| run(&planted(SERVER), EACH_ISOLATED, &flags));
    let found = runs.find(|(status, _)| *status == Some(1));
    let (_, text) = found.unwrap_or_else(|| panic!("{name}: not found in {TRIES} runs"));
    assert!(text.contains("Analysis invalid!") && text.contains(story), "{name}: {text}");
}

fn assert_sound(spec: &str, seed: u64, flags: &str) {
    let mut runs = (0..TRIES).map(|_| run(spec, seed, flags));
    let known = runs.find(|(status, _)| *status != Some(UNKNOWN));
    let (status, text) = known.unwrap_or_else(|| panic!("{flags}: no verdict in {TRIES} runs"));
    assert_eq!(status, Some(0), "{flags}: {text}");
}

/// The status of a run that showed too little.
const UNKNOWN: i32 = 2;

#[test]
fn each_bug_is_found_over_sockets_and_the_server_without_it_passes() {
    // Runs wait most of their time, so that they overlap.
    let without: BTreeSet<&str> = BUGS.iter().map(|bug| bug.flags).collect();
    thread::scope(|scope| {
        for bug in &BUGS {
            scope.spawn(|| assert_found(bug));
        }
        for flags in without {
            scope.spawn(|| assert_sound(&planted(SERVER), EACH_ISOLATED, flags));
        }
    });
}

#[test]
fn the_server_passes_on_full_disks() {
    let flags = "-w txn-list-append --node-count 3 --concurrency 4n --rate 60 --time-limit 6 --nemesis full-disk \
                 --nemesis-interval 1 --disk-mib 64 --quiet-phase 4 --log-stderr";
    let (status, text) = run(&planted(SERVER), 1, flags);
    if text.contains("--nemesis full-disk: ") || text.contains("no disk can be mounted") {
        return println!("servers on full disks are not tested here: {text}");
    }
    assert_eq!(status, Some(0), "{text}");
    for told in ["(0 MiB are free): writes are refused", "MiB are free for"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

/// Reads from the memory of a deposed leader are stale only if hosts are cut off from each other.
#[test]
fn stale_reads_are_found_between_hosts_and_the_server_passes() {
    let flags = "-w lin-kv --node-count 3 --concurrency 4n --rate 200 --time-limit 7 --network namespaces \
                 --nemesis partition,one-way --nemesis-interval 1 -- --election-timeout 300";
    let bug = Bug { name: "ReadLocal", flags, story: NOT_LINEAR };
    let (status, text) = run(&planted(SERVER), EACH_ISOLATED, flags);
    if text.contains("--network namespaces: ") || text.contains("no hosts can be made") {
        return println!("servers with hosts of their own are not tested here: {text}");
    }
    assert!(status == Some(0) || status == Some(UNKNOWN), "{text}");
    assert_found(&bug);
}

/// The shipped spec with PostgreSQL; `before` is shell text that runs before the server, with the database up.
fn in_postgres(before: &str) -> String {
    let spec = planted(IN_POSTGRES);
    assert_eq!(spec.matches("PATH=$programs").count(), 1);
    spec.replace("PATH=$programs", &format!("{before}\nPATH=$programs"))
}

fn has_postgres() -> bool {
    let found = Path::new("/usr/lib/postgresql").exists();
    if !found {
        println!("PostgreSQL is not installed: servers with it are not tested");
    }
    found
}

/// Runs SQL as the superuser, who sets values that the server's session cannot see when it begins.
const SQL: &str = "sql() { \"$bin/psql\" -qX -h 127.0.0.1 -p \"$port\" -U postgres \
                   -v ON_ERROR_STOP=1 -c \"$1\" >/dev/null 2>&1; }";
/// A node and its database run for five seconds, are killed, and run again. The database has written most of its log
/// to a file by then, flushed or not, and loses some 8 kB: appends show that, each of which is in every later read.
/// Registers do not: writes whose clients gave up explain most of the values that come back.
const KILLED: &str = "-w txn-list-append --max-txn-length 1 --key-count 3 --max-writes-per-key 1000 \
                      --node-count 1 --concurrency 12n --rate 100 --time-limit 15 \
                      --nemesis kill --nemesis-interval 2.5";
/// The seed with that one kill.
const KILLED_ONCE: u64 = 59;

#[test]
fn a_database_that_answers_before_it_flushes_is_refused_by_its_settings() {
    if !has_postgres() {
        return;
    }
    let off = format!("{SQL}\nsql 'ALTER ROLE postgres SET synchronous_commit = off'");
    let flags = "-w lin-kv --node-count 1 --concurrency 2n --time-limit 2 --init-timeout 30";
    let (status, text) = run(&in_postgres(&off), 1, flags);
    assert_eq!(status, Some(255), "{text}");
    let why = "synchronous_commit is off: the database may lose what it has committed";
    assert!(text.contains(why), "{text}");
}

#[test]
fn a_database_that_turns_flushes_off_by_a_trigger_is_found_when_it_is_killed() {
    if !has_postgres() {
        return;
    }
    // No look at the settings sees it: the trigger turns the setting off in each transaction of its own. The
    // table is there once the server has made it.
    let trigger = format!(
        "{SQL}\nmake() {{ sql \"CREATE OR REPLACE FUNCTION public.hurry() RETURNS trigger \
         LANGUAGE plpgsql AS 'BEGIN PERFORM set_config(''synchronous_commit'', ''off'', true); \
         RETURN NULL; END'\" && sql 'CREATE OR REPLACE TRIGGER hurry AFTER INSERT ON \
         seaworthy.record EXECUTE FUNCTION public.hurry()'; }}\n\
         sql 'ALTER SYSTEM SET wal_writer_delay = 10000' && sql 'SELECT pg_reload_conf()'\n\
         (until make; do sleep 0.1; done) &"
    );
    let spec = in_postgres(&trigger);
    // Now and then a kill finds all of the log written, or the database is back too late.
    let mut runs = (0..TRIES).map(|_| run(&spec, KILLED_ONCE, KILLED));
    let found = runs.find(|(status, _)| *status == Some(1));
    let (_, text) = found.expect("no loss was seen");
    assert!(text.contains("Analysis invalid!") && text.contains("realtime"), "{text}");
}

#[test]
fn the_shipped_spec_with_postgres_keeps_everything_under_the_same_kills() {
    if has_postgres() {
        assert_sound(&in_postgres(""), KILLED_ONCE, KILLED);
    }
}

#[test]
fn a_member_that_gives_up_joining_is_started_again() {
    // Each start into a cluster that is there ends twice before the third serves.
    let gives_up = "if [ \"$2\" = existing ]; then echo x >>\"$1.starts\"; \
                    [ $(($(wc -l <\"$1.starts\") % 3)) = 0 ] || exit 1; fi; shift 2; exec \"$@\"";
    let wrapped = "\"/bin/sh\", \"-c\", '''WORDS''', \"sh\", \"{spec_dir}/{name}\", \"{state}\", ";
    let wrapped = wrapped.replace("WORDS", gives_up);
    let server = format!("\"{PLANTED}\",");
    let spec = planted(SERVER).replace(&server, &format!("{wrapped}{server}"));
    let flags = "-w lin-kv --node-count 3 --concurrency 2n --rate 50 --time-limit 12 \
                 --nemesis membership --nemesis-interval 2";
    let (status, text) = run(&spec, 1, flags);
    assert_eq!(status, Some(0), "{text}");
}
