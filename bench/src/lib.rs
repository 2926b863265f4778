//! How we know: the simulator, the process runner and the checkers.
//!
//! A [`challenge`] is a protocol that nodes are tested by; [`main()`] is the command line over some
//! of them. [`world`] is the event loop of a test: time, network, nemesis, clients. [`backend`] is
//! where its nodes live, in-process or as real processes. [`load`] holds the requests of clients,
//! [`check`] judges their histories, and [`run`], [`mod@judge`] and [`explore`] put these together
//! for the [`command`]s.
//!
//! Checkers also judge histories that other tools recorded:
//!
//! ```
//! use seaworthy_bench::check::Verdict;
//! use seaworthy_bench::check::linear::{check, model};
//! use seaworthy_bench::history::from_text;
//!
//! // The write of 2 has returned when the read begins, and the read returns 1.
//! let stale = "
//!     {:process 0 :type :invoke :f :write :value 1} {:process 0 :type :ok :f :write :value 1}
//!     {:process 0 :type :invoke :f :write :value 2} {:process 0 :type :ok :f :write :value 2}
//!     {:process 1 :type :invoke :f :read :value nil} {:process 1 :type :ok :f :read :value 1}";
//! let judge = |text: &str| {
//!     let history = from_text(text).expect("EDN, JSON or the lines of a log");
//!     check(model::by_name("register").expect("one of `model::NAMES`"), &history)
//! };
//! let outcome = judge(stale);
//! assert_eq!(outcome.verdict, Verdict::Invalid);
//! assert!(outcome.story.expect("of each violation").contains("can't read 1 from register 2"));
//!
//! let fresh = stale.replace(":ok :f :read :value 1", ":ok :f :read :value 2");
//! assert_eq!(judge(&fresh).verdict, Verdict::Valid);
//! ```

pub mod backend;
pub mod challenge;
pub mod check;
pub mod command;
pub mod config;
pub mod directory;
pub mod edn;
pub mod explore;
pub mod history;
pub mod invariant;
pub mod judge;
pub mod load;
pub mod plot;
pub mod prelude;
pub mod report;
pub mod run;
pub mod seed;
pub mod serve;
pub mod service;
pub mod store;
pub mod world;

pub use command::line::main;
