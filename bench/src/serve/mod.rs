//! A store as pages: its runs, newest first, side by side, and their files.
//!
//! Reads only. A path from a client is taken apart and checked name by name, and then once more
//! by where it really leads, so that neither `..` nor a link opens a file outside of the store
//! (`path.rs`). Every page is made anew from the small files `run.json`, so memory does not grow
//! with the number of requests, and a list shows a bounded part of the store.

mod list;
mod live;
mod pages;
mod path;
mod runs;
mod site;

pub use pages::{Answer, Body, answer};
pub use site::Site;
