//! How long a leader takes over reads that wait for the same confirmation.
//!
//! `cargo bench -p seaworthy-bench --bench reads`
//!
//! Five servers in memory: so many reads come to the leader in one turn, or one in each
//! turn, and then a quorum answers. The time for each read must not depend on how many wait.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and reports on stdout"
)]

use std::time::Instant;

use seaworthy::raft::{Config, Options, Raft, RaftId, ReadContext, Restored};

const SERVERS: u64 = 5;

struct Cluster(Vec<Raft>);

impl Cluster {
    /// A cluster whose first server leads.
    fn new() -> Cluster {
        let config = Config::of_voters((1..=SERVERS).map(RaftId));
        let start = |n| {
            let from = Restored::default();
            Raft::new(RaftId(n), config.clone(), n, Options::default(), from)
        };
        let mut cluster = Cluster((1..=SERVERS).map(start).collect());
        cluster.0[0].campaign();
        cluster.settle();
        assert!(cluster.0[0].is_leader(), "no other node stands");
        cluster
    }

    /// Delivers messages until there are none. Returns how many reads were served.
    fn settle(&mut self) -> usize {
        let mut served = 0;
        loop {
            let mut messages = Vec::new();
            for raft in &mut self.0 {
                let mut ready = raft.ready();
                if let Some(persist) = &ready.persist {
                    raft.persisted(persist.id);
                }
                served += ready.reads.len();
                messages.append(&mut ready.messages);
                messages.append(&mut ready.messages_after);
            }
            if messages.is_empty() {
                return served;
            }
            for message in messages {
                let to = usize::try_from(message.to.0 - 1).expect("few servers");
                self.0[to].step(message);
            }
        }
    }
}

fn main() {
    for reads in [1000_u64, 4000, 16_000, 64_000] {
        let mut cluster = Cluster::new();
        let start = Instant::now();
        (0..reads).for_each(|n| cluster.0[0].read(ReadContext(n)).expect("it leads"));
        assert_eq!(cluster.settle() as u64, reads, "all are served");
        let one_turn = start.elapsed();
        let start = Instant::now();
        let mut waiting = Vec::new();
        for n in 0..reads {
            cluster.0[0].read(ReadContext(reads + n)).expect("it leads");
            waiting.extend(cluster.0[0].ready().messages);
        }
        for message in waiting {
            let to = usize::try_from(message.to.0 - 1).expect("few servers");
            cluster.0[to].step(message);
        }
        assert_eq!(cluster.settle() as u64, reads, "all are served");
        let many_turns = start.elapsed();
        let each = |all: std::time::Duration| all.as_nanos() as u64 / reads;
        println!(
            "{reads:>6} reads: {:>6} ns each in one turn, {:>6} ns each in a turn of its own",
            each(one_turn),
            each(many_turns)
        );
    }
}
