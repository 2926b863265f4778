//! A run as a file: its flags, the times of its faults, and those of its operations.
//!
//! A plan is a map in EDN, made to be read and edited:
//!
//! ```clojure
//! {:flags ["-w" "g-set" "--node-count" "2" "--seed" "7"]
//!  :fails {:class :safety :kinds ["workload lost"]}
//!  :faults
//!  [{:ms 120.5 :f :kill :value ["n0"]}]
//!  :operations
//!  [{:ms 100.0 :worker 0 :f :add :value 1}]}
//! ```
//!
//! `:flags` are those of `seaworthy test`; times are milliseconds since the operations
//! began; a worker is connected to node number worker modulo nodes. `:fails` is how the
//! run failed when the plan was written, if it did. The last reads of a workload
//! are not listed: they follow by themselves.

use std::time::Duration;

use seaworthy::message::NodeId;

use crate::challenge::Challenges;
use crate::check::{Class, Symptom};
use crate::config::{RunArgs, RunConfig, flags};
use crate::edn::{Edn, parse};
use crate::load::Invocation;
use crate::seed::Seed;
use crate::world::nemesis::{Act, tell};
use crate::world::script::{PlannedOp, Script};

/// A run that is written down.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes, network, disks, clocks, times, seed.
    pub run: RunArgs,
    /// The acts and the operations.
    pub script: Script,
    /// How it failed.
    pub symptom: Option<Symptom>,
}

impl Plan {
    /// The plan's run, checked.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn config(&self) -> Result<RunConfig, String> {
        RunConfig::new(self.run.clone(), Seed(0))
    }

    /// How many faults begin in it.
    pub fn faults(&self) -> usize {
        let begun = self.script.acts.iter().filter(|(_, act)| act.fault().is_some()).count();
        begun + usize::from(self.run.chaos.lasting_fault)
    }

    /// A sentence about the acts and operations that the plan lists and the run does not do,
    /// because they come after the time for them: faults belong to the time limit, operations to
    /// the quiet phase, too.
    ///
    /// # Errors
    /// A sentence about the flag that makes no sense.
    pub fn too_late(&self) -> Result<Option<String>, String> {
        let config = self.config()?;
        let end = config.time_limit + config.quiet_phase;
        let acts = self.script.acts.iter().filter(|(at, _)| *at >= config.time_limit).count();
        let ops = self.script.ops.iter().filter(|op| op.at >= end).count();
        let limits = format!(
            "the operations end after {} s (--time-limit), and {} s without faults (--quiet-phase)",
            config.time_limit.as_secs_f64(),
            config.quiet_phase.as_secs_f64(),
        );
        let late = (acts > 0 || ops > 0)
            .then(|| format!("{acts} faults and {ops} operations of the plan come too late and are left out: {limits}"));
        Ok(late)
    }

    /// The text of the file.
    pub fn to_text(&self) -> Result<String, String> {
        let nodes = self.config()?.nodes;
        let mut lines = vec![
            "; A run of the Seaworthy bench. Run it again with: seaworthy replay FILE".to_owned(),
            format!("{{:flags {}", Edn::vector(flags(&self.run).iter().map(Edn::str))),
        ];
        if let Some(symptom) = &self.symptom {
            let kinds = Edn::vector(symptom.kinds.iter().map(Edn::str));
            let class = Edn::keyword(symptom.class.name());
            lines.push(format!(" :fails {}", Edn::map([("class", class), ("kinds", kinds)])));
        }
        let acts = self.script.acts.iter().map(|(at, act)| tell_act(*at, act, &nodes));
        let ops = self.script.ops.iter().map(tell_op);
        lines.push(block("faults", acts.collect()));
        lines.push(block("operations", ops.collect()) + "}\n");
        Ok(lines.join("\n"))
    }

    /// Reads the text of a file, which is about one of these challenges.
    ///
    /// # Errors
    /// A sentence on its fault.
    pub fn from_text(text: &str, challenges: &Challenges) -> Result<Plan, String> {
        let plan = parse(text).map_err(|e| e.to_string())?;
        only(&plan, &["flags", "fails", "faults", "operations"])?;
        let list = |name: &str| -> Result<Vec<Edn>, String> {
            let part = plan.get(name).ok_or(format!("the plan has no :{name}"))?;
            let items = part.as_seq().ok_or(format!(":{name} is not a vector"))?;
            Ok(items.to_vec())
        };
        let typed = list("flags")?;
        let text = |flag: &Edn| flag.as_text().map(str::to_owned).ok_or(":flags holds no text");
        let typed: Vec<String> = typed.iter().map(text).collect::<Result<_, _>>()?;
        let run = RunArgs::from_flags(typed).map_err(|e| e.to_string())?;
        let config = RunConfig::new(run.clone(), Seed(0))?;
        let acts = list("faults")?;
        let acts = acts.iter().map(|act| read_act(act, &config.nodes));
        let mut acts: Vec<(Duration, Act)> = acts.collect::<Result<_, _>>()?;
        acts.sort_by_key(|(at, _)| *at);
        let ops = list("operations")?;
        let mut ops: Vec<PlannedOp> = ops.iter().map(read_op).collect::<Result<_, _>>()?;
        ops.sort_by_key(|op| op.at);
        if let Some(op) = ops.iter().find(|op| op.worker >= config.concurrency) {
            return Err(format!("there is no worker {}; see --concurrency", op.worker));
        }
        let challenge = challenges.find(&run.workload)?;
        if let Some(op) = ops.iter().find(|op| !challenge.is_well_formed(&op.op)) {
            return Err(format!("{} has no such operation: {}", run.workload, tell_op(op)));
        }
        let symptom = plan.get("fails").map(read_symptom).transpose()?;
        Ok(Plan { run, script: Script { acts, ops }, symptom })
    }
}

