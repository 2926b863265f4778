//! The pages about runs, opened in a browser: one valid and one invalid of each workload.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

mod browser;
mod hostile;
mod size;
mod store;
mod story;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use browser::Browser;
use seaworthy_bench::challenge::Challenges;

fn seaworthy() -> Command {
    Command::new(env!("CARGO_BIN_EXE_seaworthy"))
}

/// The page of a valid run of our own nodes, in a store of its own.
fn valid_run(store: &Path, workload: &str) -> PathBuf {
    let flags = "--time-limit 4 --rate 20 --latency 10 --nemesis partition,kill --nemesis-interval 1 \
         --concurrency 2n --seed 7";
    let mut test = seaworthy();
    test.args(["test", "-w", workload, "--store"]).arg(store).args(flags.split(' '));
    let output = test.output().unwrap();
    assert!(output.status.success(), "{workload}: {output:?}");
    store.join(workload).join("latest/report.html").canonicalize().unwrap()
}

/// The page of a recorded history of a broken node.
fn invalid_run(dir: &Path, workload: &str) -> PathBuf {
    let histories = Path::new(env!("CARGO_MANIFEST_DIR")).join("histories/maelstrom-broken");
    let page = dir.join(format!("{workload}.html"));
    let mut check = seaworthy();
    check.args(["check", "-w", workload, "--report"]).arg(&page);
    let output = check.arg(histories.join(workload).join("history.edn")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{workload}: {output:?}");
    page
}

/// How much a canvas shows, as it says itself.
fn drawn(browser: &mut Browser, canvas: &str) -> u64 {
    let text = browser.eval(&format!("document.getElementById('{canvas}').dataset.drawn"));
    text.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{canvas}: {text}"))
}

/// Drags over the middle half of a canvas, as a hand does.
fn drag(browser: &mut Browser, canvas: &str) {
    browser.eval(&format!(
        "(() => {{ const c = document.getElementById('{canvas}'); c.scrollIntoView({{block: 'center'}});
         const b = c.getBoundingClientRect(), y = b.top + b.height / 2;
         for (const [type, part] of [['down', 0.3], ['move', 0.5], ['up', 0.7]])
           c.dispatchEvent(new PointerEvent('pointer' + type, {{clientX: b.left + part * b.width, clientY: y, bubbles: true}}));
        }})()"
    ));
    browser.settle();
}

/// Chooses another value of a field.
fn choose(browser: &mut Browser, field: &str, value: &str) {
    browser.eval(&format!(
        "(() => {{ const f = document.getElementById('{field}'); f.value = '{value}';
         f.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    ));
    browser.settle();
}

fn look_at(browser: &mut Browser, page: &Path, verdict: &str, workload: &str) {
    browser.open(page);
    let told = browser.eval("document.getElementById('verdict').dataset.verdict");
    assert_eq!(told, verdict, "{workload}");
    let word = browser.eval("document.querySelector('#verdict b').textContent.toLowerCase()");
    assert_eq!(word, verdict, "{workload}");
    // A filter and a zoom change the drawing.
    let all = drawn(browser, "latency");
    assert!(all > 20, "{workload}: {all}");
    choose(browser, "filter-process", "0");
    let of_process = drawn(browser, "latency");
    assert!(of_process > 0 && of_process < all, "{workload}: {of_process} of {all}");
    choose(browser, "filter-process", "");
    assert_eq!(drawn(browser, "latency"), all, "{workload}");
    drag(browser, "latency");
    let zoomed = drawn(browser, "latency");
    assert!(zoomed < all, "{workload}: {zoomed} of {all} after a zoom");
    assert_eq!(browser.complaints, Vec::<String>::new(), "{workload}");
}

#[test]
fn the_page_of_a_valid_run_tells_its_verdict_and_its_messages() {
    let Some(mut browser) = Browser::start() else { return };
    let store = tempfile::tempdir().unwrap();
    for workload in Challenges::builtin().names() {
        let page = valid_run(store.path(), workload);
        look_at(&mut browser, &page, "valid", workload);
        browser.eval("document.getElementById('whole').click()");
        browser.settle();
        let all = drawn(&mut browser, "diagram");
        drag(&mut browser, "diagram");
        let part = drawn(&mut browser, "diagram");
        assert!(all > 0 && part < all, "{workload}: {part} of {all} messages");
        browser.eval("document.getElementById('whole').click()");
        browser.eval("document.getElementById('show-clients').click()");
        browser.settle();
        let found = "Number(document.getElementById('diagram').dataset.found)";
        let servers = browser.eval(found).as_u64().unwrap();
        browser.eval("document.getElementById('show-clients').click()");
        browser.settle();
        assert!(servers < browser.eval(found).as_u64().unwrap(), "{workload}");
        assert_eq!(browser.complaints, Vec::<String>::new(), "{workload}");
    }
}

