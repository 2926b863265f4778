//! `seaworthy check`: judges histories that were recorded before.
//!
//! One line a file: its name, the verdict, and why. The exit status is that of the worst
//! file: 0 valid, 1 invalid, 2 unknown or unreadable; an invalid one outweighs those.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::usage;
use crate::challenge::{Challenges, Judge};
use crate::check::linear::{self, model};
use crate::check::txn::{self, Model, parse_models};
use crate::check::{self, Availability, CheckOptions, Outcome, Verdict, bank, long_fork};
use crate::edn::{Edn, parse, printable};
use crate::history::{self, Ending, Events, Op, ReadError, Tape};
use crate::report::{self, Material};

/// Judge recorded histories, in EDN or JSON, of Jepsen, Maelstrom, elle-cli or this bench:
/// an operation a line, or all of them in a vector; also history.txt and jepsen.log.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// The workload of the clients.
    // The command line adds the names that there are.
    #[arg(short, long, required_unless_present = "model")]
    pub workload: Option<String>,
    /// Judge linearizability of one object of this kind instead.
    #[arg(long, value_parser = PossibleValuesParser::new(model::NAMES))]
    #[arg(conflicts_with = "workload")]
    pub model: Option<String>,
    /// The value that the object of `--model` begins with, as EDN: `0`, `{x 1}`, `[a b]`.
    /// Without it, registers begin with nil, locks free, and the others empty.
    #[arg(long, value_name = "VALUE", requires = "model", value_parser = initial)]
    #[arg(allow_negative_numbers = true)]
    pub initial: Option<Edn>,
    /// The histories: files, directories of runs (store/latest), or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print the result map of each file, too.
    #[arg(long)]
    pub results: bool,
    /// Explain a violation in plain text, where a checker can
    #[arg(long)]
    pub story: bool,
    /// Write a page about the history to this file, if one file is judged
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// How many operations must succeed: `total`, or a fraction from 0 to 1.
    #[arg(long, value_name = "PART")]
    pub availability: Option<Availability>,
    /// Consistency models that transactions must satisfy, separated by commas.
    #[arg(long, value_name = "MODELS", value_parser = parse_models)]
    // The whole path keeps clap from taking each model for a value of its own.
    pub consistency_models: Option<std::vec::Vec<Model>>,
    /// Report findings under `:stricter` without counting them, and judge as Maelstrom does where it
    /// differs from Elle: a register history without dependencies is invalid, not unknown
    #[arg(long)]
    pub maelstrom: bool,
    /// The accounts of a bank.
    #[command(flatten)]
    pub bank: bank::Options,
    /// The size of a group of long-fork's keys.
    #[command(flatten)]
    pub long_fork: long_fork::Options,
}

fn initial(text: &str) -> Result<Edn, String> {
    parse(text).map_err(|error| format!("not EDN: {error}"))
}

impl CheckArgs {
    fn options(&self) -> CheckOptions {
        let mut txn =
            txn::Options { empty_graph_is_invalid: self.maelstrom, ..txn::Options::default() };
        if let Some(models) = &self.consistency_models {
            txn.models.clone_from(models);
        }
        CheckOptions {
            availability: self.availability,
            net: None,
            txn,
            reference: self.maelstrom,
            untested_is_unknown: false,
            commits_are_shared: true,
            bank: self.bank.clone(),
            long_fork: self.long_fork,
        }
    }

    /// Returns the judge or the model that the files are to be judged by.
    fn subject<'a>(&'a self, challenges: &'a Challenges) -> Result<Subject<'a>, String> {
        if let Some(name) = self.model.as_deref() {
            let initial = self.initial.as_ref().unwrap_or(&Edn::Nil);
            // A value that does not fit is the command line's fault, not a history's.
            model::from_initial(name, initial)
                .map_err(|why| format!("--initial {}: {why}", printable(&initial.to_string())))?;
            return Ok(Subject::Model(name, initial));
        }
        let name = self.workload.as_deref().unwrap_or_default();
        let judge = challenges.judge(name);
        Ok(Subject::Workload(judge.ok_or_else(|| format!("there is no workload {name}"))?))
    }
}

/// The judge of a history.
enum Subject<'a> {
    /// The checker of a workload.
    Workload(Judge<'a>),
    /// One object of this kind, with the value that it begins with.
    Model(&'a str, &'a Edn),
}

impl Subject<'_> {
    fn read(&self, file: &Path) -> Result<Tape, ReadError> {
        match self {
            Subject::Workload(judge) => judge.read(file),
            Subject::Model(..) => history::read(file).map(Tape::from),
        }
    }

    fn judge(&self, history: &Tape, options: &CheckOptions) -> Outcome {
        match self {
            Subject::Workload(judge) => judge.judge(history, options),
            Subject::Model(name, initial) => {
                judge_object(name, initial, &Events::from(history).whole())
            }
        }
    }
}

