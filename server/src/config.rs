//! Flags, in etcd's words; each has a variable `SEAWORTHY_...`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::compactor::Retention;
use crate::quota::Quota;
use crate::traces::TraceFlags;
use crate::url::{can_be_advertised, host_and_port, urls};
use crate::{data_dir, store, tls, trees};

/// The quota if none is given: etcd's.
const DEFAULT_QUOTA_BYTES: u64 = 2 << 30;
/// The longest times that flags may ask for: sums of times must not overflow.
const HOUR_MS: u64 = 3_600_000;
const YEAR_SECONDS: u64 = 366 * 86_400;

/// How to run a server. Without any flag: one server on loopback, which keeps its data in
/// the working directory.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// A TOML file with any of these flags by name; the command line and variables win over it
    #[arg(long, env = "SEAWORTHY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The name of this server, unique in its cluster
    #[arg(long, env = "SEAWORTHY_NAME", default_value = "default")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub name: String,
    /// Where the data is kept [default: NAME.seaworthy]
    #[arg(long, env = "SEAWORTHY_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where log, votes and snapshots are kept: "file", in the data directory; or in a schema of a
    /// database, postgres://USER@HOST:PORT/DATABASE?schema=NAME
    #[arg(long, env = "SEAWORTHY_STORE", default_value = "file", value_name = "STORE")]
    #[arg(value_parser = store::Kind::parse, hide_env_values = true)]
    pub store: store::Kind,
    /// Where the state is while the server runs: in memory; or in a tree on disk, in the data directory,
    /// for a state that is larger
    #[arg(long, env = "SEAWORTHY_STATE", default_value = "memory", value_name = "STATE")]
    pub state: trees::Kind,
    /// Where to listen for clients
    #[arg(long, env = "SEAWORTHY_LISTEN_CLIENT_URLS", default_value = "http://127.0.0.1:2379")]
    pub listen_client_urls: String,
    /// Where clients reach this server [default: --listen-client-urls]
    #[arg(long, env = "SEAWORTHY_ADVERTISE_CLIENT_URLS")]
    pub advertise_client_urls: Option<String>,
    /// Where to listen for other servers
    #[arg(long, env = "SEAWORTHY_LISTEN_PEER_URLS", default_value = "http://127.0.0.1:2380")]
    pub listen_peer_urls: String,
    /// Where other servers reach this one [default: --listen-peer-urls]
    #[arg(long, env = "SEAWORTHY_INITIAL_ADVERTISE_PEER_URLS")]
    pub initial_advertise_peer_urls: Option<String>,
    /// The servers that begin the cluster, NAME=URL,... [default: this server alone]
    #[arg(long, env = "SEAWORTHY_INITIAL_CLUSTER")]
    pub initial_cluster: Option<String>,
    /// Whether this server begins the cluster with the others, or was added to an existing one
    #[arg(long, env = "SEAWORTHY_INITIAL_CLUSTER_STATE", default_value = "new")]
    #[arg(value_parser = ["new", "existing"])]
    pub initial_cluster_state: String,
    /// Asks the cluster of this member, by its address for clients, to be added, and votes once it
    /// has caught up
    #[arg(long, env = "SEAWORTHY_JOIN", value_name = "URL", conflicts_with = "initial_cluster")]
    pub join: Option<String>,
    /// With --join, the user that may add members, NAME:PASSWORD, if the cluster has users. Other people
    /// of this machine can read the command line, and not the variable
    #[arg(long, env = "SEAWORTHY_JOIN_USER", value_name = "NAME:PASSWORD", hide_env_values = true)]
    #[arg(requires = "join")]
    pub join_user: Option<String>,
    /// Tells clusters apart that begin with the same servers
    #[arg(long, env = "SEAWORTHY_INITIAL_CLUSTER_TOKEN", default_value = "seaworthy-cluster")]
    pub initial_cluster_token: String,
    /// A leader that has nothing to send sends a heartbeat, in milliseconds
    #[arg(long, env = "SEAWORTHY_HEARTBEAT_INTERVAL", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=HOUR_MS))]
    pub heartbeat_interval: u64,
    /// A follower that hears nothing for this long, or up to twice as long, stands for
    /// election, in milliseconds
    #[arg(long, env = "SEAWORTHY_ELECTION_TIMEOUT", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=HOUR_MS))]
    pub election_timeout: u64,
    /// The most bytes of a request
    #[arg(long, env = "SEAWORTHY_MAX_REQUEST_BYTES", default_value_t = 3 << 19)]
    #[arg(value_parser = number::<1, { 1 << 30 }>)]
    pub max_request_bytes: usize,
    /// The most operations of a transaction
    #[arg(long, env = "SEAWORTHY_MAX_TXN_OPS", default_value_t = 128)]
    #[arg(value_parser = number::<1, { 1 << 20 }>)]
    pub max_txn_ops: usize,
    /// A snapshot replaces the log when it has grown by this many bytes, or by the size of
    /// the last snapshot, if that is more
    #[arg(long, env = "SEAWORTHY_SNAPSHOT_BYTES", default_value_t = 64 << 20)]
    pub snapshot_bytes: u64,
    /// Whether --auto-compaction-retention is a time or a number of revisions
    #[arg(long, env = "SEAWORTHY_AUTO_COMPACTION_MODE", default_value = "periodic")]
    #[arg(value_parser = ["periodic", "revision"])]
    pub auto_compaction_mode: String,
    /// Older revisions are compacted: a time (1h, 30m; a bare number is hours), or a number of
    /// revisions; 0 keeps all
    #[arg(long, env = "SEAWORTHY_AUTO_COMPACTION_RETENTION", default_value = "1h")]
    pub auto_compaction_retention: String,
    /// At most this many revisions are kept in any mode; 0 is no limit
    #[arg(long, env = "SEAWORTHY_MAX_REVISIONS", default_value_t = 1_000_000)]
    pub max_revisions: u32,
    /// The most bytes of the store; beyond it nothing but deletions and compactions is taken, until
    /// there is space again. 0 is 2 GiB, a negative number is no limit
    #[arg(long, env = "SEAWORTHY_QUOTA_BACKEND_BYTES", default_value_t = 0)]
    #[arg(allow_negative_numbers = true)]
    pub quota_backend_bytes: i64,
    /// How often a watch that asks for it hears how far it is, in seconds
    #[arg(long, env = "SEAWORTHY_WATCH_PROGRESS_NOTIFY_INTERVAL", default_value_t = 600)]
    #[arg(value_parser = clap::value_parser!(u64).range(..=YEAR_SECONDS))]
    pub watch_progress_notify_interval: u64,
    /// The most connections of clients; fewer, if the limit of open files asks for it
    #[arg(long, env = "SEAWORTHY_MAX_CONNECTIONS", default_value_t = 20_000)]
    #[arg(value_parser = number::<1, { 1 << 24 }>)]
    pub max_connections: usize,
    /// The most requests at once on one connection of HTTP/2
    #[arg(long, env = "SEAWORTHY_MAX_CONCURRENT_STREAMS", default_value_t = 4096)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_concurrent_streams: u32,
    /// A token ends after this long without use, in seconds
    #[arg(long, env = "SEAWORTHY_AUTH_TOKEN_TTL", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=YEAR_SECONDS))]
    pub auth_token_ttl: u64,
    /// The work that the hash of a password takes: two to the power of it
    #[arg(long, env = "SEAWORTHY_BCRYPT_COST", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(4..=31))]
    pub bcrypt_cost: u32,
    /// Certificates and keys
    #[command(flatten)]
    pub tls: tls::TlsFlags,
    /// Traces
    #[command(flatten)]
    pub traces: TraceFlags,
    /// How lines of the log look
    #[arg(long, env = "SEAWORTHY_LOG_FORMAT", default_value = "text")]
    #[arg(value_parser = ["text", "json"])]
    pub log_format: String,
}