/// A key that is misspelt must not be passed over.
fn only(item: &Edn, keys: &[&str]) -> Result<(), String> {
    let entries = item.entries().ok_or_else(|| format!("{item} is not a map"))?;
    let known = |key: &Edn| key.as_text().is_some_and(|key| keys.contains(&key));
    match entries.iter().find(|(key, _)| !known(key)) {
        Some((key, _)) => Err(format!("{key} means nothing here: {item}")),
        None => Ok(()),
    }
}

fn block(name: &str, items: Vec<String>) -> String {
    format!(" :{name}\n [{}]", items.join("\n  "))
}

fn tell_ms(at: Duration) -> Edn {
    Edn::Float(at.as_nanos() as f64 / 1e6)
}

fn read_ms(item: &Edn) -> Result<Duration, String> {
    let number = |e: &Edn| e.as_float().or_else(|| e.as_int().map(|i| i as f64));
    let ms = item.get("ms").and_then(number).filter(|ms| (0.0..1e12).contains(ms));
    // Exact up to 2^53 ns, which is a hundred days.
    let nanos = ms.ok_or_else(|| format!("{item} needs an :ms of 0 or more"))? * 1e6;
    Ok(Duration::from_nanos(nanos.round() as u64))
}

fn tell_op(planned: &PlannedOp) -> String {
    let worker = Edn::from(planned.worker);
    let PlannedOp { at, op, .. } = planned;
    Edn::map([
        ("ms", tell_ms(*at)),
        ("worker", worker),
        ("f", Edn::keyword(&op.f)),
        ("value", op.value.clone()),
    ])
    .to_string()
}

fn read_op(item: &Edn) -> Result<PlannedOp, String> {
    only(item, &["ms", "worker", "f", "value"])?;
    let worker = item.get("worker").and_then(Edn::as_int).and_then(|w| usize::try_from(w).ok());
    let f = item.get("f").and_then(Edn::as_text);
    let (Some(worker), Some(f)) = (worker, f) else {
        return Err(format!("{item} lacks a :worker or an :f"));
    };
    let value = item.get("value").cloned().unwrap_or_default();
    Ok(PlannedOp { at: read_ms(item)?, worker, op: Invocation::new(f, value) })
}

fn tell_act(at: Duration, act: &Act, nodes: &[NodeId]) -> String {
    let name = |i: &usize| Edn::str(nodes[*i].as_str());
    let value = match act {
        Act::Kill(chosen)
        | Act::Pause(chosen)
        | Act::LoseRequests(chosen)
        | Act::LoseAnswers(chosen)
        | Act::FillDisks(chosen) => Edn::vector(chosen.iter().map(name)),
        Act::Partition(grudge) => {
            let pair = |(node, unheard): (&usize, &std::collections::BTreeSet<usize>)| {
                (name(node), Edn::vector(unheard.iter().map(name)))
            };
            Edn::Map(grudge.iter().filter(|(_, unheard)| !unheard.is_empty()).map(pair).collect())
        }
        _ => {
            let done = tell(act.clone(), nodes).done;
            if act.fault().is_some() { done } else { Edn::Nil }
        }
    };
    let f = Edn::keyword(act.name());
    let mut entries = vec![(Edn::keyword("ms"), tell_ms(at)), (Edn::keyword("f"), f)];
    if !value.is_nil() {
        entries.push((Edn::keyword("value"), value));
    }
    Edn::Map(entries).to_string()
}