fn judge_object(name: &str, initial: &Edn, history: &[Op]) -> Outcome {
    let model = match model::from_initial(name, initial) {
        Ok(model) => model,
        Err(why) => return Outcome::unknown(why),
    };
    let mut object = linear::check(model, history);
    let mut whole = Outcome::new(Verdict::Valid, []);
    whole.story = object.story.take();
    whole.add("linearizable", object);
    whole
}

/// Judges the files and prints to standard output.
pub fn run(args: &CheckArgs, challenges: &Challenges) -> ExitCode {
    let subject = match args.subject(challenges) {
        Ok(subject) => subject,
        Err(message) => return usage(&message).into(),
    };
    if args.report.is_some() && args.files.len() > 1 {
        return usage("--report is for one history").into();
    }
    let worst = judge_files(args, &subject, &mut io::stdout().lock());
    ExitCode::from(match worst {
        Ok(Verdict::Valid) => 0,
        Ok(Verdict::Invalid) => 1,
        // The reader of the output has gone, so a verdict was not told.
        Ok(Verdict::Unknown) | Err(_) => 2,
    })
}

/// Judges the files, prints a line for each, and returns the worst verdict.
///
/// # Errors
/// If the output cannot be written.
fn judge_files(
    args: &CheckArgs,
    subject: &Subject<'_>,
    out: &mut impl Write,
) -> io::Result<Verdict> {
    let options = args.options();
    let mut worst = Verdict::Valid;
    for file in &args.files {
        let verdict = match subject.read(file) {
            Ok(history) => judge(args, subject, &options, file, &history, out)?,
            Err(error) => {
                writeln!(out, "{}: unreadable: {}", file.display(), error.reason())?;
                Verdict::Unknown
            }
        };
        worst = worst.max(verdict);
    }
    Ok(worst)
}

