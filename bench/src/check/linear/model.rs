//! The behaviour that an object may show: sequential specifications by name.
//!
//! A [`Model`] numbers its states and the classes of operations, so that the
//! search handles small integers only, and tells which classes have the two simple
//! effects that the search exploits (see [`Effect`]).

mod append_kv;
mod contract;
mod grow_only;
mod multi_register;
mod mutex;
mod queue;
mod queue_action;
mod register;
mod set;
mod unordered_queue;

pub use append_kv::AppendKv;
pub use contract::{Effect, Model, Observed};
pub use multi_register::MultiRegister;
pub use mutex::Mutex;
pub use queue::Queue;
pub use register::Register;
pub use set::Set;
pub use unordered_queue::UnorderedQueue;

pub(super) use contract::inconsistent;
use contract::record;

use crate::edn::Edn;

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 9] = [
    "register",
    "cas-register",
    "multi-register",
    "mutex",
    "append-kv",
    "set",
    "queue",
    "fifo-queue",
    "unordered-queue",
];

/// The model called `name`, from its usual beginning: nil, free, empty.
pub fn by_name(name: &str) -> Option<Box<dyn Model>> {
    from_initial(name, &Edn::Nil).ok()
}

/// The model called `name`, which begins with `initial`; nil is the usual beginning. A
/// `queue` is a `fifo-queue`.
///
/// # Errors
/// A text if there is no such model, or it cannot begin like that.
pub fn from_initial(name: &str, initial: &Edn) -> Result<Box<dyn Model>, String> {
    Ok(match name {
        "register" => Box::new(Register::plain().holding(initial)),
        "cas-register" => Box::new(Register::with_cas().holding(initial)),
        "multi-register" => Box::new(MultiRegister::new(initial)?),
        "mutex" => Box::new(Mutex::new(initial)?),
        "append-kv" => Box::new(AppendKv::new(initial)),
        "set" => Box::new(Set::new(initial)?),
        "queue" | "fifo-queue" => Box::new(Queue::new(initial)?),
        "unordered-queue" => Box::new(UnorderedQueue::new(initial)?),
        _ => return Err(format!("there is no model {name}; there are {}", NAMES.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::super::timeline::Class;
    use super::*;
    use crate::check::Verdict;
    use crate::check::linear::check;
    use crate::edn::parse;
    use crate::history::from_text;

    #[test]
    fn every_name_has_a_model() {
        for name in NAMES {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert!(by_name("juggler").is_none());
    }

    /// Judges one operation that completed on an object that begins with `initial`.
    fn verdict(name: &str, initial: &str, [f, value]: [&str; 2]) -> Verdict {
        let model = from_initial(name, &parse(initial).expect("EDN")).expect("it fits");
        let text = format!(
            "{{:process 0 :type :invoke :f :{f} :value {value}}}\n\
             {{:process 0 :type :ok :f :{f} :value {value}}}"
        );
        check(model, &from_text(&text).expect("a history")).verdict
    }

    #[test]
    fn every_model_begins_with_the_value_given() {
        let cases = [
            ("register", "3", ["read", "3"], ["read", "nil"]),
            ("register", "[1 2]", ["read", "[1 2]"], ["read", "[2 1]"]),
            ("cas-register", "3", ["cas", "[3 4]"], ["cas", "[nil 4]"]),
            ("multi-register", "{x 1}", ["txn", "[[:r x 1] [:r y nil]]"], ["txn", "[[:r x nil]]"]),
            ("mutex", "true", ["release", "nil"], ["acquire", "nil"]),
            ("mutex", "false", ["acquire", "nil"], ["release", "nil"]),
            ("append-kv", "\"ab\"", ["get", "\"ab\""], ["get", "\"\""]),
            ("append-kv", "(1 2)", ["get", "[1 2]"], ["get", "[1]"]),
            ("set", "#{2 1}", ["read", "[1 2]"], ["read", "[]"]),
            ("set", "(1)", ["read", "#{1}"], ["read", "#{1 2}"]),
            ("queue", "[a b]", ["dequeue", "a"], ["dequeue", "b"]),
            ("fifo-queue", "(a b)", ["dequeue", "a"], ["dequeue", "nil"]),
            ("unordered-queue", "[a b]", ["dequeue", "b"], ["dequeue", "c"]),
        ];
        for (name, initial, good, bad) in cases {
            assert_eq!(verdict(name, initial, good), Verdict::Valid, "{name} {initial} {good:?}");
            assert_eq!(verdict(name, initial, bad), Verdict::Invalid, "{name} {initial} {bad:?}");
        }
        assert!(NAMES.iter().all(|name| cases.iter().any(|case| case.0 == *name)));
    }

    /// Steps through the same operations with a model that tells all states apart, and one that tells
    /// apart only those that the history can.
    fn assert_same_behaviour(
        [plain, simple]: [&mut dyn Model; 2],
        operations: &[(&str, &str, Option<&str>)],
        seed: u64,
    ) {
        let classes = |model: &mut dyn Model| -> Vec<Class> {
            let class = |(f, invoked, completed): &(&str, &str, Option<&str>)| {
                let invoked = parse(invoked).expect("EDN");
                let completed = completed.map(|text| parse(text).expect("EDN"));
                let op = Observed { f, invoked: &invoked, completed: completed.as_ref() };
                model.classify(op).expect("well-formed").expect("it has an effect")
            };
            operations.iter().map(class).collect()
        };
        let (in_plain, in_simple) = (classes(plain), classes(simple));
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut states = (plain.initial(), simple.initial());
        for step in 0..60 {
            let at = (rng.next_u64() % operations.len() as u64) as usize;
            let after = (plain.step(states.0, in_plain[at]), simple.step(states.1, in_simple[at]));
            assert_eq!(after.0.is_some(), after.1.is_some(), "seed {seed}, {step}: {operations:?}");
            if let (Some(plain), Some(simple)) = after {
                states = (plain, simple);
            }
        }
        assert!(simple.weight() <= plain.weight());
    }

    /// A model called `name` that tells apart all states, and one that tells apart few.
    fn plain_and_simple(name: &str) -> [Box<dyn Model>; 2] {
        [usize::MAX, 0].map(|many| {
            let nil = &Edn::Nil;
            match name {
                "append-kv" => {
                    Box::new(AppendKv::new(nil).simplifying_from(many)) as Box<dyn Model>
                }
                "set" => Box::new(Set::new(nil).expect("empty").simplifying_from(many)),
                "queue" => Box::new(Queue::new(nil).expect("empty").simplifying_from(many)),
                _ => Box::new(UnorderedQueue::new(nil).expect("empty").simplifying_from(many)),
            }
        })
    }

    #[test]
    fn states_that_look_the_same_for_ever_may_be_one() {
        let queue = |more: &[(&'static str, &'static str, Option<&'static str>)]| {
            let ops = ["1", "2", "3"].map(|value| ("enqueue", value, Some(value)));
            let dequeues = [("dequeue", "nil", Some("1")), ("dequeue", "nil", Some("2"))];
            [&ops[..], &dequeues, more].concat()
        };
        let empty = ("dequeue", "nil", Some("nil"));
        let lost = ("dequeue", "nil", None);
        let add = ["1", "2", "3"].map(|value| ("add", value, Some(value)));
        let reads = [("read", "nil", Some("[1]")), ("read", "nil", Some("[1 2]"))];
        let append = ["\"a\"", "\"b\"", "\"c\""].map(|piece| ("append", piece, Some(piece)));
        let gets =
            ["\"a\"", "\"ab\"", "\"abb\"", "[\"a\" 5]"].map(|seen| ("get", "nil", Some(seen)));
        let put = ("put", "\"a\"", Some("\"a\""));
        let cases = [
            ("queue", queue(&[])),
            ("queue", queue(&[empty])),
            ("queue", queue(&[empty, lost])),
            ("unordered-queue", queue(&[])),
            ("unordered-queue", queue(&[empty])),
            ("set", [&add[..], &reads].concat()),
            ("set", [&add[..], &reads, &[("remove", "3", Some("3"))]].concat()),
            ("append-kv", [&append[..], &gets].concat()),
            ("append-kv", [&append[..], &gets, &[put]].concat()),
            ("append-kv", [&append[..], &gets, &[put, ("append", "5", Some("5"))]].concat()),
        ];
        for (name, operations) in cases {
            for seed in 0..200 {
                let [mut plain, mut simple] = plain_and_simple(name);
                assert_same_behaviour([plain.as_mut(), simple.as_mut()], &operations, seed);
            }
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_would() {
        let cases = [
            ("multi-register", "a map", ["3", "[1 2]", "\"s\"", "#{1}"]),
            ("mutex", "true (held) or false (free)", ["3", "[]", "\"true\"", ":held"]),
            ("set", "a collection", ["3", "{x 1}", "\"s\"", "true"]),
            ("queue", "a sequence", ["3", "{x 1}", "\"s\"", "#{1}"]),
            ("fifo-queue", "a sequence", ["3", "{x 1}", "\"s\"", "#{1}"]),
            ("unordered-queue", "a sequence", ["3", "{x 1}", "\"s\"", ":a"]),
        ];
        for (name, fits, values) in cases {
            for value in values {
                let refused = from_initial(name, &parse(value).expect("EDN")).map(|_| ());
                let why = refused.expect_err(name);
                assert!(why.contains("must be") && why.contains(fits), "{name} {value}: {why}");
            }
        }
    }
}
