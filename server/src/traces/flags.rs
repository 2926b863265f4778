//! The flags of traces, and their settings.

use anyhow::bail;
use clap::Args;

use crate::url::{has_tls, host_and_port};

/// A collector listens here if none is named: OTLP's port on this machine.
const DEFAULT_ENDPOINT: &str = "http://localhost:4317";
/// The rate at which every request is traced.
const ALL: u64 = 1_000_000;

/// The flags of traces. etcd's names, of versions 3.5 and 3.6, mean the same.
#[derive(Args, Clone, Debug)]
pub struct TraceFlags {
    /// Requests are traced, and their spans sent to the collector at this address, by OTLP over gRPC. Only
    /// in builds with the cargo feature otlp
    #[arg(long, env = "SEAWORTHY_OTLP_ENDPOINT", value_name = "URL")]
    #[arg(aliases = ["experimental-distributed-tracing-address", "distributed-tracing-address"])]
    pub otlp_endpoint: Option<String>,
    /// The name of the service in traces, the same for all servers of a cluster
    #[arg(long, env = "SEAWORTHY_OTLP_SERVICE_NAME", default_value = "seaworthy")]
    #[arg(value_name = "SERVICE")]
    #[arg(aliases = ["experimental-distributed-tracing-service-name", "distributed-tracing-service-name"])]
    pub otlp_service_name: String,
    /// The name of this server in traces [default: --name]
    #[arg(long, env = "SEAWORTHY_OTLP_INSTANCE_ID", value_name = "ID")]
    #[arg(aliases = ["experimental-distributed-tracing-instance-id", "distributed-tracing-instance-id"])]
    pub otlp_instance_id: Option<String>,
    /// How many of a million requests are traced, of those whose clients have not decided it
    #[arg(long, env = "SEAWORTHY_OTLP_SAMPLING_RATE", default_value_t = ALL, value_name = "RATE")]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=ALL))]
    #[arg(aliases = ["experimental-distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate"])]
    pub otlp_sampling_rate: u64,
    /// The same as --otlp-endpoint http://localhost:4317, unless that names another one
    #[arg(long, env = "SEAWORTHY_ENABLE_DISTRIBUTED_TRACING", hide = true)]
    #[arg(alias = "experimental-enable-distributed-tracing")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(default_value_t = false, action = clap::ArgAction::Set)]
    pub enable_distributed_tracing: bool,
}

/// The requests that are traced, and the place where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The collector's address, with its scheme.
    pub endpoint: String,
    /// The name of the service.
    pub service: String,
    /// The name of this server.
    pub instance: String,
    /// The share of requests that are traced, from 0 to 1.
    pub share: f64,
}

impl TraceFlags {
    /// The settings for the server of this name; `None` if nothing is to be traced.
    ///
    /// # Errors
    /// If the address is wrong, or this build has no traces.
    pub fn settings(&self, name: &str) -> anyhow::Result<Option<Settings>> {
        self.settings_in(name, cfg!(feature = "otlp"))
    }

    /// The same, for a build with traces or without.
    fn settings_in(&self, name: &str, has_traces: bool) -> anyhow::Result<Option<Settings>> {
        let endpoint = match (&self.otlp_endpoint, self.enable_distributed_tracing) {
            (None, false) => return Ok(None),
            (None, true) => DEFAULT_ENDPOINT.to_owned(),
            // etcd's flag has no scheme.
            (Some(place), _) if !place.contains("://") => format!("http://{place}"),
            (Some(url), _) => url.clone(),
        };
        if !has_traces {
            bail!(
                "--otlp-endpoint: this build sends no traces; one with the cargo feature otlp does: \
                 cargo build --release -p seaworthy-server --features otlp"
            );
        }
        if let Err(why) = host_and_port(&endpoint) {
            bail!("--otlp-endpoint: {why:#}");
        }
        if has_tls(&endpoint) {
            bail!(
                "--otlp-endpoint: {endpoint} asks for TLS, which traces do not have: send them to a \
                 collector on this machine, which passes them on"
            );
        }
        Ok(Some(Settings {
            endpoint,
            service: self.otlp_service_name.clone(),
            instance: self.otlp_instance_id.clone().unwrap_or_else(|| name.to_owned()),
            share: self.otlp_sampling_rate as f64 / ALL as f64,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        traces: TraceFlags,
    }

    fn settings(flags: &[&str]) -> anyhow::Result<Option<Settings>> {
        let line = ["x"].iter().chain(flags);
        Flags::try_parse_from(line)?.traces.settings_in("n1", true)
    }

    #[test]
    fn without_a_flag_nothing_is_traced() {
        assert_eq!(settings(&[]).unwrap(), None);
        assert_eq!(settings(&["--otlp-sampling-rate=5"]).unwrap(), None);
        assert_eq!(settings(&["--experimental-enable-distributed-tracing=false"]).unwrap(), None);
    }

    #[test]
    fn a_build_without_the_feature_says_which_one_has_it() {
        for flag in ["--otlp-endpoint=http://c:4317", "--experimental-enable-distributed-tracing"] {
            let traces = Flags::try_parse_from(["x", flag]).unwrap().traces;
            let why = traces.settings_in("n1", false).unwrap_err().to_string();
            assert!(why.contains("--features otlp"), "{why}");
        }
        let none = Flags::try_parse_from(["x"]).unwrap().traces;
        assert_eq!(none.settings_in("n1", false).unwrap(), None);
    }

    #[test]
    fn both_names_of_a_flag_mean_the_same() {
        let ours = ["--otlp-endpoint=http://c:4317", "--otlp-sampling-rate=250000"];
        let etcds = [
            "--experimental-enable-distributed-tracing",
            "--experimental-distributed-tracing-address=c:4317",
            "--experimental-distributed-tracing-sampling-rate=250000",
        ];
        let found = settings(&ours).unwrap().unwrap();
        assert_eq!((found.instance.as_str(), found.share), ("n1", 0.25));
        assert_eq!(settings(&etcds).unwrap().unwrap(), found);
        let alone = settings(&["--enable-distributed-tracing=true"]).unwrap().unwrap();
        assert_eq!((alone.endpoint.as_str(), alone.share), (DEFAULT_ENDPOINT, 1.0));
        for wrong in ["https://c:4317", "http://c", "ftp://c:1"] {
            let why = settings(&["--otlp-endpoint", wrong]).unwrap_err().to_string();
            assert!(why.starts_with("--otlp-endpoint: "), "{why}");
        }
        settings(&["--otlp-sampling-rate=1000001"]).unwrap_err();
    }
}
