//! Committed offsets in the service: each node keeps those it was told.
//!
//! Deliberately missing: telling one commit from another. Offsets only grow, so what
//! takes effect twice, or late, or together with others, does no harm.

use std::collections::BTreeMap;

use seaworthy::message::{Body, ErrorCode, NodeId, Request, RpcError};
use seaworthy::node::Context;

use super::service::{Awaited, Cas, Read, SERVICE, ServiceKafka, TIMEOUT};
use super::{ListCommittedOk, Offsets};
use crate::table::Done;

/// What this node has committed.
#[derive(Default)]
pub(super) struct Commits {
    /// What the service holds; none if that is not known or nothing.
    known: Option<Offsets>,
    queue: Vec<(Request, Offsets)>,
    /// What the service was asked to hold next.
    flight: Option<Offsets>,
}

/// A request for committed offsets, until all nodes' are known.
pub(super) struct Listing {
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
}

impl ServiceKafka {
    pub(super) fn commit(&mut self, cx: &mut Context<'_>, request: Request, offsets: Offsets) {
        self.commits.queue.push((request, offsets));
        if self.commits.flight.is_none() {
            self.begin_commit(cx);
        }
    }

    /// Answers what is done, and begins a cas for the rest.
    fn begin_commit(&mut self, cx: &mut Context<'_>) {
        self.commits.flight = None;
        for request in self.commits.settle() {
            cx.reply(&request, &Done::of("commit_offsets_ok"));
        }
        if self.commits.queue.is_empty() {
            return;
        }
        let mut next = self.commits.known.clone().unwrap_or_default();
        self.commits.queue.iter().for_each(|(_, offsets)| merge(&mut next, offsets));
        self.commits.flight = Some(next);
        self.send_commit(cx);
    }

    pub(super) fn send_commit(&mut self, cx: &mut Context<'_>) {
        let token = self.expect(Awaited::CommitCas);
        let key = own_key(cx.id());
        let Commits { known, flight, .. } = &self.commits;
        cx.rpc(&SERVICE.into(), &Cas::new(&key, known, flight), TIMEOUT, token);
    }

    pub(super) fn commit_cas_ended(
        &mut self,
        cx: &mut Context<'_>,
        result: Result<Body, RpcError>,
    ) {
        match result {
            Ok(_) => {
                self.commits.known = self.commits.flight.take();
                self.begin_commit(cx);
            }
            // From an earlier life, or from this cas, whose first answer was lost.
            Err(e) if e.code == ErrorCode::PRECONDITION_FAILED => self.read_commits(cx),
            Err(_) => self.stall(cx, Awaited::CommitCas),
        }
    }

    pub(super) fn read_commits(&mut self, cx: &mut Context<'_>) {
        let token = self.expect(Awaited::CommitRead);
        let key = own_key(cx.id());
        cx.rpc(&SERVICE.into(), &Read { kind: "read", key: &key }, TIMEOUT, token);
    }

    pub(super) fn commit_read_ended(
        &mut self,
        cx: &mut Context<'_>,
        result: Result<Body, RpcError>,
    ) {
        match ServiceKafka::value(result) {
            Ok(known) => {
                self.commits.known = known;
                self.begin_commit(cx);
            }
            Err(_) => self.stall(cx, Awaited::CommitRead),
        }
    }

    pub(super) fn list_committed(
        &mut self,
        cx: &mut Context<'_>,
        request: Request,
        keys: Vec<String>,
    ) {
        let nodes = cx.node_ids().to_vec();
        let missing = nodes.len();
        let listing = Listing { request, keys, missing, found: Offsets::new(), failed: false };
        let name = self.listings.last_key_value().map_or(0, |(name, _)| name + 1);
        self.listings.insert(name, listing);
        for node in nodes {
            let token = self.expect(Awaited::List(name));
            let read = Read { kind: "read", key: &own_key(&node) };
            cx.rpc(&SERVICE.into(), &read, TIMEOUT, token);
        }
    }

    pub(super) fn listed(
        &mut self,
        cx: &mut Context<'_>,
        name: u64,
        result: Result<Body, RpcError>,
    ) {
        let Some(listing) = self.listings.get_mut(&name) else { return };
        listing.missing -= 1;
        match ServiceKafka::value::<Offsets>(result) {
            Ok(offsets) => merge(&mut listing.found, &offsets.unwrap_or_default()),
            Err(_) => listing.failed = true,
        }
        if listing.missing > 0 {
            return;
        }
        let Some(listing) = self.listings.remove(&name) else { return };
        if listing.failed {
            let text = format!("{SERVICE} did not say what is committed");
            let error = RpcError::new(ErrorCode::TEMPORARILY_UNAVAILABLE, text);
            return cx.error(&listing.request, &error);
        }
        let known = |key| listing.found.get_key_value(key);
        let offsets = listing.keys.iter().filter_map(known).map(|(k, o)| (k.as_str(), *o));
        let offsets: BTreeMap<&str, u64> = offsets.collect();
        cx.reply(&listing.request, &ListCommittedOk::new(offsets));
    }
}
