//! A PostgreSQL server of a test's own, which ends with the test's process. Also used by the tests
//! of the served cluster.

// It starts a program, and asks for the environment.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Runs as the user of the server, who must not be root: takes a command a line, and removes
/// everything at the end of its input, which comes with the end of the test, however that ends.
const KEEPER: &str = r#"
bin=$1
dir=$(mktemp -d "$2/seaworthy-pg.XXXXXX") || exit 1
trap '"$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1; rm -rf "$dir"' EXIT
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 \
    || { cat "$dir/log" >&2; exit 1; }
cat >>"$dir/data/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$dir'
max_connections = 200
END
echo "$dir"
while read -r command; do
    case $command in
        start) "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null 2>&1 || cat "$dir/log" >&2 ;;
        tls*) from=${command#tls }
            cp "$from/server.pem" "$from/server.key" "$dir/" && chmod 600 "$dir/server.key"
            printf "ssl = on\nssl_cert_file = '%s'\nssl_key_file = '%s'\n" \
                "$dir/server.pem" "$dir/server.key" >>"$dir/data/postgresql.conf" ;;
        kill) "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 ;;
        set*) echo "${command#set }" >>"$dir/data/postgresql.conf"
            "$bin/pg_ctl" -D "$dir/data" reload >/dev/null 2>&1 ;;
    esac
    echo done
done
"#;

pub struct PrivateCluster {
    keeper: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    bin: PathBuf,
    pub dir: String,
    pub port: u16,
}

/// The newest server that Debian's packages have installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let bins = versions.map(|version| version.path().join("bin"));
    bins.filter(|bin| bin.join("initdb").exists()).max()
}

impl PrivateCluster {
    /// Starts a server, with its data in `parent`; none if PostgreSQL is not installed.
    pub fn start(parent: &Path) -> Option<PrivateCluster> {
        let bin = programs()?;
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
            use std::os::unix::fs::MetadataExt;
            own.uid() == 0
        });
        let mut command = match is_root {
            false => Command::new("sh"),
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--", "sh"]);
                command
            }
        };
        command.args(["-c", KEEPER, "sh"]).arg(&bin).arg(parent).current_dir("/");
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, answers) = (keeper.stdin.take(), keeper.stdout.take().unwrap());
        let (answers, dir) = (BufReader::new(answers), String::new());
        let mut cluster = PrivateCluster { keeper, commands, answers, bin, dir, port: 5432 };
        cluster.answers.read_line(&mut cluster.dir).unwrap();
        cluster.dir = cluster.dir.trim().to_owned();
        assert!(!cluster.dir.is_empty(), "initdb has failed");
        cluster.tell("start");
        Some(cluster)
    }

    /// Carries out one of the keeper's commands.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }

    /// Starts again, and listens at a port of this machine too; with TLS, if `certificates` has a
    /// server.pem and a server.key that all may read.
    pub fn listen(&mut self, port: u16, certificates: Option<&Path>) {
        self.tell(&format!("set port = {port}"));
        self.tell("set listen_addresses = 'localhost'");
        if let Some(directory) = certificates {
            self.tell(&format!("tls {}", directory.display()));
        }
        self.tell("kill");
        self.tell("start");
        self.port = port;
    }

    /// The URL of a schema in a database.
    pub fn url(&self, database: &str, schema: &str) -> String {
        format!("postgres://postgres@/{database}?host={}&schema={schema}", self.dir)
    }

    /// Runs SQL with psql; its output.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-h", &self.dir, "-U", "postgres", "-d", database, "-AtqX"]);
        psql.args(["-p", &self.port.to_string()]);
        let output = psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {text}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for PrivateCluster {
    fn drop(&mut self) {
        // The end of its input ends the keeper.
        self.commands = None;
        let _ = self.keeper.wait();
    }
}
