//! Exploring: a bug is found, shrunk to a few lines, and fails again when replayed.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use seaworthy::node::{Context, Event, Workload};
use seaworthy_bench::challenge::{Challenges, builtin};
use seaworthy_bench::check::Class;
use seaworthy_bench::explore::plan::Plan;
use seaworthy_bench::explore::swarm::{Swarm, Tally};
use seaworthy_bench::explore::{Explore, Space};
use seaworthy_bench::history::Op;
use seaworthy_bench::seed::Seed;
use seaworthy_bench::world::script::Course;
use serde_json::json;

// The example is the node under test; its main function explores it by hand.
#[allow(dead_code)]
#[path = "../examples/naive_broadcast.rs"]
mod naive_broadcast;

use naive_broadcast::NaiveBroadcast;

#[test]
fn a_naive_broadcast_is_found_out_by_a_handful_of_events() {
    let explore = Explore::new("broadcast", || Box::<NaiveBroadcast>::default()).seeds(50);
    let failed = explore.run().unwrap_err();
    let plan = &failed.plan;
    assert!(plan.run.node_count.unwrap() <= 3, "{failed}");
    assert!(plan.script.ops.len() <= 3, "{failed}");
    assert!(failed.faults() <= 2, "{failed}");
    let text = failed.to_string();
    assert!(text.lines().count() < 60 && text.contains("lost"), "{text}");

    // A plan that goes through a file is the same run.
    let read = Plan::from_text(&plan.to_text().unwrap(), &Challenges::builtin()).unwrap();
    assert_eq!(read.script, plan.script);
    let story = explore.replay(&read).unwrap();
    assert!(read.symptom.unwrap().is_shown_by(story.trial.symptom.as_ref()));
    assert_eq!(story.to_string(), failed.story.to_string());
}

/// Answers, until it is asked for the seventh time.
#[derive(Default)]
struct Fragile(u64);

impl Workload for Fragile {
    fn handle(&mut self, cx: &mut Context<'_>, event: Event) {
        let Event::Message(message) = event else { return };
        self.0 += 1;
        assert!(self.0 < 7, "seven is too much");
        let echo: serde_json::Value =
            serde_json::from_str(message.body.field("echo").unwrap().get()).unwrap();
        cx.reply(&message.request(), &json!({"type": "echo_ok", "echo": echo}));
    }
}

#[test]
fn a_panic_of_a_node_is_a_failure_of_its_own_kind() {
    let failed = Explore::new("echo", || Box::<Fragile>::default()).run().unwrap_err();
    let symptom = failed.first.symptom.as_ref().unwrap();
    assert_eq!(symptom.class, Class::Crash);
    assert!(failed.first.why.contains("seven is too much at"), "{}", failed.first.why);
    assert_eq!(failed.plan.run.node_count, Some(1), "{failed}");
    assert_eq!(failed.plan.script.ops.len(), 7, "{failed}");
    assert_eq!(failed.faults(), 0, "{failed}");
}

/// Our own nodes, with options drawn as well.
fn tuned(workload: &str) -> Space<'static> {
    let space = Space::of(builtin(workload).unwrap());
    Space { args: vec![workload.to_owned()], tuned: true, ..space }
}

fn tally(workload: &str, jobs: usize) -> Tally {
    let space = tuned(workload);
    Swarm { space: &space, from: 7, seeds: 12, jobs, stop: &|| false, watch: &|_| {} }
        .run()
        .unwrap()
}

#[test]
fn the_result_does_not_depend_on_the_number_of_jobs() {
    for workload in ["unique-ids", "lin-kv"] {
        let alone = tally(workload, 1);
        assert!(alone.sums.runs == 12 && alone.sums.acts > 0, "{alone:?}");
        assert_eq!(alone, tally(workload, 4));
    }
    let failing = |jobs| {
        let explore = Explore::new("broadcast", || Box::<NaiveBroadcast>::default());
        let failed = explore.from(3).jobs(jobs).shrink_runs(20).run().unwrap_err();
        (failed.seed, failed.plan.to_text().unwrap(), failed.to_string())
    };
    assert_eq!(failing(1), failing(4));
}

#[test]
fn a_recorded_run_is_the_run_itself() {
    for workload in ["g-counter", "lin-kv", "kafka"] {
        let space = tuned(workload);
        for seed in 0..4 {
            let config = space.config(Seed(seed)).unwrap();
            let run = |course| space.run(&config).unwrap().course(course).simulate().unwrap();
            let recorded = run(Course::Recorded).report;
            let again = run(Course::Scripted(recorded.script.clone())).report;
            // The nemesis says of a drawn act also how it was drawn.
            let clients = |history: &[Op]| -> Vec<String> {
                let own = history.iter().filter(|op| op.is_client());
                own.map(|op| Op { index: 0, ..op.clone() }.to_edn().to_string()).collect()
            };
            let (recorded_ops, again_ops) = (clients(&recorded.history), clients(&again.history));
            assert_eq!(recorded_ops, again_ops, "{workload} {seed}");
            assert_eq!(recorded.duration, again.duration, "{workload} {seed}");
        }
    }
}

#[test]
fn a_plan_says_what_comes_after_its_time() {
    let late = |flags: &str| {
        let text = format!(
            "{{:flags [{flags}] :faults [{{:ms 500.0 :f :kill :value [\"n0\"]}} {{:ms 2500.0 :f :start}}]
              :operations [{{:ms 100.0 :worker 0 :f :echo :value \"a\"}}
                           {{:ms 3500.0 :worker 0 :f :echo :value \"b\"}}]}}"
        );
        Plan::from_text(&text, &Challenges::builtin()).unwrap().too_late().unwrap()
    };
    let base = r#""-w" "echo" "--node-count" "1" "--time-limit""#;
    assert_eq!(late(&format!("{base} \"4\"")), None);
    let told = late(&format!("{base} \"2\" \"--quiet-phase\" \"2\"")).unwrap();
    assert!(told.starts_with("1 faults and 0 operations of the plan come too late"), "{told}");
    let told = late(&format!("{base} \"1\"")).unwrap();
    assert!(told.starts_with("1 faults and 1 operations of the plan come too late"), "{told}");
}
