//! Golden scripts: one behaviour a file, named after it.
//!
//! A script is commands and, below `---`, the course of the cluster. To accept new output,
//! run the test with `REWRITE=1`; commit the difference only if you understand it. The
//! invariants of the paper are checked at every step, so a script cannot pin a mistake
//! that breaks one.

use std::error::Error;
use std::fmt::Write as _;

use seaworthy::raft::{
    Change, Command as Data, Config, Index, Message, Options, RaftId, ReadContext, SnapshotMeta,
};

use super::lab::{Lab, list, role_name};

/// The commands of a script.
#[derive(goldenscript::Command)]
pub(crate) enum Command {
    /// Starts voters 1 to `voters`, with these options.
    Cluster {
        voters: u64,
        #[arg(key, optional)]
        election: Option<u64>,
        #[arg(key, optional)]
        heartbeat: Option<u64>,
        #[arg(key, optional)]
        pre_vote: Option<bool>,
        #[arg(key, optional)]
        check_quorum: Option<bool>,
        #[arg(key, optional)]
        lease: Option<bool>,
        #[arg(key, optional)]
        inflight: Option<usize>,
        #[arg(key, optional)]
        append_bytes: Option<usize>,
        #[arg(key, optional)]
        uncommitted_bytes: Option<usize>,
        #[arg(key, optional)]
        chunk: Option<usize>,
        #[arg(key, optional)]
        keep: Option<u64>,
    },
    /// Starts servers that are not members yet, or that are down.
    Start(Vec<u64>),
    /// Stops servers; writes that are not durable are lost.
    Crash(Vec<u64>),
    /// Restarts a server as one that may have lost its disk.
    Abstain(u64),
    /// Lets a server stand for election.
    Campaign(u64),
    /// Lets ticks pass, for one server or for all.
    Tick {
        ticks: u64,
        #[arg(key, optional)]
        on: Option<u64>,
    },
    /// Lets ticks pass, and delivers everything after each.
    Run(u64),
    /// Changes a server's election timeout and heartbeat interval.
    Timing(u64, u64, u64),
    /// Proposes commands, all in one turn.
    Propose(u64, Vec<String>),
    /// Proposes a change of configuration, such as `add-4 learn-5 remove-1`.
    Change(u64, Vec<String>),
    /// Hands leadership over.
    Transfer(u64, u64),
    /// Asks to read, all in one turn.
    Read(u64, Vec<u64>),
    /// Asks to read at the leader, on behalf of a follower that passed the read on.
    ReadFor(u64, u64, u64),
    /// Delivers messages on their way, of some servers only if so said.
    Deliver {
        #[arg(key, optional)]
        from: Option<u64>,
        #[arg(key, optional)]
        to: Option<u64>,
    },
    /// Delivers messages, and those that they bring about, until nothing happens any more.
    Settle,
    /// Loses messages on their way.
    Lose {
        #[arg(key, optional)]
        from: Option<u64>,
        #[arg(key, optional)]
        to: Option<u64>,
    },
    /// Doubles every message on its way.
    Repeat,
    /// Turns the order of messages on their way round.
    Reverse,
    /// Cuts a server off from some others, or, without any, from all.
    Cut(u64, #[arg(optional)] Vec<u64>),
    /// Cuts one direction only.
    CutOneWay(u64, u64),
    /// Ends all cuts.
    Heal,
    /// Lets a server's disk wait until told.
    Slow(u64),
    /// Makes everything durable that waits, on one server.
    Flush(u64),
    /// Lets a server learn that its state has everything up to an entry.
    Knows(u64, u64),
    /// Lets a server make a snapshot.
    Compact(u64),
    /// Lets a leader forget the snapshots before its latest one.
    Forget(u64),
    /// Shows all servers.
    Status,
    /// Shows a leader's knowledge of the others.
    Progress(u64),
    /// Shows a server's log.
    Log(u64),
    /// Shows the state that a server has applied.
    State(u64),
}

impl goldenscript::Runner for Lab {
    type Command = Command;

