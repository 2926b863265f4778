//! `seaworthy plot`: pictures of runs, as SVG and PNG.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::{Exit, crash, say, usage};
use crate::check::Verdict;
use crate::edn::{self, Edn};
use crate::history::{self, History, Op, quantile};
use crate::plot::chart::{self, End, Series, Shade};
use crate::plot::standalone;
use crate::plot::tradeoff::{self, Point};
use crate::report::{self, Traffic, Window};
use crate::store::TEST_FILE;

/// Draws runs: latency.svg, quantiles.svg, rate.svg, messages.svg and each cycle of transactions of
/// one; quantiles.svg, rate.svg and tradeoff.svg (messages against latency) of several, in one
/// picture each.
#[derive(Clone, Debug, Args)]
pub struct PlotArgs {
    /// Where the pictures go [default: the directory of the run; here, if there are several]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Draws each picture as PNG, too
    #[arg(long)]
    png: bool,
    /// The first moment of messages.svg, in seconds on the clock of the operations
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    from: Option<f64>,
    /// The last moment of messages.svg
    #[arg(long, value_name = "SECONDS")]
    to: Option<f64>,
    /// The name of a run in the pictures, once for each [default: the flags in which they differ]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Another point of tradeoff.svg: its name, messages an operation, median and longest latency in
    /// milliseconds, separated by commas; may be repeated
    #[arg(long, value_name = "POINT", value_parser = point)]
    mark: Vec<Point>,
    /// Directories of runs, such as store/latest
    #[arg(required = true, value_name = "STORE")]
    stores: Vec<PathBuf>,
}

/// Runs of which colours fit into one chart.
const CURVES_MAX: usize = 4;

/// Runs of one picture.
const RUNS_MAX: usize = 40;

/// A point from elsewhere.
fn point(text: &str) -> Result<Point, String> {
    let wrong = || "not NAME,MESSAGES,MEDIAN,LONGEST".to_owned();
    let parts: Vec<&str> = text.split(',').collect();
    let [name, numbers @ ..] = &parts[..] else { return Err(wrong()) };
    let numbers: Result<Vec<f64>, _> = numbers.iter().map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[per_op, median_ms, most_ms]) if numbers.iter().flatten().all(|n| n.is_finite()) => {
            Ok(Point { name: (*name).to_owned(), per_op, median_ms, most_ms })
        }
        _ => Err(wrong()),
    }
}

/// Runs the command.
pub fn run(args: &PlotArgs) -> Exit {
    if args.stores.len() > RUNS_MAX {
        return usage(&format!("a picture has room for {RUNS_MAX} runs"));
    }
    if !args.name.is_empty() && args.name.len() != args.stores.len() {
        return usage("--name is needed once for each run, or not at all");
    }
    if args.png && !cfg!(feature = "png") {
        return usage(
            "--png needs a build that has it: cargo build --release -p seaworthy-bench --features png",
        );
    }
    let out = match (&args.out, &args.stores[..]) {
        (Some(out), _) => out.clone(),
        (None, [one]) => one.clone(),
        (None, _) => PathBuf::from("."),
    };
    let drawing = Drawing { args, out };
    match drawing.draw() {
        Ok(()) => Exit::Verdict(Verdict::Valid),
        Err(message) => crash(&message),
    }
}

/// Pictures on their way into a directory.
struct Drawing<'a> {
    args: &'a PlotArgs,
    out: PathBuf,
}

impl Drawing<'_> {
    fn draw(&self) -> Result<(), String> {
        fs::create_dir_all(&self.out).map_err(|e| format!("{}: {e}", self.out.display()))?;
        let stores = &self.args.stores;
        let names = if self.args.name.is_empty() { names(stores) } else { self.args.name.clone() };
        let mut runs: Vec<(Series, History)> = Vec::new();
        for (store, name) in stores.iter().zip(&names) {
            let history = history::read(store).map_err(|e| e.to_string())?;
            runs.push((report::series(name, &history), history));
        }
        if let ([store], [(series, history)]) = (&stores[..], &runs[..]) {
            return self.one(store, series, history);
        }
        let all: Vec<Series> = runs.into_iter().map(|(series, _)| series).collect();
        // Faults of several runs would hide each other, and more curves have no colours.
        if all.len() <= CURVES_MAX {
            self.write("quantiles", &chart::quantiles(&all, &[]))?;
            self.write("rate", &chart::rate(&all, &[]))?;
        }
        let points: Vec<Point> =
            stores.iter().zip(&all).filter_map(|(store, series)| cost(store, series)).collect();
        self.write("tradeoff", &tradeoff::draw(&points, &self.args.mark))
    }

    fn one(&self, store: &Path, series: &Series, history: &[Op]) -> Result<(), String> {
        let shades: Vec<Shade> = report::shades(history);
        let all = std::slice::from_ref(series);
        self.write("quantiles", &chart::quantiles(all, &shades))?;
        self.write("rate", &chart::rate(all, &shades))?;
        self.write("latency", &chart::latency(series, &shades))?;
        self.messages(store, history)?;
        if let Ok(text) = fs::read_to_string(store.join("results.edn")) {
            let results = edn::parse(&text).map_err(|e| format!("results.edn: {e}"))?;
            for (name, svg) in report::cycles(&results) {
                self.write(&format!("cycle-{}", plain(&name)), &svg)?;
            }
        }
        Ok(())
    }

    /// The messages between servers, those from the start of the operations on.
    fn messages(&self, store: &Path, history: &[Op]) -> Result<(), String> {
        let file = store.join("messages.jsonl");
        let journal = match fs::read(&file) {
            Ok(journal) => journal,
            Err(e) => {
                say(format_args!("no messages.svg: {}: {e}", file.display()));
                return Ok(());
            }
        };
        let mut traffic = Traffic::read(&journal);
        let origin = origin(store).unwrap_or(0);
        let nanos = |seconds: f64| (seconds * 1e9) as i64;
        let from = self.args.from.map_or(origin, |from| origin.saturating_add(nanos(from)));
        let to = self.args.to.map_or(i64::MAX, |to| origin.saturating_add(nanos(to)));
        let window: Window = from..=to;
        self.write("messages", &report::message_diagram(&mut traffic, origin, &window, history))
    }

    fn write(&self, name: &str, svg: &str) -> Result<(), String> {
        let save = |end: &str, bytes: &[u8]| {
            let path = self.out.join(format!("{name}.{end}"));
            fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))?;
            say(path.display());
            Ok::<(), String>(())
        };
        save("svg", standalone(svg).as_bytes())?;
        #[cfg(feature = "png")]
        if self.args.png {
            save("png", &crate::plot::png::png(svg)?)?;
        }
        Ok(())
    }
}

