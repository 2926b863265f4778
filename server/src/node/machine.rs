//! The replicated state: the store, the sessions, the members.

use std::collections::BTreeMap;
use std::io::{self, Read};

use seaworthy::raft::{Index, RaftId, Sessions};
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::lineage::Life;
use super::planted;
use super::roles::Roles;
use crate::kv::Store;

/// The sessions that are remembered: one for each life of a server, and the oldest ends.
const MAX_SESSIONS: usize = 1024;
/// How many writes of one server may be under way.
pub(super) const SESSION_WINDOW: u64 = 1 << 14;

/// About how many bytes of an encoded state are given away at once.
const PIECE_BYTES: usize = 256 << 10;

/// How a server is reached, and which data it lives on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, for people.
    pub name: String,
    /// Where other servers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it took part.
    pub client_urls: Vec<String>,
    /// The random number of its data directory; 0 until it took part. A server that comes
    /// back with another one has lost its promises.
    pub incarnation: u64,
    /// How often that directory was started.
    pub life: u64,
    /// The random number of that life.
    pub nonce: u64,
    /// The session that the log opened for that life; 0 before.
    pub session: u64,
}

impl Member {
    /// Its present life.
    pub(super) fn life(&self) -> Life {
        Life { number: self.life, nonce: self.nonce }
    }

    /// Whether it ever took part.
    pub fn has_started(&self) -> bool {
        self.incarnation != 0
    }
}

/// The replicated state, the same on every server.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The keys.
    pub store: Store,
    /// The cluster's identity; decided by the first session of its log.
    pub cluster: Option<u64>,
    /// The members, by id.
    pub members: BTreeMap<RaftId, Member>,
    /// Who of them does not vote, or is to leave; and who has left.
    pub roles: Roles,
    /// The sessions, by which a repeated write happens once: for each, its answer.
    pub(super) sessions: Sessions<Answer>,
}

/// A state to be encoded elsewhere.
#[derive(Debug)]
pub struct Frozen {
    pub(super) index: Index,
    pub(super) machine: Machine,
}

/// Everything of a snapshot but the store.
#[derive(Serialize, Deserialize)]
struct Head {
    cluster: Option<u64>,
    members: BTreeMap<RaftId, Member>,
    roles: Roles,
    sessions: Sessions<Answer>,
}

impl Machine {
    /// The state before the first entry: `members` began the cluster.
    pub fn genesis(members: BTreeMap<RaftId, Member>) -> Machine {
        let roles = Roles { configured: members.keys().copied().collect(), ..Roles::default() };
        Machine {
            store: Store::default(),
            cluster: None,
            members,
            roles,
            sessions: Machine::no_sessions(),
        }
    }

    /// Sessions before the first began.
    pub(super) fn no_sessions() -> Sessions<Answer> {
        Sessions::new(MAX_SESSIONS, SESSION_WINDOW)
    }

    /// The bytes of everything but the store.
    pub(super) fn head(&self) -> Vec<u8> {
        let Machine { store: _, cluster, members, roles, sessions } = self.clone();
        let roles = planted::written(roles);
        let head = Head { cluster, members, roles, sessions };
        postcard::to_allocvec(&head).expect("plain data")
    }

    /// Encodes the whole state in pieces: the length of the head, the head, the store. Ends early,
    /// with false, when the answer of `give` is false.
    pub(super) fn encode(&self, give: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let head = self.head();
        let mut out = (head.len() as u64).to_le_bytes().to_vec();
        out.extend_from_slice(&head);
        let mut pass = |out: &mut Vec<u8>| {
            let goes_on = give(out);
            out.clear();
            goes_on
        };
        self.store.encode_pieces(&mut out, PIECE_BYTES, &mut pass) && pass(&mut out)
    }

    /// Reads bytes of [`Frozen::encode`]; `None` if they are anything else. Reads little at a time.
    ///
    /// # Errors
    /// Those of `input`.
    pub fn read(input: &mut impl Read) -> io::Result<Option<Machine>> {
        let (mut len, mut head) = ([0; 8], Vec::new());
        input.read_exact(&mut len)?;
        input.take(u64::from_le_bytes(len)).read_to_end(&mut head)?;
        let Some(machine) = read_head(&head, Store::default()) else { return Ok(None) };
        let store = Store::read(input)?;
        Ok(store.map(|store| Machine { store, ..machine }))
    }
}

/// The machine of a store, and of the bytes of everything else.
pub(super) fn read_head(head: &[u8], store: Store) -> Option<Machine> {
    let Head { cluster, members, roles, sessions } = postcard::from_bytes(head).ok()?;
    Some(Machine { store, cluster, members, roles, sessions })
}

impl Frozen {
    /// The last entry in it.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Encodes the state in pieces. Takes as long as it takes: seconds for gigabytes. Ends early, with
    /// false, when the answer of `give` is false.
    pub fn encode(&self, give: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.machine.encode(give)
    }

    /// The whole encoded state, for shells that keep it in memory.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encode(&mut |piece| {
            bytes.extend_from_slice(piece);
            true
        });
        bytes
    }
}
