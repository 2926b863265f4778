//! A node's output is text to the page, whatever it is.

use std::path::Path;

use seaworthy_bench::check::{Finding, Outcome, Verdict};
use seaworthy_bench::edn::Edn;
use seaworthy_bench::history::from_text;
use seaworthy_bench::report::{self, Material};

use crate::browser::Browser;
use crate::seaworthy;

/// Ends a script, begins one, and turns the direction of writing.
const EVIL: &str = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u{202e}";

/// The page is unchanged: two scripts, no other element with code, its own title.
fn is_unharmed(browser: &mut Browser, page: &Path) {
    browser.open(page);
    let title = browser.eval("document.title");
    assert!(title.as_str().unwrap().ends_with(" - seaworthy"), "{title}");
    assert_eq!(browser.eval("document.scripts.length"), 2);
    assert_eq!(browser.eval("document.images.length"), 0);
    // Whatever the page shows on demand.
    browser.eval("document.querySelectorAll('details').forEach(d => d.open = true)");
    browser.eval("document.querySelectorAll('button').forEach(b => b.click())");
    browser.settle();
    assert_eq!(browser.eval("document.images.length"), 0);
    assert_eq!(browser.complaints, Vec::<String>::new());
    let shown = browser.eval("document.body.textContent.split('onerror=').length");
    assert!(shown.as_u64().unwrap() > 1, "the text is not on the page");
}

#[test]
fn a_history_of_markup_and_control_characters_is_text() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = Edn::str(format!("{EVIL}\u{0}\u{7}\u{1b}[31m{}", "x".repeat(100_000))).to_string();
    let history = format!(
        "{{:index 0 :time 0 :type :invoke :process 0 :f :add :value {text}}}
         {{:index 1 :time 1000000 :type :ok :process 0 :f :add :value {text}}}
         {{:index 2 :time 2000000 :type :invoke :process 1 :f :read :value nil}}
         {{:index 3 :time 3000000 :type :ok :process 1 :f :read :value [{text}]}}"
    );
    let history = from_text(&history).unwrap();
    let lost = Edn::Vector(vec![history[0].value.clone()]);
    let mut outcome = Outcome::new(Verdict::Valid, []);
    outcome.add(
        "workload",
        Outcome::new(Verdict::Invalid, [("lost", lost)]).with([Finding::new(EVIL)]),
    );
    outcome.story = Some(EVIL.to_owned());
    let quoted = serde_json::to_string(EVIL).unwrap();
    let mut journal = format!(
        "{{\"time\":0,\"event\":\"send\",\"id\":0,\"src\":{quoted},\"dest\":\"n1\",\"body\":{{\"type\":{quoted}}}}}\n"
    )
    .into_bytes();
    journal.extend_from_slice(
        b"{\"time\":5,\"event\":\"send\",\"id\":1,\"src\":\"n1\",\"dest\":\"n\xff\xfe\",\"body\":{\"type\":\"\xc3\x28\"}}\n",
    );
    journal.extend_from_slice(b"\xff\x00{{{ not a line\n");
    let mut material = Material::of_history("g-set", &history, &outcome);
    material.traffic = report::Traffic::read(&journal);
    material.nodes = vec!["n1".into(), EVIL.into()];
    material.logs = vec![(EVIL.to_owned(), EVIL.to_owned())];
    material.marks = vec![EVIL.to_owned()];
    material.reproduce = Some(EVIL.to_owned());
    let page = dir.path().join("page.html");
    std::fs::write(&page, report::html(&mut material)).unwrap();
    is_unharmed(&mut browser, &page);
}

#[test]
fn a_process_that_sends_markup_changes_nothing_but_text() {
    let Some(mut browser) = Browser::start() else { return };
    let store = tempfile::tempdir().unwrap();
    let mut test = seaworthy();
    let flags = "test -w echo --node-count 1 --time-limit 1 --rate 20 --bin";
    test.args(flags.split(' ')).arg(env!("CARGO_BIN_EXE_faulty-node"));
    let output = test.arg("--store").arg(store.path()).args(["--", "hostile"]).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let page = store.path().join("echo/latest/report.html").canonicalize().unwrap();
    is_unharmed(&mut browser, &page);
}
