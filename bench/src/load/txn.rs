//! `txn-list-append` and `txn-rw-register`: transactions over lists and registers.
//!
//! A transaction is 1 to `--max-txn-length` micro-operations, each a read or a write as `MicroOps`
//! makes them. The reply must be the request, with the reads filled in: a reply about other keys or
//! values says nothing about this transaction, so it is malformed. Maelstrom looks at the shape of
//! each micro-operation only; with `--lenient-responses`, so does this client.

use super::client::{Answer, Client, Completion, Errors, Step};
use super::micro_ops::{MicroOp, MicroOps};
use super::{Ask, Connection, Invocation, Load, Next};
use crate::config::RunConfig;
use crate::edn::Edn;

/// The kind of values that the keys hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Lists, which are appended to.
    Lists,
    /// Single values, which are overwritten.
    Values,
}

impl Holds {
    /// The name of the micro-operation that writes.
    fn write(self) -> &'static str {
        match self {
            Holds::Lists => "append",
            Holds::Values => "w",
        }
    }
}

/// The workload; see the module.
pub struct Txn {
    holds: Holds,
    max_length: usize,
    micro_ops: MicroOps,
    lenient: bool,
}

impl Txn {
    /// The workload of a run.
    ///
    /// # Errors
    /// If a flag leaves no transaction to make.
    pub fn new(config: &RunConfig, holds: Holds) -> Result<Txn, String> {
        let max_length = config.args.max_txn_length;
        if max_length == 0 {
            return Err("--max-txn-length must be at least 1".into());
        }
        let (micro_ops, lenient) = (MicroOps::new(&config.args)?, config.args.lenient_responses);
        Ok(Txn { holds, max_length, micro_ops, lenient })
    }
}

impl Load for Txn {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let length = 1 + ask.draw.below(self.max_length);
        let name = self.holds.write();
        let mop = |MicroOp { key, write }| {
            let (f, value) = write.map_or(("r", Edn::Nil), |v| (name, Edn::Int(v)));
            Edn::vector([Edn::keyword(f), Edn::Int(key), value])
        };
        let txn = Edn::vector((0..length).map(|_| mop(self.micro_ops.next(ask.draw))));
        Next::Invoke(ask.any(), Invocation::new("txn", txn))
    }

    fn after_info(&self) -> Connection {
        Connection::Kept
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(TxnClient { holds: self.holds, lenient: self.lenient })
    }
}

struct TxnClient {
    holds: Holds,
    lenient: bool,
}

impl Client for TxnClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        Step::Request(format!(r#"{{"txn":{},"type":"txn"}}"#, op.value.to_json()))
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        body.expect("txn_ok", &["txn"])?;
        let reply = body.edn("txn");
        let asked = op.value.as_seq().unwrap_or_default();
        let answered = reply.as_seq().ok_or("txn is not an array")?;
        if self.lenient {
            let txn: Vec<Edn> =
                answered.iter().map(|mop| self.shaped(mop)).collect::<Result<_, _>>()?;
            return Ok(Step::Complete(Completion::ok(Edn::Vector(txn))));
        }
        if asked.len() != answered.len() {
            let (asked, answered) = (asked.len(), answered.len());
            return Err(format!("asked for {asked} micro-operations, got {answered}"));
        }
        let pairs = asked.iter().zip(answered);
        let txn: Vec<Edn> = pairs.map(|(a, b)| self.answer(a, b)).collect::<Result<_, _>>()?;
        Ok(Step::Complete(Completion::ok(Edn::Vector(txn))))
    }

    fn errors(&self, _op: &Invocation) -> Errors {
        Errors::Handled
    }
}

impl TxnClient {
    /// The completed micro-operation, if `answered` is an answer to `asked`.
    fn answer(&self, asked: &Edn, answered: &Edn) -> Result<Edn, String> {
        let differs = || format!("asked for {asked}, got {answered}");
        let (Some([f, key, value]), Some([g, other_key, result])) =
            (asked.as_seq(), answered.as_seq())
        else {
            return Err(differs());
        };
        let reads = f.as_text() == Some("r");
        let same = f.as_text() == g.as_text() && key == other_key;
        if !same || !reads && value != result {
            return Err(differs());
        }
        if reads && self.holds == Holds::Lists && !result.is_nil() && result.as_seq().is_none() {
            return Err(format!("read {result}, which is no list"));
        }
        Ok(Edn::vector([f.clone(), key.clone(), result.clone()]))
    }

