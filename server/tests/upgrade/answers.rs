//! All that clients can ask a cluster about its data, as one value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seaworthy_server::proto::etcdserverpb as pb;
use seaworthy_server::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use seaworthy_server::proto::etcdserverpb::watch_client::WatchClient;
use serde_json::{Value, json};
use tonic::{IntoRequest, Request};

use crate::support::{Cluster, http_with};

pub(crate) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// A call of the JSON twin, which must succeed.
pub(crate) fn post(cluster: &Cluster, i: usize, path: &str, token: &str, body: &str) -> Value {
    let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", token)] };
    let port = cluster.servers[i].port;
    let (status, _, body) = http_with(port, "POST", path, headers, body.as_bytes()).unwrap();
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// A token of a user, whose password is the name and `pw`.
pub(crate) fn token(cluster: &Cluster, i: usize, name: &str) -> String {
    let body = json!({"name": name, "password": format!("{name}pw")}).to_string();
    let answer = post(cluster, i, "/v3/auth/authenticate", "", &body);
    answer["token"].as_str().unwrap().to_owned()
}

fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

/// Everything at server `i`: pairs at each revision that is kept, leases with their keys, users, roles,
/// members, and the events since the compacted revision. Parts that a restart changes are left out.
pub(crate) fn everything(cluster: &Cluster, i: usize) -> Value {
    let root = token(cluster, i, "root");
    let ask = |path: &str, body: Value| post(cluster, i, path, &root, &body.to_string());
    let all = |revision: i64| {
        let body = json!({"key": "AA==", "range_end": "AA==", "revision": revision});
        let answer = ask("/v3/kv/range", body);
        (answer["kvs"].clone(), number(&answer["header"]["revision"]))
    };
    let (present, revision) = all(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (compacted, events) = runtime.block_on(events(cluster, i, &root, revision));
    let past: Vec<Value> =
        (compacted..=revision).map(|at| json!({"revision": at, "kvs": all(at).0})).collect();
    let leases = ask("/v3/lease/leases", json!({}));
    let leases = leases["leases"].as_array().unwrap().iter().map(|lease| {
        let lease = ask("/v3/lease/timetolive", json!({"ID": lease["ID"], "keys": true}));
        let left = number(&lease["TTL"]);
        assert!(left > 0 && left <= number(&lease["grantedTTL"]), "{lease}");
        json!({"ID": lease["ID"], "grantedTTL": lease["grantedTTL"], "keys": lease["keys"]})
    });
    let members = ask("/v3/cluster/member/list", json!({}));
    let members = members["members"].as_array().unwrap().iter().map(|member| {
        json!({"ID": member["ID"], "name": member["name"], "peerURLs": member["peerURLs"]})
    });
    let users = ask("/v3/auth/user/list", json!({}));
    let users = users["users"].as_array().unwrap().iter().map(|name| {
        let user = ask("/v3/auth/user/get", json!({"name": name}));
        json!({"name": name, "roles": user["roles"]})
    });
    let roles = ask("/v3/auth/role/list", json!({}));
    let roles = roles["roles"].as_array().unwrap().iter().map(|name| {
        json!({"name": name, "perm": ask("/v3/auth/role/get", json!({"role": name}))["perm"]})
    });
    let hash = ask("/v3/maintenance/hash", json!({}));
    json!({
        "revision": revision,
        "hash": hash["hash"],
        "compacted": compacted,
        "present": present,
        "past": past,
        "events": events,
        "leases": leases.collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(),
        "users": users.collect::<Vec<_>>(),
        "roles": roles.collect::<Vec<_>>(),
        "alice": of_alice(cluster, i),
    })
}

/// The keys that the user alice, who may read some only, can see.
fn of_alice(cluster: &Cluster, i: usize) -> Value {
    let alice = token(cluster, i, "alice");
    let body = json!({"key": base64("app/"), "range_end": base64("app0"), "keys_only": true});
    let seen = post(cluster, i, "/v3/kv/range", &alice, &body.to_string())["kvs"].clone();
    let port = cluster.servers[i].port;
    let refused = http_with(port, "GET", "/v1/k/1", &[("authorization", &alice)], b"").unwrap();
    json!({"seen": seen, "status_of_others": refused.0})
}

fn with_token<T>(message: impl IntoRequest<T>, token: &str) -> Request<T> {
    let mut request = message.into_request();
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    request
}

/// The compacted revision, and all events after it up to `last`, as a watch from the past tells them.
async fn events(cluster: &Cluster, i: usize, token: &str, last: i64) -> (i64, Vec<Value>) {
    let create = |start_revision: i64| {
        let any = bytes::Bytes::from_static(b"\0");
        let create = pb::WatchCreateRequest {
            key: any.clone(),
            range_end: any,
            start_revision,
            prev_kv: true,
            ..Default::default()
        };
        let union = pb::watch_request::RequestUnion::CreateRequest(create);
        pb::WatchRequest { request_union: Some(union) }
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    sender.send(create(1)).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let request = with_token(requests, token);
    let mut answers =
        WatchClient::new(cluster.channel(i)).watch(request).await.unwrap().into_inner();
    let (mut compacted, mut events) = (0, Vec::new());
    loop {
        let answer = answers.message().await.unwrap().unwrap();
        if answer.canceled {
            compacted = answer.compact_revision;
            assert!(compacted > 0, "{answer:?}");
            sender.send(create(compacted + 1)).await.unwrap();
        }
        for event in answer.events {
            let pair = event.kv.unwrap();
            let [key, value] = [&pair.key, &pair.value].map(|bytes| STANDARD.encode(bytes));
            let before = event.prev_kv.map(|pair| STANDARD.encode(&pair.value));
            events.push(json!([pair.mod_revision, event.r#type, key, value, pair.lease, before]));
            if pair.mod_revision == last {
                return (compacted, events);
            }
        }
    }
}

/// A backup, as `etcdctl snapshot save` receives it.
pub(crate) async fn backup(cluster: &Cluster, token: &str) -> Vec<u8> {
    let request = with_token(pb::SnapshotRequest {}, token);
    let mut client = MaintenanceClient::new(cluster.channel(0));
    let mut pieces = client.snapshot(request).await.unwrap().into_inner();
    let mut backup = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        backup.extend_from_slice(&piece.blob);
    }
    backup
}
