//! Raft: a replicated log, as a pure state machine.
//!
//! A [`Raft`] is one server. It is told that time has passed ([`Raft::tick`]), that a
//! message has come ([`Raft::step`]), that something should be replicated
//! ([`Raft::propose`]) or read ([`Raft::read`]), that storage has caught up
//! ([`Raft::persisted`]). Then it is asked for its effects: [`Raft::ready`]. It does
//! no input or output, reads no clock and draws no randomness but from its seed, so a
//! cluster of them can be run in a loop, and any run can be repeated.
//!
//! # How it works
//!
//! Servers elect a leader for each term by majority (`election`). The leader appends
//! each proposal to its log and replicates the log to the others (`leader`,
//! `progress`), which make their logs agree with it (`follower`). An entry that a majority
//! holds durably is committed. It is never lost, because only a server whose log holds it
//! can become leader. Every server applies the committed entries in the order of the log.
//!
//! Work collects until [`Raft::ready`] is called, so everything a caller had at hand in
//! one turn leaves in one append to each follower, and is answered once: the size of
//! a batch follows the load. A leader sends before its own disk is done, and counts
//! itself like any other voter, when its entries are durable; in a cluster of one too.
//!
//! # The files
//!
//! `server` holds the state and the transitions, `election` votes, `leader`
//! replication, `follower` the other end of it, `read` linearizable reads,
//! `membership` changes of configuration and of leader. Below them are the parts that
//! know no transitions: `role` and `pending` are the memory of a role, `incoming` that of
//! a follower, `shelf` is for callers with small states, and there are `log`, `progress`, `config`, and `quorum`, in which alone is
//! counted. [`Sessions`] makes retried commands happen once, for the caller that
//! applies entries. [`Raft::status`] shows everything, for tests and for people.
//!
//! # The caller's duties
//!
//! 1. Call [`Raft::ready`] after every turn, and do everything it says. The
//!    `messages_after` leave only after the `persist` is durable.
//! 2. Apply `committed` in order; the commands in it are the only ones to apply.
//! 3. Messages may be lost, duplicated, delayed and reordered, but not altered.
//! 4. Keep the bytes of each of [`Raft::snapshots`], and read the pieces that `Ready` asks for; store
//!    those of [`Raft::take_received`].
//! 5. After a crash, hand everything that was made durable to [`Raft::new`]. A server
//!    that has lost some of it must abstain at first: [`Options::abstain`].
//!
//! # The loop of a caller
//!
//! A cluster of one, which elects itself and commits a command. Comments mark the
//! parts that are left out, because there is no other server and nothing to recover:
//!
//! ```
//! use seaworthy::raft::{Command, Config, Entry, Options, Payload, Raft, RaftId, Restored};
//!
//! /// Does everything that the server wants, and returns the committed entries.
//! fn work(raft: &mut Raft, disk: &mut Vec<Entry>) -> Vec<Entry> {
//!     let mut committed = Vec::new();
//!     loop {
//!         let ready = raft.ready();
//!         if ready.is_empty() {
//!             return committed;
//!         }
//!         // Here `ready.messages` leave: at once, before anything is durable.
//!         if let Some(persist) = ready.persist {
//!             // The hard state and a snapshot would be written, too, and all be flushed.
//!             disk.extend(persist.entries);
//!             raft.persisted(persist.id);
//!         }
//!         // Here `ready.messages_after` leave: they are promises, and are durable now.
//!         committed.extend(ready.committed);
//!     }
//! }
//!
//! let (id, seed) = (RaftId(1), 7);
//! let initial = Config::of_voters([id]);
//! let mut raft = Raft::new(id, initial, seed, Options::default(), Restored::default());
//! let mut disk = Vec::new();
//! raft.tick(raft.ticks_until_due());
//! work(&mut raft, &mut disk);
//! assert!(raft.is_leader());
//!
//! let name = raft.propose(Command::from("x = 1")).expect("this server leads");
//! let committed = work(&mut raft, &mut disk);
//! assert_eq!(committed[0].id, name);
//! assert_eq!(committed[0].payload, Payload::Command(Command::from("x = 1")));
//! assert_eq!(disk.last(), committed.last());
//! ```
//!
//! # Deliberately missing
//!
//! * Commit of a follower's entries before the next message: a commit index is not
//!   worth a message of its own. It travels with the next append or heartbeat.
//! * Witnesses and read-only replicas other than learners (thesis §11.7.2).
//! * Changing one voter without a joint phase (thesis §4.1). See `config`.
//! * Disk-resident logs: the kept suffix of the log is in memory. Snapshots are not: here they are
//!   names, and the caller reads and stores their bytes, in pieces ([`Piece`], [`Received`]).
//!   [`Shelf`] does that in memory.
//! * Priorities among candidates; [`Raft::transfer_leadership`] moves a leader where it
//!   should be (thesis §3.10).
//! * Byzantine behaviour of any kind.
//!
//! Sources: Ongaro and Ousterhout, *In Search of an Understandable Consensus
//! Algorithm* (extended version), cited as §n; Ongaro, *Consensus: Bridging Theory and
//! Practice*, cited as thesis §n.

mod config;
mod election;
mod follower;
mod hard;
mod ids;
mod incoming;
mod leader;
mod log;
mod membership;
mod message;
mod options;
mod pending;
mod planted;
mod progress;
pub mod quorum;
mod read;
mod ready;
mod role;
mod server;
mod session;
mod shelf;
mod status;
mod types;

pub use config::{Change, Config};
pub use ids::{Index, LogId, RaftId, Term};
pub use incoming::Received;
pub use membership::ChangeError;
pub use message::{Message, MessageKind, ReadContext, Round};
pub use options::Options;
pub use progress::{Inflight, Pieces, Progress, ProgressState};
pub use read::ReadError;
pub use ready::{Persist, PersistId, Piece, Read, Ready};
pub use server::{ProposeError, Raft, Restored};
pub use session::{ClientId, CommandStatus, Sequence, Sessions};
pub use shelf::Shelf;
pub use status::{RoleName, Status};
pub use types::{Command, Entry, HardState, Payload, SnapshotMeta};
