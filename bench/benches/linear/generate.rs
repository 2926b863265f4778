//! Histories of a correct register, by simulating one; and the same made wrong.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::{History, Op, OpType};

/// The load of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Operations invoked.
    pub(crate) operations: usize,
    /// Keys; an operation goes to a random one.
    pub(crate) keys: usize,
    /// Threads of clients; each has an operation open nearly always.
    pub(crate) processes: usize,
    /// Values written are 0 to this, exclusive.
    pub(crate) values: usize,
    /// How many of a thousand operations end indeterminate.
    pub(crate) info_per_mille: usize,
    /// Weights of read, write and cas.
    pub(crate) mix: [usize; 3],
}

/// An operation in progress.
#[derive(Clone, Debug)]
enum Phase {
    Idle,
    Invoked { key: usize, f: &'static str, args: (i64, i64) },
    Done { key: usize, f: &'static str, value: Edn, kind: OpType },
}

/// A register per key, clients, and the history so far.
struct Simulation {
    plan: Plan,
    rng: Pcg64Mcg,
    registers: Vec<Option<i64>>,
    phases: Vec<Phase>,
    ids: Vec<u64>,
    history: History,
}

/// A history of registers that are linearizable.
pub(crate) fn correct(plan: Plan, seed: u64) -> History {
    let mut simulation = Simulation {
        plan,
        rng: Pcg64Mcg::seed_from_u64(seed),
        registers: vec![None; plan.keys],
        phases: vec![Phase::Idle; plan.processes],
        ids: (0..plan.processes as u64).collect(),
        history: Vec::new(),
    };
    let mut invoked = 0;
    while invoked < plan.operations {
        let thread = simulation.below(plan.processes);
        invoked += usize::from(matches!(simulation.phases[thread], Phase::Idle));
        simulation.step(thread);
    }
    simulation.history
}

/// The same with the results of `count` reads replaced by other values.
pub(crate) fn mutated(plan: Plan, seed: u64, count: usize) -> History {
    let mut history = correct(plan, seed);
    let mut rng = Pcg64Mcg::seed_from_u64(seed ^ 0xbad);
    let is_read = |op: &Op| op.kind == OpType::Ok && op.f == "read";
    let reads: Vec<usize> = (0..history.len()).filter(|i| is_read(&history[*i])).collect();
    for _ in 0..count.min(reads.len()) {
        let at = reads[rng.next_u64() as usize % reads.len()];
        if let Some([key, Edn::Int(old)]) = history[at].value.as_seq() {
            let shift = 1 + rng.next_u64() as i64 % (plan.values as i64 - 1);
            let new = (old + shift.abs()) % plan.values as i64;
            history[at].value = Edn::Vector(vec![key.clone(), Edn::Int(new)]);
        }
    }
    history
}

/// The same with a value in the last read that was never written.
#[allow(dead_code, reason = "only the benchmark uses it")]
pub(crate) fn garbled(plan: Plan, seed: u64) -> History {
    let mut history = correct(plan, seed);
    let is_read = |op: &&mut Op| op.kind == OpType::Ok && op.f == "read";
    if let Some(op) = history.iter_mut().rev().find(is_read)
        && let Some([key, _]) = op.value.as_seq()
    {
        op.value = Edn::Vector(vec![key.clone(), Edn::Int(-1)]);
    }
    history
}

impl Simulation {
    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound as u64) as usize
    }

    /// Moves one client to its next phase: invoke, take effect, return.
    fn step(&mut self, thread: usize) {
        match self.phases[thread].clone() {
            Phase::Idle => self.invoke(thread),
            Phase::Invoked { key, f, args } => {
                let is_info = self.below(1000) < self.plan.info_per_mille;
                // An indeterminate operation takes effect or does not.
                let has_effect = !is_info || self.below(2) == 0;
                let (value, is_ok) = self.apply(key, f, args, has_effect);
                let kind = match (is_info, is_ok) {
                    (true, _) => OpType::Info,
                    (false, true) => OpType::Ok,
                    (false, false) => OpType::Fail,
                };
                self.phases[thread] = Phase::Done { key, f, value, kind };
            }
            Phase::Done { key, f, value, kind } => {
                self.record(thread, kind, f, key, value);
                if kind == OpType::Info {
                    self.ids[thread] += self.plan.processes as u64;
                }
                self.phases[thread] = Phase::Idle;
            }
        }
    }

    fn invoke(&mut self, thread: usize) {
        let [reads, writes, cases] = self.plan.mix;
        let draw = self.below(reads + writes + cases);
        let key = self.below(self.plan.keys);
        let args = (self.below(self.plan.values) as i64, self.below(self.plan.values) as i64);
        let f = match draw {
            draw if draw < reads => "read",
            draw if draw < reads + writes => "write",
            _ => "cas",
        };
        self.record(thread, OpType::Invoke, f, key, argument(f, args));
        self.phases[thread] = Phase::Invoked { key, f, args };
    }

    /// The result, and whether the operation succeeded.
    fn apply(&mut self, key: usize, f: &str, args: (i64, i64), has_effect: bool) -> (Edn, bool) {
        let register = &mut self.registers[key];
        match f {
            "read" => (register.map_or(Edn::Nil, Edn::Int), register.is_some()),
            "write" => {
                *register = if has_effect { Some(args.0) } else { *register };
                (argument(f, args), true)
            }
            _ => {
                let is_ok = *register == Some(args.0);
                *register = if is_ok && has_effect { Some(args.1) } else { *register };
                (argument(f, args), is_ok)
            }
        }
    }

    fn record(&mut self, thread: usize, kind: OpType, f: &str, key: usize, value: Edn) {
        let index = self.history.len();
        let value = Edn::Vector(vec![Edn::Int(key as i64), value]);
        let time = index as i64 * 1000;
        self.history.push(Op { index, time, ..Op::new(kind, self.ids[thread], f, value) });
    }
}

fn argument(f: &str, (a, b): (i64, i64)) -> Edn {
    match f {
        "read" => Edn::Nil,
        "write" => Edn::Int(a),
        _ => Edn::Vector(vec![Edn::Int(a), Edn::Int(b)]),
    }
}