#[test]
fn a_message_of_raft_is_told_in_words() {
    let Some(mut browser) = Browser::start() else { return };
    let store = tempfile::tempdir().unwrap();
    browser.open(&valid_run(store.path(), "lin-kv"));
    let mut seen = BTreeSet::new();
    browser.eval("document.getElementById('search').value = 'lin-kv:raft'");
    for _ in 0..60 {
        browser.eval("document.getElementById('search-next').click()");
        let told = browser.eval("document.querySelector('#detail pre').textContent");
        let told = told.as_str().unwrap().to_owned();
        let (_, words) = told.split_once("lin-kv:raft (").expect(&told);
        seen.extend(words.split([' ', '?', ')', ',']).next().map(str::to_owned));
    }
    assert!(["pre-vote", "vote", "append"].iter().all(|word| seen.contains(*word)), "{seen:?}");
    // The static picture has the same words, message by message.
    let run = store.path().join("lin-kv/latest");
    let svg = std::fs::read_to_string(run.join("messages.svg")).unwrap();
    let drawn: Vec<String> = svg
        .split("<title>")
        .skip(1)
        .map(|part| part.split_once("</title>").unwrap().0.replace("&gt;", ">"))
        .collect();
    let card = std::fs::read_to_string(run.join("run.json")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    let origin = card["origin_nanos"].as_u64().unwrap();
    let journal = std::fs::read_to_string(run.join("messages.jsonl")).unwrap();
    let is_node =
        |name: &serde_json::Value| name.as_str().is_some_and(|name| name.starts_with('n'));
    let sent: Vec<serde_json::Value> = journal
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "send" && line["time"].as_u64() >= Some(origin))
        .filter(|line| is_node(&line["src"]) && is_node(&line["dest"]))
        .map(|line| serde_json::json!([line["body"]["type"], line["body"].to_string()]))
        .take(drawn.len())
        .collect();
    let sent = serde_json::to_string(&sent).unwrap();
    let told =
        browser.eval(&format!("{sent}.map(([type, body]) => raftLabel(type, body) ?? type)"));
    assert!(drawn.len() > 100);
    assert_eq!(told, serde_json::json!(drawn));
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn the_page_of_an_invalid_run_shows_why_without_scrolling() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    for workload in Challenges::builtin().names() {
        let page = invalid_run(dir.path(), workload);
        look_at(&mut browser, &page, "invalid", workload);
        // The first operation that is wrong, and its picture or sentence, on the first screen.
        browser.eval("window.scrollTo(0, 0)");
        let bottom = browser
            .eval("document.querySelector('.anomaly button.op').getBoundingClientRect().bottom");
        assert!(bottom.as_f64().unwrap() < 900.0, "{workload}: {bottom}");
        browser.eval("document.querySelector('.anomaly button.op').click()");
        browser.settle();
        let told = browser.eval("document.querySelector('#detail pre').textContent");
        assert!(told.as_str().unwrap().contains("process"), "{workload}: {told}");
        assert!(drawn(&mut browser, "timeline") > 0, "{workload}");
        assert_eq!(browser.complaints, Vec::<String>::new(), "{workload}");
    }
}

#[test]
fn a_failing_prefix_can_be_walked_back_and_forth() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    browser.open(&invalid_run(dir.path(), "lin-kv"));
    let now = "document.querySelector('.steps span.step-now').textContent";
    let last = browser.eval(now);
    browser.eval("document.querySelector('.steps button[data-step=\"-1\"]').click()");
    let before = browser.eval(now);
    assert_ne!(before, last);
    browser.eval("document.querySelector('.steps button[data-step=\"1\"]').click()");
    assert_eq!(browser.eval(now), last);
    let wrong = browser.eval("document.querySelector('.step-last .bad').textContent");
    assert!(wrong.as_str().unwrap().contains("impossible"), "{wrong}");
}

/// Pictures for the documents, if `PICTURES=DIR` asks for them.
#[test]
fn pictures() {
    let Some(dir) = std::env::var_os("PICTURES").map(PathBuf::from) else { return };
    let Some(mut browser) = Browser::start() else { return };
    let work = tempfile::tempdir().unwrap();
    let mut take = |page: &Path, name: &str, at: &str, size: (u32, u32), is_dark: bool| {
        browser.open(page);
        browser.call("Emulation.setDeviceMetricsOverride",
            serde_json::json!({"width": size.0, "height": size.1, "deviceScaleFactor": 1, "mobile": size.0 < 600}));
        browser.settle();
        browser.eval(&format!("document.querySelector('{at}').scrollIntoView()"));
        std::fs::write(dir.join(name), browser.picture(size.0, size.1, is_dark)).unwrap();
    };
    let run = valid_run(work.path(), "lin-kv");
    take(&run, "report-light.png", "header", (1240, 1000), false);
    take(&run, "report-dark.png", "#times", (1240, 1000), true);
    take(&run, "report-narrow.png", "header", (390, 844), false);
    take(
        &invalid_run(work.path(), "txn-rw-register"),
        "cycle-light.png",
        "header",
        (1240, 760),
        false,
    );
    take(&invalid_run(work.path(), "lin-kv"), "linear-dark.png", "header", (1240, 760), true);
}
