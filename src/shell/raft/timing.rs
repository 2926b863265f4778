//! How long things take, and how long to wait for them.
//!
//! Every message carries its sender's clock and gives back the receiver's, so each
//! replica knows the round trip to each other one without a message of its own (the
//! idea of TCP's timestamps, RFC 7323). Timeouts follow: an election needs a few round
//! trips to come to an end before the next one begins.

use std::collections::BTreeMap;
use std::time::Duration;

use super::array::array_struct;
use crate::raft::RaftId;
use crate::time::Time;

array_struct! {
    /// The clocks in a message, which give the round trip.
    #[derive(Clone, Copy, Debug, Default)]
    pub(super) struct Clocks {
        /// The sender's, in milliseconds.
        pub(super) own_ms: u64,
        /// The receiver's as the sender last saw it, with the time since then, in
        /// milliseconds.
        pub(super) echo_ms: Option<u64>,
    }
}

/// A replica's knowledge of clocks and round trips.
#[derive(Debug, Default)]
pub(super) struct Timing {
    peers: BTreeMap<RaftId, Peer>,
}

#[derive(Debug)]
struct Peer {
    /// Its clock when it last wrote, and ours when that came, in milliseconds.
    seen: (u64, Time),
    /// The shortest round trip of this span of time, and of the one before, in
    /// milliseconds. The shortest, because a node that was stopped for a while answers
    /// late without being far away.
    shortest_ms: [Option<u64>; 2],
    /// When this span began.
    since: Time,
}

/// How long a measurement counts: one to two of these. Not long, because timeouts that
/// fit a network that was slow a while ago keep a cluster without a leader.
const SPAN: Duration = Duration::from_secs(1);

/// The longest round trip that is believed, in milliseconds. Messages that were
/// held up for seconds and come at last must not make every replica wait for seconds; and
/// where the world is that large, elections still end, if not at the first try.
const RTT_MAX_MS: u64 = 500;

impl Timing {
    /// Notes the clocks of a message that came.
    pub(super) fn receive(&mut self, from: RaftId, now: Time, clocks: Clocks) {
        let new = Peer { seen: (clocks.own_ms, now), shortest_ms: [None; 2], since: now };
        let peer = self.peers.entry(from).or_insert(new);
        peer.seen = (clocks.own_ms, now);
        if now - peer.since > SPAN {
            peer.shortest_ms = [None, peer.shortest_ms[0]];
            peer.since = now;
        }
        // A clock from an earlier incarnation may lie ahead of ours; it tells nothing.
        if let Some(sample) = clocks.echo_ms.and_then(|echo| now.as_millis().checked_sub(echo)) {
            let shortest = &mut peer.shortest_ms[0];
            *shortest = Some(shortest.map_or(sample, |rtt| rtt.min(sample)));
        }
    }

    /// The clocks of a message that leaves: ours, and the receiver's as if it had been
    /// read when the message leaves.
    pub(super) fn send(&self, to: RaftId, now: Time) -> Clocks {
        let echo_ms = self.peers.get(&to).map(|peer| {
            let (clock, came) = peer.seen;
            clock + now.as_millis().saturating_sub(came.as_millis())
        });
        Clocks { own_ms: now.as_millis(), echo_ms }
    }

    /// When the replica `peer` was last heard.
    pub(super) fn heard(&self, peer: RaftId) -> Option<Time> {
        self.peers.get(&peer).map(|peer| peer.seen.1)
    }

    /// The round trip to the farthest replica that was heard lately, in milliseconds;
    /// zero if none is known.
    pub(super) fn rtt_ms(&self, now: Time) -> u64 {
        let lately = self.peers.values().filter(|peer| now - peer.seen.1 <= 2 * SPAN);
        let shortest = |peer: &Peer| peer.shortest_ms.iter().flatten().min().copied();
        lately.filter_map(shortest).max().unwrap_or(0).min(RTT_MAX_MS)
    }
}
