//! `lin-kv`: registers that are read, written and compared-and-set.
//!
//! Judging linearizability costs more than linearly in the operations on one key, so
//! workers are split into groups of 2n (n nodes), each busy with a key of its own:
//! n of a group only read, the others write or compare-and-set, in the ratio 1 to 2.
//! A crash leaves an operation open for good, so a group moves to a fresh key once
//! [`PROCESSES_PER_KEY`] processes have used the old one.
//!
//! One deliberate difference: in runs of Maelstrom only the first n workers of the whole
//! test read, since its reservation counts threads absolutely; a key of any other
//! group is never read. Here each group has readers, as that generator means it.
//!
//! Source: Maelstrom's `lin-kv` on Jepsen's linearizable-register generator.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::{Answer, Client, Completion, Errors, Step};
use super::{Ask, Connection, Invocation, Load, Next};
use crate::config::RunConfig;
use crate::edn::Edn;

/// How many processes use a key before it is left alone.
pub const PROCESSES_PER_KEY: usize = 20;
/// Values are integers from zero to this.
const LARGEST_VALUE: i64 = 4;
/// A client's least patience, and its multiple of the longest link's mean latency.
const PATIENCE_MS: f64 = 1000.0;
const PATIENCE_LATENCIES: f64 = 10.0;

/// The workload; see the module.
pub struct LinKv {
    readers: usize,
    patience: Duration,
    groups: Vec<Group>,
    next_key: i64,
}

/// The key and the processes of one group of workers.
struct Group {
    key: i64,
    processes: BTreeSet<u64>,
}

impl LinKv {
    /// The workload of a run.
    ///
    /// # Errors
    /// If the workers cannot be split into groups of two a node.
    pub fn new(config: &RunConfig) -> Result<LinKv, String> {
        let readers = config.nodes.len();
        let (workers, size) = (config.concurrency, 2 * readers);
        if workers < size {
            return Err(format!(
                "with {workers} workers, lin-kv cannot run a key with {size} workers \
                 concurrently; raise --concurrency to at least {size}"
            ));
        }
        if !workers.is_multiple_of(size) {
            let keys = workers / size;
            return Err(format!(
                "lin-kv has {workers} workers, but can only use {} of them to run {keys} \
                 concurrent keys with {size} workers apiece; make --concurrency a multiple of {size}",
                keys * size
            ));
        }
        let ms = (PATIENCE_LATENCIES * config.args.farthest_ms()).max(PATIENCE_MS);
        let patience = Duration::from_secs_f64(ms / 1000.0);
        let mut new = LinKv { readers, patience, groups: Vec::new(), next_key: 0 };
        for _ in 0..workers / size {
            let group = new.fresh_group();
            new.groups.push(group);
        }
        Ok(new)
    }

    fn fresh_group(&mut self) -> Group {
        self.next_key += 1;
        Group { key: self.next_key - 1, processes: BTreeSet::new() }
    }

    /// The key that `process`, run by `worker`, uses now.
    fn key(&mut self, worker: usize, process: u64) -> i64 {
        let index = worker / (2 * self.readers);
        let used = &self.groups[index].processes;
        if used.len() == PROCESSES_PER_KEY && !used.contains(&process) {
            self.groups[index] = self.fresh_group();
        }
        self.groups[index].processes.insert(process);
        self.groups[index].key
    }
}

impl Load for LinKv {
    fn next(&mut self, ask: &mut Ask<'_>) -> Next {
        let worker = ask.any();
        let key = self.key(worker, ask.processes[worker]);
        let mut value = || Edn::Int(ask.draw.between(0, LARGEST_VALUE));
        let reads = worker % (2 * self.readers) < self.readers;
        let (f, argument) = if reads {
            ("read", Edn::Nil)
        } else {
            let pair = [value(), value()];
            if ask.draw.below(3) == 0 {
                ("write", pair[0].clone())
            } else {
                ("cas", Edn::vector(pair))
            }
        };
        Next::Invoke(worker, Invocation::new(f, Edn::vector([Edn::Int(key), argument])))
    }

