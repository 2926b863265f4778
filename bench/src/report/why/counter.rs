//! The sums that a counter could have, and those that were read.

use maud::{PreEscaped, html};

use super::anomaly::{Anomaly, Evidence, indices};
use crate::edn::Edn;
use crate::history::OpType;
use crate::plot::sums::{self, Read, Sum};

pub(super) fn anomalies(map: &Edn, evidence: &Evidence<'_>) -> Vec<Anomaly> {
    let (Some(acceptable), Some(errors)) = (map.get("acceptable"), map.get("errors")) else {
        return Vec::new();
    };
    let wrong = indices(errors);
    let mut anomaly = Anomaly::new("wrong sum", format!("{} final reads", wrong.len()));
    anomaly.lines.push(format!("Acceptable in the end: {acceptable}"));
    let (mut changes, mut reads) = (Vec::new(), Vec::new());
    for pair in &evidence.pairs {
        let end = pair.completion;
        match (&*pair.invoke.f, pair.invoke.value.as_int(), pair.outcome()) {
            ("add", Some(delta), outcome) if outcome != OpType::Fail => {
                // An add in doubt may count or not, from its invocation on.
                let at = end.map_or(pair.invoke.time, |end| end.time);
                changes.push((at, delta, outcome == OpType::Ok));
            }
            ("read", _, OpType::Ok) => {
                let Some((end, value)) = end.and_then(|end| Some((end, end.value.as_int()?)))
                else {
                    continue;
                };
                reads.push(Read { at: end.time, value, is_wrong: wrong.contains(&end.index) });
            }
            _ => {}
        }
    }
    changes.sort_unstable();
    let (mut low, mut high) = (0_i64, 0_i64);
    let sums: Vec<Sum> = changes
        .iter()
        .map(|(at, delta, is_certain)| {
            low = low.saturating_add(if *is_certain { *delta } else { (*delta).min(0) });
            high = high.saturating_add(if *is_certain { *delta } else { (*delta).max(0) });
            Sum { at: *at, low, high }
        })
        .collect();
    anomaly.ops = wrong;
    let svg = sums::draw(&sums, &reads);
    anomaly.picture = Some(html! {
        (PreEscaped(svg))
        p class="quiet" {
            "The band is the sum of all adds that had completed, those in doubt counted or not; "
            "dots are reads, and those that are wrong in the end are red."
        }
    });
    vec![anomaly]
}
