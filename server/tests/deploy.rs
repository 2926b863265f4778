//! The examples in `deploy/` hold flags and variables that this program takes, and that fit each
//! other.

#![allow(clippy::unwrap_used)]

use clap::{CommandFactory, Parser};
use seaworthy_server::config::Config;
use seaworthy_server::url::listen_addresses;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

fn file(name: &str) -> String {
    let path = format!("{}/../deploy/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The flags of each server in a file: they stand on lines of their own, one list after the
/// other.
fn servers(text: &str) -> Vec<Vec<String>> {
    let mut servers: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        let word = line.trim().trim_start_matches("- ").trim_end_matches('\\').trim_end();
        if word.starts_with("--name") {
            servers.push(vec!["seaworthy-server".to_owned()]);
        }
        if word.starts_with("--") && word.contains('=') {
            servers.last_mut().unwrap().push(word.to_owned());
        }
    }
    servers
}

/// Holds a server's flags to the real parser, and to the needs of a run.
fn check(flags: &[String], listens: bool) -> Config {
    let config = Flags::try_parse_from(flags).unwrap_or_else(|e| panic!("{flags:?}: {e}")).config;
    let identity = config.identity().unwrap();
    assert_eq!(identity.founders.len(), 3, "{flags:?}");
    assert_eq!(identity.founders[&config.name], config.peer_urls(), "{flags:?}");
    assert!(config.client_urls()[0].contains(&config.name), "{flags:?}");
    if listens {
        for urls in [&config.listen_client_urls, &config.listen_peer_urls] {
            assert!(listen_addresses("", urls).unwrap()[0].0.ip().is_unspecified(), "{flags:?}");
        }
    }
    config
}

#[test]
fn three_servers_in_containers_fit_each_other() {
    let servers = servers(&file("compose.yaml"));
    let configs: Vec<Config> = servers.iter().map(|flags| check(flags, false)).collect();
    let names: Vec<&str> = configs.iter().map(|config| config.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let founders = |config: &Config| config.identity().unwrap().founders;
    assert!(configs.iter().all(|config| founders(config) == founders(&configs[0])));
}

#[test]
fn the_unit_and_the_stateful_set_hold_flags_that_are_taken() {
    let unit = servers(&file("seaworthy-server.service"));
    assert_eq!(unit.len(), 1);
    check(&unit[0], true);
    let set = file("kubernetes.yaml");
    for pod in ["seaworthy-0", "seaworthy-1", "seaworthy-2"] {
        let flags = servers(&set.replace("$(POD_NAME)", pod));
        assert_eq!(flags.len(), 1);
        check(&flags[0], true);
    }
}

#[test]
fn variables_are_those_of_flags() {
    let command = Flags::command();
    let known = command.get_arguments().filter_map(|argument| argument.get_env());
    let known: Vec<String> = known.map(|name| name.to_string_lossy().into_owned()).collect();
    let mut seen = 0;
    for name in ["Dockerfile", "compose.yaml", "seaworthy-server.service", "kubernetes.yaml"] {
        let text = file(name);
        let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
        for word in text.split(|c: char| !is_part(c)).filter(|w| w.starts_with("SEAWORTHY_")) {
            assert!(known.iter().any(|variable| variable == word), "{name}: {word}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} variables");
}
