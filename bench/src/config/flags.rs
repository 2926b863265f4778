//! The flags of a run, written out, so that they replay it.

use clap::ValueEnum;

use super::args::RunArgs;
use super::values::Concurrency;

/// The flags that describe `run`, as they are typed; those with their default
/// value are left out.
pub fn flags(run: &RunArgs) -> Vec<String> {
    let mut flags = vec!["-w".to_owned(), run.workload.clone()];
    let mut flag = |name: &str, value: String, default: &str| {
        if value != default {
            flags.extend([format!("--{name}"), value]);
        }
    };
    flag("nodes", run.nodes.join(","), "");
    flag("node-count", run.node_count.map_or_else(String::new, |n| n.to_string()), "");
    let concurrency = match run.concurrency {
        Concurrency::Fixed(count) => count.to_string(),
        Concurrency::PerNode(count) => format!("{count}n"),
    };
    flag("concurrency", concurrency, "1n");
    flag("time-limit", run.time_limit.to_string(), "60");
    flag("rate", run.rate.to_string(), "5");
    flag("latency", run.latency.to_string(), "0");
    flag("latency-spread", run.latency_spread.to_string(), "1");
    flag("latency-dist", name(run.latency_dist), "constant");
    let nemesis: Vec<String> = run.nemesis.iter().copied().map(name).collect();
    flag("nemesis", nemesis.join(","), "");
    flag("nemesis-interval", run.nemesis_interval.to_string(), "10");
    flag("topology", name(run.topology), "grid");
    flag("availability", run.availability.to_string(), "none");
    flag("consistency-models", run.consistency_models.clone(), "strict-serializable");
    flag("key-count", run.key_count.to_string(), "10");
    flag("max-txn-length", run.max_txn_length.to_string(), "4");
    flag("max-writes-per-key", run.max_writes_per_key.to_string(), "16");
    flag("omit", run.omit.join(","), "");
    flag("init-timeout", run.init_timeout.to_string(), "10");
    let chaos = &run.chaos;
    flag("loss", chaos.loss.to_string(), "0");
    flag("duplicate", chaos.duplicate.to_string(), "0");
    flag("reorder", chaos.reorder.to_string(), "0");
    flag("clock-skew", chaos.clock_skew.to_string(), "0");
    flag("fsync", chaos.fsync.to_string(), "0");
    flag("torn-writes", chaos.torn_writes.to_string(), "0");
    flag("roll-back", chaos.roll_back.to_string(), "0");
    flag("disk-mib", chaos.disk_mib.to_string(), "256");
    flag("network", name(chaos.network), "proxies");
    flag("quiet-phase", chaos.quiet_phase.to_string(), "0");
    flag("seed", run.seed.map_or_else(String::new, |s| s.to_string()), "");
    for (name, given) in [("no-disk", chaos.no_disk), ("lasting-fault", chaos.lasting_fault)] {
        flags.extend(given.then(|| format!("--{name}")));
    }
    if !run.args.is_empty() {
        flags.push("--".into());
        flags.extend(run.args.iter().cloned());
    }
    flags
}

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no variant is hidden");
    value.get_name().to_owned()
}

/// The command that replays `run`, for a shell.
pub fn command(run: &RunArgs) -> String {
    let flags: Vec<String> = flags(run).iter().map(|flag| quote(flag)).collect();
    format!("seaworthy test {}", flags.join(" "))
}

/// An argument as it is typed in a shell.
pub fn quote(argument: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,/=".contains(&b);
    if !argument.is_empty() && argument.bytes().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}
