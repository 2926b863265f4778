//! The faults that no node may have, whatever the workload, and how a report tells them.

use std::fmt;

/// How a node can break the rules of the protocol, whatever the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeFault {
    /// A line on stdout that is not a message.
    Garbage {
        /// The line, shortened.
        line: String,
        /// The fault in it.
        reason: String,
    },
    /// A message to an address that does not exist.
    UnknownDestination {
        /// To which address.
        dest: String,
        /// The message's body, shortened.
        body: String,
    },
    /// A message from an address that does not exist.
    UnknownSource {
        /// From which address.
        src: String,
        /// The message's body, shortened.
        body: String,
    },
    /// A message to a client that had given up and closed its connection.
    LateReply {
        /// The client.
        client: String,
        /// The message's body, shortened.
        body: String,
    },
    /// It ended by itself.
    Exited {
        /// With which status.
        status: String,
    },
    /// It closed its stdout and lives.
    ClosedStdout {
        /// The bytes that it printed after its last whole line.
        rest: String,
    },
    /// It panicked (simulation).
    Panicked {
        /// The message and the place.
        message: String,
    },
    /// It could not be started.
    NotStarted {
        /// Why.
        reason: String,
    },
    /// The bench could not carry out a fault, or end one.
    Unhurt {
        /// Why.
        reason: String,
    },
    /// No `init_ok` in time, or an error instead; the same for a workload's preparation.
    NoInit {
        /// The answer that came instead, or its lack.
        reason: String,
    },
    /// More messages than any workload needs.
    Flood {
        /// How many messages it sent so far.
        sent: u64,
        /// How many it got from others.
        received: u64,
    },
}

impl NodeFault {
    /// Whether a run with this fault is invalid for that reason alone. Being late is not
    /// wrong: Maelstrom stops reading the node and judges the history of its clients.
    pub fn condemns(&self) -> bool {
        !matches!(self, NodeFault::LateReply { .. })
    }

    /// Its name without node, texts and numbers.
    pub fn kind(&self) -> &'static str {
        match self {
            NodeFault::Garbage { .. } => "garbage",
            NodeFault::UnknownDestination { .. } => "unknown destination",
            NodeFault::UnknownSource { .. } => "unknown source",
            NodeFault::LateReply { .. } => "late reply",
            NodeFault::Exited { .. } => "exited",
            NodeFault::ClosedStdout { .. } => "closed stdout",
            NodeFault::Panicked { .. } => "panicked",
            NodeFault::NotStarted { .. } => "not started",
            NodeFault::Unhurt { .. } => "unhurt",
            NodeFault::NoInit { .. } => "no init",
            NodeFault::Flood { .. } => "flood",
        }
    }

    /// Whether Maelstrom reports this as a test that broke, with status 255, whatever the
    /// clients saw: a process that died or could not be started; and ours, one that could not be
    /// hurt as the run demands.
    pub fn is_death(&self) -> bool {
        matches!(
            self,
            NodeFault::Exited { .. } | NodeFault::NotStarted { .. } | NodeFault::Unhurt { .. }
        )
    }
}

impl fmt::Display for NodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeFault::Garbage { line, reason } => {
                write!(f, "printed a line that is no message ({reason}): {line}")
            }
            NodeFault::UnknownDestination { dest, body } => {
                let (dest, remedy) = tell_address(dest);
                write!(f, "sent a message to {dest}, which does not exist{remedy}: {body}")
            }
            NodeFault::UnknownSource { src, body } => {
                let (src, remedy) = tell_address(src);
                write!(
                    f,
                    "sent a message in the name of {src}, which does not exist{remedy}: {body}"
                )
            }
            NodeFault::LateReply { client, body } => write!(
                f,
                "sent a message to {client}, which has closed its connection (it got its answer \
                 or gave up waiting); like Maelstrom, the bench does not read this node any \
                 more: {body}"
            ),
            NodeFault::Exited { status } => write!(f, "exited by itself ({status})"),
            NodeFault::ClosedStdout { rest } if rest.is_empty() => {
                f.write_str("closed its stdout and lives")
            }
            NodeFault::ClosedStdout { rest } => {
                write!(f, "closed its stdout in the middle of a line and lives: {rest}")
            }
            NodeFault::Panicked { message } => write!(f, "panicked: {message}"),
            NodeFault::NotStarted { reason } => write!(f, "could not be started: {reason}"),
            NodeFault::Unhurt { reason } => {
                write!(f, "could not be hurt or healed by the nemesis: {reason}")
            }
            NodeFault::NoInit { reason } => write!(f, "did not complete init: {reason}"),
            NodeFault::Flood { sent, received } => {
                write!(f, "flooded the network: {sent} messages sent, {received} received")
            }
        }
    }
}

/// An address as text, escaped where it is odd, and the advice for it.
fn tell_address(address: &str) -> (String, &'static str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !address.is_empty() && address.chars().all(is_plain) {
        return (address.to_owned(), "");
    }
    let remedy = if address.contains('"') {
        " (the quotes are part of the address: was it encoded as JSON twice?)"
    } else {
        ""
    };
    (format!("{address:?}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_addresses_are_escaped_and_explained() {
        let to = |dest: &str| {
            let (dest, body) = (dest.to_owned(), "{}".to_owned());
            NodeFault::UnknownDestination { dest, body }.to_string()
        };
        assert_eq!(to("n99"), "sent a message to n99, which does not exist: {}");
        assert!(to("\"c1\"").contains(r#"to "\"c1\"", which"#), "{}", to("\"c1\""));
        assert!(to("\"c1\"").contains("encoded as JSON twice"));
        assert!(to("n1\n").contains(r#""n1\n""#));
        assert!(to("").contains(r#"to "","#));
    }
}
