//! The commands in the log: writes with their session, and sessions that begin.
//!
//! ```text
//! write   1 u8 | session u64 | number u64 | floor u64 | origin u64 | command
//! open    2 u8 | postcard of [`Open`]
//! expire  3 u8 | postcard of [`Expire`]
//! ```
//!
//! Integers are little-endian. A first byte that is not known was written by a later
//! version: a server that would skip it would hold another state than the others.

use seaworthy::raft::{Command, RaftId};
use serde::{Deserialize, Serialize};

use super::lineage::Lineage;
use super::machine::Member;
use crate::lease::Ended;
use crate::planted::guard;

const WRITE: u8 = 1;
const OPEN: u8 = 2;
const EXPIRE: u8 = 3;

/// A client's command, with the numbers by which it happens once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write<'a> {
    /// The session: the index of the entry that opened it.
    pub(super) session: u64,
    /// The number in the session, from 1.
    pub(super) number: u64,
    /// The origin has the answers to all numbers below.
    pub(super) floor: u64,
    /// The server that was asked, and answers.
    pub(super) origin: RaftId,
    /// The command for the store.
    pub(super) command: &'a [u8],
}

/// A server begins a session: once in each of its lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    /// Who it is.
    pub(super) id: RaftId,
    /// How it is to be reached, which data it lives on, and which life of it this is.
    pub(super) member: Member,
    /// The lives that its data directory has seen.
    pub(super) lineage: Lineage,
    /// The cluster's identity, if this is the first session of all; random.
    pub(super) cluster: u64,
}

/// Leases whose time is over by the clock of the leader of this entry's term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Expire {
    pub(super) ended: Vec<Ended>,
}

/// An entry's command.
#[derive(Debug)]
pub(super) enum Envelope<'a> {
    Write(Write<'a>),
    Open(Open),
    Expire(Expire),
}

/// The identity of a command among all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Write(u64, u64),
    Open(u64),
    Expire,
}

impl Write<'_> {
    pub(super) fn encode(&self) -> Command {
        let mut bytes = Vec::with_capacity(33 + self.command.len());
        bytes.push(WRITE);
        for number in [self.session, self.number, self.floor, self.origin.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.command);
        bytes.into()
    }
}

impl Open {
    pub(super) fn encode(&self) -> Command {
        let bytes = postcard::to_extend(self, vec![OPEN]).expect("plain data");
        bytes.into()
    }
}

impl Expire {
    pub(super) fn encode(&self) -> Command {
        let bytes = postcard::to_extend(self, vec![EXPIRE]).expect("plain data");
        bytes.into()
    }
}

impl<'a> Envelope<'a> {
    /// `None` if this version does not know it.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Envelope<'a>> {
        let (tag, mut rest) = bytes.split_first()?;
        let mut number = || {
            let (head, tail) = rest.split_first_chunk()?;
            rest = tail;
            Some(u64::from_le_bytes(*head))
        };
        match *tag {
            WRITE => {
                let (session, sequence, floor) = (number()?, number()?, number()?);
                let origin = RaftId(number()?);
                let command = rest;
                let write = Write { session, number: sequence, floor, origin, command };
                Some(Envelope::Write(write))
            }
            OPEN => postcard::from_bytes(rest).ok().map(Envelope::Open),
            EXPIRE => postcard::from_bytes(rest).ok().map(Envelope::Expire),
            _ => None,
        }
    }

    /// Whether another server may ask the leader to append it: the end of a lease is the leader's
    /// own decision.
    pub(super) fn may_be_forwarded(&self) -> bool {
        guard!(!matches!(self, Envelope::Expire(_)), DeposedEnds)
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Envelope::Write(write) => Key::Write(write.session, write.number),
            Envelope::Open(open) => Key::Open(open.member.nonce),
            Envelope::Expire(_) => Key::Expire,
        }
    }
}
