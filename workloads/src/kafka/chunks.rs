//! A node's knowledge of a log in the service, and the cas that extends it.

use std::collections::BTreeMap;

use seaworthy::message::{NodeId, Request};
use seaworthy::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::logs::Log;

/// How many messages a chunk holds. Each cas carries a chunk twice.
pub(super) const CHUNK: u64 = 64;

/// Where the service keeps a chunk of a log.
pub(super) fn log_key(key: &str, chunk: u64) -> String {
    format!("log/{key}/{chunk}")
}

/// A chunk as the service holds it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Chunk {
    messages: Vec<Box<RawValue>>,
    /// The tag of each node's last write; each tag is used once.
    tags: BTreeMap<NodeId, String>,
}

/// A send that waits: whom to tell, and the message.
type Queued = (Request, Box<RawValue>);

/// A log as far as it is known, and the messages to be appended.
#[derive(Default)]
pub(super) struct Topic {
    /// Messages that are in the service, from the first on.
    pub(super) log: Log,
    /// The chunk that the log ends in and its number, if it is known as a whole.
    tail: Option<(u64, Chunk)>,
    /// As of when the log was known to its end; none if it may be behind anyway.
    pub(super) checked: Option<Time>,
    pub(super) queue: Vec<Queued>,
    pub(super) flight: Option<Flight>,
    /// The service has been asked something about this log.
    pub(super) busy: bool,
}

/// A cas that is not known to have taken effect.
pub(super) struct Flight {
    pub(super) chunk: u64,
    /// None for a chunk that does not exist.
    pub(super) from: Option<Chunk>,
    pub(super) to: Chunk,
    work: Vec<Queued>,
}

impl Topic {
    /// The number of the chunk that matters next: that of the cas that is under way, or
    /// the one that the next message goes into as far as is known.
    pub(super) fn chunk(&self) -> u64 {
        self.flight.as_ref().map_or(self.log.end() / CHUNK, |flight| flight.chunk)
    }

    /// The chunk that the next message goes into, if it is known; empty if there is
    /// nothing in it yet.
    fn known_tail(&self) -> Option<Chunk> {
        match &self.tail {
            _ if self.log.end().is_multiple_of(CHUNK) => Some(Chunk::default()),
            Some((number, chunk)) => {
                let end = number * CHUNK + chunk.messages.len() as u64;
                (end == self.log.end()).then(|| chunk.clone())
            }
            None => None,
        }
    }

    /// Whether the chunk must be read before it can be extended.
    pub(super) fn needs_read(&self) -> bool {
        self.known_tail().is_none()
    }

    /// Makes a cas of as much of the queue as fits.
    pub(super) fn take_off(&mut self, own: &NodeId, tag: String) {
        assert!(self.flight.is_none(), "one cas at a time");
        let from = self.known_tail().expect("read first");
        let room = usize::try_from(CHUNK).unwrap_or(usize::MAX) - from.messages.len();
        let work: Vec<Queued> = self.queue.drain(..room.min(self.queue.len())).collect();
        let mut to = from.clone();
        to.messages.extend(work.iter().map(|(_, message)| message.clone()));
        to.tags.insert(own.clone(), tag);
        let from = (!from.messages.is_empty()).then_some(from);
        self.flight = Some(Flight { chunk: self.chunk(), from, to, work });
    }

    /// The cas has succeeded: the requests it served, with their offsets.
    pub(super) fn land(&mut self, asked: Time) -> Vec<(Request, u64)> {
        let Some(flight) = self.flight.take() else { return Vec::new() };
        let start = flight.from.as_ref().map_or(0, |from| from.messages.len() as u64);
        let first = flight.chunk * CHUNK + start;
        self.absorb(flight.chunk, flight.to);
        self.checked = Some(asked);
        flight.work.into_iter().map(|(request, _)| request).zip(first..).collect()
    }

    /// The service holds this as chunk `number`, which was [`Topic::chunk`] when it was
    /// asked. Returns the requests of a cas that turns out to have succeeded.
    pub(super) fn see(
        &mut self,
        own: &NodeId,
        (number, chunk): (u64, Chunk),
        asked: Time,
    ) -> Vec<(Request, u64)> {
        let full = chunk.messages.len() as u64 >= CHUNK;
        let mut done = Vec::new();
        if let Some(flight) = self.flight.take_if(|flight| flight.chunk == number) {
            let from_len = flight.from.as_ref().map_or(0, |from| from.messages.len());
            if flight.to.tags.get(own) == chunk.tags.get(own) {
                self.flight = Some(flight);
                done = self.land(asked);
            } else if chunk.messages.len() == from_len {
                self.flight = Some(flight);
            } else {
                // Its first value is gone for good. First come, first served.
                self.queue.splice(..0, flight.work);
            }
        }
        self.absorb(number, chunk);
        // There may be more in the next chunk.
        self.checked = (!full).then_some(asked);
        done
    }

