//! The shortest prefix that no order of the operations explains, step by step.

use maud::html;

use super::anomaly::{Anomaly, Evidence, SHOWN, indices};
use crate::check::linear::{check, model};
use crate::edn::Edn;
use crate::history::{Op, OpType};
use crate::report::operations::shown;

/// Steps before the one that fails.
const STEPS: usize = 12;

/// Operations of one object beyond which nothing is computed again.
const EVENTS_MAX: usize = 20_000;

/// One operation that returned, and the values that were possible then.
struct Step<'h> {
    end: &'h Op,
    start: usize,
    values: Vec<String>,
    open: Vec<String>,
}

pub(super) fn anomalies(map: &Edn, evidence: &Evidence<'_>) -> Vec<Anomaly> {
    if map.get("final-paths").is_some() || map.get("op").is_some() {
        return vec![explain("object", map, evidence.history, evidence.model)];
    }
    let failures = map.get("failures").and_then(Edn::as_seq).unwrap_or_default();
    let results = map.get("results").and_then(Edn::entries).unwrap_or_default();
    let failed = results.iter().filter(|(key, _)| failures.contains(key)).take(SHOWN);
    let told = failed.filter_map(|(key, result)| {
        let history = of_key(evidence.history, key);
        let result = result.get("linearizable")?;
        let mut anomaly = explain(&format!("key {key}"), result, &history, evidence.model);
        anomaly.lines.truncate(2);
        Some(anomaly)
    });
    told.collect()
}

/// The operations on a key, with values that lack it.
fn of_key(history: &[Op], key: &Edn) -> Vec<Op> {
    let own = |op: &Op| {
        let [of, value] = op.value.as_seq()? else { return None };
        (of == key && op.is_client()).then(|| Op { value: value.clone(), ..op.clone() })
    };
    history.iter().filter_map(own).collect()
}

fn explain(name: &str, result: &Edn, history: &[Op], model: (&str, &Edn)) -> Anomaly {
    let failing = result.get("op").map(indices).and_then(|all| all.first().copied());
    let mut anomaly = Anomaly::new("not linearizable", name);
    let Some(at) = history.iter().position(|op| Some(op.index) == failing) else {
        return anomaly;
    };
    anomaly.ops.extend(failing);
    anomaly.lines.push(format!("No order of the operations explains {}.", sentence(&history[at])));
    let before = result.get("previous-ok").map(indices).unwrap_or_default();
    anomaly.ops.extend(before);
    // Which end of the operation is quoted depends on the checker.
    let end = completion(history, at);
    if end <= EVENTS_MAX {
        let steps = steps(history, end, model);
        let last = steps.len();
        anomaly.picture = Some(html! {
            div class="steps" data-steps=(last) {
                p class="step-bar" {
                    button type="button" data-step="-1" { "◀ step back" }
                    button type="button" data-step="1" { "step forward ▶" }
                    span class="step-now" { "step " (last) " of " (last) }
                }
                @for (n, step) in steps.iter().enumerate() {
                    div class={ "step" @if n + 1 == last { " step-last" } } data-nth=(n + 1) {
                        button type="button" class="op" data-index=(step.start) { (sentence(step.end)) }
                        @if n + 1 == last {
                            p class="bad" { "impossible: " (contradiction(&step.values)) }
                        } @else {
                            p { "possible then: " @for value in &step.values { code { (value) } " " } }
                        }
                        @if !step.open.is_empty() {
                            p class="quiet" { "open then: " (step.open.join("; ")) }
                        }
                    }
                }
            }
        });
    }
    anomaly
}

fn contradiction(values: &[String]) -> String {
    if values.is_empty() {
        "no value explains it".to_owned()
    } else {
        format!("the object could only be {}", values.join(" or "))
    }
}

/// The position of the completion of the operation of which the event at `at` is a part.
fn completion(history: &[Op], at: usize) -> usize {
    if history[at].kind != OpType::Invoke {
        return at;
    }
    let is_end = |op: &Op| op.process == history[at].process;
    history[at + 1..].iter().position(is_end).map_or(at, |after| at + 1 + after)
}

