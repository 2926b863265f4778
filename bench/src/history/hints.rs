//! What is known about a history before it is read.

/// What is known about the operations of a history before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// The `:f` of operations that do not name theirs.
    pub f: Option<&'static str>,
}

impl Hints {
    /// What the name of a workload says.
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