impl Config {
    /// Where the data is kept.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| format!("{}.seaworthy", self.name).into())
    }

    /// Where clients reach this server.
    pub fn client_urls(&self) -> Vec<String> {
        urls(self.advertise_client_urls.as_ref().unwrap_or(&self.listen_client_urls))
    }

    /// Where other servers reach this one.
    pub fn peer_urls(&self) -> Vec<String> {
        urls(self.initial_advertise_peer_urls.as_ref().unwrap_or(&self.listen_peer_urls))
    }

    /// Whether this server is to join an existing cluster.
    pub fn joins(&self) -> bool {
        self.join.is_some() || self.initial_cluster_state == "existing"
    }

    /// The shortest life of a lease, in seconds: one and a half election timeouts, as in etcd,
    /// so that a lease outlives an election.
    pub fn min_lease_seconds(&self) -> i64 {
        let ms = self.election_timeout.saturating_mul(3) / 2;
        i64::try_from(ms.div_ceil(1000)).unwrap_or(i64::MAX)
    }

    /// The most bytes of the store.
    pub fn quota(&self) -> Quota {
        Quota(match self.quota_backend_bytes {
            0 => Some(DEFAULT_QUOTA_BYTES),
            bytes => u64::try_from(bytes).ok(),
        })
    }

    /// How much of the past is kept.
    ///
    /// # Errors
    /// If the retention does not fit its mode.
    pub fn retention(&self) -> anyhow::Result<Retention> {
        let (text, revisions) = (&self.auto_compaction_retention, i64::from(self.max_revisions));
        let wrong = || {
            format!(
                "--auto-compaction-retention: {text:?} is no {}",
                match self.auto_compaction_mode.as_str() {
                    "revision" => "number of revisions",
                    _ => "time like 1h or 30m",
                }
            )
        };
        if self.auto_compaction_mode == "revision" {
            let asked: i64 = text.parse().with_context(wrong)?;
            let limits = [asked, revisions].into_iter().filter(|limit| *limit > 0);
            return Ok(Retention { period: Duration::ZERO, revisions: limits.min().unwrap_or(0) });
        }
        let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let number: u64 = number.parse().with_context(wrong)?;
        let seconds = match unit {
            "" | "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => bail!(wrong()),
        };
        let seconds = number.checked_mul(seconds).filter(|all| *all <= 100 * YEAR_SECONDS);
        Ok(Retention { period: Duration::from_secs(seconds.with_context(wrong)?), revisions })
    }

    /// Who this server is to be, and who founds the cluster.
    ///
    /// # Errors
    /// If the flags contradict each other.
    pub fn identity(&self) -> anyhow::Result<data_dir::Identity> {
        let mut founders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        match &self.initial_cluster {
            None => {
                founders.insert(self.name.clone(), self.peer_urls());
            }
            Some(text) => {
                for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                    let (name, url) = part.split_once('=').with_context(|| {
                        format!("--initial-cluster: {part:?} is not of the form NAME=URL")
                    })?;
                    host_and_port(url)?;
                    founders.entry(name.to_owned()).or_default().push(url.to_owned());
                }
            }
        }
        check_addresses(&founders)?;
        if !founders.contains_key(&self.name) {
            let names: Vec<&str> = founders.keys().map(String::as_str).collect();
            bail!(
                "--name is {:?}, and --initial-cluster names {}: one of them must be this \
                 server's name",
                self.name,
                names.join(", ")
            );
        }
        for (flag, urls) in [
            ("--initial-advertise-peer-urls", self.peer_urls()),
            ("--advertise-client-urls", self.client_urls()),
        ] {
            urls.iter().try_for_each(|url| can_be_advertised(flag, url))?;
        }
        if let Some(url) = &self.join {
            host_and_port(url).context("--join")?;
        }
        if self.state != trees::Kind::Memory && !matches!(self.store, store::Kind::Files) {
            bail!(
                "--state fjall keeps the state in the data directory, so the log is there: --store file"
            );
        }
        if self.election_timeout <= 2 * self.heartbeat_interval {
            bail!(
                "--election-timeout ({} ms) must be more than twice --heartbeat-interval ({} ms)",
                self.election_timeout,
                self.heartbeat_interval
            );
        }
        Ok(data_dir::Identity {
            format: data_dir::FORMAT,
            name: self.name.clone(),
            incarnation: String::new(),
            token: self.initial_cluster_token.clone(),
            founders,
            id: None,
            cluster: None,
        })
    }

    /// Refuses to found a cluster in which this server is to be reached at one address, and says
    /// another one itself: the others would believe it, and look for it there.
    ///
    /// # Errors
    /// If the flags contradict each other.
    pub fn check_founding(&self, wanted: &data_dir::Identity) -> anyhow::Result<()> {
        // A database may hold a server that has moved since; only its opening tells.
        if !matches!(self.store, store::Kind::Files) {
            return Ok(());
        }
        let places = |urls: &[String]| -> anyhow::Result<BTreeSet<String>> {
            urls.iter().map(|url| host_and_port(url)).collect()
        };
        let (own, listed) = (self.peer_urls(), wanted.founders.get(&self.name));
        let listed = listed.map(Vec::as_slice).unwrap_or_default();
        if places(&own)? != places(listed)? {
            bail!(
                "--initial-cluster says that {} is reached at {}, and --initial-advertise-peer-urls says \
                 {}: give both the same",
                self.name,
                listed.join(" "),
                own.join(" ")
            );
        }
        Ok(())
    }
}