fn read_act(item: &Edn, nodes: &[NodeId]) -> Result<(Duration, Act), String> {
    let wrong = || format!("cannot read the fault {item}");
    only(item, &["ms", "f", "value"])?;
    let index = |e: &Edn| -> Result<usize, String> {
        let name = e.as_text().ok_or_else(wrong)?;
        let at = nodes.iter().position(|n| n.as_str() == name);
        at.ok_or_else(|| format!("there is no node {name} in {item}"))
    };
    let value = item.get("value").unwrap_or(&Edn::Nil);
    let seq = |e: &Edn| -> Result<Vec<usize>, String> {
        e.as_seq().ok_or_else(wrong)?.iter().map(index).collect()
    };
    let act = match item.get("f").and_then(Edn::as_text).ok_or_else(wrong)? {
        "start-partition" => {
            let grudge = value.entries().ok_or_else(wrong)?.iter();
            let pair = |(node, unheard): &(Edn, Edn)| {
                Ok::<_, String>((index(node)?, seq(unheard)?.into_iter().collect()))
            };
            Act::Partition(grudge.map(pair).collect::<Result<_, _>>()?)
        }
        "stop-partition" => Act::Heal,
        "kill" => Act::Kill(seq(value)?),
        "start" => Act::Start,
        "pause" => Act::Pause(seq(value)?),
        "resume" => Act::Resume,
        kind @ ("start-one-way" | "stall" | "start-reset") => {
            let link = |e: &Edn| match seq(e)?.as_slice() {
                [from, to] => Ok((*from, *to)),
                _ => Err(wrong()),
            };
            let links = value.as_seq().ok_or_else(wrong)?;
            let links = links.iter().map(link).collect::<Result<_, _>>()?;
            match kind {
                "stall" => Act::Stall(links),
                "start-reset" => Act::Reset(links),
                _ => Act::CutOneWay(links),
            }
        }
        "stop-one-way" => Act::HealOneWay,
        kind @ ("slow" | "throttle") => {
            let number = value.as_int().and_then(|f| u32::try_from(f).ok()).ok_or_else(wrong)?;
            if kind == "slow" { Act::Slow(number) } else { Act::Throttle(number) }
        }
        "stop-reset" => Act::HealReset,
        "unthrottle" => Act::Unthrottle,
        "lose-requests" => Act::LoseRequests(seq(value)?),
        "lose-answers" => Act::LoseAnswers(seq(value)?),
        "fill-disk" => Act::FillDisks(seq(value)?),
        "free-disk" => Act::FreeDisks,
        "heal-clients" => Act::HealClients,
        "fast" => Act::Fast,
        "remove-member" => Act::RemoveMember(index(value)?),
        "restore-members" => Act::RestoreMembers,
        "release" => Act::Release,
        "drain" => Act::Drain(index(value)?),
        "replace" => Act::Replace,
        _ => return Err(wrong()),
    };
    Ok((read_ms(item)?, act))
}

fn read_symptom(item: &Edn) -> Result<Symptom, String> {
    only(item, &["class", "kinds"])?;
    let class = item.get("class").and_then(Edn::as_text).and_then(Class::from_name);
    let kinds = item.get("kinds").and_then(Edn::as_seq).unwrap_or_default();
    let kinds = kinds.iter().filter_map(|k| k.as_text().map(str::to_owned)).collect();
    Ok(Symptom { class: class.ok_or(":fails has no :class that is known")?, kinds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_upon_nodes_are_read_as_they_are_told() {
        let nodes: Vec<NodeId> = ["n0", "n1", "n2"].map(NodeId::from).to_vec();
        for act in [
            Act::Kill(vec![0, 2]),
            Act::Pause(vec![1]),
            Act::LoseRequests(vec![0]),
            Act::LoseAnswers(vec![1, 2]),
            Act::FillDisks(vec![0, 1, 2]),
            Act::FreeDisks,
        ] {
            let told = tell_act(Duration::from_millis(7), &act, &nodes);
            let item = crate::edn::parse(&told).expect("a plan is EDN");
            assert_eq!(read_act(&item, &nodes), Ok((Duration::from_millis(7), act)), "{told}");
        }
    }
}
