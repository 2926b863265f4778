//! `seaworthy-server`: a replicated key-value store that speaks etcd's v3 API.

use std::process::ExitCode;

fn main() -> ExitCode {
    seaworthy_server::command_line::run(std::env::args_os().collect())
}
