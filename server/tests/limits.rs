//! Strangers: silent connections, half a handshake, garbage, too much of everything. The server
//! serves on, and its memory stays as it is.
//!
//! `STRANGERS` is how many there are: 300 by default, and 10,000 for a measurement by hand.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rand_core::Rng;
use support::{Cluster, http, http_with};

fn strangers() -> usize {
    std::env::var("STRANGERS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

fn assert_serves(cluster: &Cluster) {
    let began = Instant::now();
    let (status, _) = http(cluster.servers[0].port, "PUT", "/v1/key", b"value").unwrap();
    assert!(status == 200 || status == 201, "{status}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!cluster.log("n0").contains("panicked"));
}

fn started(max_connections: usize) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), 1);
    cluster.add_flag("--max-connections", &max_connections.to_string());
    cluster.start_one(0);
    cluster.wait_healthy();
    cluster
}

#[test]
fn silent_connections_keep_no_client_out() {
    let count = strangers();
    // More come than there are places.
    let cluster = started(count / 2);
    let ports = [cluster.servers[0].port, cluster.servers[0].peer_port];
    let before = cluster.memory_kib(0);
    let mut silent = Vec::new();
    for port in ports {
        for i in 0..count {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            // A third says nothing, a third begins with HTTP, a third with TLS.
            let first: &[u8] = [&b""[..], b"GE", &[0x16, 3, 1]][i % 3];
            stream.write_all(first).ok();
            silent.push(stream);
        }
        assert_serves(&cluster);
    }
    let grown = cluster.memory_kib(0).saturating_sub(before);
    println!("{} silent connections, {grown} KiB more", silent.len());
    assert!(grown < 40_000, "{grown} KiB");
    // All of them are closed before long.
    let last = silent.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let read = last.read(&mut [0; 1]);
    assert!(!matches!(&read, Err(e) if e.kind() == ErrorKind::WouldBlock), "{read:?}");
    assert_serves(&cluster);
}

#[test]
fn garbage_changes_nothing() {
    let cluster = started(20_000);
    let mut random = rand_pcg::Pcg64::new(1, 2);
    let before = cluster.memory_kib(0);
    let begins: [&[u8]; 8] = [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 90\r\n\r\n{\"key\":",
        b"POST /etcdserverpb.KV/Range HTTP/1.1\r\ncontent-type: application/grpc\r\n\r\n",
        b"SEAWPEER\x02\x00",
        b"SEAWPEER\x02\x00\xff\xff\xff\x0f\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01",
    ];
    for i in 0..strangers() * 2 {
        let server = &cluster.servers[0];
        let port = if i % 2 == 0 { server.port } else { server.peer_port };
        let mut bytes = begins[i / 2 % begins.len()].to_vec();
        let mut tail = vec![0; i % 700];
        random.fill_bytes(&mut tail);
        bytes.extend_from_slice(&tail);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(&bytes).ok();
    }
    assert_serves(&cluster);
    let grown = cluster.memory_kib(0).saturating_sub(before);
    println!("{} pieces of garbage, {grown} KiB more", strangers() * 2);
    assert!(grown < 40_000, "{grown} KiB");
    let log = cluster.log("n0");
    assert!(log.lines().count() < 100, "the log is no place for garbage: {log}");
}

#[test]
fn too_much_is_refused() {
    let cluster = started(100);
    let port = cluster.servers[0].port;
    let long = "x".repeat(200 << 10);
    let answer = http_with(port, "GET", "/v1/key", &[("long", &long)], b"");
    assert!(answer.is_none_or(|(status, _, _)| status == 431));
    let large = vec![b'x'; 3 << 20];
    let answer = http(port, "PUT", "/v1/key", &large);
    assert!(answer.is_none_or(|(status, _)| status == 413));
    let (status, body) = http(port, "PUT", "/v1/key", &large[..3 << 19]).unwrap();
    assert_eq!((status, &body[..]), (413, &b"etcdserver: request is too large\n"[..]));
    assert_serves(&cluster);
}

#[test]
fn without_flags_nothing_is_open_to_others() {
    let dir = tempfile::TempDir::new().unwrap();
    let (client, peer) = (support::free_port(), support::free_port());
    // The ports are given, so that tests can run at the same time; `localhost` is the default.
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for default in ["http://127.0.0.1:2379", "http://127.0.0.1:2380"] {
        assert!(help.contains(&format!("[default: {default}]")), "{help}");
    }
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_seaworthy-server"))
        .current_dir(dir.path())
        .args(["--listen-client-urls", &format!("http://localhost:{client}")])
        .args(["--listen-peer-urls", &format!("http://localhost:{peer}")])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let process = support::Process(child);
    support::wait_for("the port", Duration::from_secs(10), || {
        http(client, "GET", "/livez", b"").is_some()
    });
    // Local address in hexadecimal, state 0A: listening (proc(5)).
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    for port in [client, peer] {
        let end = format!(":{port:04X}");
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listening = rows.filter(|row| row.get(3) == Some(&"0A") && row[1].ends_with(&end));
        let addresses: Vec<String> = listening.map(|row| row[1].to_owned()).collect();
        assert_eq!(addresses, [format!("0100007F{end}")], "{port}");
    }
    drop(process);
}

/// The bytes that the kernel holds for each client of a port: those under way, and those that wait.
fn queued_bytes(port: u16) -> Vec<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let connections = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let served = connections.filter(|fields| fields[1].ends_with(&local) && fields[3] == "01");
    let queued = served.map(|fields| fields[4].split(':').next().unwrap().to_owned());
    queued.map(|hex| u64::from_str_radix(&hex, 16).unwrap()).collect()
}

#[test]
fn watches_whose_clients_do_not_read_take_little_of_the_server_and_of_the_kernel() {
    const WATCHES: usize = 200;
    const PUTS: usize = 2000;
    let cluster = started(1000);
    let port = cluster.servers[0].port;
    std::thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                for _ in 0..PUTS / 4 {
                    assert!(http(port, "PUT", &format!("/v1/k{client}"), &[b'v'; 100]).is_some());
                }
            });
        }
    });
    let before = cluster.memory_kib(0);
    let watch = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let from = "GET /v1/?watch=true&prefix=k&revision=2 HTTP/1.1";
        stream.write_all(format!("{from}\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        // It has begun.
        stream.read_exact(&mut [0; 12]).unwrap();
        stream
    };
    let mut watches: Vec<TcpStream> = (0..WATCHES).map(watch).collect();
    // Each has taken from the past all that it can.
    std::thread::sleep(Duration::from_secs(2));
    assert_serves(&cluster);
    let each = cluster.memory_kib(0).saturating_sub(before) / WATCHES as u64;
    let queued = queued_bytes(port);
    let most = queued.iter().max().unwrap();
    println!("{each} KiB for each watch, and up to {most} bytes in the kernel");
    assert!(queued.len() >= WATCHES && *most > 0, "they are behind");
    // Without bounds the kernel takes all that there is for each, and the events of small values far more than their bytes.
    assert!(*most < 150_000, "{most} bytes in the kernel");
    assert!(each < 80, "{each} KiB");
    let last = watches.last_mut().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut text, mut piece) = (String::new(), [0; 1 << 16]);
    while text.matches("event: put").count() < PUTS {
        let len = last.read(&mut piece).unwrap();
        assert!(len > 0, "the watch has ended");
        text.push_str(&String::from_utf8_lossy(&piece[..len]));
    }
}
