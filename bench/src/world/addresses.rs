//! The addresses of clients: which there are, and which were closed.
//!
//! Clients are numbered in the order in which they connect, as Maelstrom numbers them. A
//! message to a client that has closed its connection has no receiver there; the
//! bench tells the two apart for the report, and remembers when a client last asked.

use seaworthy::message::NodeId;
use seaworthy::time::Time;

use crate::load::client::Answer;

/// All clients of a run so far, by number.
#[derive(Debug, Default)]
pub(super) struct Addresses(Vec<Address>);

#[derive(Debug)]
struct Address {
    asked: Time,
    /// The requests that it gave up, by `msg_id`, and when it sent them.
    given_up: Vec<(u64, Time)>,
    closed: Option<Time>,
}

/// The state of an address of the form `c<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No client ever had it.
    Unknown,
    /// A client has it.
    Open,
    /// The client with it has closed its connection, and last asked at this time.
    Closed(Time),
}

impl Addresses {
    /// A new client connects.
    pub(super) fn open(&mut self) -> NodeId {
        self.0.push(Address { asked: Time::ZERO, given_up: Vec::new(), closed: None });
        NodeId::new(format!("c{}", self.0.len() - 1))
    }

    /// A client sends a request.
    pub(super) fn asks(&mut self, id: &NodeId, now: Time) {
        self.entry(id).asked = now;
    }

    /// A client gives up its last request.
    pub(super) fn gives_up(&mut self, id: &NodeId, msg_id: u64) {
        let address = self.entry(id);
        address.given_up.push((msg_id, address.asked));
    }

    /// Returns when a client sent the request, now given up, that this answer is for.
    pub(super) fn given_up(&self, id: &NodeId, answer: &Answer) -> Option<Time> {
        let requests = &self.0.get(number(id)?)?.given_up;
        requests.iter().find(|(msg_id, _)| answer.answers(*msg_id)).map(|(_, asked)| *asked)
    }

    /// A client closes its connection at this time.
    pub(super) fn close(&mut self, id: &NodeId, at: Time) {
        self.entry(id).closed = Some(at);
    }

    pub(super) fn standing(&self, id: &NodeId, now: Time) -> Standing {
        match number(id).and_then(|number| self.0.get(number)) {
            None => Standing::Unknown,
            Some(Address { asked, closed: Some(at), .. }) if *at <= now => Standing::Closed(*asked),
            Some(_) => Standing::Open,
        }
    }

    fn entry(&mut self, id: &NodeId) -> &mut Address {
        let address = number(id).and_then(|number| self.0.get_mut(number));
        address.expect("only addresses that were opened are used")
    }
}

/// The number of a client's address, which has one notation only.
fn number(id: &NodeId) -> Option<usize> {
    let digits = id.as_str().strip_prefix('c')?;
    let canonical =
        digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_belongs_to_the_request_that_was_given_up() {
        let mut addresses = Addresses::default();
        let at = Time::from_millis;
        let id = addresses.open();
        addresses.asks(&id, at(3));
        addresses.gives_up(&id, 1);
        addresses.asks(&id, at(8));
        let asked = |body: &str| {
            let answer = Answer::parse(body).expect("an object");
            addresses.given_up(&id, &answer)
        };
        assert_eq!(asked(r#"{"type":"read_ok","in_reply_to":1}"#), Some(at(3)));
        assert_eq!(asked(r#"{"type":"read_ok","in_reply_to":2}"#), None, "it waits for this one");
        assert_eq!(asked(r#"{"type":"read_ok"}"#), None);
    }

    #[test]
    fn an_address_exists_from_its_opening_to_its_closing() {
        let mut addresses = Addresses::default();
        let at = Time::from_millis;
        let first = addresses.open();
        assert_eq!(addresses.open().as_str(), "c1");
        addresses.asks(&first, at(3));
        addresses.close(&first, at(10));
        assert_eq!(addresses.standing(&first, at(9)), Standing::Open);
        assert_eq!(addresses.standing(&first, at(10)), Standing::Closed(at(3)));
        assert_eq!(addresses.standing(&"c1".into(), at(99)), Standing::Open);
        for odd in ["c2", "c", "c01", "c+1", "c-1", "c99999999999999999999999", "n0", ""] {
            assert_eq!(addresses.standing(&odd.into(), at(99)), Standing::Unknown, "{odd}");
        }
    }
}
