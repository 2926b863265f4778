//! The operations of clients of a served cluster: registers, transactions over lists, watches,
//! leases, digests of whole servers, compactions.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use serde_json::json;

use super::lease::{LEASE, LeaseClient};
use super::watch::{self, REVISION, WATCH, WatchClient};
use crate::config::RunConfig;
use crate::edn::Edn;
use crate::load::client::{Answer, Client, Completion, Errors, Step, json_from_edn};
use crate::load::lin_kv::{self, LinKv};
use crate::load::txn::{Holds, Txn};
use crate::load::{Ask, Invocation, Load, Next, PATIENCE};

/// The name of compactions; their value is how many revisions are to be left.
const COMPACT: &str = "compact";
/// The key of a digest that holds the members'.
pub(super) const MEMBERS: &str = "members";

/// The load; see the module.
pub(super) struct KvLoad {
    registers: LinKv,
    lists: Txn,
    patience: Duration,
    /// How much faster than time a server's clock may run.
    skew: f64,
    /// The id of the last lease.
    last_lease: i64,
    /// How many compactions there were.
    compactions: usize,
    /// The lease that any client was promised last.
    latest_lease: Arc<AtomicI64>,
    /// How far any watch is.
    furthest: Arc<AtomicI64>,
    /// Digests that are still to be asked for at the end, for each worker.
    last: Vec<usize>,
}

/// A transaction that others overtake again and again takes this many times the latency of the
/// longest link.
const PATIENCE_LATENCIES: f64 = 40.0;

/// How many revisions a compaction leaves: mostly none, so that watches and transactions meet its edge.
const KEPT: [i64; 4] = [20, 0, 5, 1];

/// How many digests each worker asks for in the last phase: some are of the same revision.
const LAST: usize = 3;

impl KvLoad {
    pub(super) fn new(config: &RunConfig) -> Result<KvLoad, String> {
        let (registers, lists) = (LinKv::new(config)?, Txn::new(config, Holds::Lists)?);
        let ms = PATIENCE_LATENCIES * config.args.farthest_ms();
        let patience = PATIENCE.max(Duration::from_secs_f64(ms / 1000.0));
        let skew = config.args.chaos.clock_skew;
        let last = vec![LAST; config.concurrency];
        Ok(KvLoad {
            registers,
            lists,
            patience,
            skew,
            last_lease: 0,
            compactions: 0,
            latest_lease: Arc::default(),
            furthest: Arc::default(),
            last,
        })
    }
}

impl Load for KvLoad {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        match ask.draw.below(26) {
            0 => Next::Invoke(ask.any(), Invocation::new("hash", Edn::Nil)),
            1 => {
                let keep = KEPT[self.compactions % KEPT.len()];
                self.compactions += 1;
                Next::Invoke(ask.any(), Invocation::new(COMPACT, Edn::Int(keep)))
            }
            20..=22 => {
                let op = watch::invocation(ask.draw.below(8), ask.draw.below(30));
                Next::Invoke(ask.any(), op)
            }
            23..=25 => {
                self.last_lease += 1;
                Next::Invoke(ask.any(), Invocation::new(LEASE, Edn::Int(self.last_lease)))
            }
            2..=9 => self.lists.next(ask),
            _ => match self.registers.next(ask) {
                // A deletion is a write too.
                Next::Invoke(worker, mut op) if op.f == "write" && ask.draw.chance(0.2) => {
                    let key = lin_kv::pair(&op).map_or(Edn::Nil, |(key, _)| key.clone());
                    op.value = Edn::vector([key, Edn::Nil]);
                    Next::Invoke(worker, op)
                }
                next => next,
            },
        }
    }

    fn next_last(&mut self, ask: &mut Ask<'_>) -> Next {
        let Some(worker) = ask.free.iter().copied().find(|worker| self.last[*worker] > 0) else {
            let is_over = self.last.iter().all(|left| *left == 0);
            return if is_over { Next::Done } else { Next::Pending };
        };
        self.last[worker] -= 1;
        Next::Invoke(worker, Invocation::new("hash", Edn::Nil).last())
    }

    fn has_last_phase(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(KvClient {
            registers: self.registers.client(),
            lists: self.lists.client(),
            watch: WatchClient::new(Arc::clone(&self.furthest)),
            lease: LeaseClient::new(self.skew, Arc::clone(&self.latest_lease)),
        })
    }
}

/// Whether an operation has the shape that this load gives to its own.
pub(super) fn is_well_formed(op: &Invocation) -> bool {
    match op.f.as_str() {
        "read" | "write" | "cas" => lin_kv::pair(op).is_some(),
        "txn" => op.value.as_seq().is_some(),
        WATCH | LEASE | COMPACT => op.value.as_int().is_some(),
        _ => true,
    }
}

struct KvClient {
    registers: Box<dyn Client>,
    lists: Box<dyn Client>,
    watch: WatchClient,
    lease: LeaseClient,
}

impl KvClient {
    /// Returns the answer to a read of a register: a missing one is nil.
    fn read(op: &Invocation, body: &Answer) -> Result<Edn, String> {
        body.expect("read_ok", &["value", REVISION])?;
        let key = lin_kv::pair(op).map_or(Edn::Nil, |(key, _)| key.clone());
        Ok(Edn::vector([key, body.edn("value")]))
    }

    /// The answer to a transaction, as the client of lists understands it.
    fn txn(&mut self, op: &Invocation, body: &Answer) -> Result<Edn, String> {
        body.expect("txn_ok", &["txn", REVISION])?;
        let text = json!({"type": "txn_ok", "txn": json_from_edn(&body.edn("txn"))});
        let plain = Answer::parse(&text.to_string()).map_err(|why| why.to_string())?;
        match self.lists.reply(op, &plain)? {
            Step::Complete(completion) => Ok(completion.value),
            Step::Request(_) => Err("a transaction is one request".to_owned()),
        }
    }
}

impl Client for KvClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        match op.f.as_str() {
            "read" | "write" | "cas" => self.registers.invoke(op),
            "txn" => self.lists.invoke(op),
            WATCH => self.watch.invoke(op),
            LEASE => self.lease.invoke(op),
            COMPACT => {
                let keep = op.value.as_int().unwrap_or(0);
                Step::request(&json!({"type": COMPACT, "keep": keep}))
            }
            f => Step::request(&json!({ "type": f })),
        }
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        let value = match op.f.as_str() {
            WATCH => return self.watch.reply(op, body),
            LEASE => return self.lease.reply(op, body),
            "read" => Self::read(op, body)?,
            "txn" => self.txn(op, body)?,
            "hash" => {
                body.expect("hash_ok", &["state", MEMBERS])?;
                body.edn("state")
            }
            COMPACT => {
                body.expect("compact_ok", &[])?;
                op.value.clone()
            }
            f => {
                body.expect(&format!("{f}_ok"), &[REVISION])?;
                op.value.clone()
            }
        };
        let mut completion = Completion::ok(value);
        for name in [REVISION, MEMBERS].into_iter().filter(|name| body.field(name).is_some()) {
            completion.extra.push((name.into(), body.edn(name)));
        }
        Ok(Step::Complete(completion))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        match op.f.as_str() {
            WATCH => self.watch.errors(op),
            LEASE => self.lease.errors(op),
            "read" | "hash" => Errors::Idempotent,
            _ => Errors::Handled,
        }
    }
}
