//! The arrows between the files of a package, read from its `use` lines and paths.
//!
//! An arrow leads to the file that defines the name: names that a module passes on with a `use` of
//! its own are followed. Tests are left out, they may look at everything. Macros are not expanded,
//! and a name that is used by its full path from another crate is not seen.

use std::collections::{BTreeMap, BTreeSet};

/// Module paths and the files that hold them: `["raft", "log"]`, `src/raft/log.rs`.
type Modules = BTreeMap<Vec<String>, String>;

/// From which file to which others.
pub(crate) type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The files of one package: paths below its `src`, and texts.
pub(crate) struct Package<'a> {
    modules: Modules,
    /// Of each module: the paths that it uses, absolute, and under which names.
    uses: BTreeMap<Vec<String>, Vec<(Vec<String>, String)>>,
    texts: BTreeMap<Vec<String>, &'a str>,
}

/// The module path of a file below `src`; `None` of a binary's.
fn module(path: &str) -> Option<Vec<String>> {
    let stem = path.strip_suffix(".rs")?;
    let mut parts: Vec<String> = stem.split('/').map(str::to_owned).collect();
    match parts.last().map(String::as_str) {
        Some("main") => return None,
        Some("lib" | "mod") => drop(parts.pop()),
        _ => {}
    }
    (parts.first().map(String::as_str) != Some("bin")).then_some(parts)
}

/// The code of a file without its comments and its tests.
fn code(text: &str) -> String {
    let attributes = ["", "#[allow(clippy::unwrap_used)]\n"];
    let sights = ["", "pub(super) ", "pub(crate) "];
    let tests = attributes.iter().flat_map(|attribute| {
        sights.map(|sight| format!("#[cfg(test)]\n{attribute}{sight}mod tests {{"))
    });
    let end = tests.filter_map(|start| text.find(&start)).min().unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| match line.find("//") {
        // Not in a string such as an address; a comment begins a line or follows a blank.
        Some(at) if at == 0 || line[..at].ends_with(' ') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules that exist in tests only: those declared below `#[cfg(test)]`.
fn of_tests(text: &str) -> Vec<String> {
    let after = text.split("#[cfg(test)]\n").skip(1);
    let declared = after.filter_map(|rest| {
        let line =
            rest.lines().next()?.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(str::to_owned).chain(["tests".to_owned()]).collect()
}

/// Every path of a `use` tree, with the name that it gets: `a::{b, c as d}`.
fn expand(tree: &str, before: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    let mut path = before.to_vec();
    if let Some((head, group)) = tree.split_once('{') {
        path.extend(head.split("::").map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned));
        let (mut depth, mut from) = (0, 0);
        let group = group.rsplit_once('}').map_or(group, |(inside, _)| inside);
        for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&group[from..at], &path, found);
                    from = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (names, alias) = match tree.split_once(" as ") {
        Some((names, alias)) => (names, Some(alias.trim().to_owned())),
        None => (tree, None),
    };
    path.extend(names.split("::").map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned));
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    if let Some(last) = path.last().cloned() {
        found.push((path, alias.unwrap_or(last)));
    }
}

impl<'a> Package<'a> {
    pub(crate) fn new(files: &'a [(String, String)]) -> Package<'a> {
        let all = files.iter().filter_map(|(path, text)| Some((module(path)?, path, text)));
        let mut tests = BTreeSet::new();
        for (at, _, text) in all.clone() {
            tests.extend(of_tests(text).into_iter().map(|name| [at.clone(), vec![name]].concat()));
        }
        let is_test = |at: &[String]| (1..=at.len()).any(|n| tests.contains(&at[..n]));
        let (mut modules, mut texts) = (Modules::new(), BTreeMap::new());
        for (at, path, text) in all.filter(|(at, ..)| !is_test(at)) {
            modules.insert(at.clone(), path.clone());
            texts.insert(at, text.as_str());
        }
        let mut package = Package { modules, uses: BTreeMap::new(), texts };
        for (at, text) in &package.texts {
            let uses = package.read(at, text);
            package.uses.insert(at.clone(), uses);
        }
        package
    }

    /// The paths that the module `at` uses of its own package, absolute.
    fn read(&self, at: &[String], text: &str) -> Vec<(Vec<String>, String)> {
        let code = code(text);
        let mut found = Vec::new();
        for statement in code.split(';') {
            if let Some(start) = start_of_use(statement) {
                expand(&statement[start..], &[], &mut found);
            }
        }
        for rest in code.split("crate::").skip(1) {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let path = rest.split(|c| !is_path(c)).next().unwrap_or_default();
            expand(&format!("crate::{}", path.trim_end_matches(':')), &[], &mut found);
        }
        found
            .into_iter()
            .filter_map(|(path, name)| Some((self.absolute(at, path)?, name)))
            .collect()
    }

    fn absolute(&self, at: &[String], path: Vec<String>) -> Option<Vec<String>> {
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([at, &path[1..]].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                Some([&at[..at.len().checked_sub(ups)?], &path[ups..]].concat())
            }
            // A module of its own, and not another crate.
            first => {
                let own = [at, &[first.to_owned()]].concat();
                self.modules.contains_key(&own).then(|| [at, &path].concat())
            }
        }
    }

    /// The module that defines the name at `path`.
    fn home(&self, path: &[String], depth: usize) -> Option<&Vec<String>> {
        let (at, _) =
            (0..=path.len()).rev().find_map(|n| self.modules.get_key_value(&path[..n]))?;
        let Some(name) = path.get(at.len()).filter(|_| depth > 0) else { return Some(at) };
        let passed = self.uses.get(at)?.iter().find(|(target, n)| n == name && target != path);
        match passed {
            Some((target, _)) => self.home(target, depth - 1),
            None => Some(at),
        }
    }

    pub(crate) fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (at, uses) in &self.uses {
            let from = &self.modules[at];
            for (path, _) in uses {
                // Names that a module only passes on are no use of its own.
                let Some(to) = self.home(path, 4).filter(|to| *to != at) else { continue };
                if !self.passes_on(at, path) {
                    arrows.entry(from.clone()).or_default().insert(self.modules[to].clone());
                }
            }
        }
        arrows
    }

    /// Whether `at` only passes on a name of a module below it: `pub use child::Name`,
    /// and no `Name` in its own code.
    fn passes_on(&self, at: &[String], path: &[String]) -> bool {
        let Some(name) = path.last().filter(|_| path.starts_with(at)) else { return false };
        let code = code(self.texts[at]);
        let own = code.split(';').filter(|statement| start_of_use(statement).is_none());
        let own = own.filter(|statement| {
            !statement.trim_start().starts_with(['m', 'p']) || {
                let words: Vec<&str> = statement.split_whitespace().collect();
                !matches!(words[..], ["mod", _] | ["pub", "mod", _] | ["pub(crate)", "mod", _])
            }
        });
        !own.flat_map(words).any(|word| word == name)
    }
}

/// Where the tree of a `use` statement begins, if this is one.
fn start_of_use(statement: &str) -> Option<usize> {
    let start = statement.rfind("use ")?;
    let before = statement[..start].trim_end();
    let is_start = before.is_empty() || before.ends_with(['}', ']', ')', '{']);
    (is_start || before.ends_with("pub")).then_some(start + 4)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}
