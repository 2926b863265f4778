//! Knowledge about a history from outside of its text.

/// Knowledge about the operations of a history from outside of its text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// The `:f` of operations that do not name theirs.
    pub f: Option<&'static str>,
}

impl Hints {
    /// Returns the hints that the name of a workload gives.
    pub fn of(workload: &str) -> Hints {
        let f = match workload {
            "echo" => Some("echo"),
            "unique-ids" => Some("generate"),
            "txn-list-append" | "txn-rw-register" => Some("txn"),
            _ => None,
        };
        Hints { f }
    }
}
