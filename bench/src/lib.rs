//! How we know: the simulator, the process runner and the checkers.

pub mod check;
pub mod command;
pub mod edn;
pub mod history;
