//! Users, roles and permissions: the same answers as etcd's, and one check under gRPC, JSON and
//! REST.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Cluster, etcdctl, has_program, http_with, wait_for};

/// Calls of etcdctl, in order: each a line of words, and its input behind `<`.
const CALLS: &str = r#"
user add root --interactive=false < rootpw
role add root
user list
auth disable
user add root --interactive=false < again
user grant-role root root
user grant-role root root
user grant-role root none
user grant-role none root
user get root
user get none
role get root
role get none
role add r
role add r
role grant-permission r readwrite a d
role grant-permission r read d f
role grant-permission r write w
role grant-permission r read w2
role grant-permission none read x
role grant-permission r read p/ --prefix
role grant-permission r read z --from-key
role get r
role revoke-permission r w2
role revoke-permission r w2
role list
user add alice --interactive=false < alicepw
user add bob --interactive=false < bobpw
user add cert --no-password
user grant-role alice r
user get alice
user get alice --detail
user list
put a 1
put w 1
put x 1
auth enable
get a
put a 2
--user root:wrong get a
--user none:pw get a
--user alice:alicepw get a
--user alice:alicepw put a 3
--user alice:alicepw get x
--user alice:alicepw put x 2
--user alice:alicepw get a f
--user alice:alicepw get a f0
--user alice:alicepw get p/ --prefix
--user alice:alicepw get w
--user alice:alicepw put w 2
--user alice:alicepw put w 2 --prev-kv
--user alice:alicepw del a
--user alice:alicepw del a d --prev-kv
--user alice:alicepw del d
--user alice:alicepw get zz
--user alice:alicepw get z --from-key
--user alice:alicepw get --from-key a
--user alice:alicepw txn < ver(a) = "0"\n\nput b 1\nget c\n\nput c 1\n\n
--user alice:alicepw txn < ver(x) = "0"\n\nput b 1\n\n\n
--user alice:alicepw txn < ver(a) = "0"\n\nput b 1\n\nput x 1\n\n
--user alice:alicepw user list
--user alice:alicepw user get alice
--user alice:alicepw user get bob
--user alice:alicepw role get r
--user alice:alicepw role get root
--user alice:alicepw role list
--user alice:alicepw role add s
--user alice:alicepw auth disable
--user bob:bobpw get a
--user bob:bobpw role get r
--user root:rootpw user delete root
--user root:rootpw user revoke-role root root
--user root:rootpw role delete root
--user root:rootpw get a
--user root:rootpw put x 9
--user root:rootpw user passwd bob --interactive=false < newpw
--user bob:bobpw get a
--user bob:newpw get a
--user root:rootpw user grant-role bob r
--user bob:newpw get a
--user root:rootpw user revoke-role bob r
--user root:rootpw user revoke-role bob r
--user bob:newpw get a
--user root:rootpw role delete r
--user root:rootpw user get alice
--user alice:alicepw get a
--user root:rootpw user delete bob
--user root:rootpw user delete bob
--user bob:newpw get a
--user root:rootpw user list
--user root:rootpw role list
--user root:rootpw compaction 2
--user root:rootpw auth enable
--user root:rootpw auth disable
get a
user list
role list
"#;

/// The answer to a call, without the lines that clients log of themselves.
fn answer(cluster: &Cluster, call: &str) -> (bool, String) {
    let (words, input) = call.split_once(" < ").unwrap_or((call, ""));
    let words: Vec<&str> = words.split(' ').collect();
    let input = input.replace("\\n", "\n");
    let (is_ok, out, err) = etcdctl(&cluster.endpoints(), &words, &input);
    let err: Vec<&str> = err.lines().filter(|line| !line.starts_with('{')).collect();
    (is_ok, format!("{out}{}", err.join("\n")))
}

