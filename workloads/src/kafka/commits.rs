//! Committed offsets in the service: each node keeps those it was told.
//!
//! Deliberately missing: telling one commit from another. Offsets only grow, so a commit
//! that takes effect twice, or late, or together with others, does no harm.

use std::collections::BTreeMap;

use seaworthy::message::{Body, ErrorCode, NodeId, Request, RpcError};
use seaworthy::node::Context;

use super::calls::{self, Awaited, Calls, Cas, Read, SERVICE, TIMEOUT};
use super::protocol::{ListCommittedOk, Offsets};
use crate::reply::Done;

/// The offsets that this node has committed.
#[derive(Default)]
pub(super) struct Commits {
    /// The offsets in the service; none if they are not known, or not there.
    known: Option<Offsets>,
    queue: Vec<(Request, Offsets)>,
    /// The offsets of the cas that is under way.
    flight: Option<Offsets>,
    /// Requests for committed offsets that are not answered yet, by number.
    listings: BTreeMap<u64, Listing>,
}

/// A request for committed offsets, until all nodes' are known.
struct Listing {
    request: Request,
    keys: Vec<String>,
    missing: usize,
    found: Offsets,
    failed: bool,
}

fn own_key(node: &NodeId) -> String {
    format!("committed/{node}")
}

fn merge(into: &mut Offsets, offsets: &Offsets) {
    for (key, offset) in offsets {
        let committed = into.entry(key.clone()).or_default();
        *committed = (*committed).max(*offset);
    }
}

impl Commits {
    /// The requests that the service's state satisfies.
    fn settle(&mut self) -> Vec<Request> {
        let known = &self.known;
        let covered = |offsets: &Offsets| {
            let known = known.as_ref();
            offsets.iter().all(|(key, offset)| known.and_then(|k| k.get(key)) >= Some(offset))
        };
        let done = self.queue.extract_if(.., |(_, offsets)| covered(offsets));
        done.map(|(request, _)| request).collect()
    }

    /// Commits offsets, and answers once the service holds them.
    pub(super) fn commit(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        request: Request,
        offsets: Offsets,
    ) {
        self.queue.push((request, offsets));
        if self.flight.is_none() {
            self.begin(cx, calls);
        }
    }

    /// Answers the requests that are done, and begins a cas for the others.
    fn begin(&mut self, cx: &mut Context<'_>, calls: &mut Calls) {
        self.flight = None;
        for request in self.settle() {
            cx.reply(&request, &Done::of("commit_offsets_ok"));
        }
        if self.queue.is_empty() {
            return;
        }
        let mut next = self.known.clone().unwrap_or_default();
        self.queue.iter().for_each(|(_, offsets)| merge(&mut next, offsets));
        self.flight = Some(next);
        self.send(cx, calls);
    }

    /// Asks the service to hold the next state.
    pub(super) fn send(&self, cx: &mut Context<'_>, calls: &mut Calls) {
        let token = calls.expect(Awaited::CommitCas);
        let key = own_key(cx.id());
        let Commits { known, flight, .. } = self;
        cx.rpc(&SERVICE.into(), &Cas::new(&key, known, flight), TIMEOUT, token);
    }

    /// Takes the service's answer to [`Commits::send`].
    pub(super) fn cas_ended(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        result: Result<Body, RpcError>,
    ) {
        match result {
            Ok(_) => {
                self.known = self.flight.take();
                self.begin(cx, calls);
            }
            // From an earlier incarnation, or from this cas, whose first answer was lost.
            Err(e) if e.code == ErrorCode::PRECONDITION_FAILED => Commits::read(cx, calls),
            Err(_) => calls.stall(cx, Awaited::CommitCas),
        }
    }

    /// Asks the service for this node's offsets.
    pub(super) fn read(cx: &mut Context<'_>, calls: &mut Calls) {
        let token = calls.expect(Awaited::CommitRead);
        let key = own_key(cx.id());
        cx.rpc(&SERVICE.into(), &Read::new(&key), TIMEOUT, token);
    }

    /// Takes the service's answer to [`Commits::read`].
    pub(super) fn read_ended(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        result: Result<Body, RpcError>,
    ) {
        match calls::value(result) {
            Ok(known) => {
                self.known = known;
                self.begin(cx, calls);
            }
            Err(_) => calls.stall(cx, Awaited::CommitRead),
        }
    }

    /// Asks the service for the offsets of every node, and answers with the highest.
    pub(super) fn list(
        &mut self,
        cx: &mut Context<'_>,
        calls: &mut Calls,
        request: Request,
        keys: Vec<String>,
    ) {
        let nodes = cx.node_ids().to_vec();
        let missing = nodes.len();
        let listing = Listing { request, keys, missing, found: Offsets::new(), failed: false };
        let number = self.listings.last_key_value().map_or(0, |(last, _)| last + 1);
        self.listings.insert(number, listing);
        for node in nodes {
            let token = calls.expect(Awaited::List(number));
            let key = own_key(&node);
            cx.rpc(&SERVICE.into(), &Read::new(&key), TIMEOUT, token);
        }
    }

    /// Takes the service's answer about one node's offsets.
    pub(super) fn listed(
        &mut self,
        cx: &mut Context<'_>,
        number: u64,
        result: Result<Body, RpcError>,
    ) {
        let Some(listing) = self.listings.get_mut(&number) else { return };
        listing.missing -= 1;
        match calls::value::<Offsets>(result) {
            Ok(offsets) => merge(&mut listing.found, &offsets.unwrap_or_default()),
            Err(_) => listing.failed = true,
        }
        if listing.missing > 0 {
            return;
        }
        let Some(listing) = self.listings.remove(&number) else { return };
        if listing.failed {
            let text = format!("{SERVICE} did not give the committed offsets");
            let error = RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, text);
            return cx.error(&listing.request, &error);
        }
        let known = |key| listing.found.get_key_value(key);
        let offsets = listing.keys.iter().filter_map(known).map(|(k, o)| (k.as_str(), *o));
        let offsets: BTreeMap<&str, u64> = offsets.collect();
        cx.reply(&listing.request, &ListCommittedOk::new(offsets));
    }
}
