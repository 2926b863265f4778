//! `seaworthy-server` with a bug: `planted-server --planted NAME FLAGS...`. The names are those of
//! `seaworthy_server::planted::Mutant`; without one it is the server that is shipped.

// It tells a mistake on its command line.
#![allow(clippy::print_stderr)]

use std::ffi::OsString;
use std::process::ExitCode;

use seaworthy_server::planted::{Mutant, plant_everywhere};

/// Takes the name of a bug out of a command line, and plants it.
fn plant(line: &mut Vec<OsString>) -> Result<(), String> {
    let Some(at) = line.iter().position(|word| word == "--planted") else { return Ok(()) };
    let named = line.get(at + 1).and_then(|name| name.to_str());
    let mutant: Mutant = named.ok_or("--planted needs a name")?.parse()?;
    line.drain(at..at + 2);
    plant_everywhere(mutant);
    Ok(())
}

fn main() -> ExitCode {
    let mut line: Vec<OsString> = std::env::args_os().collect();
    if let Err(why) = plant(&mut line) {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    seaworthy_server::command_line::run(line)
}
