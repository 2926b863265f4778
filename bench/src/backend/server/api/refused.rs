//! Errors of APIs, in the words of the protocol: which of them are promises.
//!
//! A client of the bench needs one thing of an error: whether the operation certainly never
//! happens. An error that promises that is *definite*, and the operation failed; any other
//! leaves the outcome open, and the checkers take both into account. One table, [`of_grpc`],
//! serves everything that speaks gRPC's codes; [`of_connect`], [`of_io`] and [`late`] serve the
//! failures below.

use std::io;

use seaworthy::message::ErrorCode;

/// A request that was not carried out, or may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The kind of refusal, which says whether it is definite.
    pub(crate) code: ErrorCode,
    /// Why, for people.
    pub(crate) text: String,
}

impl Refused {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Refused {
        Refused { code, text: text.into() }
    }

    /// An answer that the API does not document: it may have done anything.
    pub(crate) fn odd(text: impl Into<String>) -> Refused {
        Refused::new(ErrorCode::CRASH, text)
    }

    /// The same, for a request that changes nothing: whatever follows from it did not happen.
    pub(crate) fn before_any_change(self) -> Refused {
        if self.code.is_definite() {
            return self;
        }
        Refused::new(ErrorCode::ABORT, format!("nothing was written yet: {}", self.text))
    }
}

/// A row: a code of gRPC, a part of the message (empty: any), and its meaning.
type Row = (u32, &'static str, ErrorCode);

/// The codes of gRPC. The first row that fits counts; no row fits: the outcome is open.
const TABLE: [Row; 10] = [
    // Refused by its content, before it is proposed.
    (3, "", ErrorCode::MALFORMED_REQUEST),  // INVALID_ARGUMENT
    (5, "", ErrorCode::KEY_DOES_NOT_EXIST), // NOT_FOUND: a lease or member
    (6, "", ErrorCode::KEY_ALREADY_EXISTS), // ALREADY_EXISTS
    (7, "", ErrorCode::ABORT),              // PERMISSION_DENIED
    (9, "", ErrorCode::ABORT),              // FAILED_PRECONDITION
    (11, "", ErrorCode::ABORT),             // OUT_OF_RANGE: compacted, or not there yet
    (12, "", ErrorCode::NOT_SUPPORTED),     // UNIMPLEMENTED
    (16, "", ErrorCode::ABORT),             // UNAUTHENTICATED
    // Looked at before anything is proposed; that the space is used up, by all members alike.
    (8, "too many requests", ErrorCode::TEMPORARILY_UNAVAILABLE),
    (8, "database space exceeded", ErrorCode::TEMPORARILY_UNAVAILABLE),
    // Everything else is open: UNAVAILABLE (14) comes from a server that gave up waiting for
    // a proposal that may be in a log ("request timed out", "leader changed"), and so are
    // DEADLINE_EXCEEDED (4), CANCELLED (1), UNKNOWN (2), ABORTED (10), INTERNAL (13).
];

/// The meaning of an error of gRPC.
pub(crate) fn of_grpc(code: u32, message: &str) -> Refused {
    let row = TABLE.iter().find(|(c, part, _)| *c == code && message.contains(part));
    let meaning = row.map_or(ErrorCode::CRASH, |(.., meaning)| *meaning);
    Refused::new(meaning, format!("{message} (gRPC code {code})"))
}

/// The meaning of a connection that could not be opened: the request was not sent.
pub(crate) fn of_connect(error: &io::Error) -> Refused {
    Refused::new(ErrorCode::TEMPORARILY_UNAVAILABLE, format!("no connection: {error}"))
}

/// The meaning of a request over HTTP that was sent, or partly sent, and has no answer.
pub(crate) fn of_io(error: &io::Error) -> Refused {
    Refused::odd(error.to_string())
}

/// The meaning of a request that was sent and is not answered in time.
pub(crate) fn late() -> Refused {
    Refused::odd("no answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_that_precede_the_log_are_definite() {
        for (code, text, is_definite) in [
            (14, "etcdserver: request timed out", false),
            (14, "etcdserver: leader changed", false),
            (4, "context deadline exceeded", false),
            (2, "context deadline exceeded", false),
            (13, "panic", false),
            (8, "grpc: received message larger than max", false),
            (8, "etcdserver: too many requests", true),
            (8, "etcdserver: mvcc: database space exceeded", true),
            (3, "etcdserver: key is not provided", true),
            (11, "etcdserver: mvcc: required revision has been compacted", true),
            (12, "unknown service", true),
            (77, "?", false),
        ] {
            assert_eq!(of_grpc(code, text).code.is_definite(), is_definite, "{code} {text}");
        }
    }

    #[test]
    fn a_request_that_was_never_sent_never_happened() {
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
            assert!(of_connect(&kind.into()).code.is_definite());
        }
        assert!(!late().code.is_definite());
    }

    #[test]
    fn a_failed_read_before_a_write_is_definite_for_the_whole() {
        let open = Refused::new(ErrorCode::CRASH, "reset");
        assert!(open.before_any_change().code.is_definite());
        let busy = Refused::new(ErrorCode::TEMPORARILY_UNAVAILABLE, "no");
        assert_eq!(busy.clone().before_any_change(), busy);
    }
}
