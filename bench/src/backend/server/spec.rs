//! The description of a server: a small file in TOML.
//!
//! It says how a node is started, how the bench sees that it serves, and which API clients
//! speak. Three come with the bench ([`BUILTIN`]); `--server FILE` reads any other. All keys are in
//! `docs/judging-a-server.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The servers that need no file, by name.
pub const BUILTIN: [(&str, &str); 3] = [
    ("seaworthy-server", include_str!("../../../specs/seaworthy-server.toml")),
    ("etcd", include_str!("../../../specs/etcd.toml")),
    ("seaworthy-server-postgres", include_str!("../../../specs/seaworthy-server-postgres.toml")),
];

/// A server under test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// The name on the command line.
    #[serde(skip)]
    pub name: String,
    /// The directory of its file; none of a built-in one.
    #[serde(skip)]
    pub dir: Option<PathBuf>,
    /// The program and its arguments, with placeholders.
    pub command: Vec<String>,
    /// Variables of its environment, with placeholders.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How a node is named in the list of the cluster, with placeholders.
    #[serde(default = "member")]
    pub member: String,
    /// The text between two nodes in that list.
    #[serde(default = "comma")]
    pub separator: String,
    /// How a node is ended when the run is over.
    #[serde(default)]
    pub stop: Stop,
    /// Whether the program asks the kernel for the time, and not its C library, as those of Go do.
    #[serde(default)]
    pub own_clock: bool,
    /// When a node counts as started.
    #[serde(default)]
    pub health: Health,
    /// The API that its clients use.
    pub api: Api,
}

/// How a node is ended when the run is over. The nemesis always kills with SIGKILL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// With SIGKILL, at once.
    #[default]
    Kill,
    /// With SIGTERM; a process that lives after two seconds is killed.
    Terminate,
}

/// When a node counts as started: its port accepts connections, and a GET of the path, if there
/// is one, is answered with a status below 300.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Health {
    /// The path.
    pub path: Option<String>,
}

/// The API that clients use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum Api {
    /// etcd's v3 API over its JSON gateway.
    EtcdV3 {
        /// Which reads clients ask for.
        #[serde(default)]
        reads: Reads,
    },
    /// Plain HTTP: a value is the body of a resource, and its `ETag` changes when it does.
    Rest {
        /// The path of a key, with `{key}`.
        #[serde(default = "rest_path")]
        path: String,
        /// How values are written.
        #[serde(default)]
        texts: Texts,
    },
    /// A program that reads requests as JSON lines on its stdin and answers on its stdout.
    Command {
        /// The program and its arguments, with placeholders.
        command: Vec<String>,
    },
}

/// How values are written where they are plain bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Texts {
    /// In digits.
    #[default]
    Plain,
    /// As bytes that stores stumble over, and keys with blanks.
    Odd,
}

/// Which reads clients of etcd's API ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// Reads of the newest state.
    #[default]
    Linearizable,
    /// Reads of whatever the asked server has: faster, and stale by design.
    Serializable,
}

fn member() -> String {
    "{name}={host}:{proxy_port}".to_owned()
}

fn comma() -> String {
    ",".to_owned()
}

fn rest_path() -> String {
    "/v1/{key}".to_owned()
}

/// The placeholder for whether a node begins a cluster or joins one.
pub(super) const STATE: &str = "state";
/// Its values.
pub(super) const NEW: &str = "new";
pub(super) const EXISTING: &str = "existing";

/// Placeholders and their values.
pub(super) type Values = BTreeMap<&'static str, String>;

/// The placeholders that there are.
const KNOWN: [&str; 15] = [
    "name",
    "index",
    "count",
    "data",
    "host",
    "listen",
    "client_port",
    "peer_port",
    "proxy_port",
    "spare_port",
    "cluster",
    "state",
    "token",
    "spec_dir",
    "bench_dir",
];
/// Those that stand in the path of a resource.
const KNOWN_IN_PATH: [&str; 1] = ["key"];

impl Spec {
    /// The built-in spec of this name, or the one in the file of this name.
    ///
    /// # Errors
    /// A sentence on its fault, with the place.
    pub fn load(name: &str) -> Result<Spec, String> {
        if let Some((_, text)) = BUILTIN.iter().find(|(known, _)| *known == name) {
            return Spec::parse(name, text);
        }
        let path = Path::new(name);
        let known = || BUILTIN.map(|(known, _)| known).join(", ");
        let text = fs::read_to_string(path).map_err(|e| {
            format!("--server {name}: {e} (a file; or one of the built-in {})", known())
        })?;
        let mut spec = Spec::parse(name, &text)?;
        let path = fs::canonicalize(path).map_err(|e| format!("--server {name}: {e}"))?;
        spec.dir = path.parent().map(Path::to_owned);
        Ok(spec)
    }

