//! The shipped binary cannot be made to misbehave: no mutant is in it.
#![cfg(not(feature = "mutants"))]
// A test may fail by unwrapping; its helpers are not known to be tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use seaworthy::planted::{self, Mutant};

// Known when this is compiled, so nothing is left of it in the guards.
const _: () = assert!(!planted::is(Mutant::LocalReadAtLeader) && !planted::spares_assertions());

const NODE: &str = env!("CARGO_BIN_EXE_seaworthy-node");

#[test]
fn nothing_of_the_switch_is_in_the_binary() {
    let binary = fs::read(NODE).unwrap();
    let contains = |text: &str| binary.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(contains("seaworthy-node"), "the search finds what is there");
    // The module of the switch, as it is mangled, and the name of a mutant.
    for text in ["mutant6active", "LocalReadAtLeader"] {
        assert!(!contains(text), "{text} is in {NODE}");
    }
}

#[test]
fn no_flag_plants_a_mutant() {
    for flag in ["--mutant", "--mutants", "--mutant=1"] {
        let output = Command::new(NODE).args([flag, "1"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} was accepted");
    }
}
