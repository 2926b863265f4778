//! Tests of the consensus core through its public interface.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking and say why")]

mod chaos;
mod disk;
mod golden;
mod invariants;
mod lab;
mod limits;
