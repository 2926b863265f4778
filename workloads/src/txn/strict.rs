//! Strictly serializable transactions: each is one command of a replicated database.
//!
//! The log puts transactions in order and the database carries them out one at a time,
//! so they are serializable; a transaction that was answered is in the log before any
//! that is sent later, so the order agrees with real time. One that only reads is not
//! logged: the leader makes sure that it still leads and answers from its applied state
//! (ReadIndex, Ongaro's thesis §6.4), which costs no write to disk.
//!
//! # The meaning of a transaction
//!
//! Its micro-operations happen in order, and each sees those before it. It takes effect
//! as a whole or not at all: an `append` to a value that is not a list is found
//! before anything has changed, and the transaction is refused with error 14.
//!
//! Deliberately missing: deletion of keys, which the protocol does not have.

use std::any::Any;

use seaworthy::message::Message;
use seaworthy::node::{Context, Event, Workload};
use seaworthy::shell::raft::Replica;

use super::planted::Machine;
use super::protocol::{Function, micro_ops};
use crate::options::Options;
use crate::reply::not_supported;

/// The workload.
pub struct Strict {
    replica: Replica<Machine>,
}

impl Strict {
    /// The type of messages between the nodes of this workload.
    pub const PEER: &'static str = "txn:raft";

    /// A node that has not started yet.
    pub fn new(options: &Options) -> Strict {
        Strict { replica: Replica::new(Strict::PEER, Machine::default(), options.raft.clone()) }
    }
}

impl Workload for Strict {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Some(message) = self.replica.handle(cx, event) else { return };
        if message.body.kind == "txn" {
            self.txn(cx, &message);
        } else {
            not_supported(cx, &message);
        }
    }

    fn engine(&self) -> Option<&dyn Any> {
        self.replica.raft().map(|raft| raft as &dyn Any)
    }
}

impl Strict {
    fn txn(&mut self, cx: &mut Context<'_>, message: &Message) {
        let request = message.request();
        match micro_ops(message) {
            Ok((txn, ops)) if ops.iter().all(|(f, ..)| *f == Function::Read) => {
                self.replica.query(cx, request, txn.to_owned());
            }
            Ok((txn, _)) => self.replica.submit(cx, request, txn.to_owned()),
            Err(error) => cx.error(&request, &error),
        }
    }
}
