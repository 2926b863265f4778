//! Writes the fixture: three servers live through a bit of everything, and are killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::answers::{backup, base64, everything, post, token};
use crate::support::{Cluster, copy_dir, wait_for};
use crate::three;

fn call(cluster: &Cluster, path: &str, body: &serde_json::Value) {
    post(cluster, 0, path, "", &body.to_string());
}

fn put(cluster: &Cluster, key: &str, value: &str, lease: i64) {
    let body = json!({"key": base64(key), "value": base64(value), "lease": lease});
    call(cluster, "/v3/kv/put", &body);
}

pub(crate) fn fixture(to: &Path) {
    let mut cluster = three();
    // Small enough that a snapshot is taken, and that entries come after it.
    cluster.add_flag("--snapshot-bytes", "6000");
    (0..3).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    keys_and_leases(&cluster);
    users(&cluster);
    let root = token(&cluster, 0, "root");
    // A member that came and went, and further lives and terms.
    let add = json!({"peerURLs": ["http://127.77.0.4:2380"], "isLearner": true}).to_string();
    let added = post(&cluster, 0, "/v3/cluster/member/add", &root, &add);
    let remove = json!({"ID": added["member"]["ID"]}).to_string();
    post(&cluster, 0, "/v3/cluster/member/remove", &root, &remove);
    for i in 0..3 {
        cluster.kill(i);
        cluster.start_one(i);
        cluster.wait_healthy();
    }
    wait_for("a snapshot at each server", Duration::from_secs(20), || {
        (0..3).all(|i| fs::read_dir(cluster.data_dir(i).join("states")).unwrap().count() == 1)
    });
    let root = token(&cluster, 0, "root");
    for n in 0..8 {
        let body =
            json!({"key": base64(&format!("late/{n}")), "value": base64("after the snapshot")});
        post(&cluster, n % 3, "/v3/kv/put", &root, &body.to_string());
    }
    let expected = everything(&cluster, 0);
    for i in 1..3 {
        assert_eq!(everything(&cluster, i), expected, "at n{i}");
    }
    let saved = tokio::runtime::Runtime::new().unwrap().block_on(backup(&cluster, &root));
    (0..3).for_each(|i| cluster.kill(i));

    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for i in 0..3 {
        let target = to.join(format!("n{i}"));
        copy_dir(&cluster.data_dir(i), &target);
        // Bytes without meaning, which a server makes anew.
        fs::remove_file(target.join("reserve")).unwrap();
    }
    fs::write(to.join("backup"), saved).unwrap();
    fs::write(to.join("expected.json"), format!("{expected}\n")).unwrap();
}

fn keys_and_leases(cluster: &Cluster) {
    for (id, ttl) in [(7001, 100_000), (7002, 200_000_000), (7003, 5_000_000)] {
        call(cluster, "/v3/lease/grant", &json!({"ID": id, "TTL": ttl}));
    }
    call(cluster, "/v3/lease/revoke", &json!({"ID": 7003}));
    for n in 0..30 {
        put(cluster, &format!("k/{}", n % 12), &"value ".repeat(n * 5), 0);
    }
    call(cluster, "/v3/kv/compaction", &json!({"revision": 12, "physical": true}));
    put(cluster, "leased/1", "one", 7001);
    put(cluster, "leased/2", "two", 7002);
    put(cluster, "leased/3", "no longer", 7002);
    put(cluster, "leased/3", "no longer leased", 0);
    put(cluster, "app/config", "{}", 0);
    put(cluster, "app/tab\tline\n", "\u{2028}", 0);
    put(cluster, "app/empty", "", 0);
    call(cluster, "/v3/kv/deleterange", &json!({"key": base64("k/3"), "range_end": base64("k/5")}));
    let op = |n: i32| json!({"requestPut": {"key": base64(&format!("txn/{n}")), "value": base64("together")}});
    let compare =
        json!({"key": base64("k/1"), "target": "VERSION", "result": "GREATER", "version": 0});
    call(
        cluster,
        "/v3/kv/txn",
        &json!({"compare": [compare], "success": [op(1), op(2)], "failure": [op(3)]}),
    );
}

fn users(cluster: &Cluster) {
    let key = |from: &str, to: &str, kind: &str| {
        json!({"name": "app", "perm":
            {"permType": kind, "key": base64(from), "range_end": base64(to)}})
    };
    for (path, body) in [
        ("user/add", json!({"name": "root", "password": "rootpw"})),
        ("role/add", json!({"name": "root"})),
        ("user/grant", json!({"user": "root", "role": "root"})),
        ("user/add", json!({"name": "alice", "password": "alicepw"})),
        ("user/add", json!({"name": "by-certificate", "options": {"no_password": true}})),
        ("role/add", json!({"name": "app"})),
        ("role/grant", key("app/", "app0", "READWRITE")),
        ("role/grant", key("w", "", "WRITE")),
        ("user/grant", json!({"user": "alice", "role": "app"})),
        ("enable", json!({})),
    ] {
        call(cluster, &format!("/v3/auth/{path}"), &body);
    }
}
