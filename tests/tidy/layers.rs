//! The layers of each package, and that no arrow points up and none runs in a circle.
//!
//! The table is in `docs/architecture.md`, below the line `text layers`: a package on a line of
//! its own, below it its modules, one layer a line, the highest first. A module may use those on
//! lower lines only. `lib.rs` and the binaries are above all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::arrows::{Arrows, Package};
use crate::{complain, root, sources};

/// The module of each layer: name of the package, module, height.
type Heights = BTreeMap<String, BTreeMap<String, usize>>;

fn heights(text: &str) -> Heights {
    let (_, rest) =
        text.split_once("```text layers\n").expect("docs/architecture.md has the table");
    let (table, _) = rest.split_once("```").expect("the table ends");
    let (mut heights, mut package) = (Heights::new(), String::new());
    for (number, line) in table.lines().enumerate() {
        if !line.starts_with(' ') {
            line.trim().clone_into(&mut package);
            continue;
        }
        let modules = line.split_whitespace().map(|name| (name.to_owned(), usize::MAX - number));
        heights.entry(package.clone()).or_default().extend(modules);
    }
    heights
}

/// The top-level module that a file below `src` belongs to; `None` of `lib.rs`.
fn top(file: &str) -> Option<&str> {
    let first = file.split('/').next().unwrap_or(file);
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then_some(name)
}

/// Arrows from a module to one that is not below it, each as a complaint.
fn upward(arrows: &Arrows, heights: &BTreeMap<String, usize>) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (from, tos) in arrows {
        for to in tos {
            let (Some(a), Some(b)) = (top(from), top(to)) else { continue };
            if a == b {
                continue;
            }
            let why = match (heights.get(a), heights.get(b)) {
                (Some(a), Some(b)) if b < a => continue,
                (Some(_), Some(_)) => format!("{b} is not below {a}"),
                (None, _) => format!("{a} is in no layer"),
                (_, None) => format!("{b} is in no layer"),
            };
            found.push((from.clone(), to.clone(), why));
        }
    }
    found
}

/// The files that arrows lead to from `start`, over any number of others.
fn reach<'a>(arrows: &'a Arrows, start: &'a String) -> BTreeSet<&'a String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(file) = open.pop() {
        open.extend(arrows.get(file).into_iter().flatten().filter(|to| seen.insert(*to)));
    }
    seen
}

/// The groups of files in which each reaches each other.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        arrows.keys().map(|file| (file, reach(arrows, file))).collect();
    let mut found = BTreeSet::new();
    for (file, others) in reached.iter().filter(|(file, others)| others.contains(*file)) {
        let back = |other: &&&String| reached.get(**other).is_some_and(|own| own.contains(*file));
        found.insert(others.iter().filter(back).map(|other| (*other).clone()).collect());
    }
    found.into_iter().collect()
}

/// The files of a package, by their paths below its `src`.
fn files(package: &str) -> Vec<(String, String)> {
    let dir = if package == "seaworthy" { "src/".to_owned() } else { format!("{package}/src/") };
    let own = sources()
        .into_iter()
        .filter_map(|(path, text)| Some((path.to_str()?.strip_prefix(&dir)?.to_owned(), text)));
    own.collect()
}

#[test]
fn no_arrow_points_up_and_none_runs_in_a_circle() {
    let docs = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut complaints = Vec::new();
    for (package, heights) in heights(&docs) {
        let files = files(&package);
        let arrows = Package::new(&files).arrows();
        assert!(arrows.len() > 5, "the arrows of {package} were not read");
        for (from, to, why) in upward(&arrows, &heights) {
            complaints.push(format!("{package}/{from} uses {package}/{to}, but {why}"));
        }
        for circle in circles(&arrows) {
            let circle: Vec<String> =
                circle.iter().map(|file| format!("{package}/{file}")).collect();
            complaints.push(format!("a circle: {}", circle.join(", ")));
        }
    }
    complain(complaints);
}

fn planted(files: &[(&str, &str)]) -> Arrows {
    let owned: Vec<(String, String)> =
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    Package::new(&owned).arrows()
}

#[test]
fn a_planted_arrow_and_a_planted_circle_are_found() {
    let table = heights("```text layers\nbench\n  command\n  world\n  seed net\n```\n");
    let up = |files: &[(&str, &str)]| -> Vec<String> {
        let found = upward(&planted(files), &table["bench"]);
        found.into_iter().map(|(from, to, why)| format!("{from} {to}: {why}")).collect()
    };
    let sound = ("command/mod.rs", "use crate::{seed::Seed, world::{World, self}};\n");
    let base = [("lib.rs", "mod seed;"), ("seed.rs", "pub struct Seed;"), ("net.rs", "")];
    let world = (
        "world/mod.rs",
        "mod item;\nmod queue;\nuse queue::Queue;\npub use item::Item;\npub struct World(Queue);\n",
    );
    let queue = ("world/queue.rs", "pub struct Queue;\nuse crate::seed::Seed;\n");
    let with =
        |more: &[(&'static str, &'static str)]| [&base[..], &[sound, world, queue], more].concat();
    assert_eq!(up(&with(&[])), [""; 0]);
    // Over several lines, by a full path, inside of a function, and on the same line.
    let back = ("seed2.rs", "");
    assert_eq!(up(&with(&[back])), [""; 0]);
    for text in [
        "use crate::{\n    world::{\n        World,\n    },\n};\n",
        "fn f() {\n    crate::world::run();\n}\n",
        "fn f() {\n    use crate::world::World;\n}\n",
    ] {
        let found = up(&[&base[..2], &[world, queue, ("net.rs", text)]].concat());
        assert_eq!(found, ["net.rs world/mod.rs: world is not below net"], "{text}");
    }
    let same = up(&[&base[..2], &[("net.rs", "use crate::seed::Seed;\n")]].concat());
    assert_eq!(same, ["net.rs seed.rs: seed is not below net"]);
    // In comments and tests anything may be named.
    let quiet =
        "// use crate::world::World;\n#[cfg(test)]\nmod tests {\n    use crate::world::World;\n}\n";
    assert_eq!(up(&[&base[..2], &[world, queue, ("net.rs", quiet)]].concat()), [""; 0]);

    let circle = |queue: &'static str| {
        circles(&planted(
            &[&base[..], &[world, ("world/item.rs", ""), ("world/queue.rs", queue)]].concat(),
        ))
    };
    assert_eq!(circle("pub struct Queue;\n"), []);
    // A name that the parent only passes on is not a use of the parent.
    assert_eq!(circle("use super::Item;\n"), []);
    let both = BTreeSet::from(["world/mod.rs".to_owned(), "world/queue.rs".to_owned()]);
    assert_eq!(circle("use super::World;\n"), [both]);
}
