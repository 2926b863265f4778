//! Servers as processes: etcd's and ours, on free ports, killed when they are let go.

// Tests run real processes on a real clock; not every test uses every helper.
#![allow(clippy::disallowed_methods, dead_code, missing_docs, unreachable_pub)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use ports::free_port;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

mod ports;

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that runs.
pub struct Server {
    pub process: Option<Process>,
    pub name: String,
    pub port: u16,
    pub peer_port: u16,
    /// The program and its flags.
    pub command: Vec<String>,
}

/// Servers of one cluster, and where their data is.
pub struct Cluster {
    pub servers: Vec<Server>,
    pub dir: TempDir,
}

/// Whether a program can be started.
pub fn has_program(name: &str) -> bool {
    let mut program = Command::new(name);
    program.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Waits until `condition` holds. Panics after `limit`.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Cluster {
    /// Prepares `count` servers of the program at `path`, which takes etcd's flags.
    pub fn new(path: &str, count: usize) -> Cluster {
        let dir = TempDir::new().expect("a directory for data");
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let members = ports.iter().enumerate();
        let members = members.map(|(i, (_, peer))| format!("n{i}=http://127.0.0.1:{peer}"));
        let members = members.collect::<Vec<_>>().join(",");
        let server = |(i, (port, peer)): (usize, &(u16, u16))| {
            let data = dir.path().join(format!("n{i}")).display().to_string();
            let client = format!("http://127.0.0.1:{port}");
            let peer_url = format!("http://127.0.0.1:{peer}");
            let flags = [
                ("name", format!("n{i}")),
                ("data-dir", data),
                ("listen-client-urls", client.clone()),
                ("advertise-client-urls", client),
                ("listen-peer-urls", peer_url.clone()),
                ("initial-advertise-peer-urls", peer_url),
                ("initial-cluster", members.clone()),
            ];
            let mut command = vec![path.to_owned()];
            command.extend(flags.iter().flat_map(|(k, v)| [format!("--{k}"), v.clone()]));
            let name = format!("n{i}");
            Server { process: None, name, port: *port, peer_port: *peer, command }
        };
        let servers = ports.iter().enumerate().map(server).collect();
        Cluster { servers, dir }
    }

    /// Prepares and starts `count` servers of ours, and waits for a leader.
    pub fn start_ours(count: usize) -> Cluster {
        Cluster::start(env!("CARGO_BIN_EXE_seaworthy-server"), count)
    }

    pub fn start(path: &str, count: usize) -> Cluster {
        let mut cluster = Cluster::new(path, count);
        for i in 0..count {
            cluster.start_one(i);
        }
        cluster.wait_healthy();
        cluster
    }

    pub fn start_one(&mut self, i: usize) {
        let log = self.dir.path().join(format!("{}.log", self.servers[i].name));
        let log = std::fs::File::options().create(true).append(true).open(log);
        let log = log.expect("the directory is ours");
        let server = &mut self.servers[i];
        let mut command = Command::new(&server.command[0]);
        command.args(&server.command[1..]).stdout(Stdio::null()).stderr(log);
        server.process = Some(Process(command.spawn().expect("the program can be started")));
    }

    /// Gives all servers a further flag, for when they are started next.
    pub fn add_flag(&mut self, flag: &str, value: &str) {
        for server in &mut self.servers {
            server.command.extend([flag.to_owned(), value.to_owned()]);
        }
    }

    /// Replaces a part of all flags, for when the servers are started next.
    pub fn replace_in_flags(&mut self, from: &str, to: &str) {
        let words = self.servers.iter_mut().flat_map(|server| server.command.iter_mut().skip(1));
        words.for_each(|word| *word = word.replace(from, to));
    }

    /// Prepares one more server, which is to be added; `how` are the flags that say so.
    pub fn add_server(&mut self, name: &str, how: &[(&str, &str)]) -> usize {
        let (port, peer_port) = (free_port(), free_port());
        let client = format!("http://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer_port}");
        let data = self.dir.path().join(name).display().to_string();
        let flags = [
            ("--name", name),
            ("--data-dir", &data),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
        ];
        let mut command = vec![self.servers[0].command[0].clone()];
        command
            .extend(flags.iter().chain(how).flat_map(|(k, v)| [(*k).to_owned(), (*v).to_owned()]));
        let name = name.to_owned();
        self.servers.push(Server { process: None, name, port, peer_port, command });
        self.servers.len() - 1
    }

    /// Lets a server be reached elsewhere by the others.
    pub fn set_peer_port(&mut self, i: usize, peer_port: u16) {
        self.servers[i].peer_port = peer_port;
        self.set_flag(i, "--listen-peer-urls", &format!("http://127.0.0.1:{peer_port}"));
        self.set_flag(i, "--initial-advertise-peer-urls", &format!("http://127.0.0.1:{peer_port}"));
    }

    /// Waits until a server ends by itself; its status.
    pub fn wait_for_end(&mut self, i: usize) -> Option<i32> {
        let mut process = self.servers[i].process.take().expect("it was started");
        let mut code = None;
        wait_for("the end of a server", Duration::from_secs(20), || {
            code = process.0.try_wait().expect("it is our child");
            code.is_some()
        });
        code.and_then(|status| status.code())
    }

    /// Gives one server a further flag.
    pub fn add_flag_to(&mut self, i: usize, flag: &str, value: &str) {
        self.servers[i].command.extend([flag.to_owned(), value.to_owned()]);
    }

    pub fn set_flag(&mut self, i: usize, flag: &str, value: &str) {
        let command = &mut self.servers[i].command;
        let at = command.iter().position(|word| word == flag).expect("the flag is there");
        value.clone_into(&mut command[at + 1]);
    }

    pub fn set_data_dir(&mut self, i: usize, dir: &Path) {
        self.set_flag(i, "--data-dir", &dir.display().to_string());
    }

    /// Lets a server listen elsewhere; the address it advertises to servers stays.
    pub fn set_ports(&mut self, i: usize, (port, peer_port): (u16, u16)) {
        (self.servers[i].port, self.servers[i].peer_port) = (port, peer_port);
        self.set_flag(i, "--listen-client-urls", &format!("http://127.0.0.1:{port}"));
        self.set_flag(i, "--advertise-client-urls", &format!("http://127.0.0.1:{port}"));
        self.set_flag(i, "--listen-peer-urls", &format!("http://127.0.0.1:{peer_port}"));
    }

    pub fn move_to_free_ports(&mut self, i: usize) {
        self.set_ports(i, (free_port(), free_port()));
    }

    /// Kills a server as a crash would.
    pub fn kill(&mut self, i: usize) {
        self.servers[i].process = None;
    }

    pub fn wait_healthy(&self) {
        for server in self.servers.iter().filter(|server| server.process.is_some()) {
            let what = format!("{} healthy; {}", server.name, self.log(&server.name));
            wait_for(&what, Duration::from_secs(20), || {
                http(server.port, "GET", "/health", b"").is_some_and(|(status, _)| status == 200)
            });
        }
    }

    /// Returns the text that a server has written to stderr.
    pub fn log(&self, name: &str) -> String {
        let file = self.dir.path().join(format!("{name}.log"));
        String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
    }

    pub fn data_dir(&self, i: usize) -> std::path::PathBuf {
        self.dir.path().join(&self.servers[i].name)
    }

    pub fn endpoints(&self) -> String {
        let ports = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        ports.collect::<Vec<_>>().join(",")
    }

    /// The resident memory of a server's process, in KiB.
    pub fn memory_kib(&self, i: usize) -> u64 {
        let pid = self.servers[i].process.as_ref().expect("it runs").0.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("of a process");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB")
    }

    /// A gRPC connection to a server.
    pub fn channel(&self, i: usize) -> Channel {
        let url = format!("http://127.0.0.1:{}", self.servers[i].port);
        Endpoint::from_shared(url).expect("a URL").tcp_nodelay(true).connect_lazy()
    }
}

/// One HTTP request without a library; the answer's status and body.
pub fn http(port: u16, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    http_with(port, method, path, &[], body).map(|(status, _, body)| (status, body))
}

/// The same with headers, and the answer's headers.
pub fn http_with(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<(u16, String, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, head, answer[split + 4..].to_vec()))
}

/// The output of `etcdctl` and whether it succeeded.
pub fn etcdctl(endpoints: &str, args: &[&str], stdin: &str) -> (bool, String, String) {
    let mut child = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", endpoints])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcdctl can be started");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(stdin.as_bytes()).expect("etcdctl reads its input");
    drop(input);
    let output = child.wait_with_output().expect("etcdctl ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Copies a directory.
pub fn copy_dir(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp can be started").success(), "cp {from:?} {to:?}");
}
