//! The bug that can be planted in the database (see [`seaworthy::planted`]).

/// The machine that is replicated: the database itself.
#[cfg(not(feature = "mutants"))]
pub(super) type Machine = super::database::Database;
#[cfg(feature = "mutants")]
pub(super) use torn::Machine;

#[cfg(feature = "mutants")]
mod torn {
    use std::collections::{BTreeMap, BTreeSet};

    use seaworthy::planted::{Mutant, is};
    use seaworthy::shell::raft::{Answer, StateMachine};
    use serde_json::value::RawValue;

    use super::super::database::{Database, Value};
    use super::super::protocol::{Function, MicroOp};
    use seaworthy::canonical::canonical;

    /// A database that [`Mutant::KeyByKey`] takes transactions apart in: all keys but one
    /// change when the next command is applied.
    #[derive(Default)]
    pub(in super::super) struct Machine {
        database: Database,
        /// The part of the last transaction that has not happened yet.
        late: Vec<(String, Value)>,
    }

    impl Machine {
        /// Takes back the changes that `command` made to the state `before` it, but for
        /// those of one key.
        fn delay_all_but_one(&mut self, command: &RawValue, mut before: BTreeMap<String, Value>) {
            let ops: Vec<MicroOp<'_>> = serde_json::from_str(command.get()).unwrap_or_default();
            let writes = ops.iter().filter(|(function, ..)| *function != Function::Read);
            let keys: BTreeSet<String> = writes.map(|(_, key, _)| canonical(key)).collect();
            let values = &mut self.database.values;
            for key in keys.into_iter().skip(1) {
                let late = match before.remove(&key) {
                    Some(value) => values.insert(key.clone(), value),
                    None => values.remove(&key),
                };
                self.late.extend(late.map(|value| (key, value)));
            }
        }
    }

    impl StateMachine for Machine {
        fn apply(&mut self, command: &RawValue) -> Answer {
            self.database.values.extend(self.late.drain(..));
            let before = is(Mutant::KeyByKey).then(|| self.database.values.clone());
            let answer = self.database.apply(command);
            if let Some(before) = before.filter(|_| answer.as_str().contains("txn_ok")) {
                self.delay_all_but_one(command, before);
            }
            answer
        }

        fn query(&self, query: &RawValue) -> Answer {
            self.database.query(query)
        }

        fn snapshot(&self) -> Vec<u8> {
            self.database.snapshot()
        }

        fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
            self.late.clear();
            self.database.restore(snapshot)
        }
    }
}
