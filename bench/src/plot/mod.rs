//! Pictures as SVG: cycles of transactions, the life of an element, the sums of a counter, and
//! the charts of whole runs; with the feature `png` as pixels, too.
//!
//! A picture names its colours by class. In a report the page's style gives them; a file of its
//! own carries [`STYLE`], in light and dark.

pub mod chart;
pub mod cycle;
pub mod lamport;
#[cfg(feature = "png")]
pub mod png;
pub mod strip;
pub mod sums;
pub mod svg;
pub mod tradeoff;

pub use svg::{STYLE, escaped, standalone};