#[test]
fn etcdctl_gets_the_same_answers_from_etcd() {
    if !has_program("etcd") || !has_program("etcdctl") {
        return println!("skipped: no etcd or etcdctl");
    }
    let theirs = Cluster::start("etcd", 1);
    let ours = [1, 3].map(|count| {
        let mut ours = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), count);
        ours.add_flag("--bcrypt-cost", "4");
        (0..count).for_each(|i| ours.start_one(i));
        ours.wait_healthy();
        ours
    });
    let mut different = Vec::new();
    for call in CALLS.lines().filter(|line| !line.is_empty()) {
        let wanted = answer(&theirs, call);
        for ours in &ours {
            let found = answer(ours, call);
            if found != wanted {
                different.push(format!("{call}\n  etcd {wanted:?}\n  ours {found:?}"));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// A server with the users root and alice, who may read and write a and keys below `a/`.
fn guarded(count: usize) -> Cluster {
    guarded_while(count, |_, _| {})
}

/// The same; before each call `before` gets its path.
fn guarded_while(count: usize, before: impl Fn(&Cluster, &str)) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), count);
    cluster.add_flag("--bcrypt-cost", "4");
    (0..count).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    for (path, body) in [
        ("user/add", r#"{"name": "root", "password": "rootpw"}"#),
        ("role/add", r#"{"name": "root"}"#),
        ("user/grant", r#"{"user": "root", "role": "root"}"#),
        ("user/add", r#"{"name": "alice", "password": "alicepw"}"#),
        ("role/add", r#"{"name": "r"}"#),
        // a, and from a/ to a0.
        ("role/grant", r#"{"name": "r", "perm": {"permType": "READWRITE", "key": "YQ=="}}"#),
        (
            "role/grant",
            r#"{"name": "r", "perm": {"permType": 2, "key": "YS8=", "range_end": "YTA="}}"#,
        ),
        ("user/grant", r#"{"user": "alice", "role": "r"}"#),
        ("enable", ""),
    ] {
        before(&cluster, path);
        let (status, body) = call(&cluster, 0, "POST", &format!("/v3/auth/{path}"), "", body);
        assert_eq!(status, 200, "{path}: {body}");
    }
    cluster
}

fn call(
    cluster: &Cluster,
    i: usize,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> (u16, String) {
    let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", token)] };
    let port = cluster.servers[i].port;
    let (status, _, body) = http_with(port, method, path, headers, body.as_bytes()).unwrap();
    (status, String::from_utf8(body).unwrap())
}

fn token(cluster: &Cluster, i: usize, name: &str) -> String {
    let body = format!(r#"{{"name": "{name}", "password": "{name}pw"}}"#);
    let (status, body) = call(cluster, i, "POST", "/v3/auth/authenticate", "", &body);
    assert_eq!(status, 200, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["token"].as_str().unwrap().to_owned()
}

fn signal(cluster: &Cluster, i: usize, signal: &str) {
    let id = cluster.servers[i].process.as_ref().unwrap().0.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
}

/// The answer to the first put of a key.
fn made() -> (u16, String) {
    (201, String::new())
}

/// A server that has not heard that users count learns it before it refuses one for having no
/// name.
#[test]
fn a_server_that_was_away_knows_users_by_their_tokens() {
    let cluster = guarded_while(3, |cluster, path| {
        if path == "enable" {
            signal(cluster, 2, "-STOP");
        }
    });
    let (alice, root) = (token(&cluster, 0, "alice"), token(&cluster, 1, "root"));
    signal(&cluster, 2, "-CONT");
    assert_eq!(call(&cluster, 2, "PUT", "/v1/a", &alice, "x"), made());
    assert_eq!(call(&cluster, 2, "PUT", "/v1/b", &root, "x"), made());
}

/// And one that has not heard that they count no more refuses no request for it.
#[test]
fn a_server_that_was_away_does_not_ask_for_users_of_the_past() {
    let cluster = guarded(3);
    let root = token(&cluster, 0, "root");
    signal(&cluster, 2, "-STOP");
    assert_eq!(call(&cluster, 0, "POST", "/v3/auth/disable", &root, "").0, 200);
    signal(&cluster, 2, "-CONT");
    assert_eq!(call(&cluster, 2, "PUT", "/v1/b", "", "x"), made());
}

/// Until the log has accepted its life, a server's state is that of its last snapshot: without the
/// users, here. A watch that it permitted then would go on for ever.
#[test]
fn a_server_that_has_just_started_shows_nothing_to_strangers() {
    let mut cluster = guarded(3);
    let root = token(&cluster, 0, "root");
    assert_eq!(call(&cluster, 0, "PUT", "/v1/b", &root, "secret").0, 201);
    (0..3).for_each(|i| cluster.kill(i));
    cluster.start_one(2);
    let port = cluster.servers[2].port;
    wait_for("a port", Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut watch = TcpStream::connect(("127.0.0.1", port)).unwrap();
    watch.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(watch, "GET /v1/?watch=true HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    // It is told nothing before there is a majority.
    std::thread::sleep(Duration::from_millis(500));
    (0..2).for_each(|i| cluster.start_one(i));
    cluster.wait_healthy();
    assert_eq!(call(&cluster, 2, "PUT", "/v1/b", &root, "secret").0, 200);
    let (mut told, mut buffer) = (String::new(), [0; 4096]);
    while !told.contains("error") && !told.contains("secret") {
        let len = watch.read(&mut buffer).unwrap();
        assert_ne!(len, 0, "no reason: {told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..len]));
    }
    assert!(told.contains("user name is empty") && !told.contains("secret"), "{told}");
}

/// Users that were made while a server was away, and requests that wait there when it comes back:
/// a token that is newer than its state is not called invalid.
#[test]
fn a_server_that_lags_calls_no_new_token_invalid() {
    let cluster = guarded(3);
    let root = token(&cluster, 0, "root");
    signal(&cluster, 2, "-STOP");
    for (path, body) in [
        ("user/add", r#"{"name": "bob", "password": "bobpw"}"#),
        ("user/grant", r#"{"user": "bob", "role": "r"}"#),
    ] {
        let (status, body) = call(&cluster, 0, "POST", &format!("/v3/auth/{path}"), &root, body);
        assert_eq!(status, 200, "{path}: {body}");
    }
    let bob = token(&cluster, 1, "bob");
    std::thread::scope(|scope| {
        let local = scope.spawn(|| {
            let path = "/v1/a?consistency=serializable";
            call(&cluster, 2, "GET", path, &bob, "")
        });
        let created = r#"{"create_request": {"key": "YQ=="}}"#;
        let watched = scope.spawn(|| watch(&cluster, "/v3/watch", &bob, created));
        // The requests are there before the entries that the server has missed.
        std::thread::sleep(std::time::Duration::from_millis(300));
        signal(&cluster, 2, "-CONT");
        let (status, body) = local.join().unwrap();
        assert_eq!(status, 404, "a has no value: {body}");
        let (_, told) = watched.join().unwrap();
        assert!(told.contains("\"created\":true") && !told.contains("canceled\":true"), "{told}");
    });
}

#[test]
fn every_way_in_is_checked() {
    let cluster = guarded(3);
    let (alice, root) = (token(&cluster, 0, "alice"), token(&cluster, 1, "root"));
    let get = |path: &str, token: &str| call(&cluster, 2, "GET", path, token, "").0;
    let put = |path: &str, token: &str| call(&cluster, 2, "PUT", path, token, "x").0;
    // A token of one server is good at the others.
    assert_eq!((put("/v1/a", &alice), put("/v1/a/b", &alice)), (201, 201));
    assert_eq!((put("/v1/a", &format!("Bearer {alice}")), put("/v1/b", &alice)), (200, 403));
    assert_eq!((put("/v1/b", &root), put("/v1/b", ""), put("/v1/b", "made up")), (201, 400, 401));
    assert_eq!((get("/v1/a", &alice), get("/v1/b", &alice), get("/v1/a", "")), (200, 403, 400));
    assert_eq!((get("/v1/?prefix=a/", &alice), get("/v1/?prefix=a", &alice)), (200, 403));
    let local = "/v1/b?consistency=serializable";
    assert_eq!((get(local, &alice), get(local, ""), get(local, &root)), (403, 400, 200));
    let delete = |path: &str, token: &str| call(&cluster, 2, "DELETE", path, token, "").0;
    assert_eq!((delete("/v1/b", &alice), delete("/v1/a", &alice)), (403, 200));
    // Watches, as JSON lines and as events.
    let (_, told) = watch(&cluster, "/v3/watch", &alice, r#"{"create_request": {"key": "Yg=="}}"#);
    assert!(told.contains("permission denied") && told.contains("\"canceled\":true"), "{told}");
    let (_, told) = watch(&cluster, "/v3/watch", &alice, r#"{"create_request": {"key": "YQ=="}}"#);
    assert!(told.contains("\"created\":true") && !told.contains("canceled\":true"), "{told}");
    let events = call(&cluster, 2, "GET", "/v1/b?watch=true", &alice, "").1;
    assert!(events.contains("permission denied"), "{events}");
    // Leases: any user has them, and no other.
    let post = |path: &str, token: &str, body: &str| call(&cluster, 1, "POST", path, token, body);
    assert_eq!(post("/v3/lease/grant", "", r#"{"TTL": 100, "ID": 7}"#).0, 400);
    assert_eq!(post("/v3/lease/grant", &alice, r#"{"TTL": 100, "ID": 7}"#).0, 200);
    let attach = r#"{"key": "Yg==", "lease": 7}"#;
    assert_eq!(post("/v3/kv/put", &root, attach).0, 200);
    assert_eq!(post("/v3/lease/revoke", &alice, r#"{"ID": 7}"#).0, 403);
    assert_eq!(post("/v3/lease/timetolive", &alice, r#"{"ID": 7, "keys": true}"#).0, 403);
    assert_eq!(post("/v3/lease/leases", "", "").0, 400);
    // Calls for root alone are refused, also where nothing is served.
    for path in ["/v3/maintenance/snapshot", "/v3/cluster/member/add", "/cluster/members"] {
        assert_eq!((post(path, "", "{}").0, post(path, &alice, "{}").0), (400, 403), "{path}");
    }
    let alarm = r#"{"action": "ACTIVATE", "memberID": 1, "alarm": "NOSPACE"}"#;
    assert_eq!(post("/v3/maintenance/alarm", &alice, alarm).0, 403);
    // An alarm of no kind is not raised.
    for alarm in [r#"{"action": "ACTIVATE"}"#, r#"{"action": 1, "memberID": 1, "alarm": "NONE"}"#] {
        let (status, answer) = post("/v3/maintenance/alarm", &root, alarm);
        assert_eq!((status, answer.contains("alarms")), (200, false), "{answer}");
    }
    assert_eq!(get("/health", ""), 200);
    assert_eq!(get("/cluster", ""), 200);
}

/// The first response of a watch.
fn watch(cluster: &Cluster, path: &str, token: &str, body: &str) -> (u16, String) {
    use std::io::{BufRead, BufReader};
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.servers[2].port)).unwrap();
    let len = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\ncontent-length: {len}\r\n\r\n{body}"
    )
    .unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with('{')).unwrap();
    (200, line)
}

#[test]
fn users_outlive_restarts_and_the_log() {
    let mut cluster = guarded(3);
    let alice = token(&cluster, 0, "alice");
    assert_eq!(call(&cluster, 0, "PUT", "/v1/a", &alice, "kept").0, 201);
    for i in 0..3 {
        cluster.kill(i);
        // A snapshot of a few bytes: the users come from it, and not from the log.
        if i == 0 {
            cluster.add_flag("--snapshot-bytes", "100");
        }
        cluster.start_one(i);
        cluster.wait_healthy();
        let again = token(&cluster, i, "alice");
        for token in [&alice, &again] {
            for _ in 0..3 {
                assert_eq!(call(&cluster, i, "PUT", "/v1/a", token, "kept").0, 200);
            }
            assert_eq!(call(&cluster, i, "GET", "/v1/b", token, "").0, 403);
        }
        assert_eq!(call(&cluster, i, "GET", "/v1/a", "", "").0, 400);
    }
}
