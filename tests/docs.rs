//! The documents keep their promises: every link leads somewhere.
//!
//! Checked in all of them: relative links to files, and headings named after a `#`.
//! Checked in the tour besides: a function that it names together with its file, written
//! `` `name` in [file](link) ``, or `` `name` there `` after such a link, is declared in that
//! file; and a word with parentheses in one of its diagrams is a function of the sources.
//! Checked everywhere: a name of five words and more, `a_test_by_which_something_holds`, is a word of
//! the sources or a script.

// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

const TOUR: &str = "docs/tour.md";
/// The first questions of a newcomer. The tour answers each in one row of a table, with a function.
const QUESTIONS: [&str; 5] = [
    "Where is a broadcast handled?",
    "Where is a vote granted?",
    "Where is a verdict decided?",
    "Where is a request sent again?",
    "How do I add a fault?",
];

/// A relative link, and the names of functions that the text says are in that file.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    path: String,
    anchor: Option<String>,
    names: Vec<String>,
}

#[test]
fn links_lead_to_files_and_headings() {
    let documents = documents();
    assert!(documents.len() > 10, "the walk lost its way: {documents:?}");
    complain(documents.iter().flat_map(|path| stale(path, &read(path))).collect());
}

#[test]
fn the_tour_names_functions_where_they_are() {
    let text = read(Path::new(TOUR));
    let links = links(&text);
    let named: usize = links.iter().map(|link| link.names.len()).sum();
    assert!(named > 60, "only {named} functions are named in the notation of this test");
    let mut complaints: Vec<String> = links.iter().flat_map(misnamed).collect();
    let sources = functions_of_the_sources();
    let drawn = calls_in_diagrams(&text);
    let unknown = drawn.into_iter().filter(|name| !sources.contains(name));
    complaints.extend(unknown.map(|name| format!("a diagram calls {name}(), which is not there")));
    complain(complaints);
}

#[test]
fn long_names_in_documents_are_in_the_sources() {
    let known = words_of_the_sources();
    let (mut seen, mut complaints) = (0, Vec::new());
    for path in documents() {
        let text = read(&path);
        let names = text.split('`').skip(1).step_by(2).filter(|name| is_long_name(name));
        seen += names.clone().count();
        let unknown = names.filter(|name| !known.contains(*name));
        complaints.extend(unknown.map(|name| format!("{}: no {name}", path.display())));
    }
    assert!(seen > 30, "only {seen} long names are seen");
    complain(complaints);
}

fn is_long_name(name: &str) -> bool {
    name.split('_').filter(|word| !word.is_empty()).count() >= 5
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// All words with an underscore in the code of the packages, and the names of the scripts.
fn words_of_the_sources() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for top in ["src", "tests", "workloads", "bench", "server"] {
        for path in files_below(top, "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let all = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.extend(all.filter(|word| word.contains('_')).map(str::to_owned));
        }
    }
    let scripts = fs::read_dir(root().join("tests/raft/scripts")).unwrap();
    words.extend(scripts.map(|script| script.unwrap().file_name().into_string().unwrap()));
    words
}

#[test]
fn a_newcomer_is_two_clicks_from_an_answer() {
    let to_tour = links(&read(Path::new("README.md"))).into_iter().any(|link| link.path == TOUR);
    assert!(to_tour, "README.md does not lead to {TOUR}");
    let tour = read(Path::new(TOUR));
    for question in QUESTIONS {
        let row = tour.lines().find(|line| line.contains(question));
        let row = row.unwrap_or_else(|| panic!("{TOUR} does not answer: {question}"));
        let leads = links(row).iter().any(|link| !link.names.is_empty() || link.anchor.is_some());
        assert!(leads, "the answer leads nowhere: {row}");
    }
}

#[test]
fn a_stale_link_is_found() {
    let complaints = |text: &str| {
        let mut found = stale(Path::new("docs/planted.md"), text);
        found.extend(links(text).iter().flat_map(|link| {
            let path = resolve(Path::new("docs/planted.md"), &link.path).unwrap_or_default();
            misnamed(&Link { path, anchor: None, names: link.names.clone() })
        }));
        found.len()
    };
    assert_eq!(complaints("`judge`, and `sources` in\n[tidy](../tests/tidy/main.rs)"), 1);
    assert_eq!(complaints("`sources` and `complain` in [tidy](../tests/tidy/main.rs)"), 0);
    assert_eq!(
        complaints("`Link`, `TOUR`, and `Component::ParentDir` in [it](../tests/docs.rs)"),
        1
    );
    assert_eq!(complaints("`read` in [it](../tests/docs.rs), and `gone` and `stale` there"), 1);
    assert_eq!(complaints("[gone](../src/gone.rs)"), 1);
    assert_eq!(complaints("![a plot](plots/gone.svg)"), 1);
    assert_eq!(complaints("[a directory](../src), [the web](https://example.org/gone)"), 0);
    assert_eq!(complaints("[outside](../../elsewhere)"), 1);
    assert_eq!(complaints("[the gate](../CONTRIBUTING.md#the-gate)"), 0);
    assert_eq!(complaints("[no such heading](../CONTRIBUTING.md#the-gates)"), 1);
    assert_eq!(complaints("# Here, `a` & b\n\n[here](#here-a--b), [there](#there)"), 1);
    assert_eq!(complaints("```text\n[not a link](gone.md)\n```\nnor `[this](gone.md)`"), 0);
    assert_eq!(calls_in_diagrams("```text\na --> gone(x)\n```\nand prose()"), ["gone"]);
}

