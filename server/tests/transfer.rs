//! States that go from one server to another in pieces, from file to file.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::{Cluster, http, wait_for};

const WRITERS: usize = 16;
/// More in all than the entries that stay in a log for those that are behind.
const PUTS: usize = 500;

/// A cluster whose third server lacks a state: it is down, and the two others have none of the
/// entries any more.
fn cluster_with_a_late_server(value: &str) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 3);
    cluster.add_flag("--snapshot-bytes", "2000000");
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    cluster.kill(2);
    let writers = (0..WRITERS).map(|writer| {
        let ports = [cluster.servers[0].port, cluster.servers[1].port];
        let value = value.to_owned();
        std::thread::spawn(move || {
            for n in 0..PUTS {
                let path = format!("/v1/k{writer}-{n}");
                let answer = http(ports[n % 2], "PUT", &path, value.as_bytes());
                assert!(answer.is_some_and(|(status, _)| status == 201), "{path}");
            }
        })
    });
    writers.collect::<Vec<_>>().into_iter().for_each(|writer| writer.join().unwrap());
    cluster
}

/// The value that a server itself has for a key.
fn own_value(cluster: &Cluster, i: usize, key: &str) -> Option<Vec<u8>> {
    let path = format!("/v1/{key}?consistency=serializable");
    let answer = http(cluster.servers[i].port, "GET", &path, b"");
    answer.filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

fn states(cluster: &Cluster, i: usize) -> Vec<PathBuf> {
    let files = std::fs::read_dir(cluster.data_dir(i).join("states"));
    files.map(|files| files.map(|file| file.unwrap().path()).collect()).unwrap_or_default()
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

/// Waits until a server has everything, and one state of its own with nothing beside it.
fn wait_until_whole(cluster: &Cluster, i: usize, value: &str) {
    wait_for("all values", Duration::from_secs(60), || {
        let keys = (0..WRITERS).flat_map(|w| [0, PUTS / 2, PUTS - 1].map(|n| format!("k{w}-{n}")));
        keys.into_iter().all(|k| own_value(cluster, i, &k).as_deref() == Some(value.as_bytes()))
    });
    let name = &cluster.servers[i].name;
    assert!(cluster.log(name).contains("took a snapshot of everything"), "by entries");
    wait_for("one state, and nothing beside it", Duration::from_secs(10), || {
        let files = states(cluster, i);
        // Many times a piece.
        files.len() == 1 && files[0].extension().is_none() && len(&files[0]) > 2_000_000
    });
}

#[test]
fn a_server_that_comes_back_late_gets_the_state_in_pieces_and_starts_from_it() {
    let value = "v".repeat(1000);
    let mut cluster = cluster_with_a_late_server(&value);
    cluster.start_one(2);
    wait_until_whole(&cluster, 2, &value);
    // It starts again from the state that it was given.
    cluster.kill(2);
    cluster.start_one(2);
    wait_until_whole(&cluster, 2, &value);
}

/// Waits until a part of a state from another server is on disk, and returns its file.
fn wait_for_half(cluster: &Cluster, i: usize) -> PathBuf {
    let began = Instant::now();
    loop {
        let mut files = states(cluster, i).into_iter();
        let half = files.find(|file| file.to_str().unwrap().ends_with(".received.tmp"));
        if let Some(half) = half.filter(|half| len(half) > 100_000) {
            return half;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no piece was seen on its way");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn leads(cluster: &Cluster, i: usize) -> bool {
    let metrics = http(cluster.servers[i].port, "GET", "/metrics", b"");
    let text = metrics.map(|(_, body)| String::from_utf8(body).unwrap());
    text.is_some_and(|text| text.contains("etcd_server_is_leader 1"))
}

#[test]
fn a_transfer_that_a_crash_cuts_off_at_either_end_is_made_good_and_leaves_nothing_behind() {
    let value = "v".repeat(5000);
    let mut cluster = cluster_with_a_late_server(&value);
    cluster.start_one(2);
    let half = wait_for_half(&cluster, 2);
    cluster.kill(2);
    assert!(half.exists(), "a crash leaves half of a state");
    cluster.start_one(2);
    wait_for_half(&cluster, 2);
    let leader = (0..2).find(|i| leads(&cluster, *i)).unwrap();
    cluster.kill(leader);
    // The next leader may have another state, or the same one.
    wait_until_whole(&cluster, 2, &value);
    cluster.start_one(leader);
    wait_until_whole(&cluster, 2, &value);
    cluster.wait_healthy();
}
