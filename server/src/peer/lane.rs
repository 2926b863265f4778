//! A lane: the parcels that wait to be sent to one server on one connection, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};

use super::frame;
use crate::node::Class;

/// The cost of a parcel besides its bytes, so that a flood of small ones is bounded too.
const OVERHEAD_BYTES: usize = 64;

/// The end of a lane where parcels go in.
pub(super) struct Lane {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    state: Arc<State>,
    address: watch::Sender<Address>,
}

/// Where a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) name: String,
    pub(super) urls: Vec<String>,
}

struct State {
    is_connected: AtomicBool,
    queued_bytes: AtomicUsize,
    limit_bytes: usize,
}

/// The end where they come out.
pub(super) struct LaneEnd {
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    state: Arc<State>,
    pub(super) address: watch::Receiver<Address>,
}

/// A lane without an address yet.
pub(super) fn lane(class: Class) -> (Lane, LaneEnd) {
    let limit_bytes = match class {
        Class::Control => 16 << 20,
        Class::Bulk => 64 << 20,
    };
    let (queue, queued) = mpsc::unbounded_channel();
    let (address, found) = watch::channel(Address::default());
    let state = Arc::new(State {
        is_connected: AtomicBool::new(false),
        queued_bytes: AtomicUsize::new(0),
        limit_bytes,
    });
    let end = LaneEnd { queue: queued, state: state.clone(), address: found };
    (Lane { queue, state, address }, end)
}

impl Lane {
    /// Queues a parcel; `false` if it was dropped, because the server is away or slow.
    pub(super) fn send(&self, bytes: Vec<u8>) -> bool {
        let State { is_connected, queued_bytes, limit_bytes } = &*self.state;
        let cost = bytes.len() + OVERHEAD_BYTES;
        let queued = queued_bytes.load(Ordering::Relaxed);
        // One parcel always fits, however large.
        let fits = queued == 0 || queued + cost <= *limit_bytes;
        if !is_connected.load(Ordering::Relaxed) || !fits {
            return false;
        }
        queued_bytes.fetch_add(cost, Ordering::Relaxed);
        self.queue.send(bytes).is_ok()
    }

    pub(super) fn has_address(&self) -> bool {
        !self.address.borrow().urls.is_empty()
    }

    /// The server is not dialled any more; a connection that there is goes on.
    pub(super) fn forget_address(&self) {
        self.address.send_modify(|address| address.urls.clear());
    }

    pub(super) fn set_address(&self, name: &str, urls: &[String]) {
        let new = Address { name: name.to_owned(), urls: urls.to_vec() };
        self.address.send_if_modified(|address| {
            let is_new = *address != new;
            *address = new;
            is_new
        });
    }
}

impl LaneEnd {
    /// From now on parcels are taken; those of an earlier connection are stale.
    pub(super) fn connected(&mut self) {
        while self.queue.try_recv().is_ok() {}
        self.state.queued_bytes.store(0, Ordering::Relaxed);
        self.state.is_connected.store(true, Ordering::Relaxed);
    }

    pub(super) fn disconnected(&self) {
        self.state.is_connected.store(false, Ordering::Relaxed);
    }

    /// Waits for parcels, and puts all that are there into `out` as frames; `false` if none
    /// will come any more.
    pub(super) async fn take(&mut self, out: &mut Vec<u8>) -> bool {
        let mut parcels = Vec::new();
        self.queue.recv_many(&mut parcels, 256).await;
        let mut cost = 0;
        for parcel in &parcels {
            cost += parcel.len() + OVERHEAD_BYTES;
            frame::put(out, parcel);
        }
        // A parcel may have come between the last connection and this one's beginning.
        let queued = &self.state.queued_bytes;
        let _ = queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
            Some(bytes.saturating_sub(cost))
        });
        !parcels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_drops_what_does_not_fit_and_what_no_connection_takes() {
        let (lane, mut end) = lane(Class::Control);
        assert!(!lane.send(vec![1]), "no connection takes it");
        end.connected();
        assert!(lane.send(vec![0; 20 << 20]), "one parcel always fits");
        assert!(!lane.send(vec![1]));
        let mut out = Vec::new();
        assert!(end.take(&mut out).await);
        assert!(out.len() > 20 << 20);
        assert!(lane.send(vec![1]));
        end.disconnected();
        assert!(!lane.send(vec![1]));
        end.connected();
        assert!(lane.send(vec![2]));
        out.clear();
        end.take(&mut out).await;
        assert_eq!(out.last(), Some(&2));
        assert_eq!(out.len(), 9, "the stale parcel is gone");
    }
}