    /// Takes over a chunk that the service holds.
    fn absorb(&mut self, number: u64, chunk: Chunk) {
        let known = self.log.end().saturating_sub(number * CHUNK);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        for message in chunk.messages.iter().skip(known) {
            self.log.push(message.clone(), None);
        }
        if self
            .tail
            .as_ref()
            .is_none_or(|(n, t)| (*n, t.messages.len()) <= (number, chunk.messages.len()))
        {
            self.tail = Some((number, chunk));
        }
    }

    /// Another node has put `message` at `offset`.
    pub(super) fn learn(&mut self, offset: u64, message: Box<RawValue>) {
        if offset == self.log.end() {
            self.log.push(message, None);
        } else if offset > self.log.end() {
            self.checked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    const NOW: Time = Time::ZERO;

    fn queue(topic: &mut Topic, messages: impl IntoIterator<Item = u64>) {
        for message in messages {
            let request = Request { src: NodeId::new("c1"), msg_id: Some(message) };
            topic.queue.push((request, to_raw_value(&message).unwrap()));
        }
    }

    /// The messages that were put in, by the `msg_id` of their request, and where.
    fn told(done: Vec<(Request, u64)>) -> Vec<(u64, u64)> {
        done.into_iter().map(|(request, offset)| (request.msg_id.unwrap(), offset)).collect()
    }

    /// A topic of this node with a cas for these messages under way.
    fn in_flight(own: &NodeId, messages: impl IntoIterator<Item = u64>) -> Topic {
        let mut topic = Topic::default();
        queue(&mut topic, messages);
        topic.take_off(own, format!("tag of {own}"));
        topic
    }

    fn value(topic: &Topic) -> Chunk {
        topic.flight.as_ref().unwrap().to.clone()
    }

    #[test]
    fn a_chunk_takes_what_fits_and_the_next_one_the_rest() {
        let own = NodeId::new("n0");
        let mut topic = in_flight(&own, 0..CHUNK + 2);
        assert_eq!(told(topic.land(NOW)), (0..CHUNK).map(|n| (n, n)).collect::<Vec<_>>());
        assert_eq!((topic.chunk(), topic.needs_read()), (1, false));
        topic.take_off(&own, "second".to_owned());
        assert!(topic.flight.as_ref().unwrap().from.is_none(), "a chunk that does not exist");
        assert_eq!(told(topic.land(NOW)), [(CHUNK, CHUNK), (CHUNK + 1, CHUNK + 1)]);
        assert_eq!(topic.log.end(), CHUNK + 2);
    }

    #[test]
    fn a_refused_cas_may_have_taken_effect_before() {
        let (own, other) = (NodeId::new("n0"), NodeId::new("n1"));
        let mut topic = in_flight(&own, [7, 8]);
        // Another node has gone on from there.
        let mut later = value(&topic);
        later.messages.push(to_raw_value(&json!(9)).unwrap());
        later.tags.insert(other, "x".to_owned());
        assert_eq!(told(topic.see(&own, (0, later), NOW)), [(7, 0), (8, 1)]);
        assert!(topic.flight.is_none() && topic.queue.is_empty());
        assert_eq!(topic.log.end(), 3);
    }

    #[test]
    fn a_cas_whose_start_is_gone_never_takes_effect() {
        let (own, other) = (NodeId::new("n0"), NodeId::new("n1"));
        let mut topic = in_flight(&own, [7, 8]);
        let theirs = value(&in_flight(&other, [5]));
        assert_eq!(told(topic.see(&own, (0, theirs), NOW)), []);
        assert!(topic.flight.is_none());
        topic.take_off(&own, "again".to_owned());
        assert_eq!(told(topic.land(NOW)), [(7, 1), (8, 2)]);
    }

    #[test]
    fn a_cas_whose_start_is_still_there_stays() {
        let own = NodeId::new("n0");
        let mut topic = in_flight(&own, [7]);
        assert_eq!(told(topic.see(&own, (0, Chunk::default()), NOW)), []);
        assert!(topic.flight.is_some());
    }

    #[test]
    fn messages_of_another_node_are_shown_only_without_a_gap() {
        let own = NodeId::new("n0");
        let mut topic = in_flight(&own, [1]);
        topic.land(NOW);
        let message = |n: u64| to_raw_value(&n).unwrap();
        topic.learn(1, message(2));
        assert_eq!(topic.log.end(), 2);
        assert!(topic.needs_read(), "who else wrote into the chunk is not known");
        topic.learn(3, message(4));
        assert_eq!((topic.log.end(), topic.checked), (2, None), "there is something at 2");
        topic.learn(0, message(1));
        assert_eq!(topic.log.end(), 2);
    }
}