/// When the operations of a run began on the world's clock, in nanoseconds, as its card tells.
fn origin(store: &Path) -> Option<i64> {
    let file = File::open(store.join(report::CARD)).ok()?;
    let card: Value = serde_json::from_reader(file).ok()?;
    card.get("origin_nanos")?.as_i64()
}

/// Messages and latency of a run, from its results: of broadcast the time until an element is
/// everywhere, of others that until a client has its answer.
fn cost(store: &Path, series: &Series) -> Option<Point> {
    let file = File::open(store.join("results.json")).ok()?;
    let results: Value = serde_json::from_reader(file).ok()?;
    let per_op = results.pointer("/net/servers/msgs-per-op")?.as_f64()?;
    let stable = |q: &str| results.pointer(&format!("/workload/stable-latencies/{q}"))?.as_f64();
    let mut took: Vec<i64> = series
        .samples
        .iter()
        .filter(|sample| sample.end == End::Ok)
        .filter_map(|sample| sample.took)
        .collect();
    took.sort_unstable();
    let answered = |q: f64| quantile(&took, q).map(|nanos| nanos as f64 / 1e6);
    Some(Point {
        name: series.name.clone(),
        per_op,
        median_ms: stable("0.5").or_else(|| answered(0.5))?,
        most_ms: stable("1").or_else(|| answered(1.0))?,
    })
}

/// Names for runs: the flags in which they differ, or else the last parts of their paths, such as
/// `lin-kv/20260131T235959.000Z`.
fn names(stores: &[PathBuf]) -> Vec<String> {
    let flags: Vec<Vec<String>> = stores.iter().map(|store| flags(store)).collect();
    let is_common = |flag: &String| flags.iter().all(|of_run| of_run.contains(flag));
    let own = |of_run: &Vec<String>| {
        let own = of_run.iter().filter(|flag| !is_common(flag)).map(String::as_str);
        own.collect::<Vec<_>>().join(" ")
    };
    let own: Vec<String> = flags.iter().map(own).collect();
    let name = |(store, own): (&PathBuf, &String)| {
        if !own.is_empty() {
            return own.clone();
        }
        let path = fs::canonicalize(store).unwrap_or_else(|_| store.clone());
        let parts: Vec<String> =
            path.iter().rev().take(2).map(|part| part.to_string_lossy().into_owned()).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join("/")
    };
    stores.iter().zip(&own).map(name).collect()
}

/// The flags of a run, each with its value; none if it did not note them.
fn flags(store: &Path) -> Vec<String> {
    let text = fs::read_to_string(store.join(TEST_FILE)).unwrap_or_default();
    let test = edn::parse(&text).unwrap_or_default();
    let words = test.get("flags").and_then(Edn::as_seq).unwrap_or_default();
    let mut flags: Vec<String> = Vec::new();
    for word in words.iter().filter_map(Edn::as_text).filter(|word| *word != "--") {
        match (word.strip_prefix("--"), flags.last_mut()) {
            (None, Some(flag)) => *flag += &format!(" {word}"),
            (name, _) => flags.push(name.unwrap_or(word).to_owned()),
        }
    }
    flags
}

/// A name as a part of a file's name.
fn plain(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    name.chars().take(60).map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_the_flags_in_which_they_differ() {
        let dir = tempfile::tempdir().unwrap();
        let stores: Vec<PathBuf> = [350, 2000]
            .iter()
            .map(|budget| {
                let store = dir.path().join(budget.to_string());
                fs::create_dir(&store).unwrap();
                let test = format!(
                    "{{:flags [\"--workload\" \"broadcast\" \"--rate\" \"100\" \"--\" \"--latency-budget\" \"{budget}\"]}}"
                );
                fs::write(store.join(TEST_FILE), test).unwrap();
                store
            })
            .collect();
        assert_eq!(names(&stores), ["latency-budget 350", "latency-budget 2000"]);
        assert!(names(&stores[..1])[0].ends_with("/350"));
    }

    #[test]
    fn a_point_is_a_name_and_three_numbers() {
        let read = point("best published,8.3,230,397").unwrap();
        assert_eq!((&*read.name, read.per_op, read.most_ms), ("best published", 8.3, 397.0));
        for wrong in ["a,1,2", "a,1,2,x", "a,1,2,3,4", "a,1,2,inf", ""] {
            assert!(point(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_kind_of_anomaly_is_a_plain_name() {
        assert_eq!(plain("G-single-realtime-1"), "G-single-realtime-1");
        assert_eq!(plain("../x"), "___x");
    }
}
