//! Pictures as PNG, in builds that have them: `cargo test -p seaworthy-bench --features png --test png`.

// A test may fail by unwrapping.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Command;

#[test]
fn each_picture_is_drawn_as_png_too() {
    let dir = tempfile::tempdir().unwrap();
    let run = |command: &str| {
        let mut seaworthy = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        let output = seaworthy.args(command.split(' ')).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run("test -w echo --time-limit 2 --rate 20");
    run("plot --png store/latest");
    for name in ["latency", "quantiles", "rate", "messages"] {
        let read =
            |end: &str| fs::read(dir.path().join(format!("store/latest/{name}.{end}"))).unwrap();
        let (png, svg) = (read("png"), String::from_utf8(read("svg")).unwrap());
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n", "{name}");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        let size = format!("viewBox=\"0 0 {} {}\"", number(16) / 2, number(20) / 2);
        assert!(svg.contains(&size), "{name}: {size}");
        // Text and lines leave more than a white area behind.
        assert!(png.len() > 500, "{name}: {} bytes", png.len());
    }
}