fn judge(
    args: &CheckArgs,
    subject: &Subject<'_>,
    options: &CheckOptions,
    file: &Path,
    history: &Tape,
    out: &mut impl Write,
) -> io::Result<Verdict> {
    let ending = Ending::of(file);
    let file = file.display();
    let operations = history.heads().iter().filter(|op| op.is_client()).count();
    if operations == 0 {
        // Every checker would find nothing wrong with an empty file.
        writeln!(out, "{file}: unknown: no client did anything")?;
        return Ok(Verdict::Unknown);
    }
    let mut outcome = subject.judge(history, options);
    outcome.add_ending(ending);
    if let Some(path) = &args.report {
        let events = Events::from(history).whole();
        let name = args.workload.as_deref().or(args.model.as_deref()).unwrap_or_default();
        let mut material = Material::of_history(name, &events, &outcome);
        if let Subject::Model(name, initial) = subject {
            material.model = (*name, *initial);
        }
        fs::write(path, report::html(&mut material))?;
    }
    let reasons = check::reasons(&outcome.findings).join(" | ");
    match outcome.verdict {
        Verdict::Valid => writeln!(out, "{file}: valid: {operations} client events")?,
        Verdict::Unknown => writeln!(out, "{file}: unknown: {reasons}")?,
        Verdict::Invalid => writeln!(out, "{file}: invalid: {reasons}")?,
    }
    if let Some(story) = outcome.story.as_ref().filter(|_| args.story) {
        writeln!(out, "{story}")?;
    }
    if args.results {
        writeln!(out, "{}", check::results(&outcome).pretty())?;
    }
    Ok(outcome.verdict)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CheckArgs,
    }

    fn recorded(path: &str) -> String {
        format!("{}/histories/{path}", env!("CARGO_MANIFEST_DIR"))
    }

    /// The worst verdict and the lines, without the directories of the files.
    fn judged(args: &[&str]) -> (Verdict, String) {
        let cli = Cli::try_parse_from([&["check"], args].concat()).expect("good arguments");
        let mut out = Vec::new();
        let challenges = Challenges::builtin();
        let subject = cli.args.subject(&challenges).expect("a workload that there is");
        let verdict =
            judge_files(&cli.args, &subject, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        (verdict, text.replace(&recorded(""), ""))
    }

    #[test]
    fn one_line_a_file_and_the_worst_verdict() {
        let valid = recorded("maelstrom/broadcast/history.edn");
        let lost = recorded("maelstrom-broken/broadcast/history.edn");
        let unknown = recorded("hand/broadcast/add-is-not-broadcast.edn");
        assert_eq!(
            judged(&["-w", "broadcast", &valid]),
            (
                Verdict::Valid,
                "maelstrom/broadcast/history.edn: valid: 178 client events\n".to_owned()
            )
        );
        let (verdict, text) = judged(&["-w", "broadcast", &valid, &lost, &unknown]);
        assert_eq!(verdict, Verdict::Invalid);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            "maelstrom-broken/broadcast/history.edn: invalid: workload: 35 lost: 4 6 9 13 ..."
        );
        assert_eq!(
            lines[2],
            "hand/broadcast/add-is-not-broadcast.edn: unknown: workload: \
             operation 0 is :add, which this workload does not have"
        );
    }

    #[test]
    fn reasons_fit_on_a_line() {
        let reason = |name: &str| {
            let file = recorded(&format!("maelstrom-broken/{name}/history.edn"));
            let (verdict, text) = judged(&["-w", name, &file]);
            assert_eq!(verdict, Verdict::Invalid);
            text.trim_end().split_once(": invalid: ").expect("a verdict").1.to_owned()
        };
        assert_eq!(reason("unique-ids"), "workload: 7 duplicated: 0 1 2 3 ...");
        assert_eq!(reason("g-counter"), "workload: read 162 where ([232 232]) was possible");
        assert_eq!(
            reason("echo"),
            "workload: [\"Expected a message with :echo\" \"Please echo 103\" \"But received\" {:type \"echo_o..."
        );
        assert!(reason("txn-list-append").starts_with("workload: anomalies :G"));
    }

    #[test]
    fn results_and_demands() {
        let file = recorded("maelstrom/lin-kv/history.edn");
        let echo = recorded("maelstrom/echo/history.edn");
        let (_, text) = judged(&["-w", "echo", "--results", &echo]);
        assert!(
            text.contains("\n :workload {:valid? true, :errors ()},\n :valid? true}\n"),
            "{text}"
        );
        let (verdict, text) = judged(&["-w", "echo", "--availability", "total", &file]);
        assert_eq!(verdict, Verdict::Invalid);
        assert!(text.contains("availability: the fraction 0.5802469 of the operations"), "{text}");
        assert!(Cli::try_parse_from(["check", "-w", "echo"]).is_err());
    }

    #[test]
    fn no_reason_is_blank() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("history.edn");
        let write = |f: &str| {
            let op = |kind: &str| format!("{{:process 0, :type :{kind}, :f :{f}, :value [0 1]}}\n");
            fs::write(&path, op("invoke") + &op("ok")).expect("written");
        };
        let name = path.display().to_string();
        let reason = |flags: &[&str]| {
            let (verdict, text) = judged(&[flags, &[&name]].concat());
            assert_ne!(verdict, Verdict::Valid, "{flags:?}");
            let reason = text.trim_end().rsplit_once(": ").expect("a reason").1.to_owned();
            assert!(!reason.is_empty(), "{flags:?}: {text}");
            text.trim_end().replace(&name, "")
        };
        for f in ["jepsen/write", "juggle"] {
            write(f);
            for workload in Challenges::builtin().judged() {
                reason(&["-w", workload]);
            }
            for model in model::NAMES {
                reason(&["--model", model]);
            }
        }
        assert!(reason(&["-w", "lin-kv"]).contains("has no operation juggle"));
        write("read");
        assert_eq!(
            reason(&["--model", "register"]),
            ": invalid: linearizable: no order of the operations explains :read [0 1] at index 1"
        );
    }

    #[test]
    fn what_cannot_be_read_or_holds_nothing_is_no_pass() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("written");
            path.display().to_string()
        };
        let table: [(&[u8], &str); 5] = [
            (b"", "unknown: no client did anything"),
            (b"{:type :info, :process :nemesis, :f :kill}", "unknown: no client did anything"),
            (
                b"{:type :ok}",
                "unreadable: line 1, column 1: no :process, and no :echo is open that it fits",
            ),
            (b"\n\xFF", "unreadable: line 2, column 1: found the byte 0xFF, which is not UTF-8"),
            (b"{:type :ok", "unreadable: line 1, column 1: '{' is never closed"),
        ];
        for (n, (text, complaint)) in table.into_iter().enumerate() {
            let path = file(&n.to_string(), text);
            let (verdict, line) = judged(&["-w", "echo", &path]);
            assert_eq!((verdict, line), (Verdict::Unknown, format!("{path}: {complaint}\n")));
        }
        let (verdict, line) = judged(&["-w", "echo", "/nonexistent"]);
        assert_eq!(verdict, Verdict::Unknown);
        assert!(line.starts_with("/nonexistent: unreadable: "), "{line}");
    }
}
