//! `seaworthy-server demo`: three servers on this machine, with their data in a temporary
//! directory, until Ctrl-C.
//!
//! They are processes of their own, so that one can be killed to see the others go on.

// It is a program for people, who read its stdout; it waits for real processes.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(15);

/// One of the three.
struct Server {
    name: String,
    client: u16,
    peer: u16,
}

/// Runs the three servers until `until`, and removes their data.
///
/// # Errors
/// If they cannot be started, or do not find a leader.
pub async fn run(until: impl Future<Output = ()>) -> anyhow::Result<()> {
    let directory = Directory::make()?;
    let servers: Vec<Server> = (1..=3).map(server).collect::<anyhow::Result<_>>()?;
    let founders = servers.iter().map(|s| format!("{}=http://127.0.0.1:{}", s.name, s.peer));
    let founders = founders.collect::<Vec<_>>().join(",");
    let program = std::env::current_exe().context("this program does not know its own path")?;
    let mut children = Children::default();
    let begin = async {
        for server in &servers {
            children.0.push(start(&program, server, &founders, &directory.0)?);
        }
        for server in &servers {
            wait_healthy(server.client, &directory.0).await?;
        }
        anyhow::Ok(())
    };
    let mut until = pin!(until);
    // Guard: signals are listened to before the first server starts. Otherwise one that comes in the
    // meantime would end this process alone, and leave servers and their data.
    let is_over = tokio::select! {
        biased;
        () = &mut until => true,
        begun = begin => {
            begun?;
            false
        }
    };
    if !is_over {
        tell(&servers, &children.0, &directory.0, &program);
        until.await;
    }
    println!("\nstopping");
    Ok(())
}

/// Processes that end with the demonstration.
#[derive(Default)]
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Those that were killed meanwhile are gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory that ends with the demonstration.
struct Directory(PathBuf);

impl Directory {
    fn make() -> anyhow::Result<Directory> {
        let name = format!("seaworthy-demo-{:08x}", getrandom::u64()? as u32);
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The usual ports, and others where these are taken.
fn server(number: u16) -> anyhow::Result<Server> {
    let usual = |base: u16| if number == 1 { base } else { number * 10_000 + base };
    let port = |wanted: u16| {
        let taken = |_| TcpListener::bind("127.0.0.1:0");
        let listener = TcpListener::bind(("127.0.0.1", wanted)).or_else(taken);
        anyhow::Ok(listener.context("no port is free")?.local_addr()?.port())
    };
    Ok(Server { name: format!("n{number}"), client: port(usual(2379))?, peer: port(usual(2380))? })
}

fn start(
    program: &Path,
    server: &Server,
    founders: &str,
    directory: &Path,
) -> anyhow::Result<Child> {
    let Server { name, client, peer } = server;
    let log = std::fs::File::create(directory.join(format!("{name}.log")))?;
    let mut command = Command::new(program);
    command
        .args(["--name", name])
        .arg("--data-dir")
        .arg(directory.join(name))
        .args(["--listen-client-urls", &format!("http://127.0.0.1:{client}")])
        .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")])
        .args(["--initial-cluster", founders])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().with_context(|| format!("cannot start {}", program.display()))
}

async fn wait_healthy(port: u16, directory: &Path) -> anyhow::Result<()> {
    let healthy = async {
        while !is_healthy(port).await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, healthy).await.is_err() {
        let logs = std::fs::read_dir(directory)?.filter_map(Result::ok).map(|entry| entry.path());
        let logs = logs.filter(|path| path.extension().is_some_and(|ext| ext == "log"));
        let logs = logs.filter_map(|path| std::fs::read_to_string(path).ok());
        bail!("the server at port {port} is not healthy:\n{}", logs.collect::<String>());
    }
    Ok(())
}

async fn is_healthy(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}

/// Prints the commands to type next.
fn tell(servers: &[Server], children: &[Child], directory: &Path, program: &Path) {
    println!("Three servers run; their data and logs are in {}", directory.display());
    for (server, child) in servers.iter().zip(children) {
        let pid = child.id();
        println!("  {}  http://127.0.0.1:{}  process {pid}", server.name, server.client);
    }
    let endpoints: Vec<String> =
        servers.iter().map(|server| format!("127.0.0.1:{}", server.client)).collect();
    let (all, first, last) = (endpoints.join(","), &endpoints[0], &endpoints[2]);
    let victim = children.first().map_or(0, Child::id);
    println!(
        "\nTry, in another terminal:\n\
         \n  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={all}\
         \n  etcdctl put greeting ahoy && etcdctl get greeting\
         \n  etcdctl endpoint status --write-out=table\n\
         \n  curl -X PUT --data-binary 'from curl' http://{first}/v1/note\
         \n  curl http://{last}/v1/note\n\
         \n  kill -9 {victim}      # the others go on; start n1 again with:\
         \n  {} --name n1 --data-dir {}/n1 \\\
         \n      --listen-client-urls http://{first} --listen-peer-urls http://127.0.0.1:{}\n\
         \nThe state of the cluster: http://{last}/    Stop with Ctrl-C.",
        program.display(),
        directory.display(),
        servers[0].peer
    );
}
