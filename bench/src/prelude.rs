//! Everything that a challenge of one's own is written with: `use seaworthy_bench::prelude::*`.

pub use crate::backend::sim::Factory;
pub use crate::challenge::{Challenge, Challenges};
pub use crate::check::{CheckOptions, Outcome, Verdict};
pub use crate::config::{RunArgs, RunConfig};
pub use crate::edn::Edn;
pub use crate::explore::Explore;
pub use crate::history::{Op, OpType};
pub use crate::load::client::{Acknowledged, Answer, Client, Completion, Errors, Step};
pub use crate::load::{Ask, Connection, Invocation, Load, Next, PATIENCE};
