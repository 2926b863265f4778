//! The languages of clients: the requests of workloads, carried out over a server's own API.
//!
//! The clients of the bench ask in the words of Maelstrom's protocol (`{"type": "cas", ...}`).
//! A [`contract::Speaker`] carries such a request out at one server and answers in the same words, so that
//! generators, checkers and reports know nothing of servers. Errors become the protocol's by the
//! tables in [`refused`].

mod command;
pub(super) mod contract;
mod etcd;
mod http;
mod json;
mod lease;
mod lock;
pub(super) mod members;
pub(super) mod refused;
mod rest;
mod transaction;
mod typed;
mod watch;
mod wire;
mod workload;

use std::sync::mpsc::Sender;

use super::spec::{Api, Reads};
use contract::{Place, Speaker};
pub(super) use http::Http;

/// The workloads that can be asked over this API; none if the API itself decides.
pub(super) fn workloads(api: &Api) -> Option<&'static [&'static str]> {
    match api {
        Api::EtcdV3 { .. } => Some(&workload::WORKLOADS),
        Api::Rest { .. } => Some(&rest::WORKLOADS),
        Api::Command { .. } => None,
    }
}

/// The way of the nemesis to a server, if its API has changes of members.
pub(super) fn members(
    place: Place<'_>,
    peers: Vec<members::Peer>,
    standings: members::Standings,
    changes: Sender<members::Change>,
) -> Option<Box<dyn Speaker>> {
    let Api::EtcdV3 { .. } = &place.spec.api else { return None };
    let etcd = etcd::Etcd::new(Http::new(place.address), false);
    let separator = &place.spec.separator;
    Some(Box::new(members::Members::new(etcd, peers, separator, standings, changes)))
}

/// A client's way to a server.
pub(super) fn speaker(place: Place<'_>) -> Box<dyn Speaker> {
    match &place.spec.api {
        Api::EtcdV3 { reads } => {
            let is_serializable = *reads == Reads::Serializable;
            let etcd = etcd::Etcd::new(Http::new(place.address), is_serializable);
            Box::new(workload::Workload::new(etcd, place.workload))
        }
        Api::Rest { path, texts } => {
            Box::new(rest::Rest::new(Http::new(place.address), path.clone(), *texts))
        }
        Api::Command { command } => Box::new(command::Program::new(command, place)),
    }
}