    /// Whether `--nemesis membership` is for these servers: their API changes members, and a node
    /// can be told to join a cluster that is there.
    pub fn has_members(&self) -> bool {
        matches!(self.api, Api::EtcdV3 { .. }) && self.can_join()
    }

    /// Whether a node can be told its host.
    pub(super) fn has_hosts(&self) -> bool {
        let mut texts = self.command.iter().chain(self.env.values());
        texts.any(|text| placeholders(text).any(|name| name == "host"))
    }

    /// Whether a node can be told to join a cluster that is there.
    pub(super) fn can_join(&self) -> bool {
        self.command.iter().any(|word| placeholders(word).any(|name| name == STATE))
    }

    fn parse(name: &str, text: &str) -> Result<Spec, String> {
        let spec: Spec = toml::from_str(text).map_err(|e| format!("--server {name}: {e}"))?;
        if spec.command.is_empty() {
            return Err(format!("--server {name}: command names no program"));
        }
        let in_api: &[String] = match &spec.api {
            Api::Command { command } if command.is_empty() => {
                return Err(format!("--server {name}: api.command names no program"));
            }
            Api::Command { command } => command,
            Api::EtcdV3 { .. } | Api::Rest { .. } => &[],
        };
        let texts = spec.command.iter().chain(spec.env.values()).chain([&spec.member]);
        for text in texts.chain(in_api) {
            check(text, &KNOWN).map_err(|e| format!("--server {name}: {text:?}: {e}"))?;
        }
        if let Api::Rest { path, .. } = &spec.api {
            check(path, &KNOWN_IN_PATH).map_err(|e| format!("--server {name}: {path:?}: {e}"))?;
        }
        Ok(Spec { name: name.to_owned(), ..spec })
    }
}

/// The placeholders of a text: letters and underscores between braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let inside = |rest: &'_ str| rest.split_once('}').map(|(name, _)| name.len());
    text.match_indices('{').filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let name = &rest[..inside(rest)?];
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_name.then_some(name)
    })
}

fn check(text: &str, known: &[&str]) -> Result<(), String> {
    match placeholders(text).find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            Err(format!("there is no placeholder {{{name}}}; known are {}", known.join(", ")))
        }
    }
}

/// A text with values in place of its placeholders.
pub(super) fn fill(text: &str, values: &Values) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_servers_are_complete() {
        for (name, _) in BUILTIN {
            let spec = Spec::load(name).unwrap();
            assert_eq!(spec.name, name);
            assert_eq!(spec.api, Api::EtcdV3 { reads: Reads::Linearizable });
            // The data in PostgreSQL has its directory beside that of the node.
            let data = if name.ends_with("-postgres") { "{data}.pg" } else { "{data}" };
            for wanted in [data, "{name}", "{cluster}"] {
                assert!(spec.command.iter().any(|word| word == wanted), "{name}: {wanted}");
            }
        }
    }

    #[test]
    fn a_mistake_in_a_spec_is_told_with_its_place() {
        let complaint = |text: &str| Spec::parse("x.toml", text).unwrap_err();
        let api = "\n[api]\nkind = \"rest\"";
        for (text, why) in [
            ("command = []".to_owned() + api, "names no program"),
            ("command = [\"x\", \"{port}\"]".to_owned() + api, "no placeholder {port}; known are"),
            ("command = [\"x\"]\ncomand = 1".to_owned() + api, "unknown field `comand`"),
            ("command = [\"x\"]\n[api]\nkind = \"soap\"".to_owned(), "unknown variant `soap`"),
            (
                "command = [\"x\"]\n[api]\nkind = \"command\"\ncommand = []".to_owned(),
                "api.command",
            ),
            ("command = [\"x\"]".to_owned(), "missing field `api`"),
        ] {
            let error = complaint(&text);
            assert!(error.starts_with("--server x.toml: ") && error.contains(why), "{error}");
        }
        assert!(
            Spec::load("no-such-file").unwrap_err().contains("built-in seaworthy-server, etcd")
        );
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let values = Values::from([("name", "n1".to_owned()), ("data", "/d".to_owned())]);
        assert_eq!(fill("{name}:{data}/{name}", &values), "n1:/d/n1");
        let json = r#"{"a": {}, "b": "{name}"}"#;
        assert_eq!(check(json, &KNOWN), Ok(()));
        assert_eq!(fill(json, &values), r#"{"a": {}, "b": "n1"}"#);
    }
}