/// Returns the last steps up to the event at `end` and with it.
fn steps<'h>(history: &'h [Op], end: usize, model: (&str, &Edn)) -> Vec<Step<'h>> {
    let returns: Vec<usize> =
        (0..=end).filter(|at| history[*at].kind == OpType::Ok || *at == end).collect();
    let mut steps: Vec<Step<'h>> = Vec::new();
    for at in &returns[returns.len().saturating_sub(STEPS)..] {
        let values = if *at == end {
            steps.last().map(|step| step.values.clone()).unwrap_or_default()
        } else {
            possible(&history[..=*at], model)
        };
        let start = invocation(history, *at);
        let open = open(history, *at).iter().map(|op| sentence(op)).collect();
        steps.push(Step { end: &history[*at], start, values, open });
    }
    steps
}

/// The index of the invocation that the event at `at` completes.
fn invocation(history: &[Op], at: usize) -> usize {
    let is_start = |op: &&Op| op.process == history[at].process && op.kind == OpType::Invoke;
    history[..=at].iter().rev().find(is_start).map_or(history[at].index, |op| op.index)
}

/// The invocations that have not completed right after the event at `at`.
fn open(history: &[Op], at: usize) -> Vec<&Op> {
    let mut open: Vec<&Op> = Vec::new();
    for op in &history[..=at] {
        if op.kind == OpType::Invoke {
            open.push(op);
        } else if op.kind != OpType::Info {
            open.retain(|other| other.process != op.process);
        }
    }
    // Those of unknown outcome pile up; the last ones say most.
    open.split_off(open.len().saturating_sub(6))
}

/// The values that the object can have after these events.
fn possible(history: &[Op], (name, initial): (&str, &Edn)) -> Vec<String> {
    let Ok(model) = model::from_initial(name, initial) else { return Vec::new() };
    let outcome = check(model, history);
    let configs = outcome.get("configs").and_then(Edn::as_seq).unwrap_or_default();
    let mut values: Vec<String> = Vec::new();
    for config in configs {
        let model = config.get("model");
        let value = model.map(|model| content(model).to_string());
        values.extend(value.filter(|value| !values.contains(value)));
    }
    values
}

/// The content of an object: the field of the record that its checker prints, if it has one field.
fn content(model: &Edn) -> &Edn {
    let fields = ["value", "pending", "s", "locked"];
    fields.iter().find_map(|field| model.get(field)).unwrap_or(model)
}

fn sentence(op: &Op) -> String {
    let process = op.process.to_edn();
    format!("process {process}: {} {}", op.f, shown(&op.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::from_text;

    #[test]
    fn every_model_tells_its_own_contents() {
        let cases = [
            ("fifo-queue", "nil", [("enqueue", "1"), ("enqueue", "2"), ("dequeue", "2")], "[1 2]"),
            (
                "unordered-queue",
                "nil",
                [("enqueue", "1"), ("dequeue", "1"), ("dequeue", "1")],
                "[]",
            ),
            ("set", "nil", [("add", "1"), ("add", "2"), ("read", "[1]")], "#{1 2}"),
            ("mutex", "true", [("release", "nil"), ("acquire", "nil"), ("acquire", "nil")], "true"),
            ("register", "7", [("read", "7"), ("read", "7"), ("read", "8")], "7"),
        ];
        for (name, initial, operations, expected) in cases {
            let line = |(f, value): &(&str, &str)| {
                let invoked = if matches!(*f, "read" | "dequeue") { "nil" } else { value };
                format!(
                    "{{:process 0 :type :invoke :f :{f} :value {invoked}}}\n\
                     {{:process 0 :type :ok :f :{f} :value {value}}}\n"
                )
            };
            let text: String = operations.iter().map(line).collect();
            let history = from_text(&text).expect("a history");
            let initial = crate::edn::parse(initial).expect("EDN");
            let steps = steps(&history, history.len() - 1, (name, &initial));
            let last = steps.last().expect("it has returns");
            assert_eq!(last.values, [expected], "{name}");
        }
    }
}
