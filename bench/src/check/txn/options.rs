//! The demands on a history of transactions.

use std::time::Duration;

use super::models::Model;

/// The micro-operations of the transactions of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `[:append k v]` and `[:r k [v ...]]`.
    ListAppend,
    /// `[:w k v]` and `[:r k v]`.
    RwRegister,
}

impl Flavour {
    /// The name of the workload.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::ListAppend => "txn-list-append",
            Flavour::RwRegister => "txn-rw-register",
        }
    }
}

/// The demands on a history.
#[derive(Clone, Debug)]
pub struct Options {
    /// The models it must satisfy, all of them.
    pub models: Vec<Model>,
    /// Whether fractured reads count as an anomaly, under the name `fractured-read`, whatever the
    /// models say. They count anyway if a model among those demanded is at least as strong as
    /// `read-atomic` and no cycle shows them (`causal-cerone`, but not `serializable`), and under
    /// `monotonic-atomic-view` those that it forbids do.
    pub fractured_reads: bool,
    /// Real time for the search in one strongly connected component.
    pub timeout: Duration,
    /// Whether a register history without any dependency is invalid, as in Maelstrom, which
    /// tolerates no anomaly type at all; otherwise it is unknown, as in Elle.
    pub empty_graph_is_invalid: bool,
}

impl Default for Options {
    /// Maelstrom's: strict serializability; one second for the search.
    fn default() -> Options {
        Options {
            models: vec![Model::STRICT_SERIALIZABLE],
            fractured_reads: false,
            timeout: Duration::from_millis(1000),
            empty_graph_is_invalid: true,
        }
    }
}

impl Options {
    /// Which fractured reads count.
    pub(super) fn fractured(&self) -> Fracture {
        let names: Vec<&str> = self.models.iter().map(|model| model.name()).collect();
        let implied = adya::model::implied_models(&names);
        // From consistent view on, Elle reports the cycle that a fractured read is.
        let by_cycle = self.forbid("G-single-item");
        let asked = |name: &str| names.contains(&name) || implied.contains(name) && !by_cycle;
        match (self.fractured_reads || asked("read-atomic"), asked("monotonic-atomic-view")) {
            (true, _) => Fracture::Any,
            (false, true) => Fracture::NotMonotonic,
            (false, false) => Fracture::None,
        }
    }

    /// Whether one of the models rules out an anomaly.
    pub(super) fn forbid(&self, anomaly: &str) -> bool {
        let names: Vec<&str> = self.models.iter().map(|model| model.name()).collect();
        adya::model::prohibited_by(&names).contains(anomaly)
    }
}

/// Which fractured reads are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fracture {
    None,
    /// Those in which the write was missed after the other had been seen: monotonic atomic view
    /// forbids them.
    NotMonotonic,
    /// Whichever was read first: read atomic forbids them.
    Any,
}