    fn after_info(&self) -> Connection {
        Connection::Kept
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn client(&self) -> Box<dyn Client> {
        Box::new(LinKvClient)
    }
}

struct LinKvClient;

impl Client for LinKvClient {
    fn invoke(&mut self, op: &Invocation) -> Step {
        let (key, argument) = parts(op);
        let key = key.to_json();
        // Without a tree: this is done for each operation beside the nodes that are tested.
        Step::Request(match (op.f.as_str(), argument.as_seq()) {
            ("cas", Some([from, to])) => {
                let (from, to) = (from.to_json(), to.to_json());
                format!(r#"{{"from":{from},"key":{key},"to":{to},"type":"cas"}}"#)
            }
            ("write", _) => {
                let value = argument.to_json();
                format!(r#"{{"key":{key},"type":"write","value":{value}}}"#)
            }
            _ => format!(r#"{{"key":{key},"type":"read"}}"#),
        })
    }

    fn reply(&mut self, op: &Invocation, body: &Answer) -> Result<Step, String> {
        let value = match op.f.as_str() {
            "read" => {
                body.expect("read_ok", &["value"])?;
                Edn::vector([parts(op).0.clone(), body.edn("value")])
            }
            f => {
                body.expect(&format!("{f}_ok"), &[])?;
                op.value.clone()
            }
        };
        Ok(Step::Complete(Completion::ok(value)))
    }

    fn errors(&self, op: &Invocation) -> Errors {
        if op.f == "read" { Errors::Idempotent } else { Errors::Handled }
    }
}

/// Key and argument of an operation.
fn parts(op: &Invocation) -> (&Edn, &Edn) {
    pair(op).expect("generators make pairs, and plans are checked")
}

/// The same, of an operation that may come from a plan written by hand.
pub(crate) fn pair(op: &Invocation) -> Option<(&Edn, &Edn)> {
    let Some([key, argument]) = op.value.as_seq() else { return None };
    Some((key, argument))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask_all, config};
    use super::*;

    fn new(flags: &str) -> Result<LinKv, String> {
        LinKv::new(&config(flags))
    }

    #[test]
    fn groups_are_of_two_workers_a_node() {
        let too_few = new("--node-count 3").err().unwrap();
        assert!(too_few.contains("at least 6"), "{too_few}");
        let odd = new("--node-count 3 --concurrency 8").err().unwrap();
        assert!(odd.contains("8 workers") && odd.contains("multiple of 6"), "{odd}");
        assert!(new("--node-count 3 --concurrency 4n").is_ok());
    }

    #[test]
    fn each_group_has_a_key_and_readers_of_its_own() {
        let mut generator = new("--node-count 2 --concurrency 8").unwrap();
        let processes: Vec<u64> = (0..8).collect();
        let (mut writes, mut swaps) = (0, 0);
        for (worker, op) in ask_all(&mut generator, &processes, 4000) {
            let (key, argument) = parts(&op);
            assert_eq!(key.as_int(), Some(worker as i64 / 4));
            let numbers = |e: &Edn| (0..=4).contains(&e.as_int().unwrap());
            match op.f.as_str() {
                "read" => assert!(worker % 4 < 2 && argument.is_nil()),
                "write" => {
                    writes += 1;
                    assert!(worker % 4 >= 2 && numbers(argument));
                }
                f => {
                    swaps += 1;
                    let pair = argument.as_seq().unwrap();
                    assert!(f == "cas" && worker % 4 >= 2);
                    assert!(pair.len() == 2 && pair.iter().all(numbers));
                }
            }
        }
        // 2000 are expected not to be reads, a third of them writes.
        assert!((1800..2200).contains(&(writes + swaps)), "{writes} writes, {swaps} swaps");
        assert!((550..780).contains(&writes), "{writes} writes");
    }

    #[test]
    fn a_key_is_left_alone_after_twenty_processes() {
        let mut generator = new("--node-count 1 --concurrency 4").unwrap();
        // Every operation crashes, so each is of a new process.
        let keys: Vec<i64> = (0..41).map(|process| generator.key(0, process)).collect();
        let expected: Vec<i64> = [[0; 20], [2; 20]].concat().into_iter().chain([3]).collect();
        assert_eq!(keys, expected, "key 1 belongs to the other group");
        assert_eq!(generator.key(2, 1), 1);
        // Old processes may go on with a key that takes no new one.
        assert_eq!((generator.key(0, 40), generator.key(1, 41)), (3, 3));
    }
}
