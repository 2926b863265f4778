//! The story of a run: operations, faults and the messages that matter, in order.
//!
//! A run is simulated with a journal, and its three threads (the operations of clients, the acts of
//! the nemesis, the messages among nodes) are laid into one. It is to fit on one screen, so it is
//! told in as much detail as fits: every message; then only those that say something their sender
//! has not said to their receiver before; then without the operations that come to the same as the
//! one before; then how many messages of which type went between two operations. If even that is
//! too long, the middle is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Space;
use super::plan::Plan;
use super::trial::Trial;
use crate::backend::shorten;
use crate::config::RunConfig;
use crate::history::{Op, OpType, Process, pairs};
use crate::world::Report;
use crate::world::journal::Journal;
use crate::world::script::Course;

/// Lines that fit on one screen.
const LINES_MAX: usize = 60;
/// The part of them before the gap, if the middle is left out.
const HEAD_LINES: usize = 15;
/// Characters of a message that are shown.
const BODY_CHARS: usize = 88;

/// The course of a run, and its verdict.
#[derive(Clone, Debug)]
pub struct Story {
    /// The verdict and its reasons.
    pub trial: Trial,
    lines: Vec<String>,
}

impl Story {
    /// Runs `plan` and tells its story.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn of(plan: &Plan, space: &Space<'_>) -> Result<Story, String> {
        let config = plan.config()?;
        let pages = Pages::default();
        let journal = Journal::to(Box::new(pages.clone()));
        let course = Course::Scripted(plan.script.clone());
        let ran = space.run(&config)?.course(course).journal(journal).simulate()?;
        let report = &ran.report;
        let mut scenes = messages(&pages.text(), report, &config);
        // The nemesis notes each act twice, as asked for and as done; once is enough.
        let mut acts = 0;
        let once = |op: &&Op| {
            let is_act = op.process == Process::Nemesis;
            acts += usize::from(is_act);
            !is_act || acts % 2 == 0
        };
        let again = repeated(&report.history);
        scenes.extend(report.history.iter().filter(once).map(|op| {
            let is_repeated = again.contains(&op.index);
            Scene { is_repeated, ..tell_op(op, &config) }
        }));
        // At one moment: requests, messages between nodes, answers.
        scenes.sort_by_key(|scene| (scene.at, scene.rank));
        Ok(Story { trial: Trial::of(&ran), lines: fit(scenes) })
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        write!(f, "{:?}", self.trial.verdict)?;
        if !self.trial.why.is_empty() {
            write!(f, ": {}", self.trial.why)?;
        }
        match &self.trial.story {
            Some(story) => write!(f, "\n{}", story.trim_end()),
            None => Ok(()),
        }
    }
}

/// A journal in memory.
#[derive(Clone, Default)]
pub struct Pages(Arc<Mutex<Vec<u8>>>);

