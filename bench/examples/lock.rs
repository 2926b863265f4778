//! A protocol of one's own: a lock, its node with a planted bug, and the whole bench over it.
//!
//! Clients acquire it under a number that is used once, and release it under the same. The first
//! node keeps it, the others forward. Doubled and late messages do no harm. With the
//! option `forgetful` the lock is not written down, and granted once more after a kill.
//!
//! ```sh
//! cargo run -p seaworthy-bench --example lock -- explore -w lock -- forgetful
//! target/debug/examples/lock test -w lock --bin target/debug/examples/lock -- node
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;

use seaworthy::driver::{Volatile, run_stdio};
use seaworthy::message::{ErrorCode, Message, Request, RpcError};
use seaworthy::node::{Context, DEFAULT_STREAM, Event, Token, Workload};
use seaworthy_bench::prelude::*;
use serde_json::json;

/// The node: the last number that was granted, and whether it still has the lock.
#[derive(Default)]
struct Node {
    lock: (u64, bool),
    forgetful: bool,
    forwarded: BTreeMap<Token, Request>,
}

impl Workload for Node {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        match event {
            Event::Start(mut disk) => {
                let last = disk.take(DEFAULT_STREAM).records.pop();
                self.lock = last.and_then(|r| serde_json::from_slice(&r).ok()).unwrap_or_default();
            }
            Event::Message(message) => self.answer(cx, &message),
            Event::Reply { token, result } => match (self.forwarded.remove(&token), result) {
                (Some(to), Ok(body)) => cx.reply(&to, &json!({"type": body.kind.as_str()})),
                (Some(to), Err(error)) => cx.error(&to, &error),
                (None, _) => {}
            },
            _ => {}
        }
    }
}

impl Node {
    fn new(options: &[String]) -> Node {
        Node { forgetful: options.iter().any(|option| option == "forgetful"), ..Node::default() }
    }

    fn answer(&mut self, cx: &mut Context<'_>, message: &Message) {
        let request = message.request();
        let n = message.body.field("number").and_then(|text| text.get().parse().ok());
        let (Some(n), Some(first)) = (n, cx.node_ids().first().cloned()) else { return };
        let kind = message.body.kind.as_str();
        if *cx.id() != first {
            let token = Token(self.forwarded.keys().next_back().map_or(0, |last| last.0 + 1));
            self.forwarded.insert(token, request);
            return cx.rpc(&first, &json!({"type": kind, "number": n}), PATIENCE, token);
        }
        self.lock = match (kind, self.lock) {
            ("acquire", (last, true)) if n == last => (n, true),
            ("acquire", (last, false)) if n > last => (n, true),
            ("release", (last, held)) => (last, held && n != last),
            _ => return cx.error(&request, &RpcError::new(ErrorCode::PRECONDITION_FAILED, "held")),
        };
        let ok = json!({"type": format!("{kind}_ok")});
        if self.forgetful {
            return cx.reply(&request, &ok);
        }
        let ticket = cx.persist(json!(self.lock).to_string().into_bytes());
        cx.reply_after(ticket, &request, &ok);
    }
}

/// The load: each worker acquires the lock, and releases it if it may hold it.
#[derive(Default)]
struct Wanted {
    last: i64,
    may_hold: BTreeMap<usize, Edn>,
}

impl Load for Wanted {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let worker = ask.any();
        if let Some(number) = self.may_hold.get(&worker) {
            return Next::Invoke(worker, Invocation::new("release", number.clone()));
        }
        self.last += 1;
        Next::Invoke(worker, Invocation::new("acquire", Edn::Int(self.last)))
    }

    fn completed(&mut self, worker: usize, op: &Invocation, completion: &Completion) {
        if op.f == "acquire" && completion.kind != OpType::Fail {
            self.may_hold.insert(worker, op.value.clone());
        } else if completion.kind == OpType::Ok {
            self.may_hold.remove(&worker);
        }
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(Acknowledged { field: "number" })
    }
}

/// The challenge: from an acquisition's `ok` to its release no other acquisition succeeds.
struct Lock;

impl Challenge for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn load(&self, _: &RunConfig) -> Result<Box<dyn Load>, String> {
        Ok(Box::<Wanted>::default())
    }

    fn nodes(&self, config: &RunConfig) -> Result<Factory, String> {
        let options = config.args.args.clone();
        Ok(Box::new(move || Box::new(Node::new(&options))))
    }

    fn tame(&self, run: &mut RunArgs) {
        run.chaos.lasting_fault = false; // The first node may not stay out of reach.
    }

    fn check(&self, history: &[Op], _options: &CheckOptions) -> Outcome {
        let mut holder: Option<&Edn> = None;
        for op in history {
            if op.f == "acquire" && op.kind == OpType::Ok {
                if let Some(other) = holder.replace(&op.value).filter(|other| **other != op.value) {
                    return Outcome::invalid(format!("{} has it while {other} has it", op.value));
                }
            } else if op.kind == OpType::Invoke && op.f == "release" && holder == Some(&op.value) {
                holder = None;
            }
        }
        Outcome::new(Verdict::Valid, [])
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_none_or(|arg| arg != "node") {
        return seaworthy_bench::main(Lock);
    }
    ExitCode::from(u8::from(run_stdio(Box::new(Node::new(&args)), Volatile).is_err()))
}
