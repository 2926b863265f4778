//! The `seaworthy` command: test nodes, explore seeds, judge histories.

use std::process::ExitCode;

use seaworthy_bench::challenge::Challenges;
use seaworthy_bench::challenge::lease::Lease;
use seaworthy_bench::challenge::lock::Lock;
use seaworthy_bench::challenge::watch::Watch;

fn main() -> ExitCode {
    let challenges = Challenges::builtin()
        .with(Watch)
        .with(Lock::WITH_TOKEN)
        .with(Lock::WITHOUT_TOKEN)
        .with(Lease);
    #[cfg(feature = "kv-server")]
    let challenges = challenges.with(seaworthy_bench::challenge::kv_server::KvServer);
    seaworthy_bench::main(challenges)
}
