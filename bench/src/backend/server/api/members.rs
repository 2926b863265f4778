//! Changes of members over etcd's API.
//!
//! The nemesis asks for nodes to come and go (`add_member`, `remove_member`, `change_members`). A
//! node is removed by its address; one that comes back is added first, and then starts with an
//! empty directory, as etcd demands. So a request has effects on processes, too: they are sent to
//! the cluster as [`Change`]s before the answer.
//!
//! One member is added at a time: a cluster refuses the next one until the last is there. The
//! refusal of the others is definite, and the world asks again.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::contract::Speaker;
use super::etcd::Etcd;
use super::json::{field, number};
use super::refused::Refused;

/// The place of a node in its cluster, as far as the bench knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is to run.
    Member,
    /// Its removal was asked for, and may have been carried out.
    Leaving,
    /// It is no member.
    Out,
    /// Its disk was taken away. Whether it may come back is the server's affair.
    Emptied,
}

/// The standings of all nodes, which requests in several threads look at.
#[derive(Clone, Debug)]
pub(crate) struct Standings(Arc<Mutex<Vec<Standing>>>);

impl Standings {
    pub(crate) fn new(nodes: usize) -> Standings {
        Standings(Arc::new(Mutex::new(vec![Standing::Member; nodes])))
    }

    pub(crate) fn get(&self, node: usize) -> Standing {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[node]
    }

    pub(crate) fn set(&self, node: usize, standing: Standing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[node] = standing;
    }
}

/// An effect of a change of members on the process of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is a member no more.
    Left(usize),
    /// It is a member again, and starts empty, as one of these.
    Joins { node: usize, cluster: String },
}

/// A node as the others know it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// How it is named in the list of the cluster: `n0=http://127.0.0.1:10003`.
    pub(crate) member: String,
}

impl Peer {
    fn url(&self) -> &str {
        self.member.split_once('=').map_or(&self.member, |(_, url)| url)
    }
}

/// The way to one server for changes of members.
pub(crate) struct Members {
    etcd: Etcd,
    peers: Vec<Peer>,
    separator: String,
    standings: Standings,
    changes: Sender<Change>,
}

/// A member in the list of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    id: i64,
    /// Empty until it has started.
    name: String,
}

impl Members {
    pub(super) fn new(
        etcd: Etcd,
        peers: Vec<Peer>,
        separator: &str,
        standings: Standings,
        changes: Sender<Change>,
    ) -> Members {
        Members { etcd, peers, separator: separator.to_owned(), standings, changes }
    }

    /// The members by their addresses, no older than this request: a linearizable read comes
    /// first, since a server lists what it has applied.
    async fn list(&self, until: Instant) -> Result<BTreeMap<String, Listed>, Refused> {
        self.etcd.call("kv/range", &json!({"key": "AA=="}), until).await?;
        listed(&self.etcd.call("cluster/member/list", &json!({}), until).await?)
    }

    async fn remove(&self, node: usize, until: Instant) -> Result<(), Refused> {
        let list = self.list(until).await.map_err(Refused::before_any_change)?;
        if let Some(member) = list.get(self.peers[node].url()) {
            self.standings.set(node, Standing::Leaving);
            let id = json!({"ID": member.id.cast_unsigned().to_string()});
            let removed = self.etcd.call("cluster/member/remove", &id, until).await;
            removed.inspect_err(|refused| {
                let is_known = refused.code == ErrorCode::KEY_DOES_NOT_EXIST;
                if refused.code.is_definite() && !is_known {
                    self.standings.set(node, Standing::Member);
                }
            })?;
        }
        self.standings.set(node, Standing::Out);
        self.tell(Change::Left(node));
        Ok(())
    }

