//! `--config FILE`: any of the flags, by name, as TOML.
//!
//! ```toml
//! name = "n1"
//! listen-client-urls = ["http://0.0.0.0:2379"]
//! election-timeout = 1000
//! ```
//!
//! A setting becomes a flag in front of the command line, which repeats it if it is to be
//! another; so clap alone decides which values are right. A setting whose variable is set is
//! passed over.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};
use toml::{Spanned, Value};

type Settings = BTreeMap<Spanned<String>, Spanned<Value>>;

/// Inserts the settings of the file at `path` after the first of `given`, the program's name.
///
/// # Errors
/// A text with the file, the line and the reason.
pub fn put_before(
    command: &Command,
    path: &Path,
    given: Vec<OsString>,
) -> Result<Vec<OsString>, String> {
    let name = path.display();
    // A file is the shell's business, and this is a part of it.
    #[allow(clippy::disallowed_methods)]
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    let flags = flags(command, &text).map_err(|(line, why)| format!("{name}:{line}: {why}"))?;
    let mut given = given.into_iter();
    Ok(given.next().into_iter().chain(flags).chain(given).collect())
}

/// Turns the settings in `text` into flags.
fn flags(command: &Command, text: &str) -> Result<Vec<OsString>, (usize, String)> {
    let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (line(at), error.message().to_owned())
    })?;
    let mut all = Vec::new();
    for (key, value) in settings {
        let here = line(key.span().start);
        let name = key.into_inner();
        let argument = argument(command, &name).map_err(|why| (here, why))?;
        let is_set = argument.get_env().is_some_and(|name| std::env::var_os(name).is_some());
        if is_set {
            continue;
        }
        let value = plain(value.get_ref());
        let value = value.ok_or_else(|| (here, format!("{name}: a plain value is expected")))?;
        let flag = OsString::from(format!("--{name}={value}"));
        let tried = command.clone().try_get_matches_from([OsString::from("x"), flag.clone()]);
        tried.map_err(|error| (here, first_line(&error)))?;
        all.push(flag);
    }
    Ok(all)
}

/// The flag of this name.
fn argument<'c>(command: &'c Command, name: &str) -> Result<&'c Arg, String> {
    let all = || command.get_arguments().filter(|argument| argument.get_id() != "config");
    all().find(|argument| argument.get_long() == Some(name)).ok_or_else(|| {
        let known: Vec<&str> = all().filter_map(Arg::get_long).collect();
        format!("there is no setting {name:?}; there are {}", known.join(", "))
    })
}

/// A value as it stands on a command line; lists are joined by commas.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(is_set) => Some(is_set.to_string()),
        Value::Array(all) => {
            let all: Option<Vec<String>> = all.iter().map(plain).collect();
            all.map(|all| all.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// The reason, without clap's advice.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use clap::{Args, Parser};

    use super::*;
    use crate::config::Config;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Flags {
        #[command(flatten)]
        config: Config,
    }

    fn command() -> Command {
        Config::augment_args(Command::new("x").args_override_self(true))
    }

    #[test]
    fn settings_are_flags_and_the_command_line_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.toml");
        let text = "name = \"n1\"\n# a remark\nelection-timeout = 700\nmax-txn-ops = 3\n\
                    listen-client-urls = [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]\n";
        std::fs::write(&file, text).unwrap();
        let given = ["x", "--max-txn-ops", "9"].map(OsString::from).to_vec();
        let all = put_before(&command(), &file, given).unwrap();
        let config = Flags::parse_from(all).config;
        assert_eq!((config.name.as_str(), config.election_timeout), ("n1", 700));
        assert_eq!(config.listen_client_urls, "http://127.0.0.1:1,http://127.0.0.1:2");
        assert_eq!(config.max_txn_ops, 9);
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_line() {
        let wrong = |text: &str| flags(&command(), text).unwrap_err();
        let (line, why) = wrong("name = \"n1\"\n\nnam = \"n1\"\n");
        assert_eq!(line, 3);
        assert!(why.contains("\"nam\"") && why.contains("listen-client-urls"), "{why}");
        let (line, why) = wrong("name = \"a\"\nelection-timeout = \"soon\"\n");
        assert_eq!(line, 2);
        assert!(why.contains("soon") && why.contains("--election-timeout"), "{why}");
        let (line, why) = wrong("\nlog-format = \"xml\"\n");
        assert!(line == 2 && why.contains("xml"), "{why}");
        assert_eq!(wrong("name = \"a\"\n[client]\nx = 1\n").0, 2);
        assert_eq!(wrong("name = \"a\"\nname = \"b\"\n").0, 2);
        assert_eq!(wrong("name = \"a\"\ndata-dir = x\n").0, 2);
        assert_eq!(wrong("config = \"other\"\n").0, 1);
    }
}