    fn run(
        &mut self,
        command: &Command,
        _: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        let refusal = self.perform(command)?;
        let mut output = std::mem::take(&mut self.trace);
        output.push_str(&refusal);
        Ok(output)
    }
}

/// The text of a refused command.
fn refused<T, E: std::fmt::Debug>(result: Option<Result<T, E>>) -> String {
    match result {
        Some(Err(error)) => format!("refused: {error:?}\n"),
        Some(Ok(_)) => String::new(),
        None => "it is down\n".to_owned(),
    }
}

impl Lab {
    fn perform(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let id = |n: &u64| RaftId(*n);
        match command {
            Command::Cluster { .. } => self.set_up(command),
            Command::Start(ids) => ids.iter().for_each(|n| self.start(id(n))),
            Command::Crash(ids) => ids.iter().for_each(|n| self.crash(id(n))),
            Command::Abstain(n) => {
                self.options.abstain = true;
                self.start(id(n));
                self.options.abstain = false;
            }
            Command::Forget(n) => {
                self.act(id(n), |raft| {
                    let is_old = |s: &&SnapshotMeta| Some(*s) != raft.snapshot();
                    let old: Vec<SnapshotMeta> = raft.snapshots().filter(is_old).cloned().collect();
                    old.iter().for_each(|old| raft.snapshot_lost(old));
                });
            }
            Command::Knows(n, index) => {
                self.act(id(n), |raft| raft.learn_commit_as_leader(Index(*index)));
            }
            Command::Campaign(n) => drop(self.act(id(n), |raft| raft.campaign())),
            Command::Tick { ticks, on } => self.pass(*ticks, on.map(RaftId)),
            Command::Run(ticks) => {
                for _ in 0..*ticks {
                    self.pass(1, None);
                    while self.deliver(|_| true) {}
                }
            }
            Command::Timing(n, election, heartbeat) => {
                self.act(id(n), |raft| raft.set_timing(*election, *heartbeat));
            }
            Command::Propose(n, commands) => {
                return Ok(refused(self.act(id(n), |raft| {
                    commands.iter().try_for_each(|c| raft.propose(Data::from(&**c)).map(drop))
                })));
            }
            Command::Change(n, changes) => {
                let changes = changes.iter().map(|c| parse(c)).collect::<Result<Vec<_>, _>>()?;
                return Ok(refused(self.act(id(n), |raft| raft.propose_change(&changes))));
            }
            Command::Transfer(n, to) => {
                return Ok(refused(self.act(id(n), |raft| raft.transfer_leadership(id(to)))));
            }
            Command::Read(n, contexts) => {
                return Ok(refused(self.act(id(n), |raft| {
                    contexts.iter().try_for_each(|c| raft.read(ReadContext(*c)))
                })));
            }
            Command::ReadFor(n, follower, context) => {
                let context = ReadContext(*context);
                return Ok(refused(
                    self.act(id(n), |raft| raft.read_for(context, id(follower), raft.term())),
                ));
            }
            _ => return Ok(self.disturb_or_show(command)),
        }
        Ok(String::new())
    }

    fn disturb_or_show(&mut self, command: &Command) -> String {
        let id = |n: &u64| RaftId(*n);
        match command {
            Command::Deliver { from, to } => drop(self.deliver(picks(*from, *to))),
            Command::Settle => while self.deliver(|_| true) {},
            Command::Lose { from, to } => {
                let picked = picks(*from, *to);
                self.network.retain(|m| !picked(m));
            }
            Command::Repeat => {
                self.network = self.network.iter().flat_map(|m| [m.clone(), m.clone()]).collect();
            }
            Command::Reverse => self.network.reverse(),
            Command::Cut(a, others) => {
                let all: Vec<u64> = self.servers.keys().map(|id| id.0).collect();
                for b in if others.is_empty() { &all } else { others } {
                    self.cut.extend([(id(a), id(b)), (id(b), id(a))]);
                }
            }
            Command::CutOneWay(a, b) => self.cut.push((id(a), id(b))),
            Command::Heal => self.cut.clear(),
            Command::Slow(n) => {
                self.servers.get_mut(&id(n)).expect("no such server").slow_disk = true
            }
            Command::Flush(n) => while self.flush(id(n)) {},
            Command::Compact(n) => self.compact(id(n)),
            _ => return self.show(command),
        }
        String::new()
    }