    /// Sees to it that a node is a member. Says whether that took a change.
    async fn add(&self, node: usize, until: Instant) -> Result<bool, Refused> {
        let mut list = self.list(until).await.map_err(Refused::before_any_change)?;
        let url = self.peers[node].url();
        let standing = self.standings.get(node);
        match list.get(url) {
            // It never left, or was here before this request.
            Some(_) if standing == Standing::Member => return Ok(false),
            Some(member) if !member.name.is_empty() => {
                self.standings.set(node, Standing::Member);
                return Ok(false);
            }
            // An earlier request added it, whose answer was lost.
            Some(_) => {}
            None => {
                let add = json!({"peerURLs": [url]});
                list = listed(&self.etcd.call("cluster/member/add", &add, until).await?)?;
                // Answers name the members of 3.4 and later; the new one is among them.
                list.entry(url.to_owned()).or_insert(Listed { id: 0, name: String::new() });
            }
        }
        let known = self.peers.iter().filter(|peer| list.contains_key(peer.url()));
        let cluster: Vec<&str> = known.map(|peer| peer.member.as_str()).collect();
        self.tell(Change::Joins { node, cluster: cluster.join(&self.separator) });
        Ok(true)
    }

    fn tell(&self, change: Change) {
        // The cluster is gone when the run is over.
        let _ = self.changes.send(change);
    }

    fn nodes(&self, names: &Value) -> Result<Vec<usize>, Refused> {
        let all: Vec<&str> = match names {
            Value::String(name) => vec![name],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let place = |name: &str| self.peers.iter().position(|peer| peer.name == name);
        let unknown = |name: &str| Refused::new(ErrorCode::ABORT, format!("no node {name}"));
        all.into_iter().map(|name| place(name).ok_or_else(|| unknown(name))).collect()
    }
}

#[async_trait(?Send)]
impl Speaker for Members {
    async fn ask(&mut self, request: &Value, until: Instant) -> Result<Value, Refused> {
        let f = request["type"].as_str().unwrap_or_default();
        let (add, remove) = match f {
            "add_member" => (&request["node_id"], &Value::Null),
            "remove_member" => (&Value::Null, &request["node_id"]),
            _ => (&request["add"], &request["remove"]),
        };
        for node in self.nodes(remove)? {
            self.remove(node, until).await?;
        }
        let adds = self.nodes(add)?;
        for (place, node) in adds.iter().enumerate() {
            if self.add(*node, until).await? && place + 1 < adds.len() {
                let text = "one member at a time: ask again for the others";
                return Err(Refused::new(ErrorCode::TEMPORARILY_UNAVAILABLE, text));
            }
        }
        Ok(json!({"type": format!("{f}_ok")}))
    }
}

/// The members in an answer, by their addresses.
fn listed(answer: &Value) -> Result<BTreeMap<String, Listed>, Refused> {
    let odd = || Refused::odd(format!("members: {answer}"));
    let members = field(answer, "members").and_then(Value::as_array).ok_or_else(odd)?;
    let mut all = BTreeMap::new();
    for member in members {
        let urls = field(member, "peerURLs").and_then(Value::as_array).ok_or_else(odd)?;
        // An id has 64 bits without a sign.
        let id = match field(member, "ID") {
            Some(Value::String(digits)) => digits.parse::<u64>().map_err(|_| odd())?.cast_signed(),
            _ => number(member, "ID")?,
        };
        let name = field(member, "name").and_then(Value::as_str).unwrap_or_default().to_owned();
        for url in urls.iter().filter_map(Value::as_str) {
            all.insert(url.to_owned(), Listed { id, name: name.clone() });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_known_by_their_addresses() {
        let answer = json!({"header": {}, "members": [
            {"ID": "18446744073709551615", "name": "n0", "peerURLs": ["http://a:1"]},
            {"ID": "7", "peerURLs": ["http://a:2"]}]});
        let all = listed(&answer).unwrap();
        assert_eq!(all["http://a:1"], Listed { id: -1, name: "n0".to_owned() });
        assert_eq!(all["http://a:2"], Listed { id: 7, name: String::new() });
        assert!(listed(&json!({})).is_err());
    }
}