/// Fails with every complaint at once.
fn complain(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents at the root, and all below `docs`.
fn documents() -> Vec<PathBuf> {
    let at_root = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut found = files_below("docs", "md");
    found.extend(at_root.filter(|path| path.extension().is_some_and(|e| e == "md")));
    found.iter().map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect()
}

fn files_below(top: &str, extension: &str) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root().join(top)], Vec::new());
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// Complains about each link of the document at `path` that leads nowhere.
fn stale(path: &Path, text: &str) -> Vec<String> {
    let check = |link: Link| {
        let why = why_stale(path, text, &link)?;
        Some(format!("{}: the link to {:?} {why}", path.display(), link.path))
    };
    links(text).into_iter().filter_map(check).collect()
}

fn why_stale(path: &Path, text: &str, link: &Link) -> Option<String> {
    let Some(target) = resolve(path, &link.path) else {
        return Some("leads out of the repository".to_owned());
    };
    let is_here = link.path.is_empty();
    if !is_here && !root().join(&target).exists() {
        return Some("is not there".to_owned());
    }
    let anchor = link.anchor.as_ref()?;
    let other = if is_here { text.to_owned() } else { read(Path::new(&target)) };
    let leads = anchors(&other).contains(anchor);
    (!leads).then(|| format!("has no heading #{anchor}"))
}

/// Complains about each name that is not declared in the file that it is said to be in.
fn misnamed(link: &Link) -> Vec<String> {
    if link.names.is_empty() {
        return Vec::new();
    }
    let path = link.path.trim_start_matches("../");
    let Ok(source) = fs::read_to_string(root().join(path)) else { return Vec::new() };
    let missing = link.names.iter().filter(|name| !declares(&source, name));
    missing.map(|name| format!("{path} does not declare {name}")).collect()
}

/// Whether a source declares the last part of `name`, and mentions the others.
fn declares(source: &str, name: &str) -> bool {
    let (mentioned, declared) = name.rsplit_once("::").unwrap_or(("", name));
    let is_mentioned = mentioned.split("::").all(|part| part.is_empty() || has_word(source, part));
    let keywords = ["fn", "struct", "enum", "trait", "type", "const", "static", "macro_rules!"];
    let declarations = keywords.map(|keyword| format!("{keyword} {declared}"));
    is_mentioned
        && source.lines().any(|line| {
            let line = line.trim_start();
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let is_variant = declared.starts_with(char::is_uppercase)
                && line.strip_prefix(declared).is_some_and(|rest| {
                    rest.is_empty() || ["(", ",", " {"].iter().any(|end| rest.starts_with(end))
                });
            let mut found = declarations.iter().filter_map(|words| line.split_once(words.as_str()));
            is_variant || !line.starts_with("//") && found.any(|(_, rest)| ends(rest))
        })
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|other| other == word)
}

/// The path of a link in the document at `from`, as seen from the root.
fn resolve(from: &Path, link: &str) -> Option<String> {
    let mut path = if link.is_empty() { from.to_owned() } else { from.parent()?.to_owned() };
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir if !path.pop() => return None,
            Component::Normal(name) => path.push(name),
            Component::ParentDir | Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path.to_str()?.to_owned())
}

/// The relative links of a document: `[text](path#anchor)`, images as well, outside of code.
fn links(text: &str) -> Vec<Link> {
    let prose = prose(text);
    let mut found: Vec<Link> = Vec::new();
    let mut at = 0;
    while let Some(middle) = prose[at..].find("](") {
        let middle = at + middle;
        let start = prose[..middle].rfind('[').unwrap_or(middle);
        add_names_there(&mut found, &prose[at..start.max(at)]);
        at = middle + 2;
        let Some(end) = prose[at..].find(')') else { break };
        let target = &prose[at..at + end];
        let is_code = prose[..middle].matches('`').count() % 2 == 1;
        if is_code || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = match target.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor.to_owned())),
            None => (target, None),
        };
        let names = prose[..start].strip_suffix(" in ").map(names_before).unwrap_or_default();
        found.push(Link { path: path.to_owned(), anchor, names });
    }
    add_names_there(&mut found, &prose[at..]);
    found
}

/// Adds the names in `` `a` and `b` there `` to the last link.
fn add_names_there(links: &mut [Link], text: &str) {
    let Some(last) = links.last_mut() else { return };
    let ends = text.match_indices(" there").map(|(at, _)| &text[..at]);
    last.names.extend(ends.flat_map(names_before));
}

/// The document without its blocks of code, each run of blanks made one.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// The names at the end of `` ..., `a`, `b` and `c` ``.
fn names_before(mut rest: &str) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(head) = rest.strip_suffix('`') {
        let Some(start) = head.rfind('`') else { break };
        names.push(head[start + 1..].to_owned());
        rest = &head[..start];
        let separators = [", and ", ", ", " and "];
        let shorter = separators.iter().find_map(|separator| rest.strip_suffix(separator));
        rest = shorter.unwrap_or("");
    }
    names
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The words before an opening parenthesis in the blocks of code.
fn calls_in_diagrams(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    let calls = blocks.flat_map(|block| {
        let heads = block.match_indices('(').map(|(at, _)| &block[..at]);
        heads.map(|head| {
            let start = head.rfind(|c: char| !c.is_alphanumeric() && c != '_');
            head[start.map_or(0, |at| at + 1)..].to_owned()
        })
    });
    calls.filter(|name| !name.is_empty()).collect()
}

/// The names of all functions of the sources.
fn functions_of_the_sources() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for top in ["src", "workloads/src", "bench/src"] {
        for path in files_below(top, "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let after_fn = text.split("fn ").skip(1);
            let name = |rest: &str| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
            };
            names.extend(after_fn.filter_map(name));
        }
    }
    names
}
