//! TLS, for clients and between servers: it works, it is asked for, and a client or server that does it
//! wrong is told how to do it right.

#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use support::{Cluster, has_program, http, wait_for};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority, and a directory with its certificates.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { dir, issuer }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Writes NAME.pem and NAME.key.
    fn issue(&self, name: &str, hosts: &[&str], is_over: bool) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_over {
            (params.not_before, params.not_after) =
                (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &self.issuer;
        let certificate = params.signed_by(&key, issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
    }

    /// The settings of a client, with the certificate that it shows.
    fn client(&self, shows: Option<&str>, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let file = PathBuf::from(self.path(&format!("{name}.pem")));
                let chain = vec![CertificateDer::from_pem_file(file).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(port: u16, config: &Arc<ClientConfig>) -> std::io::Result<Tls> {
    let session = ClientConnection::new(config.clone(), "127.0.0.1".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut tls = StreamOwned::new(session, stream);
    tls.flush()?;
    Ok(tls)
}

/// One request of HTTP/1.1.
fn https(port: u16, config: &Arc<ClientConfig>, path: &str, body: &str) -> std::io::Result<String> {
    let method = if body.is_empty() { "GET" } else { "PUT" };
    https_with(port, config, method, path, body)
}

fn https_with(
    port: u16,
    config: &Arc<ClientConfig>,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut tls = connect(port, config)?;
    let len = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    write!(tls, "{head}content-length: {len}\r\n\r\n{body}")?;
    let mut answer = String::new();
    let read = tls.read_to_string(&mut answer);
    // It may hang up without a farewell of TLS.
    read.map(|_| ()).or_else(|e| if answer.is_empty() { Err(e) } else { Ok(()) })?;
    Ok(answer)
}

/// Servers with TLS on all ports, with the certificate `server` of the authority.
fn secure(authority: &Authority, count: usize, asks_clients: bool) -> Cluster {
    let mut cluster = Cluster::new(env!("CARGO_BIN_EXE_seaworthy-server"), count);
    cluster.replace_in_flags("http://", "https://");
    let files = [("cert-file", "server.pem"), ("key-file", "server.key")];
    for (flag, file) in files {
        cluster.add_flag(&format!("--{flag}"), &authority.path(file));
        cluster.add_flag(&format!("--peer-{flag}"), &authority.path(file));
    }
    cluster.add_flag("--peer-trusted-ca-file", &authority.path("ca.pem"));
    if asks_clients {
        cluster.add_flag("--trusted-ca-file", &authority.path("ca.pem"));
        cluster.servers.iter_mut().for_each(|s| s.command.push("--client-cert-auth".to_owned()));
    }
    cluster
}

fn wait_healthy(cluster: &Cluster, config: &Arc<ClientConfig>) {
    for server in &cluster.servers {
        wait_for(&format!("{} healthy", server.name), Duration::from_secs(20), || {
            let answer = https(server.port, config, "/health", "");
            answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }
}

/// Waits until the log of a server has a line with all parts.
fn wait_told(cluster: &Cluster, name: &str, parts: &[&str]) {
    let start = Instant::now();
    let has = |line: &str| parts.iter().all(|part| line.contains(part));
    while !cluster.log(name).lines().any(has) {
        let log = cluster.log(name);
        assert!(start.elapsed().as_secs() < 10, "{parts:?} is not in the log of {name}:\n{log}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn three_servers_with_mutual_tls_on_every_port() {
    let authority = Authority::new();
    authority.issue("server", &["127.0.0.1", "localhost"], false);
    authority.issue("alice", &[], false);
    authority.issue("late", &[], true);
    let mut cluster = secure(&authority, 3, true);
    (0..3).for_each(|i| cluster.start_one(i));
    let alice = authority.client(Some("alice"), &[]);
    wait_healthy(&cluster, &alice);
    let (first, last) = (cluster.servers[0].port, cluster.servers[2].port);
    let put = https(first, &alice, "/v1/key", "kept").unwrap();
    assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    assert!(https(last, &alice, "/v1/key", "").unwrap().ends_with("kept"));
    for (offered, agreed) in [("h2", Some(&b"h2"[..])), ("http/1.1", Some(b"http/1.1"))] {
        let tls = connect(first, &authority.client(Some("alice"), &[offered])).unwrap();
        assert_eq!(tls.conn.alpn_protocol(), agreed);
    }
    // Who shows no certificate, an old one, or one of another authority gets nothing.
    assert!(https(first, &authority.client(None, &[]), "/v1/key", "").is_err());
    wait_told(&cluster, "n0", &["no certificate", "--trusted-ca-file", "--cert FILE"]);
    std::thread::sleep(Duration::from_millis(1100));
    assert!(https(first, &authority.client(Some("late"), &[]), "/v1/key", "").is_err());
    wait_told(&cluster, "n0", &["expired", "put a new one there"]);
    let other = Authority::new();
    other.issue("mallory", &["127.0.0.1"], false);
    let mut mallory = (*authority.client(None, &[])).clone();
    mallory.client_auth_cert_resolver =
        other.client(Some("mallory"), &[]).client_auth_cert_resolver.clone();
    std::thread::sleep(Duration::from_millis(1100));
    assert!(https(first, &Arc::new(mallory), "/v1/key", "").is_err());
    wait_told(&cluster, "n0", &["of no CA in --trusted-ca-file"]);
    // Without TLS there is a sentence.
    let (status, body) = http(first, "GET", "/v1/key", b"").unwrap();
    assert_eq!((status, &body[..12]), (400, &b"This port ha"[..]));
    assert!(http(cluster.servers[0].peer_port, "GET", "/", b"").is_none());
    wait_told(&cluster, "n0", &["comes without TLS", "https://"]);
    etcdctl_works(&authority, &cluster);
}

/// Nothing happens where there is no etcdctl.
fn etcdctl_works(authority: &Authority, cluster: &Cluster) {
    if !has_program("etcdctl") {
        return println!("skipped: no etcdctl");
    }
    let endpoints =
        cluster.endpoints().split(',').map(|e| format!("https://{e}")).collect::<Vec<_>>();
    let run = |args: &[&str]| {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &endpoints.join(","), "--cacert", &authority.path("ca.pem")])
            .args(["--cert", &authority.path("alice.pem"), "--key", &authority.path("alice.key")])
            .args(args)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&["put", "a", "1"]), (true, "OK\n".to_owned()));
    assert_eq!(run(&["get", "a"]), (true, "a\n1\n".to_owned()));
    assert!(run(&["endpoint", "health"]).0);
    // The URL stands in the place of host and port here.
    assert!(run(&["endpoint", "status"]).0);
}

#[test]
fn a_new_certificate_needs_no_restart_and_a_broken_one_changes_nothing() {
    let authority = Authority::new();
    authority.issue("server", &["127.0.0.1"], false);
    let mut cluster = secure(&authority, 1, false);
    cluster.start_one(0);
    let client = authority.client(None, &[]);
    wait_healthy(&cluster, &client);
    let port = cluster.servers[0].port;
    let shown = || {
        let tls = connect(port, &client).ok()?;
        Some(tls.conn.peer_certificates()?.first()?.clone().into_owned())
    };
    let first = shown().unwrap();
    authority.issue("server", &["127.0.0.1"], false);
    wait_for("the new certificate", Duration::from_secs(10), || shown().unwrap() != first);
    let second = shown().unwrap();
    std::fs::write(authority.path("server.pem"), "nonsense").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(shown().unwrap(), second);
    wait_told(&cluster, "n0", &["the old certificates stay in use", "server.pem"]);
    authority.issue("server", &["127.0.0.1"], true);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(shown().is_none(), "it has expired");
    wait_told(&cluster, "n0", &["2021", "not now"]);
}

/// Starts one server with further flags; it must refuse. Returns its log.
fn refusal(flags: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy-server"))
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(!log.contains("panicked") && log.lines().count() < 5, "{log}");
    log
}

#[test]
fn files_that_do_not_fit_are_named() {
    let authority = Authority::new();
    authority.issue("one", &["127.0.0.1"], false);
    authority.issue("two", &["127.0.0.1"], false);
    let path = |name: &str| authority.path(name);
    let (cert, key, other) = (path("one.pem"), path("one.key"), path("two.key"));
    let missing = path("missing.pem");
    let https = ["--listen-client-urls", "https://127.0.0.1:0"];
    let with = |more: &[&str]| refusal(&[&https[..], more].concat());
    let says = |log: String, parts: &[&str]| {
        parts.iter().for_each(|part| assert!(log.contains(part), "{part:?} is missing in {log}"));
    };
    says(with(&[]), &["--cert-file", "--key-file", "--listen-client-urls"]);
    says(with(&["--cert-file", &missing, "--key-file", &key]), &[&missing, "--cert-file"]);
    says(with(&["--cert-file", &key, "--key-file", &key]), &[&key, "no certificates"]);
    says(with(&["--cert-file", &cert, "--key-file", &cert]), &[&cert, "no private key"]);
    says(with(&["--cert-file", &cert, "--key-file", &other]), &[&cert, &other, "do not fit"]);
    let pair = ["--cert-file", &cert, "--key-file", &key];
    let asks = [&https[..], &pair, &["--client-cert-auth"]].concat();
    says(refusal(&asks), &["--client-cert-auth needs --trusted-ca-file"]);
    says(refusal(&pair), &["--listen-client-urls", "https://"]);
    let peer = ["--peer-cert-file", &cert, "--peer-key-file", &key];
    let peers = ["--listen-peer-urls", "https://127.0.0.1:0"];
    says(refusal(&[&peers[..], &peer].concat()), &["--peer-trusted-ca-file"]);
}

#[test]
fn a_server_with_the_wrong_certificate_or_scheme_is_told_so() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.issue("server", &["127.0.0.1"], false);
    other.issue("server", &["127.0.0.1"], false);
    let mut cluster = secure(&authority, 3, false);
    let set = |command: &mut Vec<String>, flag: &str, value: &str| {
        let at = command.iter().position(|word| word == flag).unwrap();
        value.clone_into(&mut command[at + 1]);
    };
    // n1 has a certificate of another authority; n2 has no TLS at all.
    let command = &mut cluster.servers[1].command;
    set(command, "--peer-cert-file", &other.path("server.pem"));
    set(command, "--peer-key-file", &other.path("server.key"));
    let command = &mut cluster.servers[2].command;
    let first = command.iter().position(|word| word == "--cert-file").unwrap();
    command.truncate(first);
    // The founders stay as the others know them.
    for word in command.iter_mut().filter(|word| word.starts_with("https:")) {
        *word = word.replace("https:", "http:");
    }
    (0..3).for_each(|i| cluster.start_one(i));
    wait_told(&cluster, "n0", &["of no CA in --peer-trusted-ca-file"]);
    wait_told(&cluster, "n2", &["comes with TLS", "n2 listens without"]);
    wait_told(&cluster, "n2", &["https://", "--peer-cert-file"]);
    wait_told(&cluster, "n0", &["n2", "http://"]);
}

/// The certificates for clients have no authority; the one for servers stands in for it.
#[test]
fn a_server_joins_over_tls_in_the_name_of_a_user() {
    let authority = Authority::new();
    authority.issue("server", &["127.0.0.1"], false);
    let mut cluster = secure(&authority, 1, false);
    cluster.add_flag("--bcrypt-cost", "4");
    cluster.start_one(0);
    let client = authority.client(None, &[]);
    wait_healthy(&cluster, &client);
    let port = cluster.servers[0].port;
    for (path, body) in [
        ("user/add", r#"{"name": "root", "password": "root:pw"}"#),
        ("role/add", r#"{"name": "root"}"#),
        ("user/grant", r#"{"user": "root", "role": "root"}"#),
        ("enable", "{}"),
    ] {
        let answer = https_with(port, &client, "POST", &format!("/v3/auth/{path}"), body).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let member = format!("https://127.0.0.1:{port}");
    let (cert, key) = (authority.path("server.pem"), authority.path("server.key"));
    let ca = authority.path("ca.pem");
    let flags = [
        ("--join", &member[..]),
        ("--cert-file", &cert),
        ("--key-file", &key),
        ("--peer-cert-file", &cert),
        ("--peer-key-file", &key),
        ("--peer-trusted-ca-file", &ca),
    ];
    let i = cluster.add_server("late", &flags);
    for word in &mut cluster.servers[i].command {
        *word = word.replace("http://", "https://");
    }
    cluster.start_one(i);
    assert_eq!(cluster.wait_for_end(i), Some(1));
    wait_told(&cluster, "late", &["user name is empty", "SEAWORTHY_JOIN_USER"]);
    cluster.add_flag_to(i, "--join-user", "root:wrong");
    cluster.start_one(i);
    assert_eq!(cluster.wait_for_end(i), Some(1));
    wait_told(&cluster, "late", &["does not add this server", "invalid user ID or password"]);
    cluster.set_flag(i, "--join-user", "root:root:pw");
    cluster.start_one(i);
    wait_healthy(&cluster, &client);
    wait_told(&cluster, "n0", &["late is to vote"]);
}
