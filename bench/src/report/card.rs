//! A run in a few numbers, for machines: JSON, JUnit's XML, and a Markdown table.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::check::{Outcome, Verdict};
use crate::edn::{Edn, printable};
use crate::history::{OpType, pairs, quantile};
use crate::plot::escaped;
use crate::run::Ran;

/// The entry of one run in a list of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The workload of the clients.
    pub workload: String,
    /// The seed of the run.
    pub seed: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not valid, in a few words.
    pub why: String,
    /// Operations that were invoked.
    pub operations: usize,
    /// Those that succeeded.
    pub ok: usize,
    /// Messages between servers for each operation; none of a run without operations.
    pub msgs_per_op: Option<f64>,
    /// Milliseconds within which half of the operations that succeeded did.
    pub p50_ms: Option<f64>,
    /// The same for 99 of 100.
    pub p99_ms: Option<f64>,
    /// How long the run took on its own clock.
    pub seconds: f64,
    /// When its operations began on its own clock, in nanoseconds.
    pub origin_nanos: u64,
    /// The command that makes it again.
    pub command: String,
    /// Where its files are.
    pub store: PathBuf,
}

impl Card {
    /// The card of a run that `command` makes again, and whose files are in `store`.
    pub fn of(ran: &Ran<'_>, outcome: &Outcome, command: String, store: PathBuf) -> Card {
        let pairs = pairs(&ran.report.history).unwrap_or_default();
        let ok = pairs.iter().filter(|pair| pair.is_ok());
        let took = ok.filter_map(|pair| Some(pair.completion?.time - pair.invoke.time));
        let mut took: Vec<i64> = took.collect();
        took.sort_unstable();
        let net = outcome.get("net").and_then(|net| net.get("servers"));
        Card {
            workload: ran.config.args.workload.clone(),
            seed: ran.config.seed.0,
            verdict: outcome.verdict,
            why: outcome.decide().why,
            operations: pairs.len(),
            ok: ran
                .report
                .history
                .iter()
                .filter(|op| op.is_client() && op.kind == OpType::Ok)
                .count(),
            msgs_per_op: net.and_then(|net| net.get("msgs-per-op")).and_then(Edn::as_float),
            p50_ms: quantile_ms(&took, 0.5),
            p99_ms: quantile_ms(&took, 0.99),
            seconds: ran.report.duration.as_nanos() as f64 / 1e9,
            origin_nanos: ran.report.origin.as_nanos(),
            command,
            store,
        }
    }

    /// One JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "workload": self.workload,
            "seed": self.seed,
            "verdict": name(self.verdict),
            "why": self.why,
            "operations": self.operations,
            "ok": self.ok,
            "msgs_per_op": self.msgs_per_op,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "seconds": self.seconds,
            "origin_nanos": self.origin_nanos,
            "command": self.command,
            "store": self.store.display().to_string(),
        })
    }
}

/// The value below which a part `q` of the sorted nanoseconds is.
fn quantile_ms(sorted: &[i64], q: f64) -> Option<f64> {
    quantile(sorted, q).map(|nanos| nanos as f64 / 1e6)
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Invalid => "invalid",
        Verdict::Unknown => "unknown",
    }
}

/// All runs as one test suite in JUnit's XML: a failure is an invalid run, an error is one that
/// could not be judged.
pub fn junit(cards: &[Card]) -> String {
    let count = |verdict| cards.iter().filter(|card| card.verdict == verdict).count();
    let seconds: f64 = cards.iter().map(|card| card.seconds).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"seaworthy\" tests=\"{}\" \
         failures=\"{}\" errors=\"{}\" time=\"{seconds:.3}\">\n",
        cards.len(),
        count(Verdict::Invalid),
        count(Verdict::Unknown),
    );
    for card in cards {
        let (workload, seed, seconds) = (escaped(&card.workload), card.seed, card.seconds);
        text += &format!(
            "  <testcase classname=\"{workload}\" name=\"seed {seed}\" time=\"{seconds:.3}\">"
        );
        let body = escaped(&format!("{}; files: {}", card.command, card.store.display()));
        let why = escaped(&printable(&card.why));
        text += &match card.verdict {
            Verdict::Valid => String::new(),
            Verdict::Invalid => format!("<failure message=\"{why}\">{body}</failure>"),
            Verdict::Unknown => format!("<error message=\"{why}\">{body}</error>"),
        };
        text += "</testcase>\n";
    }
    text + "</testsuite>\n"
}

/// All runs as a Markdown table.
pub fn markdown(cards: &[Card]) -> String {
    let mut text = "| run | verdict | operations | ok | msgs/op | p50 / p99, ms | why |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    for card in cards {
        let verdict = match card.verdict {
            Verdict::Valid => "valid",
            Verdict::Invalid => "**INVALID**",
            Verdict::Unknown => "**unknown**",
        };
        text += &format!(
            "| {}, seed {} | {verdict} | {} | {} | {} | {} / {} | {} |\n",
            cell(&card.workload),
            card.seed,
            card.operations,
            card.ok,
            number(card.msgs_per_op),
            number(card.p50_ms),
            number(card.p99_ms),
            cell(&card.why),
        );
    }
    text + "\n"
}

/// A text in a cell: it begins no other cell, line, tag, link or emphasis.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '!' | '~' | '@' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(verdict: Verdict, why: &str) -> Card {
        Card {
            workload: "echo".into(),
            seed: 7,
            verdict,
            why: why.into(),
            operations: 3,
            ok: 2,
            msgs_per_op: Some(0.5),
            p50_ms: Some(1.0),
            p99_ms: None,
            seconds: 2.0,
            origin_nanos: 0,
            command: "seaworthy test".into(),
            store: "store/echo/1".into(),
        }
    }

    #[test]
    fn a_reason_is_text_in_every_form() {
        let cards = [card(Verdict::Valid, ""), card(Verdict::Invalid, "<a> | `b`\n")];
        let xml = junit(&cards);
        assert!(xml.contains("tests=\"2\" failures=\"1\" errors=\"0\" time=\"4.000\""), "{xml}");
        assert!(xml.contains("<failure message=\"&lt;a&gt; | `b`\\n\">"), "{xml}");
        let table = markdown(&cards);
        assert_eq!(table.lines().count(), 5, "{table}");
        assert!(table.contains("&lt;a> \\| \\`b\\`"), "{table}");
        assert_eq!(cards[1].to_json()["why"], "<a> | `b`\n");
    }

    #[test]
    fn quantiles_are_those_of_the_summary() {
        assert_eq!(quantile_ms(&[], 0.5), None);
        assert_eq!(quantile_ms(&[1_000_000, 2_000_000, 9_000_000], 0.5), Some(2.0));
        assert_eq!(quantile_ms(&[1_000_000, 2_000_000, 9_000_000], 0.99), Some(9.0));
    }
}