impl Pages {
    /// Returns the bytes that were written.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One thing that happened.
struct Scene {
    /// Nanoseconds since the operations began.
    at: i64,
    rank: u8,
    /// Part of an operation that came to the same as the one before by the same client.
    is_repeated: bool,
    what: What,
}

enum What {
    /// Something of which no story may be silent.
    Line(String),
    Message(Said),
}

/// A message between servers.
struct Said {
    link: String,
    kind: String,
    /// The body without the numbers that only match replies to requests.
    body: String,
    fate: String,
}

#[derive(Deserialize)]
struct Entry {
    time: i64,
    event: String,
    id: u64,
    src: String,
    dest: String,
    body: Value,
}

/// The messages between servers, from the moment the operations begin.
fn messages(journal: &str, report: &Report, config: &RunConfig) -> Vec<Scene> {
    let origin = report.origin.as_nanos() as i64;
    let mut scenes: Vec<Scene> = Vec::new();
    let mut sent: BTreeMap<u64, usize> = BTreeMap::new();
    // The bench writes the words of nodes; a body that cannot be read is a blame already.
    let entries = journal.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
    for Entry { time, event, id, src, dest, mut body } in entries {
        let at = time - origin;
        if event == "send" {
            // Nodes may be called anything; services have names of their own.
            let is_node = |name: &str| config.nodes.iter().any(|node| node.as_str() == name);
            let is_client = |name: &str| name.starts_with('c') && !is_node(name);
            if at < 0 || is_client(&src) || is_client(&dest) {
                continue;
            }
            if let Some(fields) = body.as_object_mut() {
                fields.remove("msg_id");
                fields.remove("in_reply_to");
            }
            let kind = body.get("type").and_then(Value::as_str).unwrap_or("?").to_owned();
            let said = Said {
                link: format!("{src} -> {dest}"),
                kind,
                body: body.to_string(),
                fate: "never arrives".into(),
            };
            sent.insert(id, scenes.len());
            scenes.push(Scene { at, rank: 2, is_repeated: false, what: What::Message(said) });
        } else if let Some(index) = sent.get(&id) {
            let scene = &mut scenes[*index];
            let late = Duration::from_nanos(u64::try_from(at - scene.at).unwrap_or(0));
            let What::Message(said) = &mut scene.what else { continue };
            said.fate = match event.as_str() {
                "recv" if late.is_zero() => String::new(),
                "recv" => format!("+{:.1} ms", late.as_secs_f64() * 1e3),
                _ => "LOST".into(),
            };
        }
    }
    scenes
}

fn tell_op(op: &Op, config: &RunConfig) -> Scene {
    let f = &op.f;
    let line = match op.process {
        Process::Nemesis => format!("{:<24}{f} {}", "NEMESIS", op.value),
        Process::Client(process) => {
            let worker = process as usize % config.concurrency;
            let node = &config.nodes[worker % config.nodes.len()];
            let last = if op.is_final { " (last)" } else { "" };
            let who = format!("client {process}");
            match op.kind {
                OpType::Invoke => {
                    format!("{:<24}{f} {}{last}", format!("{who} -> {node}"), op.value)
                }
                kind => {
                    let why = op.error.as_ref().map_or_else(String::new, |e| format!(" {e}"));
                    let end = kind.name();
                    format!("{:<24}{end} {f} {}{why}", format!("{who} <- {node}"), op.value)
                }
            }
        }
    };
    let rank = match (op.process, op.kind) {
        (Process::Nemesis, _) => 0,
        (_, OpType::Invoke) => 1,
        _ => 3,
    };
    let what = What::Line(shorten(&line, BODY_CHARS + 40));
    Scene { at: op.time, rank, is_repeated: false, what }
}

/// The indices of the events of operations that come to the same as the one before by the same
/// client: the polls of clients that wait for a lost message.
fn repeated(history: &[Op]) -> BTreeSet<usize> {
    let mut last: BTreeMap<Process, (&str, String, OpType)> = BTreeMap::new();
    let mut again = BTreeSet::new();
    for pair in pairs(history).unwrap_or_default() {
        let Some(end) = pair.completion else { continue };
        let now = (end.f.as_str(), end.value.to_string(), end.kind);
        if last.get(&end.process) == Some(&now) {
            again.extend([pair.invoke.index, end.index]);
        }
        last.insert(end.process, now);
    }
    again
}

fn stamp(at: i64, text: &str) -> String {
    format!("{:>10.1} ms  {text}", at as f64 / 1e6)
}

/// The most detailed telling that fits.
fn fit(mut scenes: Vec<Scene>) -> Vec<String> {
    let all = told(&scenes, &|_| true);
    if all.len() <= LINES_MAX {
        return all;
    }
    let new_only = told_new(&scenes);
    if new_only.len() <= LINES_MAX {
        return new_only;
    }
    let before = scenes.len();
    scenes.retain(|scene| !scene.is_repeated);
    // Of each operation two scenes are gone, its beginning and its end.
    let left_out = (before - scenes.len()) / 2;
    let note = (left_out > 0)
        .then(|| format!("{:>13}  ({left_out} operations came to the same as the one before)", ""));
    let mut lines = told_new(&scenes);
    if lines.len() + 1 > LINES_MAX {
        lines = summed_up(&scenes);
    }
    if lines.len() + 1 > LINES_MAX {
        let left_out = lines.len() - LINES_MAX + 2;
        let gap = format!("{:>13}  ... {left_out} lines left out ...", "");
        lines.splice(HEAD_LINES..HEAD_LINES + left_out, [gap]);
    }
    lines.extend(note);
    lines
}

/// Without messages that repeat earlier ones.
fn told_new(scenes: &[Scene]) -> Vec<String> {
    let mut heard = BTreeSet::new();
    let news: Vec<bool> = scenes
        .iter()
        .map(|scene| match &scene.what {
            What::Line(_) => true,
            What::Message(said) => heard.insert((&said.link, &said.body)),
        })
        .collect();
    told(scenes, &|index| news[index])
}

fn told(scenes: &[Scene], keep: &dyn Fn(usize) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut untold = 0_usize;
    for (index, scene) in scenes.iter().enumerate() {
        match &scene.what {
            What::Message(_) if !keep(index) => untold += 1,
            What::Message(said) => {
                let body = shorten(&said.body, BODY_CHARS);
                let text = format!("  {:<22}{body}  {}", said.link, said.fate);
                lines.push(stamp(scene.at, text.trim_end()));
            }
            What::Line(text) => lines.push(stamp(scene.at, text)),
        }
    }
    if untold > 0 {
        lines.push(format!("{:>13}  ({untold} messages repeat what was said before)", ""));
    }
    lines
}

/// Between two operations or faults, one line on all messages.
fn summed_up(scenes: &[Scene]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut since = 0;
    let flush = |counts: &mut BTreeMap<&str, (usize, usize)>, since, lines: &mut Vec<String>| {
        let tell = |(kind, (sent, lost)): (&str, (usize, usize))| match lost {
            0 => format!("{sent} {kind}"),
            _ => format!("{sent} {kind} ({lost} lost)"),
        };
        let parts: Vec<String> = std::mem::take(counts).into_iter().map(tell).collect();
        if !parts.is_empty() {
            lines.push(stamp(since, &format!("  nodes: {}", parts.join(", "))));
        }
    };
    for scene in scenes {
        match &scene.what {
            What::Message(said) => {
                since = if counts.is_empty() { scene.at } else { since };
                let (sent, lost) = counts.entry(&said.kind).or_default();
                *sent += 1;
                *lost += usize::from(said.fate == "LOST");
            }
            What::Line(text) => {
                flush(&mut counts, since, &mut lines);
                lines.push(stamp(scene.at, text));
            }
        }
    }
    flush(&mut counts, since, &mut lines);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    #[test]
    fn what_comes_to_the_same_as_before_is_repeated() {
        let history = from_text(
            "{:index 0 :time 0 :type :invoke :process 0 :f :read :value nil}
             {:index 1 :time 1 :type :invoke :process 1 :f :read :value nil}
             {:index 2 :time 2 :type :ok :process 1 :f :read :value 3}
             {:index 3 :time 3 :type :ok :process 0 :f :read :value 3}
             {:index 4 :time 4 :type :invoke :process 0 :f :read :value nil}
             {:index 5 :time 5 :type :ok :process 0 :f :read :value 3}
             {:index 6 :time 6 :type :invoke :process 0 :f :read :value nil}
             {:index 7 :time 7 :type :ok :process 0 :f :read :value 4}
             {:index 8 :time 8 :type :invoke :process 0 :f :read :value nil}
             {:index 9 :time 9 :type :ok :process 0 :f :read :value 3}",
        );
        assert_eq!(repeated(&history.unwrap()), BTreeSet::from([4, 5]));
    }
}