/// Reads a number within bounds.
fn number<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let wrong = || format!("a number from {LEAST} to {MOST} is expected");
    text.parse().ok().filter(|number| (LEAST..=MOST).contains(number)).ok_or_else(wrong)
}

/// Refuses founders that are to be reached at the same address.
fn check_addresses(founders: &BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    let mut owners = BTreeMap::new();
    for (name, urls) in founders {
        for url in urls {
            if let Some(other) = owners.insert(host_and_port(url)?, name)
                && other != name
            {
                bail!("--initial-cluster: both {other} and {name} are to be reached at {url}");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        config: Config,
    }

    /// None of them may end in a panic later, or in a server without service.
    #[test]
    fn numbers_out_of_bounds_are_refused_by_their_flags() {
        use clap::Parser;
        let huge = "18446744073709551615";
        for (flag, value) in [
            ("--name", ""),
            ("--heartbeat-interval", "0"),
            ("--heartbeat-interval", huge),
            ("--election-timeout", huge),
            ("--max-request-bytes", huge),
            ("--max-txn-ops", "0"),
            ("--max-connections", "0"),
            ("--max-concurrent-streams", "0"),
            ("--watch-progress-notify-interval", huge),
            ("--auth-token-ttl", "0"),
            ("--auth-token-ttl", huge),
        ] {
            let why = Flags::try_parse_from(["x", flag, value]).map(|_| ()).unwrap_err();
            assert!(why.to_string().contains(flag), "{flag} {value}: {why}");
        }
        for text in ["99999999999999999h", "18446744073709551615s"] {
            let flags = ["x", "--auto-compaction-retention", text];
            assert!(Flags::parse_from(flags).config.retention().is_err(), "{text}");
        }
        let flags = ["x", "--join", "n1:2379"];
        let why = Flags::parse_from(flags).config.identity().unwrap_err();
        assert!(format!("{why:#}").starts_with("--join: "), "{why:#}");
    }

    #[test]
    fn a_retention_is_a_time_or_a_number() {
        use clap::Parser;
        let retention = |mode: &str, text: &str| {
            let flags = ["x", "--auto-compaction-mode", mode, "--auto-compaction-retention", text];
            let found = Flags::parse_from(flags).config.retention().ok()?;
            Some((found.period.as_secs(), found.revisions))
        };
        assert_eq!(retention("periodic", "2"), Some((7200, 1_000_000)));
        assert_eq!(retention("periodic", "30m"), Some((1800, 1_000_000)));
        assert_eq!(retention("periodic", "0"), Some((0, 1_000_000)));
        assert_eq!(retention("periodic", "soon"), None);
        assert_eq!(retention("revision", "500"), Some((0, 500)));
        assert_eq!(retention("revision", "1h"), None);
    }
}
