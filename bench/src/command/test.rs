//! `seaworthy test`: one run, or several, with Maelstrom's flags.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io, thread};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::sums::SumArgs;
use super::{Exit, Signs, crash, page, say, usage};
use crate::backend::process::{Children, NodeCommand, resolve, unix_millis};
use crate::backend::server::{self, ServerCommand, Spec};
use crate::challenge::{Challenge, Challenges};
use crate::check::{Finding, Outcome, Verdict, reasons, results};
use crate::config::{RunArgs, RunConfig, flags};
use crate::edn::Edn;
use crate::judge::{judge, judge_binary, judge_servers};
use crate::report::{Card, Ledger};
use crate::run::{Ran, Run};
use crate::seed::Seed;
use crate::store::RunDir;
use crate::world::journal::Journal;
use crate::world::{Blame, Phase, Progress, Report};

/// Tests nodes and judges the history of their clients.
///
/// Without --bin, our own nodes run in a simulation on virtual time, determined by
/// --seed; with it, the binary runs as real processes.
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    run: RunArgs,
    /// The node binary, in any language; without it our own nodes are simulated
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Real servers, asked over their own API: seaworthy-server, etcd, or the file of a spec
    /// (docs/judging-a-server.md)
    #[arg(long, value_name = "SPEC", conflicts_with = "bin")]
    server: Option<String>,
    /// How often to run the test; stops at the first that is not valid
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    test_count: u64,
    /// Show the nodes' stderr here, too, each line with the node's name
    #[arg(long)]
    log_stderr: bool,
    /// Print every message that is sent
    #[arg(long)]
    log_net_send: bool,
    /// Print every message that is received
    #[arg(long)]
    log_net_recv: bool,
    /// Name of a node, in addition to --nodes; may be repeated
    #[arg(short, long)]
    node: Vec<String>,
    /// File with the names of nodes, one a line, in addition to --nodes
    #[arg(long)]
    nodes_file: Option<PathBuf>,
    /// Where results go
    #[arg(long, default_value = "store")]
    store: PathBuf,
    /// Leaves out report.html, the page about the run
    #[arg(long)]
    no_report: bool,
    #[command(flatten)]
    sums: SumArgs,
    #[command(flatten)]
    unused: UnusedArgs,
}

/// The options by which Jepsen's tests reach databases on machines of their own.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accepted without effect, since scripts for Jepsen have them")]
struct UnusedArgs {
    /// Name for logins
    #[arg(long)]
    username: Option<String>,
    /// Password for logins
    #[arg(long)]
    password: Option<String>,
    /// Identity file for logins
    #[arg(long)]
    ssh_private_key: Option<PathBuf>,
    /// Check the keys of hosts
    #[arg(long)]
    strict_host_key_checking: bool,
    /// Log in nowhere
    #[arg(long)]
    no_ssh: bool,
    /// Nodes end with the bench, which holds their stdin
    #[arg(long)]
    leave_db_running: bool,
    /// The history is there as JSON anyway
    #[arg(long)]
    logging_json: bool,
}

