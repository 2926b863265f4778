//! A run of servers, as the command line describes it.

use std::path::PathBuf;

use super::spec::Spec;
use crate::backend::process::Children;

/// How to run servers.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// The spec of the servers.
    pub spec: Spec,
    /// Options that follow those of the spec.
    pub args: Vec<String>,
    /// The directory for the nodes' data.
    pub data_dir: PathBuf,
    /// The directory for the nodes' logs.
    pub log_dir: PathBuf,
    /// Whether to copy the nodes' output to the bench's own stderr.
    pub echo_logs: bool,
    /// Where the children are entered while they live.
    pub children: Children,
}
