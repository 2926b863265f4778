//! The subcommands of `seaworthy`, one file each.

pub mod check;