impl TestArgs {
    /// Collects the nodes' names in Jepsen's order and finds the binary, before anything
    /// is made.
    fn resolve(&mut self) -> Result<(), String> {
        let mut names = Vec::new();
        if let Some(file) = &self.nodes_file {
            let text = fs::read_to_string(file)
                .map_err(|e| format!("--nodes-file {}: {e}", file.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            names.extend(lines.map(str::to_owned));
            if names.is_empty() {
                return Err(format!("--nodes-file {}: no node is named", file.display()));
            }
        }
        names.append(&mut self.run.nodes);
        names.append(&mut self.node);
        self.run.nodes = names;
        self.bin = self.bin.as_deref().map(resolve).transpose()?;
        Ok(())
    }

    /// The subject of the test.
    fn subject(&self) -> Result<Subject, String> {
        Ok(match (&self.bin, &self.server) {
            (_, Some(name)) => Subject::Servers(Spec::load(name)?),
            (Some(bin), None) => Subject::Binary(bin.clone()),
            (None, None) => Subject::Simulation,
        })
    }
}

/// The subject of a test.
enum Subject {
    /// Our own nodes, in the simulation.
    Simulation,
    /// A binary that speaks over its pipes.
    Binary(PathBuf),
    /// Servers with sockets.
    Servers(Spec),
}

impl Subject {
    /// Whether it has real processes.
    fn is_foreign(&self) -> bool {
        !matches!(self, Subject::Simulation)
    }

    /// The flag that names it, and its value.
    fn flag(&self) -> Option<(&'static str, String)> {
        match self {
            Subject::Simulation => None,
            Subject::Binary(bin) => Some(("bin", bin.display().to_string())),
            Subject::Servers(spec) => Some(("server", spec.name.clone())),
        }
    }

    /// Removes the data of servers that did nothing wrong: etcd alone allocates 64 MB for each
    /// node's log.
    fn clean(&self, dir: &RunDir, verdict: Verdict) {
        if matches!(self, Subject::Servers(_)) && verdict == Verdict::Valid {
            // A directory that cannot be removed only takes space.
            let _ = fs::remove_dir_all(dir.path().join("data"));
        }
    }

    fn check(&self, config: &RunConfig) -> Result<(), String> {
        match self {
            Subject::Servers(spec) => server::check(spec, config),
            Subject::Simulation | Subject::Binary(_) => Ok(()),
        }
    }
}

const GOOD: &str = "Everything looks good! ヽ(‘ー`)ノ";
const BAD: &str = "Analysis invalid! (ﾉಥ益ಥ）ﾉ ┻━┻";
const UNSURE: &str = "Errors occurred during analysis, but no anomalies found. ಠ~ಠ";

/// Runs the command.
pub fn run(mut args: TestArgs, challenges: &Challenges) -> Exit {
    let subject = match args.resolve().and_then(|()| args.subject()) {
        Ok(subject) => subject,
        Err(message) => return usage(&message),
    };
    let chosen = args.run.seed;
    let children = Children::default();
    if let Err(e) = children.end_in_order() {
        return crash(&format!("cannot catch signals: {e}"));
    }
    args.sums.begin();
    let mut cards = Vec::new();
    let mut exit = Exit::Verdict(Verdict::Valid);
    for count in 0..args.test_count {
        let fallback = Seed(unix_millis() % 1_000_000_000);
        let mut one = args.clone();
        one.run.seed = chosen.map(|seed| seed.wrapping_add(count));
        exit = match RunConfig::new(one.run.clone(), fallback) {
            Ok(config) => match challenges.find(&config.args.workload) {
                Ok(challenge) => test(&one, &subject, challenge, &config, &children, &mut cards),
                Err(message) => usage(&message),
            },
            Err(message) => usage(&message),
        };
        if exit != Exit::Verdict(Verdict::Valid) {
            break;
        }
    }
    let written = args.sums.write(&cards);
    children.die_if_interrupted();
    match written {
        Ok(()) => exit,
        Err(message) => crash(&message),
    }
}

fn test(
    args: &TestArgs,
    subject: &Subject,
    challenge: &dyn Challenge,
    config: &RunConfig,
    children: &Children,
    cards: &mut Vec<Card>,
) -> Exit {
    // Before anything is made for flags that do not suit the workload.
    if let Err(message) = challenge.load(config).and_then(|_| subject.check(config)) {
        return usage(&message);
    }
    let started = unix_millis();
    let dir = match RunDir::create(&args.store, &config.args.workload, started) {
        Ok(dir) => dir,
        Err(e) => return crash(&format!("{}: {e}", args.store.display())),
    };
    announce(subject, config, &dir);
    let is_served = matches!(subject, Subject::Servers(_));
    let flags = flags(&config.flags_of_run());
    if let Err(e) = dir.write_test(&flags, subject.is_foreign(), is_served) {
        return crash(&format!("{}: {e}", dir.path().display()));
    }
    let (ran, ledger) = match execute(args, subject, challenge, config, &dir, children) {
        Ok(ran) => ran,
        Err(message) => return usage(&message),
    };
    let mut outcome = match subject {
        Subject::Simulation => judge(&ran),
        Subject::Binary(_) => judge_binary(&ran),
        Subject::Servers(_) => judge_servers(&ran),
    };
    let report = &ran.report;
    report.blames.iter().for_each(|blame| print_blame(blame, &dir));
    report.hints.iter().for_each(|hint| say(format_args!("Node {} {}", hint.node, hint.text)));
    // The stand-in for Jepsen's keys `:perf` and `:timeline`.
    outcome.push("pictures", Edn::map([("valid?", true.into()), ("drawn", Edn::Vector(vec![]))]));
    let so_far = report.interrupted.then(|| interrupt(&mut outcome));
    let results = results(&outcome);
    let command = page::command_of(config, subject.flag());
    let card = Card::of(&ran, &outcome, command, dir.path().to_owned());
    let traffic = ledger.traffic(&dir.path().join("messages.jsonl"));
    let page = |traffic| page::Page::of(&dir, &ran, traffic, &outcome, &card, subject.flag());
    let written = traffic.and_then(|traffic| write_files(&dir, &ran, &results, traffic.map(page)));
    if let Err(e) = written.as_ref().and(ran.journal.as_ref()) {
        return crash(&format!("{}: {e}", dir.path().display()));
    }
    cards.push(card);
    subject.clean(&dir, outcome.verdict);
    if let Some(violation) = &report.violation {
        say(format_args!("Invariant broken: {violation}"));
    }
    say(format_args!("{}\n", results.pretty()));
    if let Some(story) = &outcome.story {
        say(format_args!("{story}"));
    }
    if let Some(untested) = untested(&outcome) {
        say(untested);
    }
    if let Some(so_far) = so_far {
        say(so_far);
        return Exit::Verdict(outcome.verdict);
    }
    say(last_line(outcome.verdict));
    broken(report).unwrap_or(Exit::Verdict(outcome.verdict))
}

/// Writes the files of a run; its page is made meanwhile.
fn write_files(
    dir: &RunDir,
    ran: &Ran<'_>,
    results: &Edn,
    page: Option<page::Page<'_>>,
) -> io::Result<()> {
    let history = &ran.report.history;
    thread::scope(|scope| {
        let page = page.map(|page| scope.spawn(|| page.write()));
        dir.write_history(history)?;
        dir.write_results(results)?;
        dir.write_parts(results, history)?;
        match page.map(thread::ScopedJoinHandle::join) {
            Some(Ok(written)) => written,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    })?;
    if has_begun(&ran.report) { dir.publish() } else { Ok(()) }
}

fn has_begun(report: &Report) -> bool {
    !report.history.is_empty() || report.blames.is_empty()
}

/// The end of a test that Maelstrom calls broken whatever its clients saw: it did not
/// begin, or a process died by itself.
fn broken(report: &Report) -> Option<Exit> {
    if !has_begun(report) {
        return Some(crash("the test could not begin"));
    }
    let dead = report.blames.iter().find(|blame| blame.fault.is_death())?;
    Some(crash(&format!("node {} {}, so the test is broken", dead.node, dead.fault)))
}

/// Takes back the verdict of a run that was ended before its time, and tells the findings until
/// then.
fn interrupt(outcome: &mut Outcome) -> String {
    let found = match outcome.verdict {
        Verdict::Invalid => format!("found so far: {}", reasons(&outcome.findings).join("; ")),
        Verdict::Valid | Verdict::Unknown => "no anomalies so far".to_owned(),
    };
    let so_far = [("valid?", Verdict::Unknown.to_edn()), ("so-far", outcome.verdict.to_edn())];
    outcome.push("interrupted", Edn::map(so_far));
    outcome.verdict = Verdict::Unknown;
    format!("Interrupted, so the verdict is unknown; {found}")
}

/// The sentence on a run whose only fault is that operations never succeeded, or were never made.
fn untested(outcome: &Outcome) -> Option<String> {
    let is_lack = |finding: &&Finding| matches!(&*finding.part, "stats" | "operations");
    let (lacks, others): (Vec<_>, Vec<_>) = outcome.findings.iter().partition(is_lack);
    let is_all = others.iter().all(|finding| finding.verdict == Verdict::Unknown);
    let missing: Vec<&str> = lacks.iter().map(|finding| finding.text.as_str()).collect();
    (is_all && !missing.is_empty())
        .then(|| format!("No guarantee was seen broken, but {}: not tested.", missing.join(", ")))
}

/// Maelstrom's last line.
pub(super) fn last_line(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => GOOD,
        Verdict::Invalid => BAD,
        Verdict::Unknown => UNSURE,
    }
}

fn announce(subject: &Subject, config: &RunConfig, dir: &RunDir) {
    let arm = match subject {
        Subject::Simulation => "simulated".to_owned(),
        Subject::Binary(bin) => format!("{} as processes", bin.display()),
        Subject::Servers(spec) => format!("{} as servers", spec.name),
    };
    say(format_args!(
        "Testing {} with {} nodes ({arm}), {} workers, {} ops/s for {} s, seed {}, into {}",
        config.args.workload,
        config.nodes.len(),
        config.concurrency,
        config.args.rate,
        config.time_limit.as_secs_f64(),
        config.seed.0,
        dir.path().display(),
    ));
}

fn execute<'a>(
    args: &TestArgs,
    subject: &Subject,
    challenge: &'a dyn Challenge,
    config: &'a RunConfig,
    dir: &RunDir,
    children: &Children,
) -> Result<(Ran<'a>, Ledger), String> {
    let in_dir = |e: io::Error| format!("{}: {e}", dir.path().display());
    let log = dir.operation_log().map_err(in_dir)?;
    let ledger = dir.journal().and_then(|file| Ledger::of(file, !args.no_report));
    let (ledger, lines) = ledger.map_err(in_dir)?;
    let journal = Journal::to(Box::new(lines))
        .echo(args.log_net_send, args.log_net_recv)
        .log_operations(log, config.concurrency, subject.is_foreign());
    let bar = progress_bar(config.time_limit);
    let signs = Signs::default();
    let mut watch = |progress: Progress| {
        show(&bar, progress);
        signs.show(|elapsed| {
            // The world's clock begins with the operations.
            let is_starting = matches!(progress.phase, Phase::Init | Phase::Prepare);
            let time = if is_starting { elapsed } else { progress.since_start };
            format!("{} s: {}", time.as_secs(), tell(progress))
        });
    };
    let stop = || children.interrupted();
    let run = Run::of(challenge, config).journal(journal).watch(&mut watch).until(&stop);
    let args_of_nodes = || dir.fill_in(&config.args.args).map_err(|e| e.to_string());
    let ran = match subject {
        Subject::Simulation => run.simulate(),
        Subject::Binary(bin) => run.processes(NodeCommand {
            bin: bin.clone(),
            args: args_of_nodes()?,
            log_dir: dir.node_logs(),
            echo_stderr: args.log_stderr,
            children: children.clone(),
        }),
        Subject::Servers(spec) => run.servers(ServerCommand {
            spec: spec.clone(),
            args: args_of_nodes()?,
            data_dir: dir.path().join("data"),
            log_dir: dir.node_logs(),
            echo_logs: args.log_stderr,
            children: children.clone(),
        }),
    };
    bar.finish_and_clear();
    Ok((ran?, ledger))
}

/// A bar on a terminal; indicatif shows nothing in a pipe.
fn progress_bar(time_limit: Duration) -> ProgressBar {
    let bar = ProgressBar::new(time_limit.as_secs());
    let style = ProgressStyle::with_template("{bar:30} {pos:>4}/{len} s  {msg}");
    bar.set_style(style.expect("the template is constant and well-formed"));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_position(progress.since_start.as_secs());
    bar.set_message(tell(progress));
}

fn tell(progress: Progress) -> String {
    let what = match progress.phase {
        Phase::Init | Phase::Prepare => "starting nodes",
        Phase::Main => "running",
        Phase::Quiet => "running without faults",
        Phase::Drain => "waiting for open operations",
        Phase::Recover => "recovering",
        Phase::Last | Phase::Over => "last operations",
    };
    format!("{what}, {} events", progress.events)
}

fn print_blame(blame: &Blame, dir: &RunDir) {
    say(format_args!("Node {} {}", blame.node, blame.fault));
    let log = dir.node_logs().join(format!("{}.log", blame.node));
    say(format_args!("  its log: {}", log.display()));
    for line in &blame.last_lines {
        say(format_args!("  | {line}"));
    }
    if !blame.last_printed.is_empty() {
        say("  the last that it printed on stdout:");
    }
    for line in &blame.last_printed {
        say(format_args!("  | {line}"));
    }
}
