//! A protocol that nodes are tested by, and everything the bench knows about it.
//!
//! A [`Challenge`] brings the load of its clients, the checker of their histories, nodes for
//! the simulation, and which faults make sense. The ten [`mod@builtin`] ones use nothing else, and
//! a crate outside of this workspace adds its own:
//!
//! * `Explore::of(MyChallenge)` explores it from a test ([`crate::explore::Explore`]);
//! * `seaworthy_bench::main(Challenges::builtin().with(MyChallenge))` is the whole command
//!   line, `test --bin` with real processes, `explore`, `replay` and `check` included.
//!
//! `bench/examples/lock.rs` is a protocol, its node and a planted bug in under 150 lines.

pub mod builtin;
mod contract;
#[cfg(feature = "kv-server")]
pub mod kv_server;
pub mod lease;
pub mod lock;
mod table;
pub mod watch;

pub use builtin::builtin;
pub use contract::{Challenge, FAULTS, Knob};
pub use table::{Challenges, Judge};
