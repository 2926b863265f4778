//! `report.html`: a run as one page that opens from a disk, without a network.
//!
//! The page holds the verdict and its reasons as text, and the run itself as compressed columns
//! (`pack.rs`) from which its script draws: latency and rate, the diagram of messages, the
//! operations by process, the traffic. Script and style are the plain files in `assets`.
//!
//! All that comes from nodes is text: [`maud`] escapes the text of the page, the script uses
//! `textContent` only, and a Content-Security-Policy allows the page's own script and style by
//! their hashes, and nothing else.

mod acts;
mod card;
mod journal;
mod ledger;
mod logs;
mod material;
mod measure;
mod messages;
mod operations;
mod pack;
mod page;
mod pictures;
mod policy;
mod scan;
mod sections;
mod text;
mod traffic;
mod why;
mod words;

pub use card::{Card, junit, markdown};
pub use ledger::{Ledger, Lines};
pub use logs::last_lines;
pub use material::Material;
pub use page::html;
pub use pictures::{Window, message_diagram, series, shades};
pub use scan::sent_a_second;
pub use traffic::Traffic;
pub use why::cycles;

/// The name of the page in the directory of a run.
pub const FILE: &str = "report.html";

/// The page that Maelstrom calls so, which leads to the operations by process.
pub const TIMELINE: &str = "timeline.html";

/// The name of the run's numbers, as JSON.
pub const CARD: &str = "run.json";