    /// The micro-operation as it came, if it has the shape of some.
    fn shaped(&self, answered: &Edn) -> Result<Edn, String> {
        let (name, value) = match answered.as_seq() {
            Some([name, _, value]) => (name.as_text().unwrap_or_default(), value),
            _ => return Err(format!("got {answered}, which is no micro-operation")),
        };
        let is_list = value.is_nil() || value.as_seq().is_some();
        let is_read = name == "r" && (self.holds == Holds::Values || is_list);
        if !is_read && name != self.holds.write() {
            return Err(format!("got {answered}, which is no micro-operation"));
        }
        let mut parts = answered.as_seq().unwrap_or_default().to_vec();
        parts[0] = Edn::keyword(name);
        Ok(Edn::Vector(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask_all, config};
    use super::*;
    use crate::edn::parse;
    use crate::history::OpType;
    use crate::load::client::{Reply, proceed};

    #[test]
    fn transactions_have_every_length_up_to_the_limit() {
        let mut txn = Txn::new(&config("--max-txn-length 3"), Holds::Values).unwrap();
        let mut lengths = [0; 4];
        for (_, op) in ask_all(&mut txn, &[0, 1], 900) {
            assert_eq!(op.f, "txn");
            let mops = op.value.as_seq().unwrap();
            lengths[mops.len()] += 1;
            for mop in mops {
                let Some([Edn::Keyword(f), Edn::Int(_), value]) = mop.as_seq() else {
                    panic!("{mop}")
                };
                assert!(f == "r" && value.is_nil() || f == "w" && value.as_int() > Some(0));
            }
        }
        assert!(lengths[0] == 0 && lengths[1..].iter().all(|n| (240..360).contains(n)));
        assert!(Txn::new(&config("--max-txn-length 0"), Holds::Values).is_err());
    }

    /// How a transaction ends that is answered with these micro-operations.
    fn answered(holds: Holds, txn: &str, answer: &str) -> Completion {
        let mut client = TxnClient { holds, lenient: false };
        let op = Invocation::new("txn", parse(txn).unwrap());
        let body = format!(r#"{{"type":"txn_ok","in_reply_to":1,"txn":{answer}}}"#);
        let body = Answer::parse(&body).unwrap();
        match proceed(&mut client, &op, &Reply::Body(&body)) {
            Step::Complete(completion) => completion,
            Step::Request(body) => panic!("no further request was due: {body}"),
        }
    }

    #[test]
    fn an_answer_fills_the_reads_in() {
        let txn = "[[:r 9 nil] [:append 9 1] [:r 8 nil]]";
        let mut client = TxnClient { holds: Holds::Lists, lenient: false };
        let asked = client.invoke(&Invocation::new("txn", parse(txn).unwrap()));
        let body = r#"{"txn":[["r",9,null],["append",9,1],["r",8,null]],"type":"txn"}"#;
        assert_eq!(asked, Step::Request(body.into()));
        let end = answered(Holds::Lists, txn, r#"[["r",9,[4]],["append",9,1],["r",8,null]]"#);
        let expected = parse("[[:r 9 [4]] [:append 9 1] [:r 8 nil]]").unwrap();
        assert_eq!((end.kind, end.value), (OpType::Ok, expected));
    }

    #[test]
    fn a_lenient_client_looks_at_the_shape_only() {
        let client = TxnClient { holds: Holds::Lists, lenient: true };
        let shaped = |mop: &str| client.shaped(&Edn::from_json(mop).unwrap());
        for fine in [r#"["r",8,null]"#, r#"["r","8",[1]]"#, r#"["append",1,null]"#] {
            assert!(shaped(fine).is_ok(), "{fine}");
        }
        for wrong in [r#"["r",8,4]"#, r#"["w",8,4]"#, r#"["r",8]"#, "5", r#"[5,8,4]"#] {
            assert!(shaped(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_to_something_else_is_malformed() {
        let txn = "[[:r 9 nil] [:append 9 1]]";
        for wrong in [
            r#"[["r",9,[4]]]"#,
            r#"[["r",9,[4]],["append",9,1],["r",9,[1]]]"#,
            r#"[["r",8,[4]],["append",9,1]]"#,
            r#"[["r",9,[4]],["append",9,2]]"#,
            r#"[["r",9,[4]],["w",9,1]]"#,
            r#"[["append",9,1],["r",9,[4]]]"#,
            r#"[["r",9,4],["append",9,1]]"#,
            r#"[["r",9],["append",9,1]]"#,
            r#"null"#,
        ] {
            let end = answered(Holds::Lists, txn, wrong);
            let error = end.error.unwrap_or_default().to_string();
            assert_eq!(end.kind, OpType::Info, "{wrong}");
            assert!(error.contains("malformed"), "{error}");
        }
    }
}