    fn set_up(&mut self, command: &Command) {
        let Command::Cluster {
            voters,
            election,
            heartbeat,
            pre_vote,
            check_quorum,
            lease,
            inflight,
            append_bytes,
            uncommitted_bytes,
            chunk,
            keep,
        } = command
        else {
            unreachable!("only called for this command")
        };
        let usual = Options::default();
        self.options = Options {
            election_timeout_ticks: election.unwrap_or(10),
            heartbeat_ticks: heartbeat.unwrap_or(3),
            pre_vote: pre_vote.unwrap_or(false),
            check_quorum: check_quorum.unwrap_or(false),
            lease_reads: lease.unwrap_or(false),
            lease_margin_ticks: 2,
            max_inflight_messages: inflight.unwrap_or(usual.max_inflight_messages),
            max_append_bytes: append_bytes.unwrap_or(usual.max_append_bytes),
            max_uncommitted_bytes: uncommitted_bytes.unwrap_or(usual.max_uncommitted_bytes),
            snapshot_chunk_bytes: chunk.unwrap_or(usual.snapshot_chunk_bytes),
            keep_entries: keep.unwrap_or(0),
            ..usual
        };
        self.initial = Config::of_voters((1..=*voters).map(RaftId));
        (1..=*voters).for_each(|n| self.start(RaftId(n)));
    }

    fn pass(&mut self, ticks: u64, on: Option<RaftId>) {
        for _ in 0..ticks {
            for id in self.servers.keys().copied().collect::<Vec<_>>() {
                if on.is_none_or(|on| on == id) {
                    self.act(id, |raft| raft.tick(1));
                }
            }
        }
    }

    fn show(&self, command: &Command) -> String {
        let mut out = String::new();
        match command {
            Command::Status => {
                for (id, server) in &self.servers {
                    let Some(raft) = &server.raft else {
                        let _ = writeln!(out, "{id} is down");
                        continue;
                    };
                    let s = raft.status();
                    let (role, term) = (role_name(s.role), s.hard_state.term);
                    let config = raft.configuration().1;
                    let _ = writeln!(
                        out,
                        "{id} {role} term={term} last={} commit={} config={config}",
                        s.last, s.commit
                    );
                }
            }
            Command::Progress(n) => {
                for (id, p) in self.raft(RaftId(*n)).into_iter().flat_map(|r| r.progress()) {
                    let inflight = p.inflight().map_or(0, |i| i.len());
                    let (state, matched, next) = (p.state_name(), p.matched, p.next);
                    let _ = writeln!(
                        out,
                        "{id} {state} matched={matched} next={next} inflight={inflight}"
                    );
                }
            }
            Command::Log(n) => {
                if let Some(raft) = self.raft(RaftId(*n)) {
                    let entries: Vec<_> = raft.entries().cloned().collect();
                    let _ = writeln!(out, "after {}{}", raft.status().base, list(&entries));
                }
            }
            Command::State(n) => {
                let _ = writeln!(out, "{}", self.servers[&RaftId(*n)].applied.join(" "));
            }
            _ => unreachable!("all other commands are handled before"),
        }
        out
    }
}

fn picks(from: Option<u64>, to: Option<u64>) -> impl Fn(&Message) -> bool {
    move |m| from.is_none_or(|n| m.from.0 == n) && to.is_none_or(|n| m.to.0 == n)
}

fn parse(change: &str) -> Result<Change, Box<dyn Error>> {
    let (what, id) = change.split_once('-').ok_or("a change is like add-4")?;
    let id = RaftId(id.parse()?);
    match what {
        "add" => Ok(Change::AddVoter(id)),
        "learn" => Ok(Change::AddLearner(id)),
        "remove" => Ok(Change::Remove(id)),
        _ => Err("a change is add, learn or remove".into()),
    }
}

#[test]
fn scripts() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/raft/scripts");
    #[allow(clippy::disallowed_methods, reason = "how one asks a test to accept its output")]
    let rewrite = std::env::var("REWRITE").is_ok();
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
    paths.sort();
    let mut changed = Vec::new();
    for path in &paths {
        let script = std::fs::read_to_string(path).unwrap();
        let output = goldenscript::generate(&mut Lab::default(), &script)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if output == script {
            continue;
        }
        if rewrite {
            std::fs::write(path, output).unwrap();
        } else {
            let line = output.lines().zip(script.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let got = output.lines().nth(line).unwrap_or("");
            changed.push(format!("{}:{}: now {got}", path.display(), line + 1));
        }
    }
    assert!(paths.len() >= 40, "only {} scripts were found", paths.len());
    assert!(changed.is_empty(), "run with REWRITE=1 to accept:\n{}", changed.join("\n"));
}
